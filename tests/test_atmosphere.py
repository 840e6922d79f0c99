import numpy as np
import pytest

from sim.appearance.atmosphere import Atmosphere, draw_atmosphere
from sim.seasons import SEASONS
from sim.weathers import WEATHERS


def drawn(season: str, weather: str, n: int = 60) -> list[Atmosphere]:
    return [draw_atmosphere(np.random.default_rng(seed), SEASONS[season], WEATHERS[weather]) for seed in range(n)]


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("season", SEASONS)
def test_atmosphere_is_within_its_ranges(season, weather):
    for air in drawn(season, weather):
        assert (air.season.name, air.weather.name) == (season, weather)
        for colour in (air.light, air.zenith, air.horizon):
            assert (colour.shape, colour.dtype) == ((3,), np.float32)
        assert 0.35 < air.light.min() <= air.light.max() < 2.0
        assert min(air.zenith.min(), air.horizon.min()) >= 0
        assert max(air.zenith.max(), air.horizon.max()) <= 1
        for share in (air.wetness, air.snow_cover, air.darkness):
            assert 0 <= share <= 1
        assert 25 <= air.visibility_m <= 1500
        assert (air.sun_bearing_rad is None) == (weather != "low_sun")
        if air.sun_bearing_rad is not None:
            assert -np.pi <= air.sun_bearing_rad <= np.pi


def test_atmosphere_weathers_are_what_their_names_say():
    for season in SEASONS:
        days = {weather: drawn(season, weather) for weather in WEATHERS}
        assert all(day.visibility_m <= 70 for day in days["fog"])
        assert all(day.wetness >= 0.45 for day in days["rain"])
        assert all(day.snow_cover > 0 for day in days["snow"])
        assert all(day.headlights and day.darkness > 0.8 for day in days["night"])
        assert all(day.headlights and 0 < day.darkness < 0.5 for day in days["dusk"])
        assert all(day.light[0] > day.light[2] for day in days["low_sun"])  # warm
        for weather, of_weather in days.items():
            assert all(day.has_shadows == (weather in ("clear", "low_sun")) for day in of_weather)
            if weather not in ("dusk", "night"):
                assert not any(day.headlights or day.darkness for day in of_weather)


def test_atmosphere_snow_lies_in_winter_only_unless_it_falls():
    for weather in set(WEATHERS) - {"snow"}:
        assert not any(day.snow_cover for season in list(SEASONS)[:3] for day in drawn(season, weather))
        lies = [day.snow_cover > 0 for day in drawn("winter", weather)]
        assert 0.4 < np.mean(lies) < 0.9


def test_atmosphere_exposure_differs_widely_between_days():
    brightness = [air.light.mean() for weather in ("clear", "overcast", "rain") for air in drawn("summer", weather)]
    assert min(brightness) < 0.65
    assert max(brightness) > 1.3


def test_atmosphere_is_the_same_for_the_same_seed_and_not_for_another():
    first, again, other = (
        draw_atmosphere(np.random.default_rng(s), SEASONS["autumn"], WEATHERS["clear"]) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.light, again.light)
    assert first.visibility_m == again.visibility_m
    assert first.visibility_m != other.visibility_m
