import dataclasses

import numpy as np
import pytest

from sim.appearance.atmosphere import Atmosphere, draw_atmosphere
from sim.appearance.markings import draw_markings
from sim.appearance.scene import draw_scene
from sim.appearance.section import draw_section
from sim.appearance.surface import HALF_WIDTH_M, N_D, N_S, TEXEL_D_M, TEXEL_S_M
from sim.appearance.tiles import INCIDENTS, Tile, draw_tiles
from sim.families import FAMILIES
from sim.seasons import SEASONS
from sim.surface_class import SurfaceClass
from sim.weathers import WEATHERS
from tests.painted_ground import with_arrays

D_M = HALF_WIDTH_M - (np.arange(N_D) + 0.5) * TEXEL_D_M
every_family = pytest.mark.parametrize("family", sorted(FAMILIES))


def air(season: str = "summer", weather: str = "overcast", seed: int = 1) -> Atmosphere:
    return draw_atmosphere(np.random.default_rng(seed), SEASONS[season], WEATHERS[weather])


def scene(seed: int, family: str, atmosphere: Atmosphere | None = None, **options):
    return with_arrays(draw_scene(np.random.default_rng(seed), FAMILIES[family], atmosphere or air(), **options))


def between(low_m: float, high_m: float) -> np.ndarray:
    return (low_m < D_M) & (high_m > D_M)


@every_family
@pytest.mark.parametrize("seed", [0, 3, 4])
def test_scene_has_the_declared_shapes_and_ranges(family, seed):
    drawn = scene(seed, family)
    n_tiles = len(drawn.ground)
    assert 1 <= n_tiles <= 4
    assert (drawn.ground.shape, drawn.ground.dtype) == ((n_tiles, N_D, N_S, 3), np.uint8)
    assert (drawn.surface.shape, drawn.surface.dtype) == ((n_tiles, N_D, N_S), np.uint8)
    assert set(np.unique(drawn.surface)) <= {SurfaceClass.VERGE, SurfaceClass.ROAD, SurfaceClass.MARKING}
    assert drawn.tile_order[0] == 0
    assert 0 <= drawn.tile_order.min() <= drawn.tile_order.max() < n_tiles
    assert np.mean(drawn.tile_order == 0) >= 0.4
    assert np.isfinite(drawn.ridges).all()
    assert 0 <= drawn.clouds.min() <= drawn.clouds.max() <= 1
    assert drawn.ground[0].std() > 5


@every_family
def test_scene_section_keeps_the_meaning_of_its_numbers(family):
    ranges = FAMILIES[family]
    for seed in range(60):
        section = draw_section(np.random.default_rng(seed), FAMILIES[family])
        half_m = section.lane_width_m / 2
        assert ranges.min_lane_width_m <= section.lane_width_m <= ranges.max_lane_width_m
        assert section.right_edge_m < -half_m < half_m < section.left_edge_m < HALF_WIDTH_M
        assert all(lane_m > half_m for lane_m in (*section.same_way_m, *section.oncoming_m))  # traffic keeps right
        assert np.diff(section.lanes_m).min(initial=np.inf) >= section.lane_width_m - 1e-9
        assert section.has_kerb == (family == "urban")
        if section.same_way_m and section.oncoming_m:
            assert max(section.same_way_m) < min(section.oncoming_m)
        far = section.far_carriageway_m
        if far is not None:
            assert section.left_edge_m + 1.0 < far[0] < far[1] < HALF_WIDTH_M - 2 * TEXEL_D_M


def test_scene_given_lane_width_replaces_the_drawn_one():
    given, drawn = scene(5, "country", lane_width_m=3.2).section, scene(5, "country").section
    assert given.lane_width_m == 3.2
    shoulder_m = -drawn.right_edge_m - drawn.lane_width_m / 2
    assert -given.right_edge_m - 1.6 == pytest.approx(shoulder_m)


@every_family
def test_scene_is_paved_between_the_edges_of_its_section_in_every_tile(family):
    for seed in range(4):
        drawn = scene(seed, family)
        section = drawn.section
        road = between(section.right_edge_m, section.left_edge_m)
        assert (drawn.surface[:, road] >= SurfaceClass.ROAD).all()
        paved = road.copy()
        if section.far_carriageway_m is not None:
            paved |= between(*section.far_carriageway_m)
        assert (drawn.surface[0, ~paved] == SurfaceClass.VERGE).all()


@every_family
def test_scene_tiles_are_equal_within_a_metre_of_both_ends(family):
    metre = round(1.0 / TEXEL_S_M)
    weathers = (("summer", "clear"), ("winter", "snow"), ("autumn", "rain"))
    for seed, (season, weather) in enumerate(weathers * 2):
        drawn = scene(seed, family, air(season, weather, seed))
        for end in (slice(0, metre), slice(N_S - metre, N_S)):
            for tile, surface in zip(drawn.ground[1:], drawn.surface[1:], strict=True):
                np.testing.assert_array_equal(tile[:, end], drawn.ground[0, :, end])
                np.testing.assert_array_equal(surface[:, end], drawn.surface[0, :, end])


