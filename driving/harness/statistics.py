"""What the rows of a sweep say: rates with intervals over roads and training seeds, survival, paired ratios, verdicts.

The unit of chance is a road and a training seed, not an episode: the same roads are driven by all networks and under
all noises, and five trainings are five samples of a kind of network. Intervals are those of a bootstrap over both
(Efron 1979; crossed, as of Owen 2007).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.conventions import FloatOrArray

N_RESAMPLES = 10_000
LEVEL = 0.05
HOLDS, DOES_NOT_HOLD, CANNOT_BE_TOLD = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Totals:
    """Sums over drives; numbers, or arrays (n_resamples,) of them."""

    crashes: FloatOrArray
    km: FloatOrArray
    drives: FloatOrArray

    def rate(self) -> Any:
        """Crashes a km; NaN without a way."""
        return _over(self.crashes, self.km)

    def failed_share(self) -> Any:
        """Of the drives."""
        return _over(self.crashes, self.drives)


def _over(a: FloatOrArray, b: FloatOrArray) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(a, b)[()]


@dataclass(frozen=True)
class Outcomes:
    """Of one kind of network under one condition: a row a training seed, a column a road.

    Attributes:
        crashed, km: (n_trainings, n_roads) each; NaN in ``km`` where an episode is missing.
    """

    crashed: np.ndarray
    km: np.ndarray

    def __post_init__(self) -> None:
        if self.crashed.shape != self.km.shape or self.crashed.ndim != 2:
            raise ValueError(f"expected two arrays (trainings, roads), got {self.crashed.shape} and {self.km.shape}")

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        there = ~np.isnan(self.km)
        return np.where(there, self.crashed, 0.0), np.where(there, self.km, 0.0), there.astype(float)

    def totals(self) -> Totals:
        """Of all drives."""
        return Totals(*(float(part.sum()) for part in self._parts()))

    def resampled(self, roads: np.ndarray, rng: np.random.Generator) -> Totals:
        """Of resamples: ``roads`` (n_resamples, n_roads) says how often each holds a road; trainings are drawn here."""
        n = len(self.km)
        trainings = rng.multinomial(n, np.full(n, 1 / n), size=len(roads)).astype(float)
        return Totals(*(((trainings @ part) * roads).sum(axis=1) for part in self._parts()))


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(*samples: Outcomes, seed: int = 0, n_resamples: int = N_RESAMPLES) -> list[Totals]:
    """Totals of each sample in resamples of roads and trainings.

    The roads are drawn once for all samples, which makes it paired; the trainings of each sample on their own.
    """
    rng = np.random.default_rng(seed)
    n_roads = samples[0].km.shape[1]
    if any(sample.km.shape[1] != n_roads for sample in samples):
        raise ValueError(f"expected the same roads, got {[sample.km.shape[1] for sample in samples]}")
    roads = rng.multinomial(n_roads, np.full(n_roads, 1 / n_roads), size=n_resamples).astype(float)
    return [sample.resampled(roads, rng) for sample in samples]


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """95 % of the resamples' figures; those that are no number are left out, infinite ones stay what they are."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(known, [0.025, 0.975], method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def crash_rate(outcomes: Outcomes, seed: int = 0) -> Estimate:
    """Crashes a km with its interval; without any crash the upper end is that of a Poisson number, 3.69 / km."""
    totals = outcomes.totals()
    if totals.km > 0 and totals.crashes == 0:
        return Estimate(0.0, 0.0, -math.log(0.025) / float(totals.km))
    (resampled,) = resamples(outcomes, seed=seed)
    return interval(float(totals.rate()), resampled.rate())


def rate_ratio(one: Totals, other: Totals) -> Any:
    """Crashes a km of one, over that of the other: infinite where only the other has none, NaN where both have none."""
    return _over(one.rate(), other.rate())


