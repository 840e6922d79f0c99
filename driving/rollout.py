"""Closed loop: one policy drives many episodes, and the figures of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from driving.attack import attack
from driving.models.policy import Policy, to_tensor
from driving.models.stepper import Stepper
from driving.noise.adversary import Adversary
from sim.episode_workers import Crew, GroupResult, Watcher, drive_episodes
from sim.episodes import Actor, EpisodeLog, EpisodePlan, Instant, remembered
from sim.errors import BadInputError
from sim.injection import MakeInjection
from sim.lane_env import LaneEnv

PolicyOrActor = Policy | Callable[[], Actor]
"""Who drives: a policy, or a maker of actors."""


class PolicyActor:
    """A policy drives (``sim.episodes.Actor``): its weights as they are now, in their fastest exact form.

    Its memory of an episode is the state of its core (S,), a tensor.
    """

    asks_expert = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.eval()
        self.frame_shape = frame_shape(policy)
        self._stepper = Stepper(policy)
        self.state = policy.initial_state(0)

    def begin(self, n_runs: int) -> None:
        self.state = self.policy.initial_state(n_runs)

    def act(self, instants: Sequence[Instant]) -> None:
        runs = [instant.i_run for instant in instants]
        before = remembered(instants, self.state[runs])  # of a copy
        dt_s = np.array([instant.dt_s for instant in instants], np.float32)
        self._attack(instants, before, dt_s)
        commands, after = self._stepper.step(np.stack([i.frame for i in instants]), before, dt_s)
        self.state[runs] = after
        for k, instant in enumerate(instants):
            instant.curvature_per_m = float(commands[k])
            instant.state_before, instant.state = before[k], after[k]

    def _attack(self, instants: Sequence[Instant], state: torch.Tensor, dt_s: np.ndarray) -> None:
        """Change the pictures of those episodes that have an adversary."""
        attacked = [
            (k, instant, instant.injection)
            for k, instant in enumerate(instants)
            if isinstance(instant.injection, Adversary) and instant.injection.limit > 0
        ]
        for n_steps in sorted({adversary.n_steps for _, _, adversary in attacked}):
            against = [one for one in attacked if one[2].n_steps == n_steps]
            rows = [k for k, _, _ in against]
            limit, direction = (
                torch.tensor([getattr(a, name) for _, _, a in against]) for name in ("limit", "direction")
            )
            frames = to_tensor(np.stack([instant.frame for _, instant, _ in against]))
            changed = attack(self.policy, frames, state[rows], torch.from_numpy(dt_s[rows]), limit, direction, n_steps)
            for (_, instant, _), frame in zip(against, changed.movedim(-3, -1).numpy(), strict=True):
                instant.frame = np.ascontiguousarray(frame)


def actor_maker(driver: PolicyOrActor) -> Callable[[], Actor]:
    """Makes the actor of a policy, in any process."""
    return partial(PolicyActor, driver) if isinstance(driver, Policy) else driver


def frame_shape(driver: PolicyOrActor) -> tuple[int, int, int]:
    """(H, W, 3) of the frames that it takes.

    Raises:
        BadInputError: an actor that takes frames of any size.
    """
    if isinstance(driver, Policy):
        return driver.config.height_px, driver.config.width_px, 3
    return shape_of(driver())


def shape_of(actor: Actor) -> tuple[int, int, int]:
    """``frame_shape`` of an actor that is there already."""
    shape = actor.frame_shape
    if shape is None or len(shape) != 3:
        raise BadInputError(f"driver: expected an actor with a frame_shape (H, W, 3), got {shape}")
    return shape[0], shape[1], shape[2]


def one_thread() -> None:
    """In a worker process: the processes are the parallelism."""
    torch.set_num_threads(1)


def drive_policy(
    policy: PolicyOrActor,
    make_env: Callable[[], LaneEnv],
    seeds: Sequence[int],
    seconds: float,
    noise: MakeInjection | None = None,
    make_watcher: Callable[[], Watcher] | None = None,
    n_workers: int = 1,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> list[GroupResult]:
    """``sim.episode_workers.drive_episodes`` with one policy or maker of actors at the wheel, one episode a seed."""
    crew = Crew(make_env, actor_maker(policy), make_watcher, noise, one_thread)
    return drive_episodes(crew, [EpisodePlan(seed, seconds) for seed in seeds], n_workers, on_seconds)


def rollout(*args: Any, **kwargs: Any) -> list[EpisodeLog]:
    """The logs of ``drive_policy``, in the order of the seeds."""
    return [log for group in drive_policy(*args, **kwargs) for log in group.logs]


def summarise(logs: Sequence[EpisodeLog], wall_seconds: float) -> dict[str, Any]:
    """The figures of ``liquid-lane drive --json``: every episode, those of ``totals``, and frames a second."""
    n_steps = sum(len(log.lateral_offset_m) for log in logs)
    figures = totals(logs)
    del figures["n_episodes"]
    return {"episodes": [log.summary() for log in logs], **figures, "frames_per_s": round(n_steps / wall_seconds, 1)}


def totals(logs: Sequence[EpisodeLog]) -> dict[str, Any]:
    """Sums and means over episodes.

    ``mean_abs_lateral_offset_m`` is over all driven steps. ``kept_share`` is the distance driven in the lane over
    the distance that a perfect driver would have driven, ``EpisodeLog.missing_m`` more: 1 when no car was lost.
    Both rates are None without any distance. ``crashed_seeds`` of ``n_seeds`` had a crash in any of their episodes;
    ``crashed_seeds_95`` is the interval of their share: one road in several weathers is one sample, not several.
    """
    n_seeds, crashed_seeds = len({log.seed for log in logs}), len({log.seed for log in logs if log.crashed})
    metres = sum(log.distance_m for log in logs)
    missing_m = sum(log.missing_m for log in logs)
    km, crashes = metres / 1000.0, sum(log.crashed for log in logs)
    offsets = np.concatenate([np.abs(log.lateral_offset_m) for log in logs])
    return {
        "n_episodes": len(logs),
        "crashes": crashes,
        "km": round(km, 4),
        "crashes_per_km": round(crashes / km, 4) if km > 0 else None,
        "mean_abs_lateral_offset_m": round(float(offsets.mean()), 5),
        "kept_share": round(metres / (metres + missing_m), 5) if km > 0 else None,
        "n_seeds": n_seeds,
        "crashed_seeds": crashed_seeds,
        "crashed_seeds_95": [round(bound, 4) for bound in wilson_interval(crashed_seeds, n_seeds)],
    }


def wilson_interval(n_hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of a probability after ``n_hits`` of ``n`` independent trials (Wilson 1927); 95 % at ``z`` = 1.96.

    >>> [round(bound, 3) for bound in wilson_interval(0, 20)]
    [0.0, 0.161]
    """
    centre = (n_hits + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * math.sqrt(n_hits * (n - n_hits) / n + z * z / 4)
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def timed_rollout(*args: Any, **kwargs: Any) -> tuple[list[EpisodeLog], dict[str, Any]]:
    """``rollout`` and its summary with the measured frames a second."""
    started_s = time.perf_counter()
    logs = rollout(*args, **kwargs)
    return logs, summarise(logs, time.perf_counter() - started_s)
