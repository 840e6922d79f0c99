"""One viewer's worlds: one or two policies on the same road, instant by instant, under the viewer's hands."""

from __future__ import annotations

import dataclasses
import secrets
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from driving.models import checkpoint
from driving.models.policy import Policy
from driving.noise import noise_title
from driving.serve.controls import Controls, Menu
from driving.serve.dropped import Dropped
from driving.serve.seat import Seat
from driving.video import HEIGHT_PX, WIDTH_PX, VideoWriter, compose
from sim.conventions import FRAME_RATE_HZ
from sim.episodes import BEYOND_SUPPORT, advance
from sim.errors import BadInputError
from sim.injection import Injection

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 82]
PUSH_M = 0.7
"""A push puts the car so far to a side, within its lane."""
PUSH_SHARE = 0.85
"""Of the lane's half, beyond which a push does not go."""
RECORD_S = 60.0
MAX_CLAMP = 10.0
MAX_NEXT_SEED = 2999
"""The page goes through test roads alone."""


class Live:
    """What one viewer sees and does; used by one thread at a time.

    Messages (``hear``) are objects with any of these keys:

    ``set``     fields of ``Controls``
    ``do``      pause, go, step, rewind, push_left, push_right, next, again, record, stop
    ``wheel``   -1 (right) to 1 (left) of the viewer's steering wheel, or null: hands off
    ``clamp``   [seat, neuron, value or null]
    ``take``    name for the drive whose files were dropped in; it becomes the world
    ``n``       number of the message, which the next picture tells back
    """

    def __init__(self, menu: Menu, controls: Controls | None = None) -> None:
        self.menu, self.controls = menu, controls or Controls(policies=menu.policies[:1])
        self.seats: list[Seat] = []
        self.paused, self.heard, self.n_ticks = False, 0, 0
        self.n_changes = 0  # of what ``describe`` says
        self.recording: LiveVideo | None = None
        self.done_recordings: dict[str, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.key = secrets.token_urlsafe(16)  # of who may drop drives into this world
        self.dropped = Dropped()
        self._policies: dict[str, Policy] = {}
        self.begin()

    # What the viewer does ------------------------------------------------------------------------------------

    def hear(self, message: object) -> None:
        """Do what a browser asks.

        Raises:
            BadInputError: it is no message, or asks for what there is not; nothing has changed then.
        """
        if not isinstance(message, dict) or not message.keys() <= {"set", "do", "wheel", "clamp", "take", "n"}:
            raise BadInputError("message: expected an object with set, do, wheel, clamp, take or n")
        if type(message.get("n", 0)) is not int:
            raise BadInputError("message: expected a whole number as n")
        if "set" in message:
            self._set(message["set"])
        if "wheel" in message:
            self._wheel(message["wheel"])
        if "clamp" in message:
            self._clamp(message["clamp"])
        if "do" in message:
            self._do(message["do"])
        if "take" in message:
            self._take(message["take"])
        self.heard = message.get("n", self.heard)

    def _set(self, values: object) -> None:
        before, after = self.controls, self.controls.changed(values, self.menu)
        self.controls = after
        self.n_changes += 1
        restarting = ("policies", "world", "family", "season", "weather", "seed")
        if any(getattr(before, name) != getattr(after, name) for name in restarting):
            try:
                self.begin()
            except BadInputError:  # a recording that cannot be driven: what was shown comes back
                self.controls = before
                self.begin()
                raise
            return
        if (before.noise, before.severity) != (after.noise, after.severity):
            noise = after.make_noise()
            for seat in self.seats:
                seat.run.inject(noise(after.seed) if noise else Injection())

    def _wheel(self, value: object) -> None:
        if value is not None and (type(value) not in (int, float) or not -1 <= value <= 1):  # type: ignore[operator]
            raise BadInputError("message: expected a wheel from -1 to 1, or null")
        for seat in self.seats:
            if value is None:
                seat.hands.wheel_per_m = None
            else:
                speed_mps = max(seat.run.info["speed_mps"], 1.0)
                limit_per_m = min(float(seat.env.action_space.high[0]), 3.0 / speed_mps**2)  # type: ignore[attr-defined]
                seat.hands.wheel_per_m = float(value) * limit_per_m  # type: ignore[arg-type]

    def _clamp(self, asked: object) -> None:
        if not (isinstance(asked, list) and len(asked) == 3 and all(type(k) is int for k in asked[:2])):
            raise BadInputError("message: expected clamp as [seat, neuron, value or null]")
        i_seat, neuron, value = asked
        if not 0 <= i_seat < len(self.seats):
            raise BadInputError("message: no such seat")
        seat = self.seats[i_seat]
        wiring = seat.policy.core.wiring
        if wiring is None or not 0 <= neuron < wiring.n_neurons:
            raise BadInputError("message: no such neuron of a circuit")
        if value is None:
            seat.hands.clamped.pop(neuron, None)
        elif type(value) in (int, float) and abs(value) <= MAX_CLAMP:
            seat.hands.clamped[neuron] = float(value)
        else:
            raise BadInputError(f"message: expected a value within {MAX_CLAMP:g} of 0, or null")

    def _take(self, name: object) -> None:
        if not isinstance(name, str):
            raise BadInputError("message: take: expected the name of a drive")
        before = self.menu
        found = self.dropped.take(name)
        self.menu = dataclasses.replace(before, drives={**before.drives, found: self.dropped.drives[found]})
        try:
            self._set({"world": found})
        except BadInputError:
            self.menu = before
            self.dropped.forget(found)
            raise

    def _do(self, what: object) -> None:
        actions = {
            "pause": lambda: setattr(self, "paused", True),
            "go": lambda: setattr(self, "paused", False),
            "step": self._step,
            "rewind": self.rewind,
            "push_left": lambda: self.push(PUSH_M),
            "push_right": lambda: self.push(-PUSH_M),
            "next": lambda: self._set({"seed": min(self.controls.seed + 1, MAX_NEXT_SEED)}),
            "again": self.begin,
            "record": self.record,
            "stop": self.stop_recording,
        }
        if not isinstance(what, str) or what not in actions:
            raise BadInputError(f"message: do: expected one of {', '.join(actions)}")
        actions[what]()

    def _step(self) -> None:
        self.paused = True
        self._advance()

    def push(self, left_m: float) -> None:
        """Put every car to a side, at most to the border of its lane."""
        for seat in self.seats:
            info = seat.run.info
            bound_m = PUSH_SHARE * info["lane_half_width_m"]
            offset_m = min(max(info["lateral_offset_m"] + left_m, -bound_m), bound_m)
            seat.put(seat.env.along_road_m, offset_m, info["heading_error_rad"])

    def rewind(self) -> None:
        """Ten seconds back, or as far as is remembered: place, direction and memory of every car."""
        for seat in self.seats:
            if seat.past:
                then = seat.past[0]
                seat.put(then.along_road_m, then.lateral_offset_m, then.heading_error_rad)
                seat.hands.actor.state = then.state.clone()
                seat.past.clear()

    def begin(self) -> None:
        """The road of the controls from its beginning."""
        seats: list[Seat] = []
        try:
            for name in self.controls.policies:
                if name not in self._policies:
                    self._policies[name] = checkpoint.load(name)
                seats.append(Seat(name, self._policies[name], self.controls, self.menu))
        except BaseException:
            for seat in seats:
                seat.close()
            raise
        for seat in self.seats:
            seat.close()
        self.seats = seats
        self.n_changes += 1
        self._policies = {name: self._policies[name] for name in self.controls.policies}
        self._advance()

    # What the viewer sees ------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What stays the same while a scene runs: names, wirings, the controls as they are."""
        return {
            "key": self.key,
            "worlds": self.menu.worlds,
            "controls": {name: getattr(self.controls, name) for name in Controls.__dataclass_fields__},
            "seats": [seat.described() for seat in self.seats],
        }

    def tick(self) -> tuple[dict[str, Any], list[bytes]]:
        """One instant further (unless paused): figures, and a JPEG for each seat."""
        started_s = time.perf_counter()
        if not self.paused:
            self._advance()
        pictures, rows = [], []
        for seat in self.seats:
            pictures.append(cv2.imencode(".jpg", seat.picture()[..., ::-1], _JPEG)[1].tobytes())
            rows.append(seat.figures())
        if self.recording is not None and not self.paused:
            self._film()
        return {
            "tick": self.n_ticks,
            "heard": self.heard,
            "paused": self.paused,
            "recording": self.recording is not None,
            "recordings": list(self.done_recordings),
            "work_ms": round(1000 * (time.perf_counter() - started_s), 1),
            "seats": rows,
        }, pictures

    def _advance(self) -> None:
        self.n_ticks += 1
        is_over = False
        for seat in self.seats:
            seat.remember()
            before_m = float(seat.run.info["distance_m"])
            instants = advance([seat.run], seat.hands, partial(seat.look, self.controls.method))
            seat.km += max(float(seat.run.info["distance_m"]) - before_m, 0.0) / 1000
            if instants:
                seat.instant = instants[0]
            if seat.run.is_over:
                log = seat.run.log
                if log.crashed or (log.truncation or "").startswith(BEYOND_SUPPORT):
                    seat.crashes += 1
                    seat.crash_shown = round(FRAME_RATE_HZ)
                    seat.put(seat.env.along_road_m, 0.0)
                    seat.hands.begin(1)
                else:
                    is_over = True
            seat.crash_shown = max(seat.crash_shown - 1, 0)
        if is_over:
            self._set({"seed": (self.controls.seed + 1) % (MAX_NEXT_SEED + 1)})

    # A video of what is seen ---------------------------------------------------------------------------------

    def record(self) -> None:
        """Begin to write what is seen, up to ``RECORD_S``."""
        if self.recording is None:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="liquid-lane-")
            self.recording = LiveVideo(Path(self._folder.name) / f"{time.time_ns():x}.mp4")

    def stop_recording(self) -> None:
        """End the video; it can be fetched by the name of its file."""
        if self.recording is not None:
            recording, self.recording = self.recording, None
            if recording.end():
                self.done_recordings[recording.path.stem] = recording.path

    def _film(self) -> None:
        assert self.recording is not None
        noise = self.controls.make_noise()
        picture = compose(
            [seat.panel() for seat in self.seats],
            heading="Live" if len(self.seats) == 1 else "Live: the same road",
            subtitle=f"Road {self.controls.seed}",
            condition=noise_title(noise),
            noisy=noise is not None,
            time_s=self.recording.n_frames / FRAME_RATE_HZ,
        )
        self.recording.add(picture)
        if self.recording.n_frames >= RECORD_S * FRAME_RATE_HZ:
            self.stop_recording()

    def close(self) -> None:
        """End the worlds; recordings go."""
        if self.recording is not None:
            self.recording.end()
            self.recording = None
        for seat in self.seats:
            seat.close()
        self.seats = []
        self.dropped.close()
        if self._folder is not None:
            self._folder.cleanup()


class LiveVideo:
    """A video that is being written."""

    def __init__(self, path: Path) -> None:
        self.path, self.n_frames = path, 0
        self._writer = VideoWriter(path, FRAME_RATE_HZ, HEIGHT_PX, WIDTH_PX)
        self._writer.__enter__()

    def add(self, picture: np.ndarray) -> None:
        self._writer.write(picture)
        self.n_frames += 1

    def end(self) -> bool:
        """Finish the file; False where nothing was seen."""
        try:
            self._writer.__exit__(None, None, None)
        except BadInputError:
            return False
        return True
