"""Blur: focus, motion, glass, zoom."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from driving.noise.draws import at, to_uint8
from driving.noise.kind import HENDRYCKS_PX, Kind, hendrycks

_N_ZOOMS = 6


def blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian kernel of ``severity`` pixels standard deviation."""
    if severity == 0:
        return frame.copy()
    return cv2.GaussianBlur(frame, (0, 0), severity)


def defocus_blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a disc of radius 3 to 10 pixels at a height of 224 (Hendrycks and Dietterich 2019)."""
    scale = frame.shape[0] / HENDRYCKS_PX
    return cv2.filter2D(frame, -1, _disc(scale * at(severity, (0, 3, 4, 6, 8, 10))), borderType=cv2.BORDER_REFLECT_101)


@functools.lru_cache(maxsize=16)
def _disc(radius_px: float) -> np.ndarray:
    """Kernel of a disc with an edge as soft as a pixel; one pixel for radius 0."""
    reach = math.ceil(radius_px)
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius_px + 0.5 - np.hypot(u, v), 0.0, 1.0)
    kernel[reach, reach] = 1.0
    return (kernel / kernel.sum()).astype(np.float32)


def motion_blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Smeared along a line at -45 to 45 degrees, a new one each frame (Hendrycks and Dietterich 2019)."""
    scale, angle_rad = frame.shape[0] / HENDRYCKS_PX, rng.uniform(-math.pi / 4, math.pi / 4)
    if severity == 0:
        return frame.copy()
    reach = scale * at(severity, (0, 10, 15, 15, 15, 20))
    sigma = scale * at(severity, (0, 3, 5, 8, 12, 15))
    n, weights = math.ceil(reach), dict[tuple[int, int], float]()
    for i in np.arange(0.0, reach + 0.125, 0.25):  # one side only, as a moving thing leaves its trail
        place = round(i * math.sin(angle_rad)), round(i * math.cos(angle_rad))
        weights[place] = weights.get(place, 0.0) + math.exp(-0.5 * (i / max(sigma, 0.1)) ** 2)
    wide = cv2.copyMakeBorder(frame, n, n, n, n, cv2.BORDER_REFLECT_101).astype(np.float32)
    height, width = frame.shape[:2]
    total, whole = np.zeros(frame.shape, np.float32), sum(weights.values())
    for (down, across), weight in weights.items():
        moved = wide[n + down : n + down + height, n + across : n + across + width]
        cv2.scaleAdd(moved, weight / whole, total, total)
    return to_uint8(total)


def glass_blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Seen through ribbed glass: pixels change places with near ones, and are blurred (after Hendrycks and Dietterich
    2019, who swap neighbours one after another; here every pixel is taken from a random place at once)."""
    scale = frame.shape[0] / HENDRYCKS_PX
    sigma = scale * at(severity, (0, 0.7, 0.9, 1.0, 1.1, 1.5))
    reach = scale * at(severity, (0, 1 * math.sqrt(2), 2, 2 * math.sqrt(3), 3 * math.sqrt(2), 4 * math.sqrt(2)))
    if severity == 0:
        return frame.copy()
    height, width = frame.shape[:2]
    places = (2 * reach) * (rng.random((height, width, 2), dtype=np.float32) - np.float32(0.5))
    places += _grid(height, width)
    moved = cv2.remap(frame, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cv2.GaussianBlur(moved, (3, 3), max(sigma, 0.05))


@functools.lru_cache(maxsize=4)
def _grid(height: int, width: int) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    return np.stack([u, v], axis=-1).astype(np.float32)


def zoom_blur(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """The mean of the picture and of zooms up to a factor of 1.11 to 1.31 (Hendrycks and Dietterich 2019)."""
    zoom = at(severity, (0, 0.11, 0.16, 0.20, 0.25, 0.31))
    if zoom == 0:
        return frame.copy()
    height, width = frame.shape[:2]
    total = frame.astype(np.uint16)
    for k in range(1, _N_ZOOMS):
        factor = 1.0 + zoom * k / (_N_ZOOMS - 1)
        top, left = (round((size - size / factor) / 2) for size in (height, width))
        inner = frame[top : height - top, left : width - left]
        total += cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
    return ((total + _N_ZOOMS // 2) // _N_ZOOMS).astype(np.uint8)


KINDS = (
    Kind("blur", "blur", blur, "standard deviation in pixels", (1.0, 2.0, 4.0), 100.0),
    hendrycks("defocus_blur", "blur", defocus_blur),
    hendrycks("motion_blur", "blur", motion_blur),
    hendrycks("glass_blur", "blur", glass_blur),
    hendrycks("zoom_blur", "blur", zoom_blur),
)
