"""Placement of what stands and drives beside the road."""

import dataclasses

import numpy as np
import pytest

from sim.appearance.section import CrossSection, draw_section
from sim.families import FAMILIES
from sim.roadside.sprites import KINDS, SPRITES
from sim.roadside.stretches import STRETCH_M, Roadside, RoadsideStretches
from sim.seasons import SEASONS
from sim.surface_class import SurfaceClass

SEEDS = range(25)


def draw_roadside(rng, family, season, *arguments) -> Roadside:
    """All of a roadside at once."""
    stretches = RoadsideStretches(rng, FAMILIES[family].roadside, SEASONS[season], *arguments)
    parts = stretches.near(0.0, stretches.n_stretches * STRETCH_M)
    names = [field.name for field in dataclasses.fields(Roadside) if field.name != "barriers"]
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    order = np.argsort(columns[0], kind="stable")
    return Roadside(*(column[order] for column in columns), sum((part.barriers for part in parts), ()))


def draw(seed: int, family: str, season: str = "summer", length_m: float = 900.0):
    section = draw_section(np.random.default_rng([seed, 7]), FAMILIES[family])
    return section, draw_roadside(np.random.default_rng([seed, 8]), family, season, section, length_m)


def kinds_of(roadside):
    return np.array([SPRITES[index].name for index in roadside.sprite])


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_leaves_the_own_lane_free(family):
    for seed in SEEDS:
        section, roadside = draw(seed, family)
        half_m = section.lane_width_m / 2
        kinds = kinds_of(roadside)
        clear_m = np.abs(roadside.lateral_m) - 0.5 * roadside.width_m * (kinds == "car")
        moves = roadside.speed_mps != 0
        assert (clear_m[moves] > half_m).all()
        assert (clear_m[~moves] > half_m + 0.3).all()
        assert all(abs(barrier.lateral_m) > half_m + 0.3 for barrier in roadside.barriers)


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_keeps_what_stands_off_the_paved_surfaces(family):
    for seed in SEEDS:
        section, roadside = draw(seed, family)
        stands = (roadside.speed_mps == 0) & (kinds_of(roadside) != "car")
        solid = np.isin(kinds_of(roadside), ["house", "barn", "board", "round_sign", "triangle_sign", "chevron"])
        half_m = 0.5 * roadside.width_m * solid
        right, left = (roadside.lateral_m + half_m)[stands], (roadside.lateral_m - half_m)[stands]
        beside = (right < section.right_edge_m) | (left > section.left_edge_m)
        assert beside.all()
        barriers = np.array([barrier.lateral_m for barrier in roadside.barriers])
        assert ((barriers < section.right_edge_m) | (barriers > section.left_edge_m)).all()
        if far := section.far_carriageway_m:
            for lateral in (roadside.lateral_m[stands], barriers):
                assert not ((lateral > far[0]) & (lateral < far[1])).any()


def test_roadside_parks_no_cars_on_the_shoulder_of_a_highway():
    for seed in SEEDS:
        _, roadside = draw(seed, "highway")
        assert not ((kinds_of(roadside) == "car") & (roadside.speed_mps == 0)).any()


