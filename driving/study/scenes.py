"""Scenes of one road: what a driver sees, and what it would have seen had one thing been otherwise.

The counterfactual worlds run beside the real one and are given the same commands, so that car, time and weather are
the same to the last bit (``sim.changes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driving.models.policy import Policy
from driving.models.stepper import Stepper
from driving.noise import Noise
from driving.rollout import PolicyActor, frame_shape
from sim.camera import Camera
from sim.disturbance import GENTLE_KICKS
from sim.episode_workers import check_size
from sim.episodes import Actor, EpisodePlan, ExpertActor, Instant, Run, advance
from sim.lane_env import LaneEnv
from sim.render import CAMERA_FORWARD_M

AIM_M = 20.0
"""How far ahead the point is that a driver aims at."""


@dataclass
class Scenes:
    """What was seen on one road; n scenes were picked from T pictures.

    Attributes:
        seed, setting: of the road.
        film, clean_film: uint8 (T, H, W, 3), as the driver saw it and as the camera gave it.
        dt_s: (T,).
        picked: (n,) which of them are the scenes; each but the first of the film has one before it.
        road_masks: bool (n, H, W).
        class_maps: uint8 (n, H, W) of ``SurfaceClass``; None in a world that does not know them.
        aim_px: (n, 2) column and row of the lane's middle ``AIM_M`` ahead, on level ground.
        changed: by the name of the change, uint8 (n, H, W, 3).
        camera: of the pictures.
    """

    seed: int
    setting: dict[str, str]
    camera: Camera
    film: np.ndarray
    clean_film: np.ndarray
    dt_s: np.ndarray
    picked: np.ndarray
    road_masks: np.ndarray
    class_maps: np.ndarray | None
    aim_px: np.ndarray
    changed: dict[str, np.ndarray] = field(default_factory=dict)

    def states(self, policy: Policy) -> tuple[Tensor, Tensor]:
        """What a policy remembers that has seen the film: before each scene, and before the picture before it."""
        stepper, state = Stepper(policy), policy.initial_state(1)
        before = [state]
        for t in range(int(self.picked[-1])):
            _, state = stepper.step(self.film[t : t + 1], state, self.dt_s[t : t + 1])
            before.append(state)
        return torch.cat([before[t] for t in self.picked]), torch.cat([before[max(t - 1, 0)] for t in self.picked])


def aim_px(camera: Camera, curvature_per_m: np.ndarray, lens_forward_m: float = 0.0) -> np.ndarray:
    """Column and row (n, 2) of the points ``AIM_M`` away on circles of these curvatures (n,), on level ground."""
    left_m = 0.5 * curvature_per_m * AIM_M**2  # of a circle's chord
    forward_m = np.sqrt(np.maximum(AIM_M**2 - left_m**2, 1.0)) - lens_forward_m
    return np.stack(camera.project(forward_m, left_m), axis=-1)


class _Led:
    """The actor of several worlds that all get what is answered in the first."""

    frame_shape, asks_expert = None, False

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def begin(self, n_runs: int) -> None:
        self._actor.begin(1)

    def act(self, instants: Sequence[Instant]) -> None:
        self._actor.act(instants[:1])
        for instant in instants[1:]:
            instant.curvature_per_m = instants[0].curvature_per_m


class Stage:
    """The worlds in which scenes are played; close it.

    Args:
        make_env: makes the world.
        make_changed: makes the worlds in which one thing is otherwise, by the name of the change.
        every_s: time from one scene to the next.
    """

    def __init__(
        self, make_env: Callable[[], LaneEnv], make_changed: Mapping[str, Callable[[], LaneEnv]], every_s: float = 1.0
    ) -> None:
        self._env, self.every_s = make_env(), every_s
        self._changed = {name: make() for name, make in make_changed.items()}

    def play(self, seed: int, seconds: float, policy: Policy | None = None, noise: Noise | None = None) -> Scenes:
        """Scenes of a road that a policy drives, or by default the expert, pushed off its way now and then."""
        actor: Actor = ExpertActor() if policy is None else PolicyActor(policy)
        if policy is not None:
            check_size(frame_shape(policy), self._env)
        plan = EpisodePlan(seed, seconds) if policy else EpisodePlan(seed, seconds, {}, GENTLE_KICKS, (seed, 1))
        worlds = [self._env, *self._changed.values()]
        runs = [Run(env, plan, noise, asks_expert=actor.asks_expert and i == 0) for i, env in enumerate(worlds)]
        led = _Led(actor)
        led.begin(len(runs))
        seen: dict[str, list[Any]] = {
            name: [] for name in ("film", "clean", "dt_s", "picked", "classes", "road", "aim")
        }
        changed: dict[str, list[np.ndarray]] = {name: [] for name in self._changed}
        step = max(round(self.every_s / self._env.dt_s), 1)

        def watch(instants: Sequence[Instant]) -> None:
            one, t = instants[0], len(seen["film"])
            for name, value in (("film", one.frame), ("clean", one.clean_frame), ("dt_s", one.dt_s)):
                seen[name].append(value.copy() if isinstance(value, np.ndarray) else value)
            if t % step != step - 1:
                return
            seen["picked"].append(t)
            seen["road"].append(one.info["road_mask"].copy())
            if "class_map" in one.info:
                seen["classes"].append(one.info["class_map"].copy())
            seen["aim"].append(self._aim_px())
            for name, other in zip(self._changed, instants[1:], strict=True):
                changed[name].append(other.frame.copy())

        while not runs[0].is_over:
            advance(runs, led, watch)
        return Scenes(
            seed, runs[0].log.setting, self._env.camera, np.stack(seen["film"]), np.stack(seen["clean"]),
            np.array(seen["dt_s"], np.float32), np.array(seen["picked"], int), np.array(seen["road"], bool),
            np.array(seen["classes"], np.uint8) if seen["classes"] else None, np.array(seen["aim"], float),
            {name: np.stack(frames) for name, frames in changed.items() if frames},
        )  # fmt: skip

    def _aim_px(self) -> np.ndarray:
        return aim_px(self._env.camera, self._env.pursuit_curvatures_per_m([AIM_M]), CAMERA_FORWARD_M)[0]

    def close(self) -> None:
        """Close the worlds."""
        for env in (self._env, *self._changed.values()):
            env.close()
