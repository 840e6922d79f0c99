"""What the world of one episode looks like: the road's cross-section, its ground texture and the skyline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sim.look.atmosphere import Atmosphere
from sim.look.markings import draw_markings
from sim.look.section import CrossSection, draw_section
from sim.look.shadows import draw_shadow
from sim.look.skyline import draw_clouds, draw_ridges
from sim.look.surface import (
    HALF_WIDTH_M,
    N_D,
    N_S,
    SOLID,
    TEXEL_D_M,
    TEXEL_S_M,
    Pavement,
    draw_pavement,
    draw_shade,
    grid_d_m,
    noise,
    paint_by,
    ramp,
)
from sim.look.tiles import Tile, draw_tiles
from sim.look.verge import draw_snow, draw_verge, litter_road
from sim.surface_class import SurfaceClass

__all__ = [
    "HALF_WIDTH_M",
    "N_D",
    "N_S",
    "TEXEL_D_M",
    "TEXEL_S_M",
    "CrossSection",
    "Scene",
    "draw_scene",
]

# One random stream for each cause: the season moves no marking, a tile moves no shadow.
_STREAMS = (
    "section",
    "markings",
    "pavement",
    "tiles",
    "verge",
    "snow",
    "shadow",
    "wet",
    "tone",
    "skyline",
    "clouds",
)
_VISIBLE = 0.35
"""Paint that hides at least this share of the ground counts as a marking."""


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn once an episode.

    Attributes:
        section: lateral layout of the road.
        ground: (n_tiles, N_D, N_S, 3) uint8 RGB, light included; row 0 is HALF_WIDTH_M to the left, columns run
            along the road. Tile 0 is plain road; all tiles are equal within 1 m of both ends.
        surface: (n_tiles, N_D, N_S) uint8, VERGE, ROAD or MARKING of every texel.
        tile_order: (n_periods,) the tile of every period of the road, repeated cyclically; starts with 0.
        ridges: (n, n_bearings) heights of the hills above the horizon in radians by bearing, far to near.
        ridge_colours: (n, 3) RGB in [0, 1], light and haze included.
        ridge_textures: (n, n_rows, n_bearings) gain of the colours by elevation (from ``skyline.TOP_RAD`` down to 0).
        clouds: (n_rows, n_bearings) cover in [0, 1] by elevation and bearing.
        atmosphere: season, weather, light and air.
    """

    section: CrossSection
    ground: np.ndarray
    surface: np.ndarray
    tile_order: np.ndarray
    ridges: np.ndarray
    ridge_colours: np.ndarray
    ridge_textures: np.ndarray
    clouds: np.ndarray
    atmosphere: Atmosphere


def draw_scene(
    rng: np.random.Generator, family: str, atmosphere: Atmosphere, lane_width_m: float | None = None
) -> Scene:
    """Draw the looks of one episode: section, surface, markings and wear, shadows, snow, skyline.

    Args:
        rng: the same state gives the same section, markings and tiles whatever the atmosphere.
        family: "highway", "country", "mountain" or "urban".
        atmosphere: season, weather and light.
        lane_width_m: used instead of the drawn one.
    """
    seeds = rng.integers(2**63, size=len(_STREAMS))
    streams = {name: np.random.default_rng(seed) for name, seed in zip(_STREAMS, seeds, strict=True)}
    section = draw_section(streams["section"], family, lane_width_m)
    paint, style = draw_markings(streams["markings"], family, section)
    pavement = draw_pavement(streams["pavement"], family)
    shade = draw_shade(streams["pavement"], section, pavement)
    plain = Tile(np.where(_paved(section), np.uint8(SOLID), np.uint8(0)), shade, paint)
    tiles, order = draw_tiles(streams["tiles"], family, plain, section, style)
    ground, surface = _colour(tiles, streams, family, section, pavement, atmosphere)
    ridges, ridge_colours, ridge_textures = draw_ridges(streams["skyline"], family, atmosphere)
    return Scene(
        section=section,
        ground=ground,
        surface=surface,
        tile_order=order,
        ridges=ridges,
        ridge_colours=ridge_colours,
        ridge_textures=ridge_textures,
        clouds=draw_clouds(streams["clouds"], atmosphere.weather),
        atmosphere=atmosphere,
    )