def test_roadside_parks_cars_beside_all_lanes():
    n_parked = 0
    for seed in SEEDS:
        section, roadside = draw(seed, "urban")
        parked = (kinds_of(roadside) == "car") & (roadside.speed_mps == 0)
        n_parked += parked.sum()
        lanes = np.array(section.lanes_m)
        for lateral, width in zip(roadside.lateral_m[parked], roadside.width_m[parked], strict=True):
            assert np.abs(lateral - lanes).min() > 0.5 * (width + section.lane_width_m)
    assert n_parked > 100


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_traffic_keeps_to_its_lanes_and_directions_and_never_meets(family):
    n_cars = 0
    for seed in SEEDS:
        section, roadside = draw(seed, family)
        moves = roadside.speed_mps != 0
        n_cars += moves.sum()
        assert (roadside.surface_class[moves] == SurfaceClass.VEHICLE).all()
        for lanes, way in ((section.same_way_m, 1), (section.oncoming_m, -1)):
            for lane in lanes:
                here = moves & (np.abs(roadside.lateral_m - lane) < 0.5)
                assert len(np.unique(roadside.speed_mps[here])) <= 1
                assert (way * roadside.speed_mps[here] > 0).all()
                assert (np.diff(roadside.along_m[here]) > 6.0).all()
                moves = moves & ~here
        assert not moves.any()
    assert n_cars > 50


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_is_sorted_typed_and_the_same_for_the_same_seed(family):
    (_, first), (_, again), (_, other) = draw(3, family), draw(3, family), draw(4, family)
    assert (np.diff(first.along_m) >= 0).all()
    assert (first.along_m >= 0).all()
    assert (first.along_m < 900.0).all()
    for field in dataclasses.fields(first):
        if field.name != "barriers":
            assert len(getattr(first, field.name)) == len(first.along_m)
            np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert first.barriers == again.barriers
    assert len(first.along_m) != len(other.along_m) or not np.array_equal(first.along_m, other.along_m)
    expected = [KINDS[SPRITES[index].name].surface_class for index in first.sprite]
    np.testing.assert_array_equal(first.surface_class, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_seasons_change_pictures_and_move_nothing(family):
    (_, summer), (_, winter) = (draw(5, family, season) for season in ("summer", "winter"))
    for name in ("along_m", "lateral_m", "speed_mps", "width_m", "height_m", "surface_class"):
        np.testing.assert_array_equal(getattr(summer, name), getattr(winter, name))
    assert summer.barriers == winter.barriers
    for a, b in zip(summer.sprite, winter.sprite, strict=True):
        one, two = SPRITES[a], SPRITES[b]
        assert (one.name, one.variant, one.view) == (two.name, two.variant, two.view)
        assert {one.season, two.season} in ({""}, {"summer", "winter"})


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_of_a_longer_road_begins_the_same(family):
    for seed in (1, 2):
        (_, short), (_, long) = draw(seed, family, length_m=430.0), draw(seed, family, length_m=1290.0)
        begins = long.along_m < 430.0
        # Traffic ends a car's length before the end of the road.
        kept = short.along_m < 410.0
        for name in ("along_m", "lateral_m", "speed_mps", "width_m", "height_m", "sprite"):
            ahead = getattr(long, name)[begins & (long.along_m < 410.0)]
            np.testing.assert_array_equal(getattr(short, name)[kept], ahead)
        assert set(short.barriers) <= set(long.barriers)
        assert all(barrier.start_m >= 430.0 for barrier in set(long.barriers) - set(short.barriers)) or (
            min(barrier.start_m for barrier in set(long.barriers) - set(short.barriers)) >= 600.0
        )


def test_roadside_episodes_differ_from_almost_nothing_to_dense_woods():
    per_100_m = [
        np.sum(roadside.surface_class == SurfaceClass.VEGETATION) / 9.0
        for seed in range(40)
        for _, roadside in [draw(seed, "country")]
    ]
    assert min(per_100_m) < 3
    assert max(per_100_m) > 14
    assert np.std(per_100_m) > 3


def test_roadside_has_avenues_on_both_sides():
    found = 0
    for seed in range(60):
        _, roadside = draw(seed, "country")
        trees = np.isin(kinds_of(roadside), ["leafy", "conifer"]) & (np.abs(roadside.lateral_m) < 12)
        gaps = [np.diff(roadside.along_m[trees & (side * roadside.lateral_m > 0)]) for side in (-1, 1)]
        found += all(len(gap) > 30 and np.median(np.abs(gap - np.median(gap))) < 0.8 for gap in gaps)
    assert found >= 3


def test_roadside_builds_most_in_towns():
    share = {
        family: np.mean([np.sum(draw(s, family)[1].surface_class == SurfaceClass.BUILDING) for s in SEEDS])
        for family in FAMILIES
    }
    assert share["urban"] > 3 * share["country"] > 3 * share["highway"] > 0


def test_roadside_lines_carriageways_with_rails():
    section = CrossSection(3.6, 2.6, -3.0, oncoming_m=(8.4, 12.0))
    roadside = draw_roadside(np.random.default_rng(0), "highway", "summer", section, 600.0)
    far = section.far_carriageway_m
    assert far is not None
    median = [b for b in roadside.barriers if section.left_edge_m < b.lateral_m < far[0]]
    assert sum(b.end_m - b.start_m for b in median) >= 600.0


def test_roadside_of_a_road_alone_is_empty_of_traffic():
    section = CrossSection(3.0, 1.8, -1.9)
    roadside = draw_roadside(np.random.default_rng(2), "country", "spring", section, 500.0)
    assert not roadside.speed_mps.any()


def test_roadside_is_placed_as_the_car_comes():
    """Whoever asks in which order, a stretch is the same; what is asked for is all that reaches into it."""
    section = draw_section(np.random.default_rng(3), FAMILIES["urban"])
    arguments = FAMILIES["urban"].roadside, SEASONS["summer"], section, 5000.0
    one, other = (RoadsideStretches(np.random.default_rng(3), *arguments) for _ in range(2))
    forward, backward = ([one.stretch(k) for k in range(25)], [other.stretch(k) for k in reversed(range(25))][::-1])
    for first, second in zip(forward, backward, strict=True):
        for field in dataclasses.fields(first):
            if field.name == "barriers":
                assert first.barriers == second.barriers
            else:
                np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    whole = draw_roadside(np.random.default_rng(3), "urban", "summer", section, 5000.0)
    near = one.near(1990.0, 2150.0)
    assert len(near) <= 4
    stands = (whole.speed_mps == 0) & (whole.along_m > 1990.0) & (whole.along_m < 2150.0)
    found = np.concatenate([part.along_m[part.speed_mps == 0] for part in near])
    assert set(whole.along_m[stands]) <= set(found)
    assert near[0] is one.traffic
    np.testing.assert_array_equal(np.sort(whole.along_m[whole.speed_mps != 0]), np.sort(one.traffic.along_m))


@pytest.mark.parametrize("family", FAMILIES)
def test_roadside_things_of_a_stretch_hardly_leave_it(family):
    for seed in range(6):
        section = draw_section(np.random.default_rng(seed), FAMILIES[family])
        stretches = RoadsideStretches(
            np.random.default_rng(seed), FAMILIES[family].roadside, SEASONS["summer"], section, 2000.0
        )
        for k in range(stretches.n_stretches):
            part = stretches.stretch(k)
            half_m = 0.5 * part.width_m
            reach_m = np.maximum(k * STRETCH_M - (part.along_m - half_m), part.along_m + half_m - (k + 1) * STRETCH_M)
            assert (reach_m < 60.0).all()
            assert all(k * STRETCH_M <= b.start_m and b.end_m <= (k + 1) * STRETCH_M + 60.0 for b in part.barriers)
