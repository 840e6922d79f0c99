"""The named kinds of road, and that random roads of each keep to their numbers."""

import dataclasses

import numpy as np
import pytest

from sim.conventions import MAX_CURVATURE_PER_M
from sim.errors import BadInputError
from sim.families import FAMILIES, RoadFamily
from sim.road import STEP_M, random_road


def road_of(family: RoadFamily, seed: int, length_m: float = 1800.0):
    return random_road(
        np.random.default_rng(seed),
        length_m,
        family.min_radius_m,
        family.max_radius_m,
        family.max_grade,
        family.mean_straight_m,
        np.random.default_rng([seed, 1]),
        family.max_arc_turn_rad,
        family.min_vertical_radius_m,
    )


def test_families_are_found_by_their_name():
    assert list(FAMILIES) == ["highway", "country", "mountain", "urban"]
    assert all(family.name == name for name, family in FAMILIES.items())


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_families_are_drivable(family):
    assert 1 / family.min_radius_m <= 0.5 * MAX_CURVATURE_PER_M  # room to steer back into the lane
    assert 2.5 < family.min_lane_width_m < family.max_lane_width_m < 4.0
    assert family.max_speed_mps**2 / family.min_vertical_radius_m < 0.2 * 9.81  # no flying over crests


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
@pytest.mark.parametrize("seed", range(3))
def test_families_roads_keep_radii_and_grades(family, seed):
    road = road_of(family, seed)
    assert np.abs(road.curvature_per_m).max() <= 1 / family.min_radius_m + 1e-12
    assert np.abs(road.grade).max() <= family.max_grade + 1e-12
    assert np.abs(np.diff(road.grade)).max() <= STEP_M / family.min_vertical_radius_m + 1e-12
    # It winds: a fair part of it is curved, and it turns both ways.
    assert np.mean(np.abs(road.curvature_per_m) > 0.5 / family.max_radius_m) > 0.3
    assert road.curvature_per_m.min() < 0 < road.curvature_per_m.max()


def test_families_differ_in_how_they_wind():
    def mean_curvature_per_m(name):
        return np.mean([np.abs(road_of(FAMILIES[name], seed).curvature_per_m).mean() for seed in range(3)])

    assert mean_curvature_per_m("highway") < 0.4 * mean_curvature_per_m("country")
    assert mean_curvature_per_m("country") < 0.7 * mean_curvature_per_m("mountain")


@pytest.mark.parametrize(
    "change",
    [{"min_radius_m": 0.0}, {"max_grade": float("nan")}, {"min_speed_mps": 99.0}, {"min_lane_width_m": 5.0}],
)
def test_families_reject_numbers_that_make_no_road(change):
    with pytest.raises(BadInputError, match=next(iter(change))):
        dataclasses.replace(FAMILIES["urban"], **change)
