"""Closed loop: one policy drives many episodes at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from driving.models.policy import Policy
from sim.errors import BadInputError

NOISE_STREAM = 7
"""Key of the corruption's random stream beside the episode's seed."""
BEYOND_SUPPORT = "beyond support"
"""How an env's reason begins that ended an episode because its world cannot show where the car went."""


@dataclass
class EpisodeLog:
    """What happened in one episode; the lists have one entry a driven step.

    Attributes:
        seed: of the episode.
        crashed: the env said ``terminated``.
        distance_m: driven until the end.
        lateral_offset_m, curvature_per_m: after each step, and the command given before it.
        time_s: of each entry.
        lane_half_width_m: where the env tells it.
        truncation: the reason, where the env gave one for ending the episode without a crash.
        setting: what the env drew for the episode, such as season and weather.
        planned_s: how long the episode could have lasted; None where nobody planned it.
    """

    seed: int
    crashed: bool = False
    distance_m: float = 0.0
    lateral_offset_m: list[float] = field(default_factory=list)
    curvature_per_m: list[float] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    lane_half_width_m: float | None = None
    truncation: str | None = None
    setting: dict[str, Any] = field(default_factory=dict)
    planned_s: float | None = None

    @property
    def seconds(self) -> float:
        """Driven so far."""
        return self.time_s[-1] if self.time_s else 0.0

    @property
    def mean_abs_offset_m(self) -> float:
        return float(np.mean(np.abs(self.lateral_offset_m))) if self.lateral_offset_m else 0.0

    @property
    def missing_m(self) -> float:
        """What a perfect driver would have driven in the time that was left when the car was lost.

        Lost: it crashed, or went beyond what its world can show. The time left counts up to ``planned_s``, at the
        mean speed so far. Episodes that ran to the end of their time or of their recording miss nothing.
        """
        lost = self.crashed or (self.truncation or "").startswith(BEYOND_SUPPORT)
        if not lost or self.planned_s is None or not self.seconds > 0:
            return 0.0
        return max(self.planned_s - self.seconds, 0.0) * self.distance_m / self.seconds

    def summary(self) -> dict[str, Any]:
        """The row of this episode in a report."""
        return {
            "seed": self.seed,
            "setting": self.setting,
            "crashed": self.crashed,
            "truncation": self.truncation,
            "distance_m": round(self.distance_m, 3),
            "mean_abs_offset_m": round(self.mean_abs_offset_m, 5),
        }


@dataclass(frozen=True)
class Step:
    """One instant of one running episode, before its action is executed.

    Attributes:
        i_episode: place in the list of logs.
        frame: uint8 (H, W, 3) as the policy saw it; ``clean_frame`` as the camera gave it.
        info: of the env, belonging to the frame.
        state_before, state: of the policy's core (S,), before and after the frame.
        curvature_per_m: the command.
        time_s: since the start of the episode.
    """

    i_episode: int
    frame: np.ndarray
    clean_frame: np.ndarray
    info: dict[str, Any]
    state_before: torch.Tensor
    state: torch.Tensor
    curvature_per_m: float
    time_s: float


Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def drive_steps(
    policy: Policy,
    envs: Sequence[Any],
    logs: Sequence[EpisodeLog],
    seconds: float,
    corruption: Corruption | None = None,
) -> Iterator[list[Step]]:
    """Drive one episode in each env, all in one batch of the network; the logs say the seeds and get filled.

    Yields at every instant the running episodes' steps, before their actions are executed: so an onlooker may
    render. An episode's log is complete when the episode no longer shows up. Episodes do not touch one
    another: road and start come from the seed, the corruption from a stream of the same seed.
    """
    policy.eval()
    _check_size(policy, envs[0])
    observations, infos = map(
        list, zip(*(env.reset(seed=log.seed) for env, log in zip(envs, logs, strict=True)), strict=True)
    )
    for log, info in zip(logs, infos, strict=True):
        log.setting = dict(info.get("setting", {}))
        log.planned_s = min(seconds, float(info.get("episode_seconds_available", seconds)))
    noise_rngs = [np.random.default_rng([log.seed, NOISE_STREAM]) for log in logs]
    state = policy.initial_state(len(envs))
    running = list(range(len(envs)))
    while running:
        seen = [
            corruption(observations[i], noise_rngs[i]) if corruption else observations[i] for i in running
        ]
        frames = torch.from_numpy(np.stack(seen)).movedim(-1, -3)  # (B, 3, H, W), channels last in memory
        dt_s = torch.tensor([infos[i]["dt_s"] for i in running], dtype=torch.float32)
        before = state[running]
        with torch.no_grad():
            curvature, after = policy.step(frames, before, dt_s)
        state[running] = after
        commands = curvature.numpy()
        yield [
            Step(
                i,
                seen[k],
                observations[i],
                infos[i],
                before[k],
                after[k],
                float(commands[k]),
                logs[i].seconds,
            )
            for k, i in enumerate(running)
        ]
        still = []
        for k, i in enumerate(running):
            observations[i], _, terminated, truncated, infos[i] = envs[i].step(commands[k : k + 1])
            log, dt = logs[i], float(infos[i]["dt_s"])
            log.time_s.append(log.seconds + dt)
            log.lateral_offset_m.append(float(infos[i]["lateral_offset_m"]))
            log.curvature_per_m.append(float(commands[k]))
            log.distance_m = float(infos[i]["distance_m"])
            log.lane_half_width_m = infos[i].get("lane_half_width_m")
            log.crashed = bool(terminated)
            log.truncation = infos[i].get("truncation") if truncated and not terminated else None
            if not (terminated or truncated or log.seconds > seconds - 0.5 * dt):
                still.append(i)
        running = still