@dataclass(frozen=True)
class Comparison:
    """A claim that one network has at most ``at_most`` times the crashes of another, and what the drives say.

    Attributes:
        ratio: of the rates, with its interval.
        p: probability of a ratio at least as far from ``at_most`` by chance, two-sided: the largest one of the
            bootstrap, of ``swap_test``, which is strict where few roads tell the networks apart, and of
            ``trainings_test``, which is where few trainings do.
        verdict: ``HOLDS``, ``DOES_NOT_HOLD`` or ``CANNOT_BE_TOLD``.
        n_drives_needed: of each, for the interval to be clear of ``at_most`` if the ratio stays; None where it is, and
            where more trainings are needed, not more drives.
    """

    ratio: Estimate
    p: float
    verdict: str
    n_drives_needed: int | None


def compare(one: Outcomes, other: Outcomes, at_most: float = 1.0, seed: int = 0) -> Comparison:
    """Has ``one`` at most ``at_most`` times the crashes a km of ``other`` on the same roads?"""
    ratios = rate_ratio(*resamples(one, other, seed=seed))
    known = ratios[~np.isnan(ratios)]
    ratio = interval(float(rate_ratio(one.totals(), other.totals())), ratios)
    if not len(known):
        return Comparison(ratio, 1.0, CANNOT_BE_TOLD, None)
    beyond = min(np.mean(known >= at_most), np.mean(known <= at_most))
    p = min(1.0, 2.0 * (float(beyond) * len(known) + 1) / (len(known) + 1))
    p = max(p, swap_test(one, other, at_most, seed), trainings_test(one, other, at_most, seed))
    verdict = HOLDS if ratio.high < at_most else DOES_NOT_HOLD if ratio.low > at_most else CANNOT_BE_TOLD
    verdict = verdict if p < LEVEL else CANNOT_BE_TOLD
    needed = None
    if ratio.low <= at_most <= ratio.high:
        needed = drives_needed(ratio.value, at_most, ratio.low, ratio.high, int(one.totals().drives))
    return Comparison(ratio, p, verdict, needed)


def swap_test(one: Outcomes, other: Outcomes, at_most: float = 1.0, seed: int = 0) -> float:
    """Probability, were the networks alike, of crashes that differ so much: the two are swapped road by road.

    A permutation test (Fisher 1935) of the crashes of ``one`` less ``at_most`` times those of ``other``, each road's
    a mean over trainings. With fewer than six roads on which they differ it is never below 0.05.
    """
    rates = []
    for sample in (one, other):
        there, totals = ~np.isnan(sample.km), sample.totals()
        crashes = np.where(there, sample.crashed, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)  # (roads,)
        rates.append(crashes / max(totals.km / max(totals.drives, 1), 1e-9))
    return sign_test(rates[0] - at_most * rates[1], seed)


def sign_test(gaps: np.ndarray, seed: int = 0) -> float:
    """Probability, were differences (n,) as likely to have the other sign, of a sum at least as far from 0."""
    gap = gaps[np.abs(gaps) > 1e-12]
    if not len(gap):
        return 1.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(N_RESAMPLES, len(gap)))
    if len(gap) <= 10:  # every way
        signs = np.array(list(itertools.product([-1.0, 1.0], repeat=len(gap))))
        return float(np.mean(np.abs(signs @ gap) >= abs(gap.sum()) - 1e-9))
    return float(1 + (np.abs(signs @ gap) >= abs(gap.sum()) - 1e-9).sum()) / (1 + len(signs))


