"""Record drives of a privileged expert, with recoveries from disturbed situations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sim.disturbance import Disturbance
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.episode_workers import Crew, drive_episodes
from sim.episodes import EpisodePlan, ExpertActor, Instant
from sim.lane_env import LaneEnv, draw_start

START_RANGE_M = (5.0, 400.0)
"""Episodes begin anywhere in this stretch of their road, so that short ones meet curves as often as long ones."""
EPISODE_GAP_S = 10.0
"""Between two episodes of one recording; far more than a frame, so no window spans them."""


def random_start(
    rng: np.random.Generator, is_off_middle: bool, start_offset_m: float, start_heading_rad: float
) -> dict[str, float]:
    """Options of ``reset``: a random place of the road, and off the middle of the lane or as the env starts."""
    place = {"along_road_m": rng.uniform(*START_RANGE_M)}
    return place | (draw_start(rng, start_offset_m, start_heading_rad) if is_off_middle else {})


@dataclass(frozen=True)
class _Rows:
    """The rows of one group of episodes; ``i_run`` says whose. The pictures are a file where a folder was given."""

    i_run: np.ndarray
    numbers: np.ndarray  # (n, 3): label, speed, time step
    mask_known: np.ndarray
    pictures: tuple[np.ndarray, np.ndarray] | Path

    def load_pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames (n, H, W, 3) uint8 and masks (n, H, W) bool."""
        if not isinstance(self.pictures, Path):
            return self.pictures
        return np.load(self.pictures / "frames.npy"), np.load(self.pictures / "masks.npy")


class _Recorder:
    """Keeps every instant of a group of episodes; in a file of ``scratch``, so that no picture passes a pipe."""

    def __init__(self, scratch: Path | None) -> None:
        self._scratch = scratch
        self._instants: list[tuple[int, np.ndarray, np.ndarray | None, float, float, float]] = []

    def watch(self, instants: Sequence[Instant]) -> None:
        for instant in instants:
            info = instant.info
            label = instant.curvature_per_m
            row = (instant.i_run, instant.frame, info.get("road_mask"), label, info["speed_mps"], info["dt_s"])
            self._instants.append(row)

    def result(self) -> _Rows:
        self._instants.sort(key=lambda row: row[0])  # stable: a run's instants stay in order
        i_run, frames, masks, *numbers = zip(*self._instants, strict=True)
        unknown = np.zeros(frames[0].shape[:2], bool)
        pictures = np.stack(frames), np.stack([unknown if mask is None else mask for mask in masks])
        known = np.array([mask is not None for mask in masks])
        kept: tuple[np.ndarray, np.ndarray] | Path = pictures
        if self._scratch is not None:
            kept = Path(tempfile.mkdtemp(dir=self._scratch))
            np.save(kept / "frames.npy", pictures[0])
            np.save(kept / "masks.npy", pictures[1])
        return _Rows(np.array(i_run), np.stack(numbers, axis=1), known, kept)


def record(
    make_env: Callable[[], LaneEnv],
    seeds: Sequence[int],
    seconds: float,
    seed: int = 0,
    disturbance: Disturbance | None = None,
    start_offset_m: float = 0.9,
    start_heading_rad: float = 0.06,
    n_workers: int = 1,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> Drive:
    """Drive every seed's episode with the world's own expert and keep frames, labels and masks.

    An episode starts at a random place of its road. The label of a frame is what the expert answers to it; what
    is executed may be disturbed, and every second episode starts off the middle of the lane, so the recording is
    full of recoveries (the closed-loop data of Lechner et al. 2020). An episode that leaves the lane ends there.

    Args:
        make_env: makes a world.
        seeds: one episode each.
        seconds: length of an episode.
        seed: of the disturbances, which have random streams of their own.
        disturbance: kicks; None drives undisturbed.
        n_workers, on_seconds: as of ``sim.episode_workers.drive_episodes``.

    Raises:
        BadInputError: no seeds, or no positive time.
    """
    plans = []
    for i, episode_seed in enumerate(seeds):
        is_off_middle = disturbance is not None and i % 2 == 1
        start_rng = np.random.default_rng([seed, episode_seed, 1])
        start = random_start(start_rng, is_off_middle, start_offset_m, start_heading_rad)
        plans.append(EpisodePlan(episode_seed, seconds, start, disturbance, (seed, episode_seed, 0)))
    with tempfile.TemporaryDirectory(prefix="liquid-lane-") as scratch:
        recorder = partial(_Recorder, Path(scratch) if n_workers > 1 else None)
        groups = drive_episodes(Crew(make_env, ExpertActor, recorder), plans, n_workers, on_seconds)
        rows = [group.watched for group in groups]
        frames, masks = (np.concatenate(part) for part in zip(*(r.load_pictures() for r in rows), strict=True))
    labels, speeds, dt_s = np.concatenate([r.numbers for r in rows]).T
    is_first = np.concatenate([np.diff(r.i_run, prepend=-1) > 0 for r in rows])
    known = np.concatenate([r.mask_known for r in rows])
    times_s: list[float] = []
    clock_s = 0.0
    for is_first_row, step_s in zip(is_first, dt_s, strict=True):
        clock_s += EPISODE_GAP_S if is_first_row and times_s else 0.0
        times_s.append(clock_s)
        clock_s += step_s
    env = make_env()
    env.close()
    facts = VehicleFacts(f"simulated car of {type(env).__name__}", env.vehicle.wheelbase_m, None)
    meta = DriveMeta(
        source=f"{env.spec.id if env.spec else type(env).__name__}, pure-pursuit expert",
        licence="CC0-1.0",
        vehicle=facts,
        notes=f"{len(seeds)} episodes from seed {seeds[0]}, {seconds:g} s each, disturbance {disturbance}",
    )
    return Drive(
        frames=frames,
        timestamps_s=np.array(times_s),
        curvature_per_m=labels.astype(np.float32),
        camera=env.camera,
        meta=meta,
        speed_mps=speeds.astype(np.float32),
        road_masks=masks if known.any() else None,
        road_mask_known=known if known.any() and not known.all() else None,
    )
