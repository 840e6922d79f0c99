"""Weathers: the ranges from which a day's light and air are drawn. A weather is one value of one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sim.seasons import Colour

Range = tuple[float, float]
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


@dataclass(frozen=True)
class Weather:
    """What painters need to know of a weather.

    Attributes:
        name: key in ``WEATHERS``.
        exposure, tint: gain of the daylight, and its colour.
        visibility_m: distance at which haze takes 63 % of a colour.
        skies: pairs of the colours of zenith and horizon.
        wetness: of the ground, 0 to 1.
        darkness: what daylight lacks outside the beam of the headlights, 0 to 1.
        cloud_threshold: of the clouds' noise; high is a clean sky, at the default it is covered throughout.
        cloud_gain: brightness of the clouds against the horizon.
        precipitation: what falls.
        lying_snow: share of winter's snow that stays on the ground.
        low_sun: the sun stands low and dazzles.
        shadows: the sun casts hard ones.
        headlights: the own car's are on.
        stars: are seen.
    """

    name: str
    exposure: Range
    tint: Colour
    visibility_m: Range
    skies: tuple[tuple[Colour, Colour], ...]
    wetness: Range = (0.0, 0.0)
    darkness: Range = (0.0, 0.0)
    cloud_threshold: Range = (0.3, 0.8)
    cloud_gain: float = 1.12
    precipitation: Literal["rain", "snow"] | None = None
    lying_snow: float = 1.0
    low_sun: bool = False
    shadows: bool = False
    headlights: bool = False
    stars: bool = False


_ALL = (
    Weather(
        "clear", (0.70, 1.40), (1.03, 1.00, 0.95), (250.0, 1500.0), _BLUE, cloud_threshold=(0.9, 2.2), shadows=True
    ),
    Weather(
        "overcast", (0.60, 1.15), (0.98, 1.00, 1.03), (150.0, 800.0), _GREY, wetness=(0.0, 0.15), cloud_gain=0.8
    ),
    Weather(
        "rain", (0.50, 0.95), (0.95, 1.00, 1.05), (80.0, 350.0),
        (((0.42, 0.45, 0.50), (0.66, 0.69, 0.72)), ((0.56, 0.58, 0.61), (0.76, 0.77, 0.78))),
        wetness=(0.45, 1.0), precipitation="rain", lying_snow=0.4,
    ),
    Weather(
        "fog", (0.60, 1.10), (0.99, 1.00, 1.01), (25.0, 70.0),
        (((0.70, 0.72, 0.74), (0.76, 0.78, 0.79)), ((0.84, 0.84, 0.83), (0.86, 0.86, 0.85))),
        wetness=(0.0, 0.4),
    ),
    Weather(
        "snow", (0.65, 1.15), (0.97, 1.00, 1.04), (40.0, 160.0),
        (((0.68, 0.70, 0.74), (0.84, 0.85, 0.87)), ((0.54, 0.57, 0.62), (0.74, 0.76, 0.79))),
        wetness=(0.1, 0.5), precipitation="snow",
    ),
    Weather(
        "low_sun", (0.60, 1.20), (1.18, 0.97, 0.74), (150.0, 700.0),
        (((0.42, 0.56, 0.80), (1.00, 0.80, 0.54)), ((0.58, 0.62, 0.74), (1.00, 0.88, 0.66))),
        cloud_threshold=(0.7, 1.6), low_sun=True, shadows=True,
    ),
    Weather(
        "dusk", (0.50, 0.80), (0.84, 0.92, 1.18), (250.0, 900.0),
        (((0.20, 0.27, 0.50), (0.98, 0.60, 0.42)), ((0.27, 0.33, 0.52), (0.76, 0.62, 0.64))),
        wetness=(0.0, 0.3), darkness=(0.15, 0.40), cloud_threshold=(0.5, 1.4), headlights=True,
    ),
    Weather(
        "night", (1.00, 1.40), (1.04, 1.00, 0.92), (200.0, 900.0),
        (((0.10, 0.13, 0.24), (0.24, 0.26, 0.36)), ((0.05, 0.06, 0.10), (0.12, 0.13, 0.18))),
        wetness=(0.0, 0.4), darkness=(0.84, 0.95), cloud_threshold=(0.9, 1.8), headlights=True, stars=True,
    ),
)  # fmt: skip
WEATHERS: dict[str, Weather] = {weather.name: weather for weather in _ALL}
"""Every weather by its name."""
