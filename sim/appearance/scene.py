"""What the world of one episode looks like: the road's cross-section, its ground and the skyline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.appearance.ground import Ground, draw_ground
from sim.appearance.section import CrossSection, draw_section
from sim.appearance.skyline import draw_clouds, draw_ridges
from sim.appearance.surface import draw_pavement
from sim.changes import UNCHANGED, Change
from sim.families import RoadFamily

# One random stream for each cause: the season moves no marking, a tile moves no shadow.
_OTHER = 1
"""Key of a stream that is drawn anew, beside the seed of the first one."""
_STREAMS = ("section", "markings", "pavement", "tiles", "verge", "snow", "shadow", "wet", "tone", "skyline", "clouds")


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn once an episode.

    Attributes:
        section: lateral layout of the road.
        ground: the road and what lies beside it.
        ridges: (n, n_bearings) heights of the hills above the horizon in radians by bearing, far to near.
        ridge_colours: (n, 3) RGB in [0, 1], light and haze included.
        ridge_textures: (n, n_rows, n_bearings) gain of the colours by elevation (from ``skyline.TOP_RAD`` down to 0).
        clouds: (n_rows, n_bearings) cover in [0, 1] by elevation and bearing.
        atmosphere: season, weather, light and air.
    """

    section: CrossSection
    ground: Ground
    ridges: np.ndarray
    ridge_colours: np.ndarray
    ridge_textures: np.ndarray
    clouds: np.ndarray
    atmosphere: Atmosphere


def draw_scene(
    rng: np.random.Generator,
    family: RoadFamily,
    atmosphere: Atmosphere,
    lane_width_m: float | None = None,
    change: Change = UNCHANGED,
) -> Scene:
    """Draw the appearance of one episode: section, surface, markings and wear, shadows, snow, skyline.

    Args:
        rng: the same state gives the same section, markings and tiles whatever the atmosphere.
        family: kind of road.
        atmosphere: season, weather and light.
        lane_width_m: used instead of the drawn one.
        change: what is drawn anew, or not at all.
    """
    seeds = dict(zip(_STREAMS, rng.integers(2**63, size=len(_STREAMS)), strict=True))
    grey = draw_pavement(np.random.default_rng(seeds["pavement"]), family).grey if "pavement" in change.other else None
    streams = {
        name: np.random.default_rng([seed, _OTHER] if name in change.other else seed) for name, seed in seeds.items()
    }
    section = draw_section(streams["section"], family, lane_width_m)
    ground = draw_ground(streams, family, section, atmosphere, grey, change.has_shadows, change.has_markings)
    ridges, ridge_colours, ridge_textures = draw_ridges(streams["skyline"], family, atmosphere)
    return Scene(
        section=section,
        ground=ground,
        ridges=ridges,
        ridge_colours=ridge_colours,
        ridge_textures=ridge_textures,
        clouds=draw_clouds(streams["clouds"], atmosphere.weather),
        atmosphere=atmosphere,
    )
