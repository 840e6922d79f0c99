"""The sweep: every policy on the same roads under the same noises, an episode a row, going on where it was stopped."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driving.harness.recovery import Recovery
from driving.harness.store import EpisodeStore, Key, Row, options_text
from driving.models.policy import Policy
from driving.noise import Noise
from driving.noise.memory import STATE_BURST
from driving.others import Other
from driving.rollout import actor_maker, frame_shape, one_thread
from driving.settings import env_maker
from sim.episode_workers import Crew, GroupResult, Task, check_size, drive_tasks
from sim.episodes import EpisodeLog, EpisodePlan
from sim.files import short_digest

Drive = Callable[[Sequence[Task]], Iterator[tuple[int, GroupResult | BaseException]]]
"""``sim.episode_workers.drive_tasks``, or what does the same elsewhere."""
N_TOGETHER = 10
"""Seeds that one process drives in a batch: those of 0 to 9, of 10 to 19, ..., whatever else is asked for."""
_DECIDES = ("sim", "driving/models", "driving/noise", "driving/attack.py", "driving/rollout.py", "driving/others.py",
            "driving/runtime", "driving/harness/sweep.py", "driving/harness/recovery.py")  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """What is to be driven.

    Attributes:
        policies: by name; other drivers among them.
        env, env_options: the world.
        noises: None for the clean picture.
        seeds, seconds: the episodes.
    """

    policies: Mapping[str, Policy | Other]
    env: str
    noises: Sequence[Noise | None]
    seeds: Sequence[int]
    seconds: float
    env_options: Mapping[str, Any] = field(default_factory=dict)

    def keys(self) -> list[Key]:
        """Of all episodes, noise by noise, the policies one after another: those on the same roads stay together."""
        digests = {name: driver_digest(driver) for name, driver in self.policies.items()}
        options, program = options_text(self.env_options), program_digest()
        return [
            Key(
                name, digests[name], program, self.env, options, noise.name if noise else "none",
                noise.severity if noise else 0.0, seed, self.seconds,
            )
            for noise in self.noises
            for name in self.policies
            for seed in self.seeds
        ]  # fmt: skip


def driver_digest(policy: Policy | Other) -> str:
    """Of weights and settings, 16 hexadecimal digits; of another driver, see there."""
    if isinstance(policy, Other):
        return policy.digest
    parts = [json.dumps(policy.config.to_dict(), sort_keys=True).encode()]
    for name, value in sorted(policy.state_dict().items()):
        parts += [name.encode(), value.detach().cpu().contiguous().numpy().tobytes()]
    return short_digest(parts)


@functools.cache
def program_digest() -> str:
    """Of the code that decides what an episode is: the worlds, the networks, the noises; 16 hexadecimal digits."""
    root = Path(__file__).resolve().parents[2]
    parts = []
    for name in _DECIDES:
        place = root / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            parts += [path.relative_to(root).as_posix().encode(), path.read_bytes()]
    return short_digest(parts)


def run_sweep(
    sweep: Sweep,
    store: EpisodeStore,
    n_workers: int = 1,
    on_row: Callable[[Key, Row], None] = lambda key, row: None,
    drive: Drive | None = None,
) -> None:
    """Drive what the store does not have yet. An episode that fails becomes a row that says why.

    Args:
        on_row: gets every row as it is kept.
        drive: what drives the tasks; by default ``n_workers`` processes of this machine.

    Raises:
        BadInputError: a world that cannot be made, or a store that cannot be written; what was driven is kept.
        WorkerLostError: a worker process ended by itself; run again, and the sweep goes on.
    """
    there, n_together = store.keys(), _n_together(sweep)
    wanted = sweep.keys()
    groups = _groups([key for key in wanted if key not in there], n_together)
    while groups:
        tasks = list(_tasks(sweep, groups))
        failed: list[list[Key]] = []
        for i, result in drive(tasks) if drive else drive_tasks(tasks, n_workers):
            keys = groups[i]
            if not isinstance(result, BaseException):
                recovered = result.watched or [None] * len(keys)
                rows = [(key, _row(*found)) for key, *found in zip(keys, result.logs, recovered, strict=True)]
            elif len(keys) > 1:
                failed += [[key] for key in keys]  # alone, so that the one that fails is found
                continue
            else:
                rows = [(keys[0], _failure(result))]
            store.add(rows)
            for key, row in rows:
                on_row(key, row)
        groups = failed


def _n_together(sweep: Sweep) -> int:
    """Episodes of one batch; finds out whether the world can be made, and the policies see its pictures."""
    with contextlib.closing(env_maker(sweep.env, sweep.env_options, sweep.seconds)()) as env:
        for policy in sweep.policies.values():
            check_size(frame_shape(policy), env)
        return min(type(env).MAX_PER_PROCESS or N_TOGETHER, N_TOGETHER)


def _groups(keys: Sequence[Key], n_together: int) -> list[list[Key]]:
    """Keys that are driven together: one policy, one noise, seeds of one ten; so that a batch, and with it the last
    bit of a result, does not depend on where a sweep was stopped or how far it goes.

    Ten roads come after another ten: the worlds of a process have theirs laid already, and a sweep that is stopped has
    all noises on some roads.
    """
    groups: dict[tuple[Any, ...], list[Key]] = {}
    for key in keys:
        groups.setdefault((key.policy, key.noise, key.severity, key.seed // n_together), []).append(key)
    return sorted(groups.values(), key=lambda keys: keys[0].seed // n_together)


def _tasks(sweep: Sweep, groups: Sequence[list[Key]]) -> Iterator[Task]:
    make_env = env_maker(sweep.env, sweep.env_options, sweep.seconds)
    actors = {name: actor_maker(policy) for name, policy in sweep.policies.items()}
    watchers = {
        name: partial(Recovery, policy) for name, policy in sweep.policies.items() if isinstance(policy, Policy)
    }
    noises = {(noise.name, noise.severity): noise for noise in sweep.noises if noise is not None}
    crews: dict[tuple[Any, ...], Crew] = {}
    for keys in groups:
        policy, noise, severity = kind = (keys[0].policy, keys[0].noise, keys[0].severity)
        if kind not in crews:
            watcher = watchers.get(policy) if noise == STATE_BURST else None
            crews[kind] = Crew(make_env, actors[policy], watcher, noises.get((noise, severity)), one_thread)
        yield Task(crews[kind], [EpisodePlan(key.seed, key.seconds) for key in keys])


def _row(log: EpisodeLog, recovery_s: float | None) -> Row:
    step_s = np.diff(log.time_s, prepend=0.0)
    acceleration, command = np.array(log.lateral_acceleration_mps2), np.array(log.curvature_per_m)
    jerk, rate = np.diff(acceleration) / step_s[1:], np.diff(command) / step_s[1:]
    return Row(
        int(log.crashed),
        round(log.distance_m, 3),
        round(log.seconds, 4),
        round(log.mean_abs_offset_m, 5),
        _rms(acceleration),
        _rms(jerk),
        _rms(rate, 7),
        log.truncation,
        json.dumps(log.setting, sort_keys=True),
        recovery_s=recovery_s,
    )


def _rms(values: np.ndarray, digits: int = 5) -> float | None:
    return round(float(np.sqrt(np.mean(values**2))), digits) if len(values) else None


def _failure(error: BaseException) -> Row:
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return Row(0, 0.0, 0.0, 0.0, None, None, None, None, "{}", reason[:500])
