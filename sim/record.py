"""Record drives of a privileged expert, with recoveries from disturbed situations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.camera import Camera
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError

START_RANGE_M = (5.0, 400.0)
"""Episodes begin anywhere in this stretch of their road, so that short ones meet curves as often as long ones."""
EPISODE_GAP_S = 10.0
"""Between two episodes of one recording; far more than a frame, so no window spans them."""


@dataclass(frozen=True)
class Disturbance:
    """Kicks: now and then a random curvature is added to the executed action, never to the label.

    Attributes:
        max_curvature_per_m: largest kick.
        max_lateral_acceleration_mps2: a kick is never harder than this at the car's speed.
        mean_interval_s: average time between two kicks (exponential).
        min_duration_s, max_duration_s: how long one lasts.
    """

    max_curvature_per_m: float = 0.03
    max_lateral_acceleration_mps2: float = 4.0
    mean_interval_s: float = 2.0
    min_duration_s: float = 0.3
    max_duration_s: float = 1.0


class Kicks:
    """The disturbance of one episode; ``step`` is asked once a step, with a random stream of its own."""

    def __init__(self, config: Disturbance, rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        self.wait_s, self.left_s, self.size = rng.exponential(config.mean_interval_s), 0.0, 0.0

    def step(self, dt_s: float, speed_mps: float) -> float:
        """The curvature (1/m) to add during the next step."""
        if self.left_s > 0:
            self.left_s -= dt_s
            hardest = self.config.max_lateral_acceleration_mps2 / max(speed_mps, 1.0) ** 2
            return min(max(self.size, -hardest), hardest)
        self.wait_s -= dt_s
        if self.wait_s <= 0:
            config = self.config
            self.wait_s = self.rng.exponential(config.mean_interval_s)
            self.left_s = self.rng.uniform(config.min_duration_s, config.max_duration_s)
            self.size = self.rng.uniform(-config.max_curvature_per_m, config.max_curvature_per_m)
        return 0.0


def draw_start(
    rng: np.random.Generator, is_off_middle: bool, start_offset_m: float, start_heading_rad: float
) -> dict[str, float]:
    """Options of ``reset``: a random place of the road, and off the middle of the lane or as the env starts."""
    options = {"along_road_m": rng.uniform(*START_RANGE_M)}
    if is_off_middle:
        options |= {
            "lateral_offset_m": rng.uniform(-start_offset_m, start_offset_m),
            "heading_error_rad": rng.uniform(-start_heading_rad, start_heading_rad),
        }
    return options


def with_expert(env: Any, command: str) -> Any:
    """The world inside ``env``; ``BadInputError`` if it has no privileged expert."""
    env = env.unwrapped
    if not hasattr(env, "expert_curvature_per_m"):
        raise BadInputError(f"{command}: {env} has no privileged expert; {command} in lane/Procedural-v0")
    return env


def record(
    env: Any,
    seeds: Iterable[int],
    seconds: float,
    seed: int = 0,
    disturbance: Disturbance | None = None,
    start_offset_m: float = 0.9,
    start_heading_rad: float = 0.06,
    on_episode: Callable[[], None] = lambda: None,
) -> Drive:
    """Drive every seed's episode with the env's own expert and keep frames, labels and masks.

    An episode starts at a random place of its road. The label of a frame is what the expert answers to it; what
    is executed may be disturbed, and every second episode starts off the middle of the lane, so the recording is
    full of recoveries (the closed-loop data of Lechner et al. 2020). An episode that leaves the lane ends there.

    Args:
        env: has ``expert_curvature_per_m()``, ``dt_s`` and ``camera`` beside the Gymnasium interface.
        seeds: one episode each.
        seconds: length of an episode.
        seed: of the disturbances, which have random streams of their own.
        disturbance: kicks; None drives undisturbed.
        on_episode: called after each, for a progress bar.

    Raises:
        BadInputError: no seeds, or the env has no expert.
    """
    seeds = list(seeds)
    if not seeds or not seconds > 0:
        raise BadInputError(
            f"record: expected at least one seed and a length above 0 s, got {len(seeds)}, {seconds}"
        )
    env = with_expert(env, "record")
    frames, masks, times_s, labels, speeds = [], [], [], [], []
    unknown = np.zeros((env.camera.height_px, env.camera.width_px), bool)
    clock_s = 0.0
    for i, episode_seed in enumerate(seeds):
        kick_rng, start_rng = (np.random.default_rng([seed, episode_seed, key]) for key in (0, 1))
        kicks = Kicks(disturbance, kick_rng) if disturbance else None
        is_off_middle = disturbance is not None and i % 2 == 1
        options = draw_start(start_rng, is_off_middle, start_offset_m, start_heading_rad)
        frame, info = env.reset(seed=episode_seed, options=options)
        for _ in range(round(seconds / env.dt_s)):
            label = env.expert_curvature_per_m()
            frames.append(frame)
            masks.append(info.get("road_mask"))
            times_s.append(clock_s)
            labels.append(label)
            speeds.append(info["speed_mps"])
            clock_s += info["dt_s"]
            action = label + (kicks.step(env.dt_s, speeds[-1]) if kicks else 0.0)
            frame, _, terminated, truncated, info = env.step(np.array([action], np.float32))
            if terminated or truncated:
                break
        clock_s += EPISODE_GAP_S
        on_episode()
    known = np.array([mask is not None for mask in masks])
    camera: Camera = env.camera
    facts = VehicleFacts(
        name=f"simulated car of {type(env).__name__}",
        wheelbase_m=env.vehicle.wheelbase_m,
        steering_ratio=None,
    )
    meta = DriveMeta(
        source=f"{env.spec.id if env.spec else type(env).__name__}, pure-pursuit expert",
        licence="CC0-1.0",
        vehicle=facts,
        notes=f"{len(seeds)} episodes from seed {seeds[0]}, {seconds:g} s each, disturbance {disturbance}",
    )
    return Drive(
        frames=np.stack(frames),
        timestamps_s=np.array(times_s),
        curvature_per_m=np.array(labels, np.float32),
        camera=camera,
        meta=meta,
        speed_mps=np.array(speeds, np.float32),
        road_masks=np.stack([unknown if mask is None else mask for mask in masks]) if known.any() else None,
        road_mask_known=known if known.any() and not known.all() else None,
    )
