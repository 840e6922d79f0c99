"""A recording as an importer found it, and how it becomes a drive, frame by frame.

An importer takes what can be used. Rows that cannot be are left out and counted by reason, and what was assumed stands
in the drive's notes. Only a recording that holds nothing usable is refused.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.drive import (
    MAX_PLAUSIBLE_CURVATURE_PER_M,
    Drive,
    DriveMeta,
    StoredDrive,
    Timeline,
    check_replaceable,
    check_rows,
    load_table,
    write_rows,
)
from sim.drive_writer import VIDEO, FrameWriter
from sim.errors import BadInputError, one_line
from sim.files import new_folder
from sim.label_table import Columns
from sim.reading import Cutout
from sim.rig import Rig

PIECE_GAP_S = 60.0
"""Put between two pieces whose clocks do not fit together."""


class UnusableRowError(Exception):
    """A row cannot be used; the text is the reason it is counted under."""


@dataclass(frozen=True)
class Asked:
    """What the user asks of an importer.

    Attributes:
        height_px, width_px: of the frames kept. Twice a policy's picture leaves room to shift and turn the view.
        rig: what is known of camera and car.
        columns: what is known of a table of labels.
        rate_hz: of a recording without times; None takes the format's own.
        estimate_horizon: find the horizon by the motion in the pictures.
    """

    height_px: int = 2 * FRAME_HEIGHT_PX
    width_px: int = 2 * FRAME_WIDTH_PX
    rig: Rig = field(default_factory=Rig)
    columns: Columns = field(default_factory=Columns)
    rate_hz: float | None = None
    estimate_horizon: bool = False

    def __post_init__(self) -> None:
        if not (2 <= self.height_px <= 4096 and 2 <= self.width_px <= 4096):
            raise BadInputError(f"frames: expected 2 to 4096 rows and columns, got {self.height_px}x{self.width_px}")
        if self.rate_hz is not None and not 0.1 <= self.rate_hz <= 1000:
            raise BadInputError(f"rate_hz: expected 0.1 to 1000 frames a second, got {self.rate_hz:g}")


@dataclass(frozen=True, eq=False)
class Recording(Timeline):
    """Rows of one recording; row k has a label, and a picture where ``frames`` gives one.

    Attributes:
        timestamps_s: float64 (T,), strictly increasing.
        curvature_per_m: float32 (T,), left positive.
        camera: of the frames.
        meta: source, licence, vehicle; notes of what was assumed.
        frames: called once or more, gives T items in order: uint8 (H, W, 3), or the reason why there is none.
        speed_mps: float32 (T,), or None.
        masks: road masks bool (H, W) by row.
        left_out: rows that are not among these, by reason.
    """

    timestamps_s: np.ndarray
    curvature_per_m: np.ndarray
    camera: Camera
    meta: DriveMeta
    frames: Callable[[], Iterator[np.ndarray | str]]
    speed_mps: np.ndarray | None = None
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def drive(self) -> Drive:
        """All of it in memory."""
        frames: list[np.ndarray] = []
        kept, left_out = self._kept(frames.append)
        known = np.zeros(len(self), bool)
        masks = np.zeros((len(self), self.camera.height_px, self.camera.width_px), bool) if self.masks else None
        for row, mask in self.masks.items():
            known[row] = True
            if masks is not None:
                masks[row] = mask
        return Drive(
            np.stack(frames),
            self.timestamps_s[kept],
            self.curvature_per_m[kept],
            self.camera,
            dataclasses.replace(self.meta, left_out=left_out),
            None if self.speed_mps is None else self.speed_mps[kept],
            None if masks is None else masks[kept],
            None if masks is None else known[kept],
        )

    def save(
        self, folder: Path, overwrite: bool = False, is_strict: bool = False, on_row: Callable[[], None] = lambda: None
    ) -> StoredDrive:
        """Write it as a drive, complete or not at all, with one frame in memory at a time.

        Raises:
            BadInputError: no row has a picture, a strict import leaves anything out, or the place cannot be written.
        """
        folder = folder.absolute()
        check_replaceable(folder, overwrite)
        camera = self.camera
        with new_folder(folder) as unfinished:
            rate_hz = 1.0 / float(np.median(self.dt_s()))
            with FrameWriter(unfinished / VIDEO, camera.height_px, camera.width_px, rate_hz) as writer:
                kept, left_out = self._kept(writer.add, on_row)
            if is_strict and left_out:
                raise BadInputError(f"{in_words(left_out)}; mend the recording or import it without --strict")
            known = np.flatnonzero(np.isin(kept, list(self.masks)))
            masks = {int(k): self.masks[int(kept[k])] for k in known}
            speed_mps = None if self.speed_mps is None else self.speed_mps[kept]
            meta = dataclasses.replace(self.meta, left_out=left_out)
            write_rows(
                unfinished, self.timestamps_s[kept], self.curvature_per_m[kept], speed_mps, masks or None, camera, meta
            )
        return load_table(folder)

    def _kept(
        self, take: Callable[[np.ndarray], None], on_row: Callable[[], None] = lambda: None
    ) -> tuple[np.ndarray, dict[str, int]]:
        """Rows (T',) whose frame was there and given to ``take``; all rows left out, by reason."""
        left_out, kept = Counter(self.left_out), []
        for row, frame in enumerate(self.frames()):
            if isinstance(frame, str):
                left_out[frame] += 1
            else:
                take(frame)
                kept.append(row)
            on_row()
        if not kept:
            raise BadInputError(f"no row has a picture ({in_words(left_out)}); expected pictures that can be read")
        return np.array(kept), dict(left_out)


def in_words(left_out: Mapping[str, int]) -> str:
    """Counts by reason, most frequent first.

    >>> in_words({"torn line": 1, "no angle": 20})
    '21 left out: 20 no angle, 1 torn line'
    """
    parts = [f"{n:,} {one_line(reason, 80)}" for reason, n in sorted(left_out.items(), key=lambda item: -item[1]) if n]
    return f"{sum(left_out.values()):,} left out: {', '.join(parts)}" if parts else "none left out"


@dataclass
class Rows:
    """Rows as they are found, one after another; ``left_out`` counts those that are not usable, by reason."""

    left_out: Counter[str] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)
    curvature_per_m: list[float] = field(default_factory=list)
    speed_mps: list[float] = field(default_factory=list)
    pictures: list[object] = field(default_factory=list)

    def add(self, time_s: float, curvature_per_m: float, picture: object, speed_mps: float = float("nan")) -> None:
        """One more; what cannot be is counted."""
        if not np.isfinite(time_s):
            self.left_out["without a time"] += 1
        elif not np.isfinite(curvature_per_m):
            self.left_out["without steering"] += 1
        elif abs(curvature_per_m) > MAX_PLAUSIBLE_CURVATURE_PER_M:
            self.left_out["steering beyond any car's"] += 1
        else:
            self.times_s.append(time_s)
            self.curvature_per_m.append(curvature_per_m)
            self.speed_mps.append(speed_mps)
            self.pictures.append(picture)

    def require(self, src: Path, looked_for: str) -> None:
        """``BadInputError`` where there is none."""
        if not self.pictures:
            raise BadInputError(f"{src}: no usable row ({in_words(self.left_out)}); looked for {looked_for}")

    def recording(
        self,
        src: Path,
        cutout: Cutout,
        meta: DriveMeta,
        frames: Callable[[list[object]], Iterator[np.ndarray | str]],
        is_sorted_by_time: bool,
        looked_for: str,
        masks: Mapping[int, np.ndarray] | None = None,
    ) -> Recording:
        """The recording: rows in order of time, or as they were recorded with a gap where the clock was set back.

        A row at the time of the one before is left out. A speed that some rows lack is taken as unknown.

        Raises:
            BadInputError: there is none.
        """
        self.require(src, looked_for)
        times_s = np.array(self.times_s)
        order = np.argsort(times_s, kind="stable") if is_sorted_by_time else np.arange(len(times_s))
        times_s, is_new = in_pieces(times_s[order])
        kept = order[is_new]
        left_out = self.left_out + Counter({"at the time of the row before": int((~is_new).sum())})
        with np.errstate(over="ignore"):
            curvature_per_m = np.array(self.curvature_per_m, np.float32)[kept]
            speed_mps = np.array(self.speed_mps, np.float32)[kept]
        has_speed = bool(np.isfinite(speed_mps).all())
        check_rows(times_s[is_new], curvature_per_m, speed_mps if has_speed else None)
        pictures = [self.pictures[k] for k in kept]
        return Recording(
            times_s[is_new],
            curvature_per_m,
            cutout.camera,
            dataclasses.replace(meta, horizon=round(cutout.horizon, 6)),
            lambda: frames(pictures),
            speed_mps if has_speed else None,
            {new: masks[old] for new, old in enumerate(kept) if old in masks} if masks else {},
            {reason: n for reason, n in left_out.items() if n},
        )


def in_pieces(times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) that never run back, and whether each is later than the one before.

    Where a clock was set back, all that follows is moved to ``PIECE_GAP_S`` after what was.

    >>> in_pieces(np.array([5.0, 6.0, 6.0, 1.0, 2.0]))
    (array([ 5.,  6.,  6., 66., 67.]), array([ True,  True, False,  True,  True]))
    """
    steps_s = np.diff(times_s)
    moved_s = np.where(steps_s < 0, PIECE_GAP_S - steps_s, 0.0)
    later = np.concatenate([[True], steps_s != 0])[: len(times_s)]
    return times_s + np.concatenate([[0.0], np.cumsum(moved_s)])[: len(times_s)], later
