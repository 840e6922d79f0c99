"""Season and weather of an episode: what light, air and sky are like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.seasons import Season
from sim.weathers import Weather


@dataclass(frozen=True)
class Atmosphere:
    """Light and air of one episode; everything that is drawn is drawn in it.

    Attributes:
        season, weather: of the day.
        light: (3,) float32 gain of the daylight (exposure and tint) on every lit surface.
        zenith, horizon: (3,) float32 colours of the sky, RGB in [0, 1], light included (the darkness of the night
            is laid over them later, as over everything).
        visibility_m: distance at which haze takes 63 % of a colour; what it takes becomes ``horizon``.
        sun_bearing_rad: direction of a low sun in the world (counter-clockwise from x), None where none is seen.
        wetness: 0 dry to 1 standing water: how much the paved surface mirrors the sky.
        snow_cover: 0 to 1, snow lying on the ground.
        has_shadows: the sun casts hard shadows.
        headlights: the own car's are on; ``darkness`` (0 to 1) is what daylight lacks outside their beam.
    """

    season: Season
    weather: Weather
    light: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    visibility_m: float
    sun_bearing_rad: float | None
    wetness: float
    snow_cover: float
    has_shadows: bool
    headlights: bool
    darkness: float


def draw_atmosphere(rng: np.random.Generator, season: Season, weather: Weather) -> Atmosphere:
    """Draw one day of the given season and weather."""
    zenith, horizon = (np.array(c) for c in weather.skies[rng.integers(len(weather.skies))])
    exposure = rng.uniform(*weather.exposure)
    warmth, green = rng.uniform(-0.07, 0.07), rng.uniform(-0.02, 0.02)
    cast = np.array([1 + warmth, 1 + green, 1 - warmth])  # the camera's white balance
    light = exposure * np.array(weather.tint) * np.array(season.light_tint) * cast
    # Skies are mostly overexposed already: exposure moves them less than the ground.
    sky_gain = np.sqrt(exposure) * cast
    wetness, darkness = rng.uniform(*weather.wetness), rng.uniform(*weather.darkness)
    visibility_m = np.exp(rng.uniform(*np.log(weather.visibility_m)))
    # In front of most roads (they set out along x), else the glare would seldom be met.
    bearing_rad = rng.uniform(-0.9, 0.9) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    return Atmosphere(
        season=season,
        weather=weather,
        light=light.astype(np.float32),
        zenith=np.clip(zenith * sky_gain, 0, 1).astype(np.float32),
        horizon=np.clip(horizon * sky_gain, 0, 1).astype(np.float32),
        visibility_m=float(visibility_m),
        sun_bearing_rad=float(bearing_rad) if weather.low_sun else None,
        wetness=float(wetness),
        snow_cover=_draw_snow_cover(rng, season, weather),
        has_shadows=weather.shadows,
        headlights=weather.headlights,
        darkness=float(darkness),
    )


def _draw_snow_cover(rng: np.random.Generator, season: Season, weather: Weather) -> float:
    lies, depth = rng.random() < season.snow_share, rng.uniform(0.25, 1.0)
    if weather.precipitation == "snow":
        least, more = season.falling_snow
        return float(least + more * depth)
    return float(weather.lying_snow * depth) if lies else 0.0
