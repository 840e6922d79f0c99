"""One policy in its car, under the viewer's hands, with what the page shows of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from driving.attention import ATTRIBUTIONS
from driving.attention.score import on_road_share
from driving.compare import panel_of
from driving.instants import with_noise_of
from driving.models.policy import Policy, to_tensor
from driving.models.wiring import Wiring
from driving.onlooker import Seen
from driving.rollout import PolicyActor
from driving.serve.controls import Controls, Menu
from driving.video import Panel
from driving.video.overlay import camera_view
from sim.conventions import FRAME_RATE_HZ
from sim.episodes import EpisodePlan, Instant, Run

REWIND_S = 10.0
SHARE_LENGTH = 100
"""The share on the road is a mean over so many instants."""


class Hands:
    """The viewer's hands between a policy and its car (``sim.episodes.Actor``): the wheel, and clamped neurons.

    Attributes:
        wheel_per_m: the viewer steers; None leaves it to the policy.
        clamped: value by neuron of a circuit.
        command_per_m: what the policy answered.
    """

    asks_expert = False

    def __init__(self, policy: Policy) -> None:
        self.actor = PolicyActor(policy)
        self.frame_shape = self.actor.frame_shape
        self.wheel_per_m: float | None = None
        self.clamped: dict[int, float] = {}
        self.command_per_m = 0.0

    def begin(self, n_runs: int) -> None:
        self.actor.begin(n_runs)

    def act(self, instants: Sequence[Instant]) -> None:
        for neuron, value in self.clamped.items():
            self.actor.state[:, neuron] = value
        self.actor.act(instants)
        for instant in instants:
            self.command_per_m = instant.curvature_per_m
            if self.wheel_per_m is not None:
                instant.curvature_per_m = self.wheel_per_m


@dataclass(frozen=True)
class Moment:
    """Where a car was, and what its policy remembered."""

    along_road_m: float
    lateral_offset_m: float
    heading_error_rad: float
    state: torch.Tensor


class Seat:
    """One policy in its car, with what is shown of it.

    Attributes:
        run, env: the episode, and its world.
        crashes, km: on this road.
        past: where it was in the last ``REWIND_S``.
        shares: of the map on the road, the last ``SHARE_LENGTH``.
        instant, attention: what is shown; None before the first one, and without a method.
        crash_shown: instants for which a crash is still said.
    """

    def __init__(self, name: str, policy: Policy, controls: Controls, menu: Menu) -> None:
        self.name, self.policy = name, policy
        self.hands = Hands(policy)
        self.env = controls.make_world(menu)()
        noise = controls.make_noise()
        self.run = Run(self.env, EpisodePlan(controls.seed, math.inf), noise)
        self.hands.begin(1)
        self.crashes = 0
        self.km = 0.0
        self.past: deque[Moment] = deque(maxlen=round(REWIND_S * FRAME_RATE_HZ))
        self.shares: deque[float] = deque(maxlen=SHARE_LENGTH)
        self.instant: Instant | None = None
        self.attention: np.ndarray | None = None
        self.crash_shown = 0

    def remember(self) -> None:
        """Keep where it is now, to go back to."""
        info = self.run.info
        self.past.append(
            Moment(
                self.env.along_road_m, info["lateral_offset_m"], info["heading_error_rad"],
                self.hands.actor.state.clone(),
            )
        )  # fmt: skip

    def put(self, along_road_m: float, offset_m: float, heading_rad: float = 0.0) -> None:
        """Put the car somewhere on its road; the network remembers what it did."""
        self.run.put(min(max(along_road_m, 0.0), self.env.road_m), offset_m, heading_rad)

    def look(self, method: str, instants: Sequence[Instant]) -> None:
        """Before the world goes on: its picture for people, and the attention map by this method ("" for none)."""
        (instant,) = instants
        picture = self.env.render()
        assert picture is not None  # the worlds were made to be shown
        if not np.array_equal(instant.frame, instant.clean_frame):
            picture = with_noise_of(picture, instant.frame, instant.clean_frame)
        instant.picture = picture
        self.attention = None
        if method:
            frame = to_tensor(instant.frame[None]).float() / 255.0
            self.attention = ATTRIBUTIONS[method](self.policy, frame, instant.state_before[None]).numpy()[0]
            mask = instant.info.get("road_mask")
            if mask is not None and (share := float(on_road_share(self.attention, mask))) == share:
                self.shares.append(share)

    @property
    def road_share(self) -> float | None:
        """Of the map on the road, a mean over the last instants."""
        return float(np.mean(self.shares)) if self.shares else None

    def picture(self) -> np.ndarray:
        """What is shown of it, RGB uint8."""
        assert self.instant is not None  # a scene begins with an instant
        picture = self.instant.picture
        assert picture is not None
        if self.attention is None:
            return picture
        view = np.empty_like(picture)
        camera_view(
            view, (0, 0, picture.shape[1], picture.shape[0]), picture, self.attention,
            self.instant.info.get("road_mask"),
        )  # fmt: skip
        return view

    def panel(self) -> Panel:
        """What a video shows of it."""
        assert self.instant is not None
        shape = self.instant.frame.shape[:2]
        attention = np.zeros(shape, np.float32) if self.attention is None else self.attention
        seen = Seen(self.instant, attention, self.road_share, None)
        return panel_of(f"{self.name}: {self.policy.title}", self.policy, seen, self.run.log, False)

    def described(self) -> dict[str, Any]:
        """What stays the same while a scene runs."""
        wiring = self.policy.core.wiring
        return {
            "name": self.name,
            "title": self.policy.title,
            "wiring": None if wiring is None else _drawn(wiring),
            "setting": self.run.info["setting"],
        }

    def figures(self) -> dict[str, Any]:
        """Of the instant that is shown."""
        instant, info, core = self.instant, self.run.info, self.policy.core
        assert instant is not None
        around = self.env.surroundings()
        row: dict[str, Any] = {
            "offset_m": _number(info["lateral_offset_m"]),
            "half_lane_m": _number(info["lane_half_width_m"]),
            "heading_rad": _number(info["heading_error_rad"], 4),
            "speed_mps": _number(info["speed_mps"], 1),
            "command_per_m": _number(self.hands.command_per_m, 5),
            "driven_per_m": _number(info["curvature_per_m"], 5),
            "max_per_m": _number(min(self.policy.config.max_curvature_per_m, 0.1), 4),
            "is_yours": self.hands.wheel_per_m is not None,
            "crashes": self.crashes,
            "km": _number(self.km),
            "has_crashed": self.crash_shown > 0,
            "road_share": None if self.road_share is None else _number(self.road_share),
            "states": _numbers(core.shown_state(instant.state).numpy()),
            "clamped": {str(neuron): value for neuron, value in self.hands.clamped.items()},
            "above": {
                "lane": _numbers(around.lane_middle, 1),
                "trail": _numbers(around.trail, 1),
                "left_m": _number(around.left_edge_m, 1),
                "right_m": _number(around.right_edge_m, 1),
                "half_m": _number(around.lane_half_width_m, 1),
            },
        }
        if core.wiring is not None:
            with torch.no_grad():
                features = self.policy.encode(to_tensor(instant.frame[None]))
                trace = core.synapse_trace(features, instant.state.unsqueeze(0))
            assert trace is not None
            row["time_constants_s"] = _numbers(trace.time_constant_s[0].numpy())
            row["currents"] = _numbers(trace.recurrent_current[0].numpy())
            row["sensory"] = _numbers(
                np.bincount(core.wiring.sensory[:, 1], trace.sensory_current[0].numpy(), core.wiring.n_neurons)
            )
        return row

    def close(self) -> None:
        self.env.close()


def _number(value: Any, digits: int = 3) -> float:
    return round(float(value), digits)


def _numbers(values: np.ndarray, digits: int = 3) -> list[Any]:
    return np.round(np.nan_to_num(np.asarray(values, float)), digits).tolist()


def _drawn(wiring: Wiring) -> dict[str, Any]:
    """A circuit as the page draws it: layers from the inputs to the motor neuron, synapses as they are traced."""
    return {
        "layers": [{"role": role, "neurons": neurons} for role, neurons in wiring.layers().items()],
        "synapses": wiring.synapses.tolist(),
        "n_inputs": wiring.n_inputs,
        "n_sensory": np.bincount(wiring.sensory[:, 1], minlength=wiring.n_neurons).tolist(),
    }