def _paved(section: CrossSection) -> np.ndarray:
    """Paved texels (N_D, N_S) of plain road, bool."""
    paved = (grid_d_m < section.left_edge_m) & (grid_d_m > section.right_edge_m)
    if section.far_carriageway_m is not None:
        right_m, left_m = section.far_carriageway_m
        paved |= (grid_d_m > right_m) & (grid_d_m < left_m)
    return np.broadcast_to(paved, (N_D, N_S))


def _colour(
    tiles: list[Tile],
    streams: dict[str, np.random.Generator],
    family: str,
    section: CrossSection,
    pavement: Pavement,
    atmosphere: Atmosphere,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and classes of all tiles."""
    wetness = atmosphere.wetness
    grey = pavement.grey * (1 - 0.42 * wetness)
    verge = draw_verge(streams["verge"], family, atmosphere.season, section, grey)
    litter_road(streams["verge"], verge, atmosphere.season, section)
    table = ramp((0.0, 0.0, 0.0), tuple(pavement.tint))
    damp = None
    if wetness > 0.2:  # wet asphalt is darker, in patches while it dries
        blotches = 0.45 * noise(streams["wet"], 0.3, 2.0) + 0.35 * noise(streams["wet"], 1.0, 6.0)
        spots = np.clip((2.6 * wetness - 0.8 + blotches) * 4, 0, 1)
        damp = (255 * (1 - min(0.2 + 0.4 * wetness, 0.45) * spots)).astype(np.uint8)
    snow = None
    if atmosphere.snow_cover > 0:
        is_falling = atmosphere.weather == "snow"
        snow = draw_snow(streams["snow"], section, atmosphere.snow_cover, is_falling)
    light = _light_table(streams["tone"], atmosphere)
    shadow = None
    if atmosphere.has_shadows:
        mask = draw_shadow(streams["shadow"], family, atmosphere.sun_bearing_rad is not None)
        left = streams["tone"].uniform(0.16, 0.42) * np.array([0.88, 1.0, 1.18])  # blue skylight in the shade
        shadow = paint_by(mask, ramp((1.0, 1.0, 1.0), tuple(left)))
    ground = np.empty((len(tiles), N_D, N_S, 3), np.uint8)
    surface = np.empty((len(tiles), N_D, N_S), np.uint8)
    for tile, picture, classes in zip(tiles, ground, surface, strict=True):
        shade = tile.shade if damp is None else cv2.multiply(tile.shade, damp, scale=1 / 255)
        picture[:] = verge
        cv2.copyTo(paint_by(shade, table), tile.paved, picture)
        alpha = cv2.bitwise_and(tile.paint.alpha, tile.paved)
        _lay_paint(picture, alpha, tile.paint.is_yellow)
        if snow is not None:
            on_verge, on_road, white, packed = snow
            hidden = np.where(tile.paved > 0, on_road, on_verge)
            white = white.copy()
            cv2.copyTo(packed, tile.paved, white)
            picture[:] = cv2.blendLinear(white, picture, hidden, 1 - hidden)
            alpha = (alpha * (1 - hidden)).astype(np.uint8)
        if shadow is not None:
            cv2.multiply(picture, shadow, dst=picture, scale=1 / 255)
        cv2.LUT(picture, light, dst=picture)
        classes[:] = np.where(tile.paved > 0, np.uint8(SurfaceClass.ROAD), np.uint8(SurfaceClass.VERGE))
        classes[alpha > 255 * _VISIBLE] = SurfaceClass.MARKING
    return ground, surface


def _lay_paint(picture: np.ndarray, alpha: np.ndarray, is_yellow: np.ndarray) -> None:
    """Blend white and yellow paint over a picture (N_D, N_S, 3), in place."""
    where = np.flatnonzero(alpha)
    under = picture.reshape(-1, 3)[where].astype(np.float32)
    yellow = is_yellow.reshape(-1)[where, None] > 0
    colour = np.where(yellow, np.array([218, 164, 44], np.float32), np.array([226, 226, 220], np.float32))
    share = alpha.reshape(-1)[where, None] * np.float32(1 / 255)
    picture.reshape(-1, 3)[where] = under + share * (colour - under)


def _light_table(rng: np.random.Generator, atmosphere: Atmosphere) -> np.ndarray:
    """Look-up table (256, 1, 3): the daylight's gain, then the camera's contrast."""
    gamma = rng.uniform(0.9, 1.25)
    lit = np.clip(np.linspace(0, 1, 256)[:, None] * atmosphere.light, 0, 1) ** gamma
    return np.round(255 * lit).astype(np.uint8)[:, None]
