"""The pictures that are in use, side by side in one array, where compiled code finds them."""

from __future__ import annotations

import math
import threading

import numpy as np

from sim.compiled import compiled
from sim.roadside.sprites import MIP_RATIO, SPRITES, sprite

MAX_LEVELS = 24
"""More than any picture has."""
OFFSET, ROWS, COLUMNS = range(3)
_PER_OCTAVE = math.log(2.0) / math.log(MIP_RATIO)


class Textures:
    """Copies of the pictures of ``sim.roadside.sprites`` at the resolutions that were asked for; it only grows.

    Attributes:
        texels: (n,) uint64, the lanes of RGB and alpha of all, premultiplied.
        places: (n_sprites, MAX_LEVELS, 3) int64: where a resolution begins in ``texels`` (-1: not here yet), its rows
            and its columns.
        n_levels: (n_sprites,) int64 resolutions of a picture, 0 where it was never looked at.
        lamps: (m, 6) of all pictures looked at: place in shares of the picture, radius in metres, RGB.
        lamps_of: (n_sprites, 2) int64, first and last + 1 of a picture's lamps.
    """

    def __init__(self) -> None:
        self.texels = np.empty(1 << 18, np.uint64)
        self.places = np.full((len(SPRITES), MAX_LEVELS, 3), -1, np.int64)
        self.n_levels = np.zeros(len(SPRITES), np.int64)
        self.lamps = np.empty((0, 6))
        self.lamps_of = np.zeros((len(SPRITES), 2), np.int64)
        self._n_used = 0
        self._lock = threading.Lock()

    def look_up(self, index: int) -> None:
        """Note the sizes and lamps of a picture."""
        painted = sprite(index)
        with self._lock:
            lamps = [(lamp.x, lamp.y, lamp.radius_m, *lamp.colour) for lamp in painted.lamps]
            self.lamps_of[index] = len(self.lamps), len(self.lamps) + len(lamps)
            self.lamps = np.concatenate([self.lamps, np.array(lamps, np.float64).reshape(-1, 6)])
            for level, mip in enumerate(painted.mips):
                self.places[index, level, ROWS:] = mip.shape[:2]
            self.n_levels[index] = len(painted.mips)

    def load(self, index: int, level: int) -> None:
        """Make one resolution of a picture available."""
        mip = sprite(index).mips[level]
        with self._lock:
            end = self._n_used + mip.shape[0] * mip.shape[1]
            if end > len(self.texels):
                grown = np.empty(max(2 * len(self.texels), end), np.uint64)
                grown[: self._n_used] = self.texels[: self._n_used]
                self.texels = grown
            # Byte by byte into 16 bits: the lanes of ``sim.compiled``.
            self.texels[self._n_used : end] = mip.reshape(-1, 4).astype("<u2").view("<u8")[:, 0]
            self.places[index, level, OFFSET] = self._n_used
            self._n_used = end


@compiled
def level_of(n_rows: int, rows_px: float, n_levels: int) -> int:
    """The resolution of a picture of ``n_rows`` that has about as many rows as are to be drawn."""
    octaves = math.log2(max(n_rows / rows_px, 1.0))
    return min(int(_PER_OCTAVE * octaves + 0.5), n_levels - 1)


textures = Textures()
"""Of this process: what one world has loaded serves all."""
