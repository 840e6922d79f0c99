import dataclasses

import numpy as np
import pytest

from sim.appearance.atmosphere import draw_atmosphere
from sim.appearance.panorama import MAX_PITCH, SUN_ELEVATION_RAD, Panorama
from sim.appearance.scene import Scene, draw_scene
from sim.camera import Camera, focal_of
from sim.families import FAMILIES
from sim.seasons import SEASONS
from sim.surface_class import SurfaceClass
from sim.weathers import WEATHERS

CAMERA = Camera()
HORIZON_ROW = 26


VERGE = np.array([70.0, 90.0, 40.0])


def scene(weather: str = "clear", season: str = "summer", seed: int = 2, family: str = "country") -> Scene:
    return draw_scene(
        np.random.default_rng(seed),
        FAMILIES[family],
        draw_atmosphere(np.random.default_rng(seed), SEASONS[season], WEATHERS[weather]),
    )


def draw(
    panorama: Panorama, n_rows: int = 40, heading_rad: float = 0.0, pitch_px: float = 0.0, camera: Camera = CAMERA
) -> tuple[np.ndarray, np.ndarray]:
    picture = np.full((camera.height_px, camera.width_px, 3), 7, np.uint8)
    classes = np.full(picture.shape[:2], 99, np.uint8)
    panorama.draw(picture, classes, n_rows, heading_rad, pitch_px)
    return picture, classes


@pytest.fixture(scope="module")
def panorama():
    return Panorama(CAMERA, scene(), VERGE)


def test_panorama_fills_the_given_rows_and_no_others(panorama):
    for n_rows in (0, 1, 31, 78):
        picture, classes = draw(panorama, n_rows)
        assert set(np.unique(classes[:n_rows])) <= {SurfaceClass.SKY, SurfaceClass.HILLS}
        assert (classes[n_rows:] == 99).all()
        assert (picture[n_rows:] == 7).all()


def test_panorama_has_sky_above_hills_above_ground(panorama):
    classes = draw(panorama, 78)[1]
    assert (np.diff((classes == SurfaceClass.HILLS).astype(int), axis=0) >= 0).all()
    assert (classes[HORIZON_ROW + 1 :] == SurfaceClass.HILLS).all()
    assert (classes[0] == SurfaceClass.SKY).any()


def test_panorama_turning_left_moves_the_scenery_to_the_right(panorama):
    ahead, turned = draw(panorama), draw(panorama, heading_rad=12 / CAMERA.focal_u_px)
    for before, after in zip(ahead, turned, strict=True):
        np.testing.assert_array_equal(after[:40, 12:], before[:40, :-12])
    assert (turned[0][:26] != ahead[0][:26]).any()


def test_panorama_goes_once_around_without_a_seam(panorama):
    whole_turn = 2 * np.pi
    for heading_rad in (0.0, 1.3, -2.9):
        first, again = (draw(panorama, heading_rad=heading_rad), draw(panorama, heading_rad=heading_rad - whole_turn))
        np.testing.assert_array_equal(first[0], again[0])
    # The first and the last column of the circle differ no more than other neighbours do.
    picture = panorama._picture[:, : panorama._n_bearings].astype(int)
    steps = np.abs(np.diff(picture, axis=1)).mean((0, 2))
    seam = np.abs(picture[:, 0] - picture[:, -1]).mean()
    assert seam <= np.percentile(steps, 99.5)


@pytest.mark.parametrize("pitch_px", [-18.0, -5.4, 3.6, 18.0])
def test_panorama_pitch_moves_the_horizon_down(panorama, pitch_px):
    shift = round(pitch_px)
    level, pitched = draw(panorama, 78)[0], draw(panorama, 78, pitch_px=pitch_px)[0]
    rows = np.arange(max(shift, 0), 78 + min(shift, 0))
    np.testing.assert_array_equal(pitched[rows], level[rows - shift])


def test_panorama_pitch_is_held_within_its_limit(panorama):
    limit_px = MAX_PITCH * CAMERA.focal_v_px
    for sign in (-1, 1):
        far, further = (draw(panorama, 78, pitch_px=sign * by)[0] for by in (limit_px + 1, limit_px + 30))
        np.testing.assert_array_equal(far, further)


