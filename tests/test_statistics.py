"""What the rows of a sweep say: rates, intervals, survival, comparisons, against cases worked out by hand."""

import math

import numpy as np
import pytest

from driving.harness.statistics import (
    CANNOT_BE_TOLD,
    DOES_NOT_HOLD,
    HOLDS,
    Outcomes,
    compare,
    crash_rate,
    drives_needed,
    exchange_test,
    half_fail,
    holm,
    mean_corruption_error,
    rate_ratio,
    survival,
    swap_test,
    trainings_test,
)


def outcomes(share, n_trainings=3, n_roads=40, km=0.5, seed=0):
    rng = np.random.default_rng(seed)
    crashed = (rng.random((n_trainings, n_roads)) < share).astype(float)
    return Outcomes(crashed, np.full(crashed.shape, km))


def test_statistics_rate_is_crashes_over_way_without_missing_episodes():
    one = Outcomes(np.array([[1, 0, 1], [0, 0, 1.0]]), np.array([[0.5, 1.0, math.nan], [1.0, 0.5, 1.0]]))
    totals = one.totals()
    assert (totals.crashes, totals.km, totals.drives) == (2, 4.0, 5)
    assert totals.rate() == 0.5
    assert totals.failed_share() == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="trainings, roads"):
        Outcomes(np.zeros(3), np.zeros(3))


def test_statistics_interval_covers_the_truth_as_often_as_it_says():
    """Roads and trainings of which some are hard: the crossed bootstrap is a little wide, never narrow."""
    rng, covered = np.random.default_rng(1), 0
    for k in range(120):
        hard_road, hard_training = rng.normal(0, 0.5, 30), rng.normal(0, 0.5, 5)
        chance = 1 / (1 + np.exp(-(-1.0 + hard_road[None] + hard_training[:, None])))
        crashed = (rng.random(chance.shape) < chance).astype(float)
        estimate = crash_rate(Outcomes(crashed, np.ones(crashed.shape)), seed=k)
        covered += estimate.low <= 0.2901 <= estimate.high  # the mean of 1 / (1 + exp(1 - N(0, 0.5)))
    assert 0.86 <= covered / 120 <= 1.0


def test_statistics_interval_without_a_crash_is_that_of_a_poisson_number():
    none = outcomes(0.0, 1, 20, km=0.5)
    estimate = crash_rate(none)
    assert estimate.value == estimate.low == 0
    assert math.exp(-estimate.high * 10.0) == pytest.approx(0.025)
    assert math.isnan(crash_rate(Outcomes(np.zeros((1, 2)), np.full((1, 2), math.nan))).value)


def test_statistics_more_trainings_that_differ_widen_more_roads_narrow():
    rng = np.random.default_rng(0)
    per_training = np.repeat([[0.0], [1.0]], 400, axis=1)  # one training always crashes, one never
    wide = crash_rate(Outcomes(per_training, np.ones(per_training.shape)))
    assert (wide.low, wide.high) == (0.0, 1.0)
    mixed = (rng.random((2, 400)) < 0.5).astype(float)
    narrow = crash_rate(Outcomes(mixed, np.ones(mixed.shape)))
    assert narrow.high - narrow.low < 0.2


@pytest.mark.parametrize(
    ("shares", "verdict"), [((0.1, 0.5), HOLDS), ((0.5, 0.1), DOES_NOT_HOLD), ((0.30, 0.32), CANNOT_BE_TOLD)]
)
def test_statistics_verdict_of_a_claim(shares, verdict):
    one, other = (outcomes(share, 5, 60, seed=i) for i, share in enumerate(shares))
    comparison = compare(one, other)
    assert comparison.verdict == verdict
    assert (comparison.n_drives_needed is not None) == (verdict == CANNOT_BE_TOLD)
    assert comparison.ratio.low <= comparison.ratio.value <= comparison.ratio.high
    assert (comparison.p < 0.05) == (verdict != CANNOT_BE_TOLD)
    if verdict == CANNOT_BE_TOLD:
        assert comparison.n_drives_needed > 300


def test_statistics_verdict_of_a_stricter_claim():
    one, other = outcomes(0.3, 5, 60, seed=1), outcomes(0.5, 5, 60, seed=2)
    assert compare(one, other, at_most=1.0).verdict == HOLDS
    assert compare(one, other, at_most=0.3).verdict == DOES_NOT_HOLD


