"""The named kinds of road, and that random roads of each keep to their numbers."""

import dataclasses

import numpy as np
import pytest

from sim.conventions import MAX_CURVATURE_PER_M
from sim.errors import BadInputError
from sim.families import FAMILIES, Lanes, RoadFamily
from sim.procedural_env import ProceduralEnv
from sim.road import STEP_M, random_road
from sim.weathers import WEATHERS


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
    "change", [{"min_radius_m": 0.0}, {"max_grade": float("nan")}, {"min_speed_mps": 99.0}, {"min_lane_width_m": 5.0}]
)
def test_families_reject_numbers_that_make_no_road(change):
    with pytest.raises(BadInputError, match=next(iter(change))):
        dataclasses.replace(FAMILIES["urban"], **change)


def test_families_a_new_kind_of_road_is_one_value(monkeypatch):
    country = FAMILIES["country"]
    track = dataclasses.replace(
        country, name="farm_track", max_speed_mps=11.0, lanes=(Lanes(0, 0, False, 1.0),), edge_lines=0.0,
        centre_lines={"none": 1.0}, incidents={"missing": 1.0, "ghost": 1.0, "resurfaced": 1.0},
        near_ground=("soil",), far_ground=("meadow",), shadows={"none": 1.0},
        roadside=dataclasses.replace(country.roadside, linings={"hedge": 1.0}, cover=(0.0, 0.0, 1.0, 0.0)),
    )  # fmt: skip
    monkeypatch.setitem(FAMILIES, "farm_track", track)
    env = ProceduralEnv(family="farm_track", episode_seconds=2.0)
    frame, info = env.reset(seed=3)
    truncated = False
    while not truncated:
        _, _, terminated, truncated, info = env.step(np.array([env.expert_curvature_per_m()], np.float32))
        assert not terminated
    assert info["setting"]["family"] == "farm_track"
    assert env.scene.section.lanes_m == (0.0,)
    assert not info["marking_mask"].any()
    assert frame.std() > 5
    assert info["speed_mps"] <= 11.0


def test_families_a_new_weather_is_one_value(monkeypatch):
    smog = dataclasses.replace(WEATHERS["overcast"], name="smog", visibility_m=(30.0, 40.0), tint=(1.1, 1.0, 0.8))
    monkeypatch.setitem(WEATHERS, "smog", smog)
    env = ProceduralEnv(weather="smog")
    env.reset(seed=3)
    assert env.setting["weather"] == "smog"
    assert 30 < env.scene.atmosphere.visibility_m < 40