@every_family
def test_scene_every_change_of_a_tile_shows_and_leaves_the_plain_tile_alone(family):
    section = draw_section(np.random.default_rng(2), FAMILIES[family])
    paint, style = draw_markings(np.random.default_rng(2), FAMILIES[family], section)
    paved = np.where(between(section.right_edge_m, section.left_edge_m)[:, None], 255, 0).astype(np.uint8)
    plain = Tile(np.repeat(paved, N_S, axis=1), np.full((N_D, N_S), 120, np.uint8), paint)
    kept = plain.copy()
    for change in map(INCIDENTS.get, FAMILIES[family].incidents):
        changed = 0
        for seed in range(4):
            tile = plain.copy()
            change(tile, np.random.default_rng(seed), section, style)
            changed += any(
                (a != b).any()
                for a, b in ((tile.paved, kept.paved), (tile.shade, kept.shade), (tile.paint.alpha, paint.alpha))
            )
            assert (tile.paved >= kept.paved).all()
        assert changed or not paint.alpha.any(), change.__name__
    np.testing.assert_array_equal(plain.paint.alpha, kept.paint.alpha)
    np.testing.assert_array_equal(plain.shade, kept.shade)


def test_scene_tile_order_uses_all_of_its_tiles_on_most_roads():
    section = draw_section(np.random.default_rng(2), FAMILIES["country"])
    paint, style = draw_markings(np.random.default_rng(2), FAMILIES["country"], section)
    plain = Tile(np.full((N_D, N_S), 255, np.uint8), np.full((N_D, N_S), 120, np.uint8), paint)
    counts = []
    for seed in range(40):
        tiles, order = draw_tiles(np.random.default_rng(seed), FAMILIES["country"], plain, section, style)
        counts.append(len(tiles))
        assert np.mean(order == 0) >= 0.4
    assert set(counts) == {1, 2, 3, 4}


@every_family
def test_scene_season_and_weather_move_neither_section_nor_markings_nor_tiles(family):
    days = [(season, weather) for season in list(SEASONS)[:3] for weather in WEATHERS if weather != "snow"]
    first = scene(7, family)
    for season, weather in days[::3]:
        other = scene(7, family, air(season, weather))
        assert other.section == first.section
        np.testing.assert_array_equal(other.surface, first.surface)
        np.testing.assert_array_equal(other.tile_order, first.tile_order)
    snowy = scene(7, family, dataclasses.replace(air("winter", "snow"), snow_cover=0.9))
    assert snowy.section == first.section
    np.testing.assert_array_equal(snowy.surface >= SurfaceClass.ROAD, first.surface >= SurfaceClass.ROAD)
    marked, under_snow = first.surface == SurfaceClass.MARKING, snowy.surface == SurfaceClass.MARKING
    assert not (under_snow & ~marked).any()  # snow hides paint and shows none
    assert under_snow.sum() < marked.sum()


def test_scene_same_seed_gives_the_same_scene_and_another_does_not():
    first, again, other = scene(3, "urban"), scene(3, "urban"), scene(4, "urban")
    for name, value in vars(first).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(again, name))
    assert first.section == again.section
    assert first.section != other.section


def test_scene_leaves_the_global_random_state_and_the_atmosphere_alone():
    day = air("winter", "snow")
    light = day.light.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 (the state is what is tested)
    scene(1, "mountain", day)
    np.testing.assert_array_equal(day.light, light)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@every_family
@pytest.mark.parametrize("season", SEASONS)
def test_scene_road_stands_off_the_ground_beside_it(family, season):
    for seed in range(6):
        day = dataclasses.replace(air(season, "overcast", seed), snow_cover=0.0, wetness=0.0)
        drawn = scene(seed, family, day)
        section = drawn.section
        road = drawn.ground[0][between(section.right_edge_m, section.left_edge_m)].mean((0, 1))
        verge = drawn.ground[0][between(section.right_edge_m - 2.5, section.right_edge_m - 0.3)].mean((0, 1))
        assert np.abs(road - verge).max() > 8, (seed, road, verge)


@every_family
def test_scene_full_snow_leaves_ruts_that_show_the_way(family):
    for seed in range(4):
        day = dataclasses.replace(air("winter", "clear", seed), snow_cover=1.0, has_shadows=False)
        drawn = scene(seed, family, day)
        grey = drawn.ground[0].mean(-1)
        in_ruts = np.abs(np.abs(D_M) - 0.24 * drawn.section.lane_width_m) < 0.2
        beside = between(drawn.section.right_edge_m - 4.0, drawn.section.right_edge_m - 2.0)
        assert grey[beside].mean() - grey[in_ruts].mean() > 15


def test_scene_markings_are_brighter_than_the_road_they_lie_on():
    for family in FAMILIES:
        for seed in range(4):
            drawn = scene(seed, family)
            road = between(drawn.section.right_edge_m, drawn.section.left_edge_m)
            colours, classes = drawn.ground[0][road].mean(-1), drawn.surface[0][road]
            if (classes == SurfaceClass.MARKING).any():
                assert colours[classes == SurfaceClass.MARKING].mean() > colours[classes == SurfaceClass.ROAD].mean()


def test_scene_hard_shadows_are_cast_in_sun_only():
    darkest = []
    for seed in range(8):
        sunny = dataclasses.replace(air("summer", "clear", seed), light=np.ones(3, np.float32))
        dull = dataclasses.replace(sunny, has_shadows=False)
        lit, flat = scene(seed, "country", sunny).ground[0], scene(seed, "country", dull).ground[0]
        assert (lit <= flat).all()
        darkest.append(np.percentile(lit.astype(float).mean(-1) / np.maximum(flat.mean(-1), 1), 1))
    assert np.mean(np.array(darkest) < 0.5) > 0.5
    assert max(darkest) > 0.9  # not on every road