def test_statistics_comparison_is_paired_by_road():
    """Where the same roads are hard for both, pairing tells a small difference that two separate samples would not."""
    hard = np.arange(200) % 2 == 0
    other = Outcomes(np.repeat(hard[None], 4, 0).astype(float), np.ones((4, 200)))
    spared = hard & (np.arange(200) % 20 != 0)
    one = Outcomes(np.repeat(spared[None], 4, 0).astype(float), np.ones((4, 200)))
    assert compare(one, other).verdict == HOLDS


def test_statistics_one_crash_more_on_the_same_roads_tells_nothing():
    """Every resample has at least as many crashes of one as of the other; and yet it is one road."""
    one, other = (Outcomes(np.array([[k < n for k in range(10)]], float), np.ones((1, 10))) for n in (2, 1))
    comparison = compare(one, other)
    assert comparison.verdict == CANNOT_BE_TOLD
    assert comparison.p == 1.0


def test_statistics_swap_test_counts_the_ways_by_hand():
    """Six roads that all speak for the other: two of 64 ways are as far out."""
    one, other = Outcomes(np.zeros((1, 8)), np.ones((1, 8))), Outcomes(np.ones((1, 8)), np.ones((1, 8)))
    six = Outcomes(np.array([[1.0] * 6 + [0.0] * 2]), np.ones((1, 8)))
    assert swap_test(one, six) == pytest.approx(2 / 64)
    assert swap_test(one, other) == pytest.approx(2 / 256)
    assert swap_test(one, one) == 1.0
    five_of_six = Outcomes(np.array([[1.0] * 5 + [0.0] * 3]), np.ones((1, 8)))
    assert swap_test(one, five_of_six) > 0.05


def test_statistics_swap_test_finds_chance_as_often_as_it_says():
    rng, found = np.random.default_rng(3), 0
    for k in range(300):
        hard = rng.random(40)
        one, other = (Outcomes((rng.random((2, 40)) < hard).astype(float), np.ones((2, 40))) for _ in range(2))
        found += swap_test(one, other, seed=k) < 0.05
    assert found / 300 <= 0.08


def of_trainings(rates, n_roads=40):
    """A row a training: crashes on so many of 1 km each as its rate says."""
    crashed = (np.arange(n_roads)[None] < np.round(np.array(rates)[:, None] * n_roads)).astype(float)
    return Outcomes(crashed, np.ones(crashed.shape))


def test_statistics_trainings_test_counts_the_ways_by_hand():
    low, high = of_trainings([0.1, 0.15, 0.2, 0.25]), of_trainings([0.5, 0.6, 0.7, 0.8])
    assert trainings_test(low, high) == trainings_test(high, low) == pytest.approx(2 / 70)
    three = of_trainings([0.1, 0.15, 0.2]), of_trainings([0.5, 0.6, 0.7])
    assert trainings_test(*three) == pytest.approx(2 / 20)
    assert compare(*three).verdict == CANNOT_BE_TOLD
    assert compare(*three).n_drives_needed is None  # more trainings would tell, not more drives
    assert trainings_test(of_trainings([0.1]), high) == 0.0  # of networks, not of kinds
    assert trainings_test(low, low) == 1.0
    assert trainings_test(of_trainings([0.0] * 4), of_trainings([0.0] * 4)) == 1.0
    assert trainings_test(of_trainings([0.0] * 4), high) == pytest.approx(2 / 70)
    assert trainings_test(low, high, at_most=0.1) == pytest.approx(2 / 70)  # scaled, it has far more
    gap = Outcomes(low.crashed, np.where(np.arange(40) < 10, low.km, np.nan))  # the drives without a crash are missing
    assert trainings_test(gap, high) > 0.5


def test_statistics_exchange_test_draws_where_there_are_too_many_ways():
    values = np.array([*range(12), *range(3, 15)], float)

    def gap(is_one):
        return is_one @ values - (1.0 - is_one) @ values

    drawn, again = exchange_test(12, 12, gap, n_ways=4000), exchange_test(12, 12, gap, seed=1, n_ways=4000)
    assert drawn == pytest.approx(again, abs=0.03)
    assert 0.03 < drawn < 0.3


