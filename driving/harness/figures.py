"""The figures of a sweep, from its rows: for people in tables, for programs as JSON."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driving.harness.statistics import (
    Comparison,
    Estimate,
    Outcomes,
    compare,
    crash_rate,
    half_fail,
    holm,
    mean_corruption_error,
    survival,
)
from driving.harness.store import Key, Row
from driving.noise import ALL, CLEAN, KINDS, LEVELS


@dataclass(frozen=True)
class Drives:
    """Rows in order: by kind of network and condition, trainings x roads.

    A kind is the name before ``@``: ``ltc19@0`` and ``ltc19@1`` are two trainings of ``ltc19``. A condition is
    ``NAME:SEVERITY``, ``none:0`` the clean picture.
    """

    rows: Mapping[Key, Row]

    def kinds(self) -> dict[str, list[str]]:
        """Policies of each kind."""
        kinds: dict[str, list[str]] = {}
        for policy in dict.fromkeys(policy for policy, _ in self._by_condition):
            kinds.setdefault(kind_of(policy), []).append(policy)
        return kinds

    def conditions(self) -> list[str]:
        return list(dict.fromkeys(condition for _, condition in self._by_condition))

    @functools.cached_property
    def roads(self) -> dict[int, int]:
        """Place of each road among all."""
        return {seed: j for j, seed in enumerate(sorted({key.seed for key in self.rows}))}

    def outcomes(self, kind: str, condition: str) -> Outcomes:
        """Of a kind of network under a condition; episodes that are missing or failed to run are NaN."""
        policies = self.kinds()[kind]
        place = {name: i for i, name in enumerate(policies)}, self.roads
        crashed = np.zeros((len(policies), len(self.roads)))
        km = np.full(crashed.shape, math.nan)
        for key, row in self.of(policies, condition):
            if row.error is None:
                at = place[0][key.policy], place[1][key.seed]
                crashed[at], km[at] = row.crashed, row.distance_m / 1000.0
        return Outcomes(crashed, km)

    def groups(self) -> dict[str, list[str]]:
        """Conditions of each group of noises, and of all where there are several; where there are several levels, those
        of each, as ``all:mild``; {} for a single kind of noise."""
        names = {condition: condition.rpartition(":")[::2] for condition in self.conditions()}
        noisy = {condition: (KINDS[name], float(s)) for condition, (name, s) in names.items() if name in KINDS}
        groups: dict[str, list[str]] = {}
        levels: dict[str, list[str]] = {}
        for condition, (kind, severity) in noisy.items():
            groups.setdefault(kind.group, []).append(condition)
            if severity in kind.levels:
                level = LEVELS[kind.levels.index(severity)]
                levels.setdefault(f"{ALL}:{level}", []).append(condition)
        if len({kind.name for kind, _ in noisy.values()}) < 2:
            return {}
        return groups | ({ALL: list(noisy)} if len(groups) > 1 else {}) | (levels if len(levels) > 1 else {})

    def pooled(self, kind: str, conditions: Sequence[str]) -> Outcomes:
        """Of a kind of network under several conditions: crashes and km of a training on a road, added up."""
        samples = [self.outcomes(kind, condition) for condition in conditions]
        there = np.array([~np.isnan(sample.km) for sample in samples])
        crashed, km = (
            np.where(there, np.array([getattr(sample, name) for sample in samples]), 0.0).sum(axis=0)
            for name in ("crashed", "km")
        )
        return Outcomes(crashed, np.where(there.any(axis=0), km, math.nan))

    def of(self, policies: Sequence[str], condition: str) -> list[tuple[Key, Row]]:
        """Of some policies under a condition."""
        return [pair for policy in policies for pair in self._by_condition.get((policy, condition), ())]

    @functools.cached_property
    def _by_condition(self) -> dict[tuple[str, str], list[tuple[Key, Row]]]:
        found: dict[tuple[str, str], list[tuple[Key, Row]]] = {}
        for key, row in self.rows.items():
            found.setdefault((key.policy, condition_of(key)), []).append((key, row))
        return found

    def mean_of(self, kind: str, condition: str, what: str) -> float | None:
        """Mean of a column of ``Row`` over the episodes that have it."""
        values = [getattr(row, what) for _, row in self.of(self.kinds()[kind], condition) if row.error is None]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None


def kind_of(policy: str) -> str:
    """Of a policy's name.

    >>> kind_of("ltc19@3"), kind_of("policies/mine")
    ('ltc19', 'policies/mine')
    """
    base, at, which = policy.rpartition("@")
    return base if at and which.isdecimal() else policy


def condition_of(key: Key) -> str:
    """Of an episode."""
    return f"{key.noise}:{key.severity:g}"


def table(drives: Drives) -> list[dict[str, Any]]:
    """A row for each condition and kind of network."""
    rows = []
    for condition in drives.conditions():
        for kind, policies in drives.kinds().items():
            outcomes = drives.outcomes(kind, condition)
            rate, totals = crash_rate(outcomes), outcomes.totals()
            rows.append(
                {
                    "noise": condition,
                    "network": kind,
                    "n_trainings": len(policies),
                    "n_drives": int(totals.drives),
                    "n_errors": outcomes.km.size - int(totals.drives),
                    "crashes": int(totals.crashes),
                    "km": round(float(totals.km), 3),
                    **_interval("crashes_per_km", rate),
                    "failed_share": _number(float(totals.failed_share())),
                    "mean_abs_offset_m": _number(drives.mean_of(kind, condition, "mean_abs_offset_m")),
                    "rms_lateral_acceleration_mps2": _number(
                        drives.mean_of(kind, condition, "rms_lateral_acceleration_mps2")
                    ),
                    "recovery_s": _number(drives.mean_of(kind, condition, "recovery_s")),
                    "rms_lateral_jerk_mps3": _number(drives.mean_of(kind, condition, "rms_lateral_jerk_mps3")),
                }
            )
    return rows


def comparisons(drives: Drives, reference: str) -> list[dict[str, Any]]:
    """Every other kind against ``reference`` under every condition: has it at most as many crashes a km?

    ``holm`` says whether the difference stands when all comparisons of that network are taken together.
    """
    rows = []
    for kind in drives.kinds():
        if kind == reference:
            continue
        found: dict[str, Comparison] = {
            condition: compare(drives.outcomes(kind, condition), drives.outcomes(reference, condition))
            for condition in drives.conditions()
        }
        stands = holm({condition: one.p for condition, one in found.items()})
        for condition, one in found.items():
            rows.append(
                {
                    "noise": condition,
                    "network": kind,
                    "against": reference,
                    **_interval("ratio", one.ratio),
                    "p": _number(one.p),
                    "holm": stands[condition],
                    "verdict": one.verdict,
                    "n_drives_needed": one.n_drives_needed,
                }
            )
    return rows


def by_group(drives: Drives, reference: str) -> list[dict[str, Any]]:
    """A row for each group of noises (``Drives.groups``) and kind of network, all that is in it added up; the ratio of
    the crashes a km to those of ``reference``, with a verdict as in ``comparisons``, in the rows of the others."""
    rows = []
    for group, conditions in drives.groups().items():
        pooled = {kind: drives.pooled(kind, conditions) for kind in drives.kinds()}
        for kind, policies in drives.kinds().items():
            totals = pooled[kind].totals()
            n_drives = sum(row.error is None for c in conditions for _, row in drives.of(policies, c))
            row = {
                "group": group,
                "network": kind,
                "n_noises": len(conditions),
                "n_drives": n_drives,
                "crashes": int(totals.crashes),
                "km": round(float(totals.km), 3),
                **_interval("crashes_per_km", crash_rate(pooled[kind])),
                "failed_share": _number(float(totals.crashes) / n_drives) if n_drives else None,
            }
            if kind != reference:
                found = compare(pooled[kind], pooled[reference])
                row |= {**_interval("ratio", found.ratio), "p": _number(found.p), "verdict": found.verdict}
            rows.append(row)
    return rows


def thresholds(drives: Drives) -> list[dict[str, Any]]:
    """For every noise of at least two severities: the one at which half of the drives fail, by kind of network."""
    by_noise: dict[str, list[float]] = {}
    for condition in drives.conditions():
        noise, _, severity = condition.rpartition(":")
        if condition != CLEAN:
            by_noise.setdefault(noise, []).append(float(severity))
    rows = []
    for noise, severities in by_noise.items():
        if len(severities) < 2:
            continue
        clean = [0.0] if CLEAN in drives.conditions() else []
        for kind in drives.kinds():
            levels = [*clean, *sorted(severities)]
            samples = [drives.outcomes(kind, f"{noise}:{s:g}" if s else CLEAN) for s in levels]
            rows.append({"noise": noise, "network": kind, **_interval("half_fail", half_fail(levels, samples))})
    return rows


def corruption_errors(drives: Drives, reference: str) -> dict[str, float | None]:
    """Mean corruption error of every kind against ``reference``, in percent."""

    def failed(kind: str) -> dict[str, list[float]]:
        shares: dict[str, list[float]] = {}
        for condition in drives.conditions():
            if condition != CLEAN:
                share = float(drives.outcomes(kind, condition).totals().failed_share())
                shares.setdefault(condition.rpartition(":")[0], []).append(0.0 if math.isnan(share) else share)
        return shares

    other = failed(reference)
    return {kind: _number(mean_corruption_error(failed(kind), other)) for kind in drives.kinds()}


def survival_curves(drives: Drives) -> list[dict[str, Any]]:
    """Share of the drives still in their lane after so many km, for every condition and kind of network."""
    curves = []
    for condition in drives.conditions():
        for kind in drives.kinds():
            outcomes = drives.outcomes(kind, condition)
            there = ~np.isnan(outcomes.km)
            km, share = survival(outcomes.km[there].tolist(), outcomes.crashed[there].astype(bool).tolist())
            curve = {"km": [round(x, 4) for x in km.tolist()], "share": [round(x, 5) for x in share.tolist()]}
            curves.append({"noise": condition, "network": kind, **curve})
    return curves


def all_figures(drives: Drives, reference: str) -> dict[str, Any]:
    """Everything of a sweep, as strict JSON."""
    return {
        "reference": reference,
        "table": table(drives),
        "comparisons": comparisons(drives, reference),
        "by_group": by_group(drives, reference),
        "half_fail": thresholds(drives),
        "mean_corruption_error": corruption_errors(drives, reference),
        "survival": survival_curves(drives),
    }


def _interval(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: _number(estimate.value), f"{name}_low": _number(estimate.low), f"{name}_high": _number(estimate.high)}


def _number(value: float | None) -> float | None:
    """For JSON: neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else round(value, 5)
