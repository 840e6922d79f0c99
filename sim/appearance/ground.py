"""The ground of an episode: its stretches of road ("tiles") with all that lies on them, painted as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.appearance.ground_loops import light_up, pave, products
from sim.appearance.markings import draw_markings
from sim.appearance.section import CrossSection
from sim.appearance.shadows import draw_shadow
from sim.appearance.surface import N_D, N_S, SOLID, Pavement, draw_pavement, draw_shade, grid_d_m, noise, ramp
from sim.appearance.tiles import Tile, draw_tiles
from sim.appearance.verge import draw_snow, draw_verge, litter_road
from sim.families import RoadFamily

_NONE = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Ground:
    """What the tiles of an episode are painted from; row 0 of a tile is HALF_WIDTH_M to the left, columns run along.

    Attributes:
        tiles: tile 0 is plain road; all tiles are equal within 1 m of both ends.
        order: (n_periods,) the tile of every period of the road, repeated cyclically; starts with 0.
        verge: (N_D, N_S, 3) uint8 colours of what is not paved.
        pavement: (256, 3) uint8 colours of the pavement by brightness.
        damp: (N_D, N_S) uint8 darkening of wet asphalt, empty where it is dry.
        snow: as ``draw_snow`` gives it, None without.
        shadow, shadow_colours: (N_D, N_S) uint8 cover, empty without hard shadows, and (256, 3) what it leaves.
        light: (256, 3) uint8, the daylight and the camera's contrast.
        has_markings: whether anything is painted on the road.
    """

    tiles: list[Tile]
    order: np.ndarray
    verge: np.ndarray
    pavement: np.ndarray
    damp: np.ndarray
    snow: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None
    shadow: np.ndarray
    shadow_colours: np.ndarray
    light: np.ndarray
    has_markings: bool = True

    def paint(self, i_tile: int, texels: np.ndarray, classes: np.ndarray) -> None:
        """Fill in a tile's colours, RGB as uint32 (N_D, N_S), light included, and VERGE, ROAD or MARKING (N_D, N_S)."""
        tile = self.tiles[i_tile]
        alpha, colours = tile.paint.alpha.copy(), np.empty((N_D, N_S, 3), np.uint8)
        if not self.has_markings:
            alpha[:] = 0
        pave(
            colours, self.verge, tile.paved, tile.shade, self.damp, products(), self.pavement, alpha,
            tile.paint.is_yellow,
        )  # fmt: skip
        if self.snow is not None:
            on_verge, on_road, white, packed = self.snow
            hidden = np.where(tile.paved > 0, on_road, on_verge)
            white = white.copy()
            cv2.copyTo(packed, tile.paved, white)
            colours = cv2.blendLinear(white, colours, hidden, 1 - hidden)
            alpha = (alpha * (1 - hidden)).astype(np.uint8)
        light_up(colours, self.shadow, self.shadow_colours, products(), self.light, tile.paved, alpha, texels, classes)


def draw_ground(
    streams: dict[str, np.random.Generator],
    family: RoadFamily,
    section: CrossSection,
    atmosphere: Atmosphere,
    grey: float | None = None,
    has_shadows: bool = True,
    has_markings: bool = True,
) -> Ground:
    """Draw all that is random of an episode's ground; the markings and tiles are the same in any atmosphere.

    ``grey`` is the brightness of pavement that the verge stands off; that of this one by default.
    """
    paint, style = draw_markings(streams["markings"], family, section)
    pavement = draw_pavement(streams["pavement"], family)
    shade = draw_shade(streams["pavement"], section, pavement)
    plain = Tile(np.where(_paved(section), np.uint8(SOLID), np.uint8(0)), shade, paint)
    tiles, order = draw_tiles(streams["tiles"], family, plain, section, style)
    verge = draw_verge(
        streams["verge"], family, atmosphere.season, section,
        (pavement.grey if grey is None else grey) * (1 - 0.42 * atmosphere.wetness),
    )  # fmt: skip
    litter_road(streams["verge"], verge, atmosphere.season, section)
    snow = None
    if atmosphere.snow_cover > 0:
        is_falling = atmosphere.weather.precipitation == "snow"
        snow = draw_snow(streams["snow"], section, atmosphere.snow_cover, is_falling)
    light = _light_table(streams["tone"], atmosphere)
    shadow, shadow_colours = _NONE, np.empty((256, 3), np.uint8)
    if atmosphere.has_shadows and has_shadows:
        shadow = draw_shadow(streams["shadow"], family, atmosphere.sun_bearing_rad is not None)
        left = streams["tone"].uniform(0.16, 0.42) * np.array([0.88, 1.0, 1.18])  # blue skylight in the shade
        shadow_colours = ramp((1.0, 1.0, 1.0), tuple(left))[:, 0]
    return Ground(
        tiles, order, verge, _pavement_colours(pavement), _damp(streams["wet"], atmosphere.wetness), snow, shadow,
        shadow_colours, light, has_markings,
    )  # fmt: skip


def _paved(section: CrossSection) -> np.ndarray:
    """Paved texels (N_D, N_S) of plain road, bool."""
    paved = (grid_d_m < section.left_edge_m) & (grid_d_m > section.right_edge_m)
    if section.far_carriageway_m is not None:
        right_m, left_m = section.far_carriageway_m
        paved |= (grid_d_m > right_m) & (grid_d_m < left_m)
    return np.broadcast_to(paved, (N_D, N_S))


def _pavement_colours(pavement: Pavement) -> np.ndarray:
    return ramp((0.0, 0.0, 0.0), tuple(pavement.tint))[:, 0]


def _damp(rng: np.random.Generator, wetness: float) -> np.ndarray:
    """Wet asphalt is darker, in patches while it dries."""
    if wetness <= 0.2:
        return _NONE
    blotches = 0.45 * noise(rng, 0.3, 2.0) + 0.35 * noise(rng, 1.0, 6.0)
    spots = np.clip((2.6 * wetness - 0.8 + blotches) * 4, 0, 1)
    return (255 * (1 - min(0.2 + 0.4 * wetness, 0.45) * spots)).astype(np.uint8)


def _light_table(rng: np.random.Generator, atmosphere: Atmosphere) -> np.ndarray:
    """Look-up table (256, 3): the daylight's gain, then the camera's contrast."""
    gamma = rng.uniform(0.9, 1.25)
    lit = np.clip(np.linspace(0, 1, 256)[:, None] * atmosphere.light, 0, 1) ** gamma
    return np.round(255 * lit).astype(np.uint8)