def test_panorama_of_a_larger_camera_shows_the_same(panorama):
    large_camera = CAMERA.resized(234, 600)
    for weather in ("clear", "low_sun"):
        small = draw(Panorama(CAMERA, scene(weather), VERGE), 60, 0.4, 4.0)[0]
        large = draw(Panorama(large_camera, scene(weather), VERGE), 180, 0.4, 12.0, large_camera)[0]
        blocks = large[:180].reshape(60, 3, 200, 3, 3).mean((1, 3))
        assert np.abs(blocks - small[:60]).mean() < 6


def test_panorama_shows_the_low_sun_at_its_bearing():
    low = scene("low_sun")
    air = dataclasses.replace(low.atmosphere, sun_bearing_rad=0.2, light=np.ones(3, np.float32))
    low = dataclasses.replace(low, atmosphere=air, ridges=np.zeros_like(low.ridges))
    picture = draw(Panorama(CAMERA, low, VERGE), heading_rad=0.1)[0].astype(float).sum(-1)
    blurred = np.array([[picture[v - 2 : v + 3, u - 2 : u + 3].mean() for u in range(2, 198)] for v in range(2, 24)])
    v, u = np.unravel_index(blurred.argmax(), blurred.shape)
    expected_u = CAMERA.horizon_u_px - 0.1 * CAMERA.focal_u_px
    expected_v = CAMERA.horizon_v_px - SUN_ELEVATION_RAD * CAMERA.focal_v_px
    assert abs(u + 2 - expected_u) <= 3
    assert abs(v + 2 - expected_v) <= 4


def test_panorama_fog_takes_the_hills_and_the_far_ground():
    foggy = scene("fog")
    foggy = dataclasses.replace(foggy, atmosphere=dataclasses.replace(foggy.atmosphere, visibility_m=25.0))
    picture = draw(Panorama(CAMERA, foggy, VERGE), 78)[0]
    np.testing.assert_allclose(picture[60], np.broadcast_to(foggy.atmosphere.horizon * 255, (200, 3)), atol=1.5)


def test_panorama_night_sky_has_stars_where_a_clouded_one_has_none():
    dark = scene("night")
    open_sky = dataclasses.replace(dark, clouds=np.zeros_like(dark.clouds), ridges=np.zeros_like(dark.ridges))
    dull = dataclasses.replace(dark.atmosphere, weather=WEATHERS["overcast"])
    with_stars, without = (
        draw(Panorama(CAMERA, s, VERGE), 24)[0][:24].max(-1).astype(int)
        for s in (open_sky, dataclasses.replace(open_sky, atmosphere=dull))
    )
    assert 5 < np.sum(with_stars - without > 30) < 500


def test_panorama_seasons_and_families_look_apart():
    nearest = [
        [scene("clear", season, seed).ridge_colours[-1] for seed in range(6)]
        for season in ("summer", "autumn", "winter")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(np.array(nearest[one]) - nearest[other]).max(axis=1).mean() > 0.05
    heights = {
        family: np.mean([scene(family=family, seed=seed).ridges.max() for seed in range(6)])
        for family in ("mountain", "highway")
    }
    assert heights["mountain"] > heights["highway"]


@pytest.mark.parametrize("fov_deg", [15.0, 67.4, 100.0, 120.0])
def test_panorama_of_any_field_of_view_is_painted_all_over(fov_deg):
    focal_px = focal_of(fov_deg, CAMERA.width_px)
    camera = dataclasses.replace(CAMERA, focal_u_px=focal_px, focal_v_px=focal_px)
    for heading_rad in np.linspace(0, 6, 5):
        looked_at = Panorama(camera, scene(), VERGE)
        everywhere = Panorama(camera, scene(), VERGE)
        for other_rad in np.linspace(0, 6.2, 64):
            draw(everywhere, 26, other_rad)
        here = draw(looked_at, 26, heading_rad)
        for found, expected in zip(here, draw(everywhere, 26, heading_rad), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert fov_deg < 60 or (here[1][0] == SurfaceClass.SKY).all()
