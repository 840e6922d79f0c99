"""Seasons: what they do to the light, the ground, the plants and the roofs. A season is one value of one dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""
GroundColours = tuple[Colour, Colour, Colour]
"""Dark, middle and bright."""


@dataclass(frozen=True, eq=False)
class Season:
    """What painters need to know of a season.

    Attributes:
        name: key in ``SEASONS``.
        light_tint: of the daylight.
        ground: by kind of ground beside the road, its colours.
        litter: colours of what lies or grows there as small dots, and ``litter_per_row`` how many at most.
        leaves_on_road: leaves are blown onto the sides of the pavement.
        woods, hills: colours of distant woods and of open hills.
        leaves: of trees and bushes, RGB 0 to 255, one for each variant in turn; none where they are bare.
        undergrowth: below the trees of a wood, where it has no colour of ``leaves``.
        snow_share: share of the days with snow on the ground when none is falling.
        falling_snow: how deep fallen snow lies while it snows: least, and what comes on top with its depth.
        snow_on_roofs: on every other roof and conifer lies snow.
    """

    name: str
    light_tint: Colour
    ground: Mapping[str, GroundColours]
    litter: tuple[Colour, ...]
    woods: tuple[Colour, ...]
    hills: tuple[Colour, ...]
    leaves: tuple[tuple[int, int, int], ...]
    litter_per_row: int = 12
    leaves_on_road: bool = False
    undergrowth: tuple[int, int, int] | None = None
    snow_share: float = 0.0
    falling_snow: tuple[float, float] = (0.15, 0.4)
    snow_on_roofs: bool = False


_ALL = (
    Season(
        "spring",
        light_tint=(0.99, 1.01, 1.00),
        ground={
            "grass": ((0.14, 0.27, 0.07), (0.27, 0.43, 0.13), (0.43, 0.58, 0.20)),
            "meadow": ((0.18, 0.32, 0.08), (0.36, 0.48, 0.16), (0.62, 0.64, 0.26)),
            "forest": ((0.06, 0.10, 0.04), (0.16, 0.22, 0.08), (0.30, 0.36, 0.14)),
            "soil": ((0.22, 0.16, 0.10), (0.35, 0.27, 0.17), (0.34, 0.42, 0.17)),
            "sand": ((0.47, 0.42, 0.28), (0.66, 0.58, 0.41), (0.80, 0.73, 0.55)),
            "rock": ((0.20, 0.19, 0.16), (0.41, 0.40, 0.34), (0.64, 0.62, 0.53)),
        },
        litter=((0.95, 0.88, 0.20), (0.95, 0.95, 0.92), (0.70, 0.35, 0.60)),
        woods=((0.16, 0.26, 0.08), (0.24, 0.34, 0.12), (0.10, 0.19, 0.09)),
        hills=((0.30, 0.44, 0.16), (0.40, 0.48, 0.22)),
        leaves=((132, 160, 62), (150, 172, 78), (118, 150, 60), (206, 178, 186), (140, 158, 84), (164, 172, 92)),
    ),
    Season(
        "summer",
        light_tint=(1.02, 1.00, 0.97),
        ground={
            "grass": ((0.16, 0.25, 0.08), (0.30, 0.38, 0.15), (0.47, 0.48, 0.23)),
            "meadow": ((0.36, 0.33, 0.15), (0.57, 0.51, 0.27), (0.76, 0.68, 0.40)),
            "forest": ((0.05, 0.08, 0.04), (0.13, 0.17, 0.07), (0.27, 0.29, 0.13)),
            "soil": ((0.36, 0.27, 0.17), (0.50, 0.39, 0.26), (0.64, 0.53, 0.36)),
            "sand": ((0.56, 0.47, 0.32), (0.74, 0.64, 0.46), (0.87, 0.79, 0.61)),
            "rock": ((0.22, 0.20, 0.17), (0.45, 0.41, 0.36), (0.69, 0.63, 0.56)),
        },
        litter=((0.75, 0.70, 0.42), (0.62, 0.58, 0.34), (0.85, 0.85, 0.78)),
        woods=((0.09, 0.16, 0.07), (0.14, 0.20, 0.09), (0.06, 0.12, 0.07)),
        hills=((0.42, 0.40, 0.20), (0.62, 0.52, 0.30), (0.28, 0.34, 0.15)),
        leaves=((86, 118, 44), (74, 104, 44), (98, 122, 52), (66, 98, 50), (92, 108, 60), (108, 126, 58)),
    ),
    Season(
        "autumn",
        light_tint=(1.04, 1.00, 0.94),
        ground={
            "grass": ((0.19, 0.20, 0.08), (0.36, 0.33, 0.14), (0.54, 0.43, 0.19)),
            "meadow": ((0.33, 0.25, 0.12), (0.52, 0.40, 0.20), (0.66, 0.52, 0.29)),
            "forest": ((0.14, 0.09, 0.04), (0.36, 0.22, 0.08), (0.62, 0.39, 0.13)),
            "soil": ((0.19, 0.13, 0.09), (0.31, 0.22, 0.15), (0.44, 0.33, 0.22)),
            "sand": ((0.48, 0.38, 0.24), (0.64, 0.52, 0.35), (0.77, 0.66, 0.47)),
            "rock": ((0.20, 0.18, 0.15), (0.42, 0.37, 0.31), (0.66, 0.58, 0.50)),
        },
        litter=((0.78, 0.42, 0.08), (0.85, 0.63, 0.15), (0.55, 0.22, 0.08), (0.42, 0.28, 0.12)),
        litter_per_row=40,
        leaves_on_road=True,
        woods=((0.40, 0.24, 0.08), (0.48, 0.34, 0.10), (0.28, 0.15, 0.07), (0.16, 0.18, 0.08)),
        hills=((0.46, 0.36, 0.18), (0.36, 0.30, 0.16)),
        leaves=((196, 140, 40), (182, 92, 36), (166, 128, 52), (150, 64, 38), (206, 168, 60), (128, 122, 54)),
    ),
    Season(
        "winter",
        light_tint=(0.96, 0.99, 1.05),
        ground={
            "grass": ((0.19, 0.19, 0.12), (0.33, 0.31, 0.20), (0.47, 0.42, 0.28)),
            "meadow": ((0.28, 0.24, 0.16), (0.42, 0.36, 0.25), (0.56, 0.48, 0.34)),
            "forest": ((0.10, 0.08, 0.06), (0.21, 0.17, 0.12), (0.34, 0.28, 0.20)),
            "soil": ((0.16, 0.12, 0.09), (0.27, 0.21, 0.16), (0.38, 0.31, 0.25)),
            "sand": ((0.44, 0.39, 0.32), (0.58, 0.52, 0.43), (0.70, 0.65, 0.55)),
            "rock": ((0.18, 0.18, 0.17), (0.38, 0.37, 0.36), (0.60, 0.59, 0.58)),
        },
        litter=((0.30, 0.24, 0.18),),
        woods=((0.20, 0.17, 0.14), (0.13, 0.14, 0.11), (0.26, 0.22, 0.18)),
        hills=((0.34, 0.30, 0.24), (0.42, 0.38, 0.32)),
        leaves=(),
        undergrowth=(84, 74, 60),
        snow_share=0.65,
        falling_snow=(0.0, 1.0),
        snow_on_roofs=True,
    ),
)  # fmt: skip
SEASONS: dict[str, Season] = {season.name: season for season in _ALL}
"""Every season by its name."""
