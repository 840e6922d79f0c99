import dataclasses

import numpy as np
import pytest

from sim.appearance.atmosphere import Atmosphere, draw_atmosphere
from sim.appearance.weather_overlay import N_PATTERNS, Overlay
from sim.camera import Camera
from sim.seasons import SEASONS
from sim.weathers import WEATHERS

CAMERA = Camera()
NEEDED = {"rain", "snow", "low_sun", "dusk", "night"}


def air(weather: str, seed: int = 1) -> Atmosphere:
    return draw_atmosphere(np.random.default_rng(seed), SEASONS["summer"], WEATHERS[weather])


def overlay(weather: str, seed: int = 1, camera: Camera = CAMERA) -> Overlay:
    return Overlay(camera, air(weather, seed), np.random.default_rng(seed))


def grey_picture(value: int = 120) -> np.ndarray:
    return np.full((CAMERA.height_px, CAMERA.width_px, 3), value, np.uint8)


def applied(over: Overlay, i_frame: int = 0, heading_rad: float = 0.0, value: int = 120) -> np.ndarray:
    picture = grey_picture(value)
    over.apply(picture, i_frame, heading_rad)
    return picture


@pytest.mark.parametrize("weather", WEATHERS)
def test_overlay_changes_the_picture_exactly_where_it_says_so(weather):
    over = overlay(weather)
    assert over.is_needed == (weather in NEEDED)
    heading_rad = air(weather).sun_bearing_rad or 0.0
    assert (applied(over, heading_rad=heading_rad) != grey_picture()).any() == over.is_needed


@pytest.mark.parametrize("weather", sorted(NEEDED))
def test_overlay_same_seed_and_frame_give_the_same_pixels(weather):
    one, two = overlay(weather), overlay(weather)
    for i_frame in (0, 3, 500, 2):
        np.testing.assert_array_equal(applied(one, i_frame, 0.1), applied(two, i_frame, 0.1))


@pytest.mark.parametrize("weather", ["rain", "snow"])
def test_overlay_precipitation_moves_from_frame_to_frame_and_with_the_seed(weather):
    over = overlay(weather)
    frames = [applied(over, i) for i in range(2 * N_PATTERNS)]
    for i in range(1, len(frames)):
        assert (frames[i] != frames[i - 1]).any()
    assert (frames[0] != frames[N_PATTERNS]).any()  # a cycle later it is not the same again
    assert (frames[0] != applied(overlay(weather, seed=9))).any()


@pytest.mark.parametrize("weather", ["rain", "snow"])
def test_overlay_precipitation_keeps_most_of_the_picture_and_lowers_its_contrast(weather):
    over = overlay(weather)
    dark, bright = (applied(over, 1, value=value).astype(int) for value in (40, 160))
    assert 0.8 * 120 < np.median(bright - dark) < 120


def test_overlay_night_lights_the_road_ahead_and_little_else():
    picture = applied(overlay("night"), value=200)[..., 1].astype(int)
    road, side, far, sky = picture[60, 100], picture[45, 5], picture[29, 100], picture[5, 100]
    assert road > 120
    assert road > 2 * side
    assert road > 2 * far
    assert sky < 70
    column = picture[27:60, 100]
    assert (np.diff(column) >= -2).all()  # brighter towards the car, without steps back


def test_overlay_dusk_is_brighter_than_night():
    dusk, night = (applied(overlay(weather), value=200) for weather in ("dusk", "night"))
    assert dusk.mean() > 1.5 * night.mean()


def test_overlay_darkness_of_zero_is_no_overlay():
    day = dataclasses.replace(air("night"), darkness=0.0)
    assert not Overlay(CAMERA, day, np.random.default_rng(0)).is_needed


def test_overlay_glare_is_brightest_around_the_sun_and_gone_behind_the_car():
    low = dataclasses.replace(air("low_sun"), sun_bearing_rad=0.25)
    over = Overlay(CAMERA, low, np.random.default_rng(0))
    columns = applied(over, heading_rad=0.0, value=60)[:26].astype(float).sum((0, 2))
    assert abs(columns.argmax() - (CAMERA.horizon_u_px - 0.25 * CAMERA.focal_u_px)) <= 2
    np.testing.assert_array_equal(applied(over, heading_rad=0.25 + np.pi), grey_picture())
    for turns in (-2, 3):  # headings are not wrapped
        np.testing.assert_array_equal(applied(over, 0, turns * 2 * np.pi), applied(over, 0, 0.0))


def test_overlay_glare_fades_as_the_car_turns_away():
    over = Overlay(CAMERA, dataclasses.replace(air("low_sun"), sun_bearing_rad=0.0), np.random.default_rng(0))
    gains = [applied(over, heading_rad=turn, value=60).mean() for turn in (0.0, 0.3, 0.6, 0.89, 1.0)]
    assert (np.diff(gains) <= 0.5).all()
    assert gains[0] > gains[-1] + 10
    assert abs(gains[-2] - gains[-1]) < 3  # no step where it ends


@pytest.mark.parametrize("weather", sorted(NEEDED))
def test_overlay_fits_a_larger_camera(weather):
    large = CAMERA.resized(234, 600)
    picture = np.full((234, 600, 3), 120, np.uint8)
    overlay(weather, camera=large).apply(picture, 11, 0.0)
    blocks = picture.reshape(78, 3, 200, 3, 3).mean((1, 3))
    if weather in ("dusk", "night", "low_sun"):
        assert np.abs(blocks - applied(overlay(weather), 11)).mean() < 2
    assert picture.std() >= 0
