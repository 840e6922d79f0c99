"""The ground's texture kept at many resolutions, so that far ground neither flickers nor blurs more than it must."""

from __future__ import annotations

import cv2
import numpy as np

from sim.look.scene import HALF_WIDTH_M, N_D, N_S, TEXEL_D_M, TEXEL_S_M, Scene

N_LEVELS_D = 5
N_LEVELS_S = 7
PERIOD_M = N_S * TEXEL_S_M
_PAD = 1


def _halved(texture: np.ndarray, axis: int) -> np.ndarray:
    height, width = texture.shape[:2]
    size = (width, height // 2) if axis == 0 else (width // 2, height)
    return cv2.resize(texture, size, interpolation=cv2.INTER_AREA)


class GroundAtlas:
    """Every tile of a scene's ground, averaged to each pair of resolutions along (s) and across (d) the road.

    A pixel that sees the ground at a grazing angle covers a long, narrow patch of it; the two resolutions are
    chosen apart, as the road may run along the view or across it ("ripmap"; Larson and Shah 1990). All of them
    lie in one picture, so that one ``cv2.remap`` draws a frame.

    Args:
        scene: whose ``ground`` (n_tiles, N_D, N_S, 3) uint8 and ``surface`` (n_tiles, N_D, N_S) it holds.
    """

    def __init__(self, scene: Scene) -> None:
        n_d = [N_D >> level for level in range(N_LEVELS_D)]
        n_s = [N_S >> level for level in range(N_LEVELS_S)]
        first_row = np.cumsum([0, *n_d])[:-1]
        first_column = np.cumsum([0, *(n + 2 * _PAD for n in n_s)])[:-1]
        self._rows_a_tile = sum(n_d)
        n_tiles = len(scene.ground)
        width = sum(n_s) + 2 * _PAD * N_LEVELS_S
        self._atlas = np.empty((n_tiles * self._rows_a_tile, width, 3), np.uint8)
        for i_tile, tile in enumerate(scene.ground):
            across = tile
            for i_d, rows in enumerate(n_d):
                across = across if i_d == 0 else _halved(across, axis=0)
                along = across
                top = i_tile * self._rows_a_tile + int(first_row[i_d])
                for i_s, columns in enumerate(n_s):
                    along = along if i_s == 0 else _halved(along, axis=1)
                    left = int(first_column[i_s])
                    place = self._atlas[top : top + rows, left : left + columns + 2 * _PAD]
                    place[:, _PAD:-_PAD] = along
                    place[:, :_PAD], place[:, -_PAD:] = along[:, -_PAD:], along[:, :_PAD]  # periodic in s
        # One number a level, as columns, for the rows of a picture.
        self._first_row = first_row.astype(np.float32)[:, None]
        self._last_row = np.array(n_d, np.float32)[:, None] - 1
        self._zero_s = (first_column + _PAD - 0.5).astype(np.float32)[:, None]
        self._texels_a_metre_s = (0.5 ** np.arange(N_LEVELS_S) / TEXEL_S_M).astype(np.float32)[:, None]
        self._texels_a_metre_d = (0.5 ** np.arange(N_LEVELS_D) / TEXEL_D_M).astype(np.float32)[:, None]
        self._surface = scene.surface.reshape(n_tiles * N_D, N_S)
        self._tile_order = np.asarray(scene.tile_order, np.float32)

    def levels(self, footprint_m: np.ndarray, across: bool) -> np.ndarray:
        """Index of the resolution for pixels that cover this much ground, across the road or along it."""
        texel_m, n_levels = (TEXEL_D_M, N_LEVELS_D) if across else (TEXEL_S_M, N_LEVELS_S)
        # A little sharper than the pixel: bilinear sampling blurs by itself.
        level = np.log2(np.maximum(footprint_m, 1e-6) / texel_m)
        return np.clip(np.rint(level - 0.2), 0, n_levels - 1).astype(int)

    def draw(
        self, picture: np.ndarray, s_m: np.ndarray, d_m: np.ndarray, level_s: np.ndarray, level_d: np.ndarray
    ) -> np.ndarray:
        """Fill ``picture`` (R, W, 3) with the ground at (s, d) (R, W) float32, and return its surface classes (R, W).

        ``level_s``, ``level_d`` (R,) are the resolutions of each row.
        """
        period = np.floor(s_m * np.float32(1 / PERIOD_M))
        s_in = s_m - period * np.float32(PERIOD_M)
        map_s = s_in * self._texels_a_metre_s[level_s]
        map_s += self._zero_s[level_s]
        map_d = (np.float32(HALF_WIDTH_M) - d_m) * self._texels_a_metre_d[level_d]
        map_d -= np.float32(0.5)
        np.minimum(map_d, self._last_row[level_d], out=map_d)
        np.maximum(map_d, 0, out=map_d)
        map_d += self._first_row[level_d]
        label_s = s_in * np.float32(1 / TEXEL_S_M) - np.float32(0.5)
        label_d = (np.float32(HALF_WIDTH_M - 0.5 * TEXEL_D_M) - d_m) * np.float32(1 / TEXEL_D_M)
        np.minimum(label_d, np.float32(N_D - 1), out=label_d)
        np.maximum(label_d, 0, out=label_d)
        first, last = int(period.min()), int(period.max())
        tiles = self._tile_order[np.arange(first, last + 1) % len(self._tile_order)]
        if tiles.any():
            # Period by period, as few are in view: cheaper than to look up every pixel's.
            tile = np.full(period.shape, tiles[0], np.float32)
            for i in range(1, len(tiles)):
                if tiles[i] != tiles[i - 1]:
                    tile += (period >= first + i) * np.float32(tiles[i] - tiles[i - 1])
            map_d += tile * np.float32(self._rows_a_tile)
            label_d += tile * np.float32(N_D)
        cv2.remap(self._atlas, map_s, map_d, cv2.INTER_LINEAR, dst=picture)
        return cv2.remap(self._surface, label_s, label_d, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)
