"""The ground of a scene as whole arrays, for tests: read from one that is drawn, or given outright."""

import types

import numpy as np

from sim.appearance.surface import N_D, N_S


class PaintedGround:
    """Stands in for ``sim.appearance.ground.Ground``: its tiles' colours (n, N_D, N_S, 3) and classes."""

    def __init__(self, colours, classes, order=(0,)):
        self.colours, self.classes, self.order, self.tiles = colours, classes, np.array(order), list(colours)

    def paint(self, i_tile, texels, classes):
        colours = self.colours[i_tile].astype(np.uint32)
        texels[:] = colours[..., 0] | colours[..., 1] << 8 | colours[..., 2] << 16
        classes[:] = self.classes[i_tile]


def painted(ground):
    """All tiles of a ground."""
    n = len(ground.tiles)
    texels, classes = np.empty((n, N_D, N_S), np.uint32), np.empty((n, N_D, N_S), np.uint8)
    for i in range(n):
        ground.paint(i, texels[i], classes[i])
    colours = np.stack([texels & 255, texels >> 8 & 255, texels >> 16 & 255], axis=-1).astype(np.uint8)
    return PaintedGround(colours, classes, ground.order)


def with_arrays(scene):
    """A scene's fields, the ground as arrays ``ground``, ``surface`` and ``tile_order``."""
    ground = painted(scene.ground)
    arrays = {"ground": ground.colours, "surface": ground.classes, "tile_order": ground.order}
    return types.SimpleNamespace(**(vars(scene) | arrays))
