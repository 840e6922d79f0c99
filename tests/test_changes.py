"""The counterfactual world: one thing is changed, and nothing else."""

import numpy as np
import pytest

from sim.changes import CHANGES
from sim.errors import BadInputError
from sim.procedural_env import ProceduralEnv
from sim.surface_class import SurfaceClass

SCENES = (  # seeds of a town with cars and lamps, a mountain in rain, a country road with shadows, one in fog
    (1009, {}),
    (1003, {}),
    (1012, {}),
    (1001, {}),
)


def drive(seed, options, n=6):
    env = ProceduralEnv(**options)
    frame, info = env.reset(seed=seed, options={"along_road_m": 120.0})
    for _ in range(n):
        frame, _, _, _, info = env.step(np.array([0.002], np.float32))
    return env, frame, info


@pytest.fixture(scope="module")
def unchanged():
    return {seed: drive(seed, options) for seed, options in SCENES}


@pytest.mark.parametrize("name", CHANGES)
def test_change_moves_neither_the_car_nor_the_road(unchanged, name):
    n_seen = 0
    for seed, options in SCENES:
        env, frame, info = drive(seed, options | {"change": name})
        before, frame_before, info_before = unchanged[seed]
        for key in ("lateral_offset_m", "heading_error_rad", "speed_mps", "setting", "curvature_per_m"):
            assert info[key] == info_before[key]
        np.testing.assert_array_equal(env.road.x_m, before.road.x_m)
        assert env.expert_curvature_per_m() == before.expert_curvature_per_m()
        n_seen += not np.array_equal(frame, frame_before)
    assert (n_seen == 0) == (name == "none")


@pytest.mark.parametrize("name", [name for name, change in CHANGES.items() if change.without])
def test_change_without_a_class_shows_what_is_behind_it(unchanged, name):
    without = [int(surface) for surface in CHANGES[name].without]
    n_gone = 0
    for seed, options in SCENES:
        _, _, info = drive(seed, options | {"change": name})
        before = unchanged[seed][2]["class_map"]
        assert not np.isin(info["class_map"], without).any()
        was_there = np.isin(before, without)
        np.testing.assert_array_equal(info["class_map"][~was_there], before[~was_there])
        n_gone += was_there.any()
    assert n_gone > 0 or name == "no_signs"  # those of these scenes cover less than a pixel each


def test_change_of_the_ground_leaves_its_classes_where_they_are(unchanged):
    for name in ("no_shadows", "other_verge", "other_pavement"):
        for seed, options in SCENES:
            _, _, info = drive(seed, options | {"change": name})
            np.testing.assert_array_equal(info["class_map"], unchanged[seed][2]["class_map"])
    for seed, options in SCENES:
        _, _, info = drive(seed, options | {"change": "no_markings"})
        before = unchanged[seed][2]["class_map"]
        assert not (info["class_map"] == SurfaceClass.MARKING).any()
        others = before != SurfaceClass.MARKING
        np.testing.assert_array_equal(info["class_map"][others], before[others])


def test_change_of_the_verge_leaves_dry_road_and_sky_alone(unchanged):
    _, frame, _ = drive(1012, {"change": "other_verge"})
    _, before, info = unchanged[1012]
    differs = (frame.astype(int) != before).any(-1)
    ground = np.isin(info["class_map"], [SurfaceClass.VERGE, SurfaceClass.HILLS])  # far ground is of the panorama
    assert differs[ground].mean() > 0.5
    assert differs[info["class_map"] == SurfaceClass.OWN_LANE].mean() < 0.1  # what the camera blurs at edges
    assert not differs[info["class_map"] == SurfaceClass.SKY].any()


def test_change_of_the_nearest_vehicle_leaves_the_others(unchanged):
    _, _, info = unchanged[1009]
    count = {name: drive(1009, {"change": name})[2]["class_map"] == SurfaceClass.VEHICLE
             for name in ("no_nearest_vehicle", "nearest_vehicle_aside")}  # fmt: skip
    was = info["class_map"] == SurfaceClass.VEHICLE
    assert 0 < count["no_nearest_vehicle"].sum() < was.sum()
    assert not (count["no_nearest_vehicle"] & ~was).any()
    assert (count["nearest_vehicle_aside"] & ~was).any()
    assert (was & ~count["nearest_vehicle_aside"]).any()
    assert abs(int(count["nearest_vehicle_aside"].sum()) - int(was.sum())) < 0.6 * was.sum()


def test_change_of_another_name_is_refused():
    with pytest.raises(BadInputError, match=r"change: expected one of none, no_objects.*got 'no_moon'"):
        ProceduralEnv(change="no_moon")


def test_change_is_seen_by_people_too():
    env = ProceduralEnv(render_mode="rgb_array", change="no_objects")
    plain = ProceduralEnv(render_mode="rgb_array")
    for one in (env, plain):
        one.reset(seed=1009)
    assert (env.render() != plain.render()).any()