def test_statistics_comparison_of_trainings_finds_chance_no_more_often_than_it_says():
    """Trainings of one kind that differ as much among themselves as ours do, compared as if they were of two kinds."""
    rng, found = np.random.default_rng(5), 0
    for k in range(120):
        rates = np.clip(0.15 * np.exp(rng.normal(0, 0.8, 10)), 0, 1)[:, None]
        crashed = (rng.random((10, 40)) < rates).astype(float)
        one, other = (Outcomes(part, np.ones((5, 40))) for part in (crashed[:5], crashed[5:]))
        found += compare(one, other, seed=k).verdict != CANNOT_BE_TOLD
    assert found / 120 <= 0.08


def test_statistics_comparison_without_any_crash_tells_nothing():
    comparison = compare(outcomes(0.0), outcomes(0.0))
    assert comparison.verdict == CANNOT_BE_TOLD
    assert comparison.p == 1.0
    assert rate_ratio(outcomes(0.5).totals(), outcomes(0.0).totals()) == math.inf


def test_statistics_drives_needed_grow_with_the_square_of_the_gap():
    """An interval of a factor of 4 about 0.8 reaches 2 each way; it must shrink to 1 / 0.8."""
    needed = drives_needed(0.8, 1.0, 0.4, 1.6, 100)
    assert needed == math.ceil(100 * (math.log(2) / math.log(1.25)) ** 2)
    assert drives_needed(1.0, 1.0, 0.5, 2.0, 100) is None
    assert drives_needed(0.5, 1.0, 0.0, math.inf, 100) is None


def test_statistics_holm_is_stricter_than_each_alone():
    assert holm({"a": 0.04}) == {"a": True}
    assert holm({"a": 0.04, "b": 0.03}) == {"a": False, "b": False}
    assert holm({"a": 0.02, "b": 0.03, "c": 0.9}) == {"a": False, "b": False, "c": False}
    assert holm({"x": 0.9, "a": 0.01, "b": 0.02}) == {"x": False, "a": True, "b": True}


def test_statistics_survival_by_hand():
    """Five drives: crashes after 1 and 2 km, one stopped at 1.5 km, two whole ones of 3 km."""
    km, share = survival([1.0, 2.0, 1.5, 3.0, 3.0], [True, True, False, False, False])
    at = dict(zip(km.tolist(), share.tolist(), strict=True))
    assert at[0.0] == 1.0
    assert at[1.0] == pytest.approx(4 / 5)
    assert at[2.0] == pytest.approx(4 / 5 * 2 / 3)
    assert share[-1] == pytest.approx(4 / 5 * 2 / 3)
    assert [list(part) for part in survival([], [])] == [[0.0], [1.0]]


def test_statistics_half_fail_lies_between_the_severities():
    levels = [0.0, 1.0, 2.0]
    samples = [outcomes(share, 2, 500, seed=i) for i, share in enumerate((0.0, 0.2, 0.8))]
    estimate = half_fail(levels, samples)
    assert estimate.value == pytest.approx(1.5, abs=0.1)
    assert 1.3 < estimate.low < estimate.value < estimate.high < 1.7
    assert half_fail(levels, [outcomes(0.1, seed=i) for i in range(3)]).value == math.inf
    assert half_fail(levels, [outcomes(0.9, seed=i) for i in range(3)]).value == 0.0


def test_statistics_half_fail_takes_a_dip_for_chance():
    falls = [Outcomes(np.array([[x] * 10 + [0.0] * 10]), np.ones((1, 20))) for x in (0.0, 1.0, 0.0, 1.0)]
    flat = half_fail([0.0, 1.0, 2.0, 3.0], [*falls[:3], outcomes(1.0, 1, 20)])
    assert 2.0 < flat.value < 3.0  # 0.5 at 1 and 0 at 2 are 0.25 at both


def test_statistics_mean_corruption_error_by_hand():
    reference = {"fog": [0.2, 0.6], "blur": [0.0, 0.5], "late": [0.0, 0.0]}
    mine = {"fog": [0.2, 0.2], "blur": [0.5, 0.5], "late": [0.5, 0.5]}
    assert mean_corruption_error(mine, reference) == pytest.approx(100 * (0.4 / 0.8 + 1.0 / 0.5) / 2)
    assert mean_corruption_error(reference, reference) == pytest.approx(100.0)
    assert mean_corruption_error({"late": [1.0]}, {"late": [0.0]}) is None