def trainings_test(one: Outcomes, other: Outcomes, at_most: float = 1.0, seed: int = 0) -> float:
    """Probability, were the kinds alike, of rates so far apart: their trainings are exchanged (``exchange_test``).

    0 where a kind has one training: then these networks are compared, and nothing is said of their kinds.
    """
    if min(len(one.km), len(other.km)) < 2:
        return 0.0
    (crashes_of_one, km_of_one, _), (crashes_of_other, km_of_other, _) = one._parts(), other._parts()
    crashes = np.concatenate([crashes_of_one.sum(axis=1) / at_most, crashes_of_other.sum(axis=1)])
    km = np.concatenate([km_of_one.sum(axis=1), km_of_other.sum(axis=1)])

    def gap(is_one: np.ndarray) -> np.ndarray:
        rates = [_over(is_in @ crashes, is_in @ km) for is_in in (is_one, 1.0 - is_one)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(np.log(rates[0]) - np.log(rates[1]), nan=0.0, posinf=np.inf, neginf=-np.inf)

    return exchange_test(len(one.km), len(other.km), gap, seed)


def exchange_test(
    n_one: int, n_other: int, gap: Callable[[np.ndarray], np.ndarray], seed: int = 0, n_ways: int = N_RESAMPLES
) -> float:
    """Probability, were two samples of one kind, of a gap between them at least as large, in either direction.

    A permutation test (Fisher 1935): exact over every way to share out the n items, or over ``n_ways`` drawn ones where
    there are more. Fewer than four of each are never below 0.05.

    Args:
        gap: from which items are in the first sample, (ways, n) of 0 and 1, to how far apart the samples then are.

    >>> exchange_test(2, 2, lambda is_one: is_one @ np.array([1.0, 2.0, 3.0, 4.0]) - 5.0)  # 2 of 6 ways
    0.3333333333333333
    """
    n = n_one + n_other
    first = np.arange(n) < n_one
    if math.comb(n, n_one) <= n_ways:
        ways = np.zeros((math.comb(n, n_one), n))
        for way, chosen in zip(ways, itertools.combinations(range(n), n_one), strict=True):
            way[list(chosen)] = 1.0
    else:
        rng = np.random.default_rng(seed)
        ways = np.stack([first, *(rng.permutation(first) for _ in range(n_ways - 1))]).astype(float)
    return float(np.mean(np.abs(gap(ways)) >= np.abs(gap(first[None].astype(float))) - 1e-9))


@dataclass(frozen=True)
class Difference:
    """Of the means of two kinds of network on the same roads: is the first one's larger?"""

    gap: Estimate
    p: float
    verdict: str


def _weighted_means(values: np.ndarray, roads: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of resamples: means (n_resamples,) of values (trainings, roads) by how often each road is drawn."""
    n = len(values)
    trainings = rng.multinomial(n, np.full(n, 1 / n), size=len(roads)).astype(float)
    there = ~np.isnan(values)
    total, count = (
        ((trainings @ part) * roads).sum(axis=1) for part in (np.where(there, values, 0.0), there.astype(float))
    )
    return np.asarray(_over(total, count))


def _draw_roads(n_roads: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multinomial(n_roads, np.full(n_roads, 1 / n_roads), size=N_RESAMPLES).astype(float)


def mean_estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of values (trainings, roads) with the interval of a bootstrap over both; NaN where one is missing."""
    rng = np.random.default_rng(seed)
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else math.nan
    return interval(mean, _weighted_means(values, _draw_roads(values.shape[1], rng), rng))


def compare_means(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Difference:
    """Is the mean of ``one`` (trainings, roads) above that of ``other`` (trainings, the same roads)?

    The roads are drawn once for both, the trainings of each on their own; the p-value is the largest one of the
    bootstrap, of a sign test road by road, and of ``exchange_test`` of trainings where each has several. ``HOLDS`` and
    ``DOES_NOT_HOLD`` only where all are clear.
    """
    rng = np.random.default_rng(seed)
    roads = _draw_roads(one.shape[1], rng)
    gaps = _weighted_means(one, roads, rng) - _weighted_means(other, roads, rng)
    known = gaps[~np.isnan(gaps)]
    by_road = [np.array([np.nanmean(c) if not np.isnan(c).all() else np.nan for c in v.T]) for v in (one, other)]
    gap_by_road = by_road[0] - by_road[1]
    gap_by_road = gap_by_road[~np.isnan(gap_by_road)]
    if not len(known) or not len(gap_by_road):
        return Difference(Estimate(math.nan, math.nan, math.nan), 1.0, CANNOT_BE_TOLD)
    estimate = interval(float(gap_by_road.mean()), gaps)
    beyond = min(float(np.mean(known >= 0)), float(np.mean(known <= 0)))
    p = max(min(1.0, 2.0 * (beyond * len(known) + 1) / (len(known) + 1)), sign_test(gap_by_road, seed))
    if min(len(one), len(other)) > 1:
        p = max(
            p, means_test(*([float(np.nanmean(row)) for row in v if not np.isnan(row).all()] for v in (one, other)))
        )
    verdict = HOLDS if estimate.low > 0 else DOES_NOT_HOLD if estimate.high < 0 else CANNOT_BE_TOLD
    return Difference(estimate, p, verdict if p < LEVEL else CANNOT_BE_TOLD)


def means_test(one: Sequence[float], other: Sequence[float]) -> float:
    """``exchange_test`` of the difference of two means, a value a training."""
    values, n_one, n_other = np.array([*one, *other], float), len(one), len(other)
    return exchange_test(n_one, n_other, lambda is_one: is_one @ values / n_one - (1.0 - is_one) @ values / n_other)


def drives_needed(ratio: float, at_most: float, low: float, high: float, n_drives: int) -> int | None:
    """How many drives would tell, as an interval of logarithms shrinks with the root of their number."""
    if not (low > 0 and high < math.inf and ratio > 0) or ratio == at_most:
        return None
    half, gap = (math.log(high) - math.log(low)) / 2, abs(math.log(ratio) - math.log(at_most))
    return math.ceil(n_drives * (half / gap) ** 2) if gap > 1e-9 else None


def holm(p_values: Mapping[str, float], level: float = LEVEL) -> dict[str, bool]:
    """Which of many comparisons stand when all are taken together (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': True, 'b': False, 'c': False}
    """
    stands, still = {}, True
    for i, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        still = still and p_values[name] <= level / (len(p_values) - i)
        stands[name] = still
    return {name: stands[name] for name in p_values}


def survival(km: Sequence[float], crashed: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the drives that have not left the lane after so many km: (km, share), from (0, 1) on.

    Kaplan and Meier 1958; a drive that ended without a crash is censored: it might have gone on.
    """
    from scipy.stats import CensoredData, ecdf  # slow to import

    distances, ended = np.asarray(km, float), np.asarray(crashed, bool)
    if not len(distances):
        return np.array([0.0]), np.array([1.0])
    sf = ecdf(CensoredData(uncensored=distances[ended], right=distances[~ended])).sf
    return np.concatenate([[0.0], sf.quantiles]), np.concatenate([[1.0], sf.probabilities])


def half_fail(severities: Sequence[float], outcomes: Sequence[Outcomes], seed: int = 0) -> Estimate:
    """The severity at which half of the drives fail, and its interval; infinite where they never do.

    Between two severities the share that fails runs linearly, and it never falls (isotonic regression; Barlow et al.
    1972), as more of a disturbance is not less of one.
    """

    shares = np.stack([np.asarray(totals.failed_share()) for totals in resamples(*outcomes, seed=seed)], axis=1)
    value = _crossing(severities, [float(sample.totals().failed_share()) for sample in outcomes])
    return interval(value, np.array([_crossing(severities, row) for row in shares.tolist()]))


def _crossing(severities: Sequence[float], shares: Sequence[float], level: float = 0.5) -> float:
    from scipy.optimize import isotonic_regression

    if any(math.isnan(share) for share in shares):
        return math.nan
    rising = isotonic_regression(shares).x
    above = np.flatnonzero(rising >= level)
    if not len(above):
        return math.inf
    i = int(above[0])
    if i == 0:
        return float(severities[0])
    share = (level - rising[i - 1]) / (rising[i] - rising[i - 1])
    return float(severities[i - 1] + share * (severities[i] - severities[i - 1]))


def mean_corruption_error(
    failed: Mapping[str, Sequence[float]], of_reference: Mapping[str, Sequence[float]]
) -> float | None:
    """Failures under each noise, over those of a reference network, averaged over noises, in percent.

    Hendrycks and Dietterich 2019, with drives that fail in the place of wrong labels. A noise under which the
    reference never fails says nothing, and is left out; None if none is left.

    >>> mean_corruption_error({"fog": [0.1, 0.2]}, {"fog": [0.2, 0.4]})
    50.0
    """
    ratios = [sum(failed[name]) / sum(other) for name, other in of_reference.items() if sum(other) > 0]
    return 100.0 * sum(ratios) / len(ratios) if ratios else None
