"""Season and weather of an episode: what light, air and sky are like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.errors import BadInputError

SEASONS = ("spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "overcast", "rain", "fog", "snow", "low_sun", "dusk", "night")


@dataclass(frozen=True)
class Atmosphere:
    """Light and air of one episode; everything that is drawn is drawn in it.

    Attributes:
        season, weather: the names.
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

    season: str
    weather: str
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


@dataclass(frozen=True)
class _Weather:
    """Ranges of one weather. ``skies`` are (zenith, horizon) pairs of RGB, ``tint`` colours the light."""

    exposure: tuple[float, float]
    tint: tuple[float, float, float]
    visibility_m: tuple[float, float]
    skies: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]
    wetness: tuple[float, float] = (0.0, 0.0)
    darkness: tuple[float, float] = (0.0, 0.0)


_BLUE = (
    ((0.20, 0.42, 0.82), (0.66, 0.82, 0.97)),
    ((0.30, 0.52, 0.84), (0.86, 0.92, 0.97)),
    ((0.42, 0.62, 0.86), (0.92, 0.92, 0.88)),
    ((0.62, 0.74, 0.86), (0.97, 0.97, 0.94)),
)
_GREY = (
    ((0.62, 0.64, 0.67), (0.82, 0.83, 0.84)),
    ((0.44, 0.47, 0.52), (0.70, 0.72, 0.74)),
    ((0.78, 0.79, 0.80), (0.93, 0.93, 0.93)),
)
_WEATHERS = {
    "clear": _Weather((0.70, 1.40), (1.03, 1.00, 0.95), (250.0, 1500.0), _BLUE),
    "overcast": _Weather((0.60, 1.15), (0.98, 1.00, 1.03), (150.0, 800.0), _GREY, wetness=(0.0, 0.15)),
    "rain": _Weather(
        (0.50, 0.95),
        (0.95, 1.00, 1.05),
        (80.0, 350.0),
        (((0.42, 0.45, 0.50), (0.66, 0.69, 0.72)), ((0.56, 0.58, 0.61), (0.76, 0.77, 0.78))),
        wetness=(0.45, 1.0),
    ),
    "fog": _Weather(
        (0.60, 1.10),
        (0.99, 1.00, 1.01),
        (25.0, 70.0),
        (((0.70, 0.72, 0.74), (0.76, 0.78, 0.79)), ((0.84, 0.84, 0.83), (0.86, 0.86, 0.85))),
        wetness=(0.0, 0.4),
    ),
    "snow": _Weather(
        (0.65, 1.15),
        (0.97, 1.00, 1.04),
        (40.0, 160.0),
        (((0.68, 0.70, 0.74), (0.84, 0.85, 0.87)), ((0.54, 0.57, 0.62), (0.74, 0.76, 0.79))),
        wetness=(0.1, 0.5),
    ),
    "low_sun": _Weather(
        (0.60, 1.20),
        (1.18, 0.97, 0.74),
        (150.0, 700.0),
        (((0.42, 0.56, 0.80), (1.00, 0.80, 0.54)), ((0.58, 0.62, 0.74), (1.00, 0.88, 0.66))),
    ),
    "dusk": _Weather(
        (0.50, 0.80),
        (0.84, 0.92, 1.18),
        (250.0, 900.0),
        (((0.20, 0.27, 0.50), (0.98, 0.60, 0.42)), ((0.27, 0.33, 0.52), (0.76, 0.62, 0.64))),
        wetness=(0.0, 0.3),
        darkness=(0.15, 0.40),
    ),
    "night": _Weather(
        (1.00, 1.40),
        (1.04, 1.00, 0.92),
        (200.0, 900.0),
        (((0.10, 0.13, 0.24), (0.24, 0.26, 0.36)), ((0.05, 0.06, 0.10), (0.12, 0.13, 0.18))),
        wetness=(0.0, 0.4),
        darkness=(0.84, 0.95),
    ),
}
_SEASON_TINTS = {
    "spring": (0.99, 1.01, 1.00),
    "summer": (1.02, 1.00, 0.97),
    "autumn": (1.04, 1.00, 0.94),
    "winter": (0.96, 0.99, 1.05),
}
_WINTER_SNOW = 0.65
"""Share of winter days with snow on the ground when none is falling."""


def draw_atmosphere(rng: np.random.Generator, season: str, weather: str) -> Atmosphere:
    """Draw one day of the given season and weather; unknown names raise ``BadInputError``."""
    for name, value, known in (("season", season, SEASONS), ("weather", weather, WEATHERS)):
        if value not in known:
            raise BadInputError(f"expected {name} one of {', '.join(known)}, got {value!r}")
    ranges = _WEATHERS[weather]
    zenith, horizon = (np.array(c) for c in ranges.skies[rng.integers(len(ranges.skies))])
    exposure = rng.uniform(*ranges.exposure)
    warmth, green = rng.uniform(-0.07, 0.07), rng.uniform(-0.02, 0.02)
    cast = np.array([1 + warmth, 1 + green, 1 - warmth])  # the camera's white balance
    light = exposure * np.array(ranges.tint) * np.array(_SEASON_TINTS[season]) * cast
    # Skies are mostly overexposed already: exposure moves them less than the ground.
    sky_gain = np.sqrt(exposure) * cast
    wetness, darkness = rng.uniform(*ranges.wetness), rng.uniform(*ranges.darkness)
    visibility_m = np.exp(rng.uniform(*np.log(ranges.visibility_m)))
    # In front of most roads (they set out along x), else the glare would seldom be met.
    bearing_rad = rng.uniform(-0.9, 0.9) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    return Atmosphere(
        season=season,
        weather=weather,
        light=light.astype(np.float32),
        zenith=np.clip(zenith * sky_gain, 0, 1).astype(np.float32),
        horizon=np.clip(horizon * sky_gain, 0, 1).astype(np.float32),
        visibility_m=float(visibility_m),
        sun_bearing_rad=float(bearing_rad) if weather == "low_sun" else None,
        wetness=float(wetness),
        snow_cover=_draw_snow_cover(rng, season, weather),
        has_shadows=weather in ("clear", "low_sun"),
        headlights=weather in ("dusk", "night"),
        darkness=float(darkness),
    )


def _draw_snow_cover(rng: np.random.Generator, season: str, weather: str) -> float:
    lies, depth = rng.random() < _WINTER_SNOW, rng.uniform(0.25, 1.0)
    if weather == "snow":
        return float(depth if season == "winter" else 0.15 + 0.4 * depth)
    if season != "winter" or not lies:
        return 0.0
    return float(0.4 * depth if weather == "rain" else depth)
