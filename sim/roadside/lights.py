"""The glow of lamps in the dark."""

from __future__ import annotations

import math

import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.compiled import compiled, to_byte
from sim.roadside.strips import NEAR_M, QUAD, UPRIGHT, between
from sim.surface_class import SurfaceClass

WINDOWS_FROM = 0.1
"""Darkness from which windows and street lamps are lit; cars have theirs on as soon as the own car has."""
MIN_RADIUS_PX = 1.2
MAX_GLOWS = 200
_SMALL_PX = 2
_radius = np.linspace(0.0, 1.0, 65)
_GLOW = np.minimum(0.75 * np.exp(-((_radius / 0.22) ** 2)) + 0.35 * (1.0 - _radius) ** 2, 1.0) * (_radius < 1)
"""How bright a glow is by its radius: a core in a wide soft halo."""


def lit_classes(atmosphere: Atmosphere) -> np.ndarray:
    """Whether the lamps of things of each ``SurfaceClass`` are on, (n_classes,) bool."""
    lit = np.full(len(SurfaceClass), atmosphere.darkness >= WINDOWS_FROM)
    lit[SurfaceClass.VEHICLE] |= atmosphere.headlights
    return lit


@compiled
def see_glows(
    things: np.ndarray, class_map: np.ndarray, lamps: np.ndarray, lamps_of: np.ndarray, is_lit: np.ndarray,
    camera: np.ndarray, visibility_m: float,
) -> np.ndarray:  # fmt: skip
    """Glows (n, 6) of the lamps of ``things`` that nothing of another class hides.

    A glow is its column, row and radius in pixels and its RGB, 0 to 255.
    """
    focal_u_px, focal_v_px, horizon_u_px, horizon_v_px, eye_m = camera
    rows, columns = class_map.shape
    glows, n = np.empty((MAX_GLOWS, 6)), 0
    for i in range(len(things)):
        thing = things[i]
        surface = thing.surface
        if thing.kind == QUAD or not is_lit[surface]:
            continue
        first, end = lamps_of[thing.sprite]
        for k in range(first, end):
            x, y = lamps[k, 0], lamps[k, 1]
            if thing.kind == UPRIGHT:
                u, v, depth_m = thing.left + x * thing.width, thing.top + y * thing.tall, thing.depth_m
            else:
                depth_m, left_m = between(thing.forward_m, x), between(thing.left_m, x)
                g0, dg = thing.ground_m[0], thing.ground_m[1] - thing.ground_m[0]
                below_m = eye_m - g0 - x * dg - (1 - y) * thing.height_m
                u, v = (horizon_u_px - focal_u_px * left_m / depth_m, horizon_v_px + focal_v_px * below_m / depth_m)
            if depth_m <= NEAR_M or n == MAX_GLOWS or not (-0.5 <= u < columns - 0.5 and -0.5 <= v < rows - 0.5):
                continue
            column, row = int(u + 0.5), int(v + 0.5)
            around = class_map[max(row - _SMALL_PX, 0) : row + _SMALL_PX + 1, max(column - 1, 0) : column + 2]
            if not (around == surface).any():
                continue
            # A lamp reaches further through the air than what is only lit.
            clear = math.exp(-0.6 * depth_m / visibility_m)
            radius_px = min(max(lamps[k, 2] * focal_v_px / depth_m, MIN_RADIUS_PX), 0.25 * columns)
            glows[n, 0], glows[n, 1], glows[n, 2] = u, v, radius_px
            glows[n, 3:] = clear * lamps[k, 3:]
            n += 1
    return glows[:n]


@compiled
def add_glows(picture: np.ndarray, glows: np.ndarray) -> None:
    """Add glows to a picture (H, W, 3) uint8; where it is bright already it saturates."""
    height, width = picture.shape[:2]
    n = len(_GLOW) - 1
    for i in range(len(glows)):
        u, v, radius = glows[i, :3]
        for row in range(max(math.ceil(v - radius), 0), min(math.floor(v + radius) + 1, height)):
            for column in range(max(math.ceil(u - radius), 0), min(math.floor(u + radius) + 1, width)):
                place = n * math.hypot(column - u, row - v) / radius
                if place >= n:
                    continue
                k = int(place)
                bright = _GLOW[k] + (place - k) * (_GLOW[k + 1] - _GLOW[k])
                for c in range(3):
                    picture[row, column, c] = to_byte(picture[row, column, c] + bright * glows[i, 3 + c])