def rollout(
    policy: Policy,
    make_env: Callable[[], Any],
    seeds: Sequence[int],
    seconds: float,
    corruption: Corruption | None = None,
    on_episode: Callable[[EpisodeLog], None] = lambda log: None,
    n_parallel: int = 20,
) -> list[EpisodeLog]:
    """Drive one episode a seed, at most ``n_parallel`` at once, and log each, in the order of the seeds.

    Args:
        policy: is put into eval mode.
        make_env: a new environment of the Env contract; called once a slot. If its class says
            ``MAX_PER_PROCESS``, there are never more of them.
        seeds: one episode each.
        seconds: longest duration of an episode.
        corruption: applied to what the policy sees, never to the world.
        on_episode: called as each episode ends.

    Raises:
        BadInputError: no seeds, no positive time, or frames of another size than the policy's.
    """
    if not seeds or not seconds > 0:
        raise BadInputError(
            f"drive: expected at least one seed and a time above 0 s, got {len(seeds)} and {seconds}"
        )
    logs = [EpisodeLog(seed) for seed in seeds]
    envs: list[Any] = []
    try:
        envs.append(make_env())
        n_parallel = min(n_parallel, getattr(type(envs[0]), "MAX_PER_PROCESS", n_parallel))
        for _ in range(1, min(n_parallel, len(logs))):
            envs.append(make_env())  # one by one: those made are closed if the next one fails
        for first in range(0, len(logs), n_parallel):
            batch = logs[first : first + n_parallel]
            was_running = set(range(len(batch)))
            for steps in drive_steps(policy, envs[: len(batch)], batch, seconds, corruption):
                now_running = {step.i_episode for step in steps}
                for i in sorted(was_running - now_running):
                    on_episode(batch[i])
                was_running = now_running
            for i in sorted(was_running):
                on_episode(batch[i])
    finally:
        for env in envs:
            env.close()
    return logs


def _check_size(policy: Policy, env: Any) -> None:
    expected = (policy.config.height_px, policy.config.width_px, 3)
    if env.observation_space.shape != expected:
        raise BadInputError(
            f"drive: the policy expects frames {expected}, the environment has {env.observation_space.shape}"
        )


def summarise(logs: Sequence[EpisodeLog], wall_seconds: float) -> dict[str, Any]:
    """The figures of ``liquid-lane drive --json``: every episode, those of ``totals``, and frames a second."""
    n_steps = sum(len(log.lateral_offset_m) for log in logs)
    figures = totals(logs)
    del figures["n_episodes"]
    return {
        "episodes": [log.summary() for log in logs],
        **figures,
        "frames_per_s": round(n_steps / wall_seconds, 1),
    }


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
