"""The ground's texture kept at many resolutions, so that far ground neither flickers nor blurs more than it must."""

from __future__ import annotations

import math

import numpy as np

from sim.appearance.scene import Scene
from sim.appearance.surface import HALF_WIDTH_M, N_D, N_S, PERIOD_M, TEXEL_D_M, TEXEL_S_M
from sim.compiled import ONE, channel, compiled, mix, spread, spread_rgb, weight_of
from sim.surface_class import SurfaceClass

N_LEVELS_D = 5
N_LEVELS_S = 7
SHARPER = 0.2
"""Octaves by which the texture is sharper than the pixel: bilinear sampling blurs by itself."""
_ROAD, _LANE = int(SurfaceClass.ROAD), int(SurfaceClass.OWN_LANE)
_FIRST_ROW = np.cumsum([0, *(N_D >> level for level in range(N_LEVELS_D))])
_FIRST_COLUMN = np.cumsum([0, *(N_S >> level for level in range(N_LEVELS_S))])
N_ROWS, N_COLUMNS = int(_FIRST_ROW[-1]), int(_FIRST_COLUMN[-1])
"""Of one tile at all its resolutions, side by side."""


class GroundAtlas:
    """Every tile of a scene's ground, averaged to each pair of resolutions along (s) and across (d) the road.

    A pixel that sees the ground at a grazing angle covers a long, narrow patch of it; the two resolutions are
    chosen apart, as the road may run along the view or across it ("ripmap"; Larson and Shah 1990).

    Tiles are painted and averaged once the car comes within sight of them.

    Args:
        scene: whose ground it holds.
    """

    def __init__(self, scene: Scene) -> None:
        self._ground, n_tiles = scene.ground, len(scene.ground.tiles)
        self._texels = np.empty((n_tiles, N_ROWS, N_COLUMNS), np.uint32)
        self._surface = np.empty((n_tiles, N_D, N_S), np.uint8)
        self._is_ready = np.zeros(n_tiles, bool)
        self._tile_order = np.asarray(scene.ground.order, np.int64)
        self._half_lane_m = 0.5 * scene.section.lane_width_m
        self._wetness, self._visibility_m = scene.atmosphere.wetness, scene.atmosphere.visibility_m
        self._horizon = np.round(255 * np.clip(scene.atmosphere.horizon, 0, 1)).astype(np.int64)

    def draw(
        self,
        picture: np.ndarray,
        class_map: np.ndarray,
        lane_mask: np.ndarray,
        s_m: np.ndarray,
        d_m: np.ndarray,
        forward_m: np.ndarray,
        footprint_m: np.ndarray,
    ) -> None:
        """Draw the ground at road coordinates (s, d) (R, W) float32 into the last R rows of pictures (H, W).

        A wet road mirrors what stands in the rows above, the more, the flatter one looks at it; haze mixes every row
        with the horizon's colour by its distance.

        Args:
            picture: (H, W, 3) uint8, whose rows above the ground are drawn already.
            class_map: uint8, gets ``VERGE`` to ``MARKING``.
            lane_mask: bool, gets the own lane with the markings on it.
            forward_m: (R,) distance of each row.
            footprint_m: (2, R) what a pixel of each row covers along and across the road.
        """
        if not self._is_ready.all():
            self._make_ready(float(s_m.min()), float(s_m.max()))
        _draw(
            picture, class_map, lane_mask, len(picture) - len(s_m), s_m, d_m, forward_m, footprint_m, self._texels,
            self._surface, self._tile_order, self._half_lane_m, self._wetness, self._visibility_m, self._horizon,
        )  # fmt: skip

    def mean_verge(self) -> np.ndarray:
        """Mean colour (3,) of the furthest ground on both sides of plain road, 0 to 255."""
        self._make_ready(0.0, 0.0)  # the road begins with the plain tile
        some = self._texels[0, :N_D:8, :N_S:8]
        far = np.concatenate([some[:20], some[-20:]])
        return np.stack([far & 255, far >> 8 & 255, far >> 16], axis=-1).astype(np.uint8).mean((0, 1))

    def _make_ready(self, first_m: float, last_m: float) -> None:
        """The tiles of a stretch of the road."""
        periods = np.arange(math.floor(first_m / PERIOD_M), math.floor(last_m / PERIOD_M) + 1)
        for i_tile in set(self._tile_order[periods % len(self._tile_order)].tolist()):
            if not self._is_ready[i_tile]:
                texels = self._texels[i_tile]
                self._ground.paint(i_tile, texels[:N_D, :N_S], self._surface[i_tile])
                fill_atlas(texels)
                self._is_ready[i_tile] = True


