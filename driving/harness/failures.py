"""Films of typical failures: both networks on the same road, the moment before the first of them leaves its lane."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driving.attention import ATTRIBUTIONS
from driving.compare import attend
from driving.harness.figures import Drives
from driving.models.policy import Policy
from driving.noise import CLEAN, noise_title, parse_noise
from sim.lane_env import LaneEnv

FOLDER = "failures"
BEFORE_S, AFTER_S = 5.0, 2.0
"""Shown before the first of both leaves its lane, and after."""
METHOD = "visual_backprop"


@dataclass(frozen=True)
class Failure:
    """What is filmed.

    Attributes:
        condition: ``NAME:SEVERITY``.
        seed: of the road.
        policies: by name, one or two.
        lost_s: when the first of them left its lane.
        who: those of them that did leave it.
    """

    condition: str
    seed: int
    policies: tuple[str, ...]
    lost_s: float
    who: tuple[str, ...]

    @property
    def path(self) -> str:
        """Of the film, from the sweep's folder."""
        return f"{FOLDER}/{self.condition.replace(':', '_')}_{self.seed}.mp4"

    @property
    def text(self) -> str:
        """What one sees, in words."""
        return f"{noise_title(self.condition)}, road {self.seed}: {' and '.join(self.who)} left the lane"


def typical_failures(drives: Drives, reference: str, n: int) -> list[Failure]:
    """One for each of up to ``n`` noises, those first under which the two kinds of network differ most.

    Shown are the first training of ``reference`` and of the first other kind. Of the roads on which one of the two
    fails, or both where that never happens, it is the one with the middle time of failure: no pick of the best scene.
    """
    kinds = drives.kinds()
    others = [kind for kind in kinds if kind != reference]
    pair = tuple(kinds[kind][0] for kind in (*others[:1], reference))
    found: list[tuple[float, int, Failure]] = []
    for condition in drives.conditions():
        lost = {policy: _lost_s(drives, policy, condition) for policy in pair}
        one_alone = {seed for seed in drives.roads if sum(seed in roads for roads in lost.values()) == 1}
        any_of_them = set().union(*lost.values())
        first_s = {seed: min(roads.get(seed, math.inf) for roads in lost.values()) for seed in one_alone or any_of_them}
        if not first_s:
            continue
        order = sorted(first_s, key=lambda seed: (first_s[seed], seed))
        seed = order[(len(order) - 1) // 2]
        gap = abs(len(lost[pair[0]]) - len(lost[pair[-1]])) / len(drives.roads)
        who = tuple(policy for policy in pair if seed in lost[policy])
        found.append((gap, len(any_of_them), Failure(condition, seed, pair, first_s[seed], who)))
    found.sort(key=lambda item: (-item[0], -item[1], item[2].condition))
    by_noise: dict[str, Failure] = {}
    for _, _, failure in found:
        by_noise.setdefault(failure.condition.partition(":")[0], failure)
    return list(by_noise.values())[:n]


def _lost_s(drives: Drives, policy: str, condition: str) -> dict[int, float]:
    """When a policy left its lane, by road."""
    rows = drives.of([policy], condition)
    return {key.seed: row.driven_s for key, row in rows if row.crashed and row.error is None}


def film(
    failures: list[Failure],
    policies: Mapping[str, Policy],
    make_shown_env: Callable[[], LaneEnv],
    folder: Path,
    on_film: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Write the films into ``folder``; what the page says of each: ``path`` and ``text``."""
    rows = []
    for failure in failures:
        attend(
            {name: policies[name] for name in failure.policies},
            make_shown_env,
            ATTRIBUTIONS[METHOD],
            parse_noise(None if failure.condition == CLEAN else failure.condition),
            failure.lost_s + AFTER_S,
            failure.seed,
            folder / failure.path,
            source_name=failure.text,
            from_s=max(failure.lost_s - BEFORE_S, 0.0),
            with_card=False,
        )
        rows.append({"path": failure.path, "text": failure.text})
        on_film()
    return rows
