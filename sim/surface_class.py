"""What a pixel shows: the values of the world's class map."""

from __future__ import annotations

from enum import IntEnum


class SurfaceClass(IntEnum):
    """Value of a pixel of ``info["class_map"]``.

    Everything from ``ROAD`` to ``MARKING`` is the paved surface that the road mask shows; the classes after it are
    objects that stand on the ground and hide what is behind them.
    """

    SKY = 0
    HILLS = 1
    """Skyline and far ground, drawn as a panorama."""
    VERGE = 2
    """Ground beside the paved surface: grass, gravel, snow, pavement."""
    ROAD = 3
    """Paved surface outside the own lane, side roads and crossings too."""
    OWN_LANE = 4
    MARKING = 5
    """Painted lines, arrows and crossings."""
    VEGETATION = 6
    POST = 7
    """Delineators, lamp posts, poles."""
    SIGN = 8
    BUILDING = 9
    BARRIER = 10
    """Guard rails, walls, fences."""
    VEHICLE = 11