@compiled
def fill_atlas(atlas: np.ndarray) -> None:
    """All resolutions of the tile in the first corner of (N_ROWS, N_COLUMNS) uint32: means of two, rounded."""
    for level in range(1, N_LEVELS_D):
        above, below = _FIRST_ROW[level - 1], _FIRST_ROW[level]
        for i in range(N_D >> level):
            for j in range(N_S):
                atlas[below + i, j] = _mean(atlas[above + 2 * i, j], atlas[above + 2 * i + 1, j])
    for i in range(N_ROWS):
        for level in range(1, N_LEVELS_S):
            left, right = _FIRST_COLUMN[level - 1], _FIRST_COLUMN[level]
            for j in range(N_S >> level):
                atlas[i, right + j] = _mean(atlas[i, left + 2 * j], atlas[i, left + 2 * j + 1])


@compiled
def _mean(first: np.uint32, second: np.uint32) -> np.uint32:
    """Of two colours, byte by byte, rounded up: a + b = 2 (a | b) - (a ^ b)."""
    return np.uint32((first | second) - (((first ^ second) & np.uint32(0xFEFEFEFE)) >> np.uint32(1)))


@compiled
def _level(footprint_m: float, texel_m: float, n_levels: int) -> int:
    """The resolution for pixels that cover this much ground."""
    return min(max(math.floor(math.log2(max(footprint_m, 1e-6) / texel_m) - SHARPER + 0.5), 0), n_levels - 1)


@compiled
def _draw(
    picture: np.ndarray, class_map: np.ndarray, lane_mask: np.ndarray, top: int, s_m: np.ndarray, d_m: np.ndarray,
    forward_m: np.ndarray, footprint_m: np.ndarray, texels: np.ndarray, surface: np.ndarray, order: np.ndarray,
    half_lane_m: float, wetness: float, visibility_m: float, horizon: np.ndarray,
) -> None:  # fmt: skip
    n_rows, width = s_m.shape
    n_order = len(order)
    last_period, tile = 0, order[0]
    air = spread_rgb(horizon[0], horizon[1], horizon[2])
    for row in range(n_rows):
        level_s = _level(footprint_m[0, row], TEXEL_S_M, N_LEVELS_S)
        level_d = _level(footprint_m[1, row], TEXEL_D_M, N_LEVELS_D)
        n_s, n_d = N_S >> level_s, N_D >> level_d
        first_row, first_column = _FIRST_ROW[level_d], _FIRST_COLUMN[level_s]
        per_metre_s, per_metre_d = 1.0 / (TEXEL_S_M * (1 << level_s)), 1.0 / (TEXEL_D_M * (1 << level_d))
        far_m = forward_m[row]
        haze = ONE - weight_of(math.exp(-far_m / visibility_m))
        shine = weight_of(wetness * 0.75 * far_m / (far_m + 14.0))
        mirrored = min(max(top - 1 - row, 0), max(top - 1, 0))
        for column in range(width):
            s, d = float(s_m[row, column]), float(d_m[row, column])
            period = math.floor(s * (1.0 / PERIOD_M))
            s -= period * PERIOD_M
            if period != last_period:
                last_period, tile = period, order[period % n_order]
            # The four texels around the place and their weights.
            x = s * per_metre_s - 0.5
            y = min(max((HALF_WIDTH_M - d) * per_metre_d - 0.5, 0.0), n_d - 1.0)
            x0, y0 = math.floor(x), int(y)
            right, lower = weight_of(x - x0), weight_of(y - y0)
            x1, y1 = x0 + 1, min(y0 + 1, n_d - 1) + first_row
            x0, x1 = (first_column + (x0 + n_s if x0 < 0 else x0), first_column + (x1 - n_s if x1 >= n_s else x1))
            y0 += first_row
            above = mix(spread(texels[tile, y0, x0]), spread(texels[tile, y0, x1]), right)
            below = mix(spread(texels[tile, y1, x0]), spread(texels[tile, y1, x1]), right)
            colour = mix(above, below, lower)
            label_row = min(max(int((HALF_WIDTH_M - d) * (1.0 / TEXEL_D_M)), 0), N_D - 1)
            label = surface[tile, label_row, min(int(s * (1.0 / TEXEL_S_M)), N_S - 1)]
            in_lane = label >= _ROAD and abs(d) < half_lane_m
            lane_mask[top + row, column] = in_lane
            class_map[top + row, column] = _LANE if in_lane and label == _ROAD else label
            if wetness > 0 and label >= _ROAD:
                mirror = air  # where the ground fills the whole picture, nothing stands above it
                if top > 0:
                    sky = picture[mirrored, column]
                    mirror = spread_rgb(sky[0], sky[1], sky[2])
                colour = mix(colour, mirror, shine)
            colour = mix(colour, air, haze)
            for k in range(3):
                picture[top + row, column, k] = channel(colour, k)
