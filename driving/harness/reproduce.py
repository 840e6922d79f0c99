"""The published closed-loop experiment on noise (Lechner et al. 2020), with a verdict on each of its claims.

Gaussian noise of variance 0.1, 0.2 and 0.3 that no network was trained on: crashes, likeness of the attention maps,
smoothness of what the neurons do, and how much of it the first principal component holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from driving.attention import ATTRIBUTIONS
from driving.compare import attend
from driving.harness.figures import Drives, kind_of
from driving.harness.statistics import CANNOT_BE_TOLD, DOES_NOT_HOLD, HOLDS, LEVEL, compare, means_test
from driving.insight import principal_shares
from driving.models.policy import Policy
from driving.noise import Noise, condition_of
from driving.rollout import drive_policy, one_thread
from sim.episodes import Instant
from sim.lane_env import LaneEnv
from sim.processes import spread

VARIANCES = (0.1, 0.2, 0.3)
NOISES = (None, *(Noise("gaussian", variance) for variance in VARIANCES))
PUBLISHED_SHARES = {"ltc": 0.92, "feedforward": 0.83, "ctrnn": 0.60, "lstm": 0.51}
"""Of the first principal component while driving, by kind of core (their figures; the other results are plots)."""
METHOD = "visual_backprop"
WARMUP_S = 1.0
OF_TWO_NETWORKS = " for these two networks; one training of a kind says nothing of the kind"


@dataclass(frozen=True)
class Plan:
    """How much is driven.

    Attributes:
        seeds, seconds: the episodes in which crashes are counted.
        looking_seeds, looking_seconds: those in which maps and neurons are looked at.
    """

    seeds: range
    seconds: float
    looking_seeds: range
    looking_seconds: float


FULL = Plan(range(1000, 1020), 60.0, range(1000, 1005), 10.0)
QUICK = Plan(range(1000, 1008), 15.0, range(1000, 1002), 5.0)


class _Neurons:
    """The states of a group of episodes, past the warm-up (``sim.episode_workers.Watcher``)."""

    def __init__(self) -> None:
        self._kept: dict[int, list[np.ndarray]] = {}

    def watch(self, instants: Sequence[Instant]) -> None:
        for instant in instants:
            if instant.time_s >= WARMUP_S - 1e-6:
                self._kept.setdefault(instant.i_run, []).append(instant.state.detach().numpy().ravel().copy())

    def result(self) -> list[np.ndarray]:
        """(T, K) of each episode that lasted."""
        return [np.stack(states) for states in self._kept.values() if len(states) > 1]


def roughness(episodes: Sequence[np.ndarray]) -> float | None:
    """Mean change of a neuron's state from frame to frame, over its standard deviation; 0 is still, 1.13 white noise.

    Args:
        episodes: states (T, K) each.
    """
    spread = np.concatenate(episodes).std(axis=0)
    moves = spread > 1e-9
    if not moves.any():
        return None
    change = np.concatenate([np.abs(np.diff(states, axis=0)) for states in episodes]).mean(axis=0)
    return float((change[moves] / spread[moves]).mean())


def look_inside(
    policy: Policy, make_env: Callable[[], LaneEnv], plan: Plan, noise: Noise | None
) -> dict[str, float | None]:
    """First principal share and roughness of the neurons, and likeness of the maps of clean and noisy pictures."""
    groups = drive_policy(policy, make_env, plan.looking_seeds, plan.looking_seconds, noise, _Neurons)
    episodes = [states for group in groups for states in group.watched]
    found: dict[str, float | None] = {"principal_share": None, "roughness": None, "ssim": None}
    if episodes and episodes[0].shape[1] > 0:
        found["roughness"] = roughness(episodes)
        if noise is None and found["roughness"] is not None:
            found["principal_share"] = principal_shares(np.concatenate(episodes), 1)[0]
    if noise is not None:
        rows = [
            attend({"": policy}, make_env, ATTRIBUTIONS[METHOD], noise, plan.looking_seconds, seed)["policies"][""]
            for seed in plan.looking_seeds
        ]
        known = [row["ssim_clean_noisy"] for row in rows if row["ssim_clean_noisy"] is not None]
        found["ssim"] = float(np.mean(known)) if known else None
    return found


def claims(
    drives: Drives, inside: Mapping[tuple[str, str], Mapping[str, float | None]], cores: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each claim, condition and other network: what was published, what is found here, a verdict.

    Args:
        drives: rows of the sweep of ``NOISES``.
        inside: ``look_inside`` by policy and condition.
        cores: kind of core of each kind of network.
    """
    rows = []
    liquid = [kind for kind, core in cores.items() if core == "ltc"]
    for mine, other in itertools.product(liquid, [kind for kind in cores if kind not in liquid]):
        for noise in NOISES[1:]:
            comparison = compare(drives.outcomes(mine, str(noise)), drives.outcomes(other, str(noise)))
            ratio, verdict = comparison.ratio.value, comparison.verdict
            is_single = min(len(drives.kinds()[kind]) for kind in (mine, other)) == 1
            rows.append(
                {
                    "claim": f"{mine} crashes less than {other}",
                    "noise": str(noise),
                    "published": "fewer (a plot)",
                    "here": "no crash of either" if np.isnan(ratio) else f"{ratio:.2f} times as often",
                    "verdict": verdict + OF_TWO_NETWORKS * (is_single and verdict != CANNOT_BE_TOLD),
                }
            )
        for what, words, better in (
            ("ssim", "keeps its map better", 1),
            ("roughness", "has smoother neurons", -1),
            ("principal_share", "has more in the first component", 1),
        ):
            for noise in (None,) if what == "principal_share" else NOISES[1:]:
                condition = condition_of(noise)
                a, b = (_of(inside, drives, kind, condition, what) for kind in (mine, other))
                if a and b:
                    published = "a plot"
                    if what == "principal_share":
                        published = " against ".join(_percent(PUBLISHED_SHARES.get(cores[k])) for k in (mine, other))
                    rows.append(
                        {
                            "claim": f"{mine} {words} than {other}",
                            "noise": condition,
                            "published": published,
                            "here": f"{np.mean(a):.3f} against {np.mean(b):.3f}",
                            "verdict": verdict_of(a, b, better),
                        }
                    )
    return rows


