"""The glow of lamps in the dark."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from sim.look.atmosphere import Atmosphere
from sim.surface_class import SurfaceClass

Glow = tuple[float, float, float, tuple[float, float, float], int]
"""Column, row and radius in pixels, colour (0 to 255), and the class of the thing that shines."""

WINDOWS_FROM = 0.1
"""Darkness from which windows and street lamps are lit; cars have theirs on as soon as the own car has."""
MIN_RADIUS_PX = 1.2
_GLOW_PX = 33
_SMALL_PX = 2


@functools.cache
def _glow() -> np.ndarray:
    """A bright core in a wide soft halo, float32 (n, n) in [0, 1]."""
    axis = np.linspace(-1, 1, _GLOW_PX, dtype=np.float32)
    distance = np.hypot(axis[:, None], axis[None])
    glow = 0.75 * np.exp(-((distance / 0.22) ** 2)) + 0.35 * np.clip(1 - distance, 0, 1) ** 2
    return np.where(distance < 1, np.minimum(glow, 1.0), 0).astype(np.float32)


def is_lit(surface: int, atmosphere: Atmosphere) -> bool:
    """Whether the lamps of things of a class are on."""
    return atmosphere.darkness >= WINDOWS_FROM or (surface == SurfaceClass.VEHICLE and atmosphere.headlights)


def retain_visible(glows: list[Glow], class_map: np.ndarray) -> list[Glow]:
    """Those glows whose middle is in the picture and not hidden by a thing of another class."""
    rows, columns = class_map.shape
    visible = []
    for glow in glows:
        u, v = round(glow[0]), round(glow[1])
        if 0 <= u < columns and 0 <= v < rows:
            around = class_map[max(v - _SMALL_PX, 0) : v + _SMALL_PX + 1, max(u - 1, 0) : u + 2]
            if (around == glow[4]).any():
                visible.append(glow)
    return visible


def draw_glow(picture: np.ndarray, glow: Glow) -> None:
    """Add a glow to ``picture``; where it is bright already it saturates."""
    u_px, v_px, radius_px, colour, _ = glow
    reach = min(max(radius_px, MIN_RADIUS_PX), 0.25 * picture.shape[1])
    rows, columns = picture.shape[:2]
    x0, x1 = max(math.floor(u_px - reach), 0), min(math.ceil(u_px + reach) + 1, columns)
    y0, y1 = max(math.floor(v_px - reach), 0), min(math.ceil(v_px + reach) + 1, rows)
    if x0 >= x1 or y0 >= y1:
        return
    step = (_GLOW_PX - 1) / (2 * reach)
    matrix = np.array([[step, 0, (x0 - u_px + reach) * step], [0, step, (y0 - v_px + reach) * step]])
    tile = cv2.warpAffine(_glow(), matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    place = picture[y0:y1, x0:x1]
    cv2.add(place, cv2.convertScaleAbs(cv2.transform(tile, np.array(colour)[:, None])), dst=place)