def _of(
    inside: Mapping[tuple[str, str], Mapping[str, float | None]], drives: Drives, kind: str, condition: str, what: str
) -> list[float]:
    values = [inside[policy, condition][what] for policy in drives.kinds()[kind]]
    return [value for value in values if value is not None]


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def verdict_of(mine: Sequence[float], other: Sequence[float], better: int) -> str:
    """Are trainings of one kind above those of another (``better`` 1), or below (-1)? By ``exchange_test``.

    Fewer than four trainings of each can never tell.
    """
    gap = better * (np.mean(mine) - np.mean(other))
    p = means_test(mine, other)
    return CANNOT_BE_TOLD if p >= LEVEL else HOLDS if gap > 0 else DOES_NOT_HOLD


def inside_of_all(
    policies: Mapping[str, Policy],
    make_env: Callable[[], LaneEnv],
    plan: Plan,
    n_workers: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[tuple[str, str], dict[str, float | None]]:
    """``look_inside`` for every policy under every one of ``NOISES``."""
    jobs = list(itertools.product(policies, NOISES))
    found = {}
    for i, row in spread(partial(_look, policies, make_env, plan), jobs, n_workers, lambda job: str(job[0])):
        found[i] = row
        on_step()
    return {(name, condition_of(noise)): found[i] for i, (name, noise) in enumerate(jobs)}


def _look(
    policies: Mapping[str, Policy], make_env: Callable[[], LaneEnv], plan: Plan, job: tuple[str, Noise | None]
) -> dict[str, float | None]:
    one_thread()
    name, noise = job
    return look_inside(policies[name], make_env, plan, noise)


def cores_of(policies: Mapping[str, Policy]) -> dict[str, str]:
    """Kind of core of each kind of network."""
    return {kind_of(name): policy.config.core for name, policy in policies.items()}


def json_of(inside: Mapping[tuple[str, str], Mapping[str, float | None]]) -> list[dict[str, Any]]:
    """The rows of ``inside_of_all``."""
    rounded = partial(round, ndigits=5)
    return [
        {"policy": policy, "noise": condition}
        | {name: None if value is None else rounded(value) for name, value in row.items()}
        for (policy, condition), row in inside.items()
    ]
