"""What lies between the lens and the world: darkness around the headlights' beam, glare, rain and snow."""

from __future__ import annotations

import cv2
import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.appearance.panorama import SUN_ELEVATION_RAD
from sim.camera import Camera
from sim.conventions import wrap_angle

N_PATTERNS = 8
_BEAM_REACH_M = 26.0
_BEAM_WIDTH_RAD = 0.26
_GLARE_REACH_RAD = 0.9
"""A sun further aside than this does not dazzle."""


class Overlay:
    """Laid over every finished picture of an episode; deterministic in the number of the frame.

    Args:
        camera: of the pictures.
        atmosphere: whose weather is seen.
        rng: of the grain of rain and snow.

    Attributes:
        is_needed: False when ``apply`` changes nothing.
    """

    def __init__(self, camera: Camera, atmosphere: Atmosphere, rng: np.random.Generator) -> None:
        self._focal_u_px = camera.focal_u_px
        self._shape = (camera.height_px, camera.width_px, 3)
        self._gain = _beam(camera, atmosphere) if atmosphere.darkness > 0 else None
        self._patterns: np.ndarray | None = None
        self._sun_bearing_rad = atmosphere.sun_bearing_rad
        seed = int(rng.integers(2**31))
        self._first = seed % N_PATTERNS
        if atmosphere.weather.precipitation == "rain":
            self._patterns, self._contrast = _rain(np.random.default_rng(seed), camera, atmosphere), 0.88
        elif atmosphere.weather.precipitation == "snow":
            self._patterns, self._contrast = _flakes(np.random.default_rng(seed), camera, atmosphere), 0.94
        if self._sun_bearing_rad is not None:
            self._glare = _glare(camera, atmosphere)
        self.is_needed = not (self._gain is None and self._patterns is None and self._sun_bearing_rad is None)

    def apply(self, picture: np.ndarray, i_frame: int, heading_rad: float) -> None:
        """Change ``picture`` (H, W, 3) uint8 in place; ``heading_rad`` is the camera's, against the sun."""
        if self._gain is not None:
            cv2.multiply(picture, self._gain, dst=picture, scale=1 / 255)
        if self._patterns is not None:
            # Half a pattern aside in turn: neighbouring cycles do not repeat one another.
            pattern = self._patterns[(self._first + 3 * i_frame) % N_PATTERNS]
            shift = (i_frame // N_PATTERNS * 37) % self._shape[1]
            cv2.addWeighted(picture, self._contrast, pattern[:, shift : shift + self._shape[1]], 1.0, 0.0, dst=picture)
        if self._sun_bearing_rad is not None:
            aside_rad = float(wrap_angle(self._sun_bearing_rad - heading_rad))
            if abs(aside_rad) < _GLARE_REACH_RAD:
                width = self._shape[1]
                first = round((self._glare.shape[1] - width) / 2 + aside_rad * self._focal_u_px)
                strength = 1 - (aside_rad / _GLARE_REACH_RAD) ** 2
                veil = self._glare[:, first : first + width]
                cv2.addWeighted(picture, 1 - 0.28 * strength, veil, strength, 0.0, dst=picture)


def _beam(camera: Camera, atmosphere: Atmosphere) -> np.ndarray:
    """Gain (H, W, 3) uint8 of what the headlights leave of a picture: 255 where they shine at their best."""
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px].astype(np.float32)
    below = np.maximum(v - np.float32(camera.horizon_v_px), 0.3)
    forward_m = camera.focal_v_px * camera.height_m / below
    aside_rad = (camera.horizon_u_px - u) / camera.focal_u_px
    # Two lamps 0.65 m to each side, dipped: bright pools near the car that join further out, a little to the right.
    near = np.exp(-((forward_m / _BEAM_REACH_M) ** 1.5)) + 0.25 * np.exp(-forward_m / 60.0)
    pools = sum(
        np.exp(-(((aside_rad - lamp_m / np.maximum(forward_m, 3.0) + 0.03) / _BEAM_WIDTH_RAD) ** 2))
        for lamp_m in (0.65, -0.65)
    )
    lit = np.clip(0.95 * near * pools, 0, 1)
    # Above the horizon the cut-off leaves little, enough for signs and trees close by.
    lit *= np.clip(0.35 + (v - camera.horizon_v_px) / (0.05 * camera.focal_v_px), 0.22, 1)
    # A dusky sky is still bright when the ground is dark.
    above = v < camera.horizon_v_px
    darkness = np.where(above, atmosphere.darkness**2 / 0.98, atmosphere.darkness)
    left = 1 - darkness * (1 - lit)
    tint = np.array([1.0, 0.97, 0.90], np.float32)
    warm = 1 - lit[..., None] * (1 - tint) * atmosphere.darkness
    return np.clip(255 * left[..., None] * warm, 0, 255).astype(np.uint8)


def _rain(rng: np.random.Generator, camera: Camera, atmosphere: Atmosphere) -> np.ndarray:
    """Streaks and drops (N_PATTERNS, H, 2 W, 3) uint8 to be added; grey as the sky."""
    height, width = camera.height_px, camera.width_px
    scale = height / 78
    drops = np.zeros((height, 2 * width), np.uint8)
    for _ in range(int(rng.integers(4, 14))):  # on the lens: they stay
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        size = rng.uniform(1.5, 4.5) * scale
        axes = (int(size * rng.uniform(0.7, 1.0)) + 1, int(size) + 1)
        for shift in (0, width):
            cv2.ellipse(drops, (centre[0] + shift, centre[1]), axes, 0, 0, 360, int(rng.uniform(10, 30)), -1)
    drops = cv2.blur(drops, (3, 3))
    slant, n = rng.uniform(-0.25, 0.25), int(rng.integers(50, 160))
    tint = (atmosphere.horizon / max(float(atmosphere.horizon.max()), 1e-3)).astype(np.float32)
    patterns = np.empty((N_PATTERNS, height, 2 * width, 3), np.uint8)
    for i in range(N_PATTERNS):
        streaks = drops.copy()
        top = rng.uniform((0, -0.1 * height), (width, height), (n, 2))
        length, bright = rng.uniform(2, 10, n) * scale, rng.uniform(10, 42, n)
        for (u, v), long, grey in zip(top, length, bright, strict=True):
            for shift in (0, width):
                ends = (int(u + shift), int(v)), (int(u + shift + slant * long), int(v + long))
                cv2.line(streaks, *ends, int(grey), 1, cv2.LINE_AA)
        patterns[i] = cv2.convertScaleAbs(streaks[..., None] * tint + np.float32(8))
    return patterns


def _flakes(rng: np.random.Generator, camera: Camera, atmosphere: Atmosphere) -> np.ndarray:
    """Flakes (N_PATTERNS, H, 2 W, 3) uint8 to be added: many small ones, a few large and blurred."""
    height, width = camera.height_px, camera.width_px
    scale, n = height / 78, int(rng.integers(50, 220))
    bright = 255 * float(np.clip(atmosphere.light.mean(), 0.4, 1.0))
    patterns = np.empty((N_PATTERNS, height, 2 * width, 3), np.uint8)
    for i in range(N_PATTERNS):
        flakes = np.zeros((height, 2 * width), np.uint8)
        places = rng.uniform((0, 0), (width, height), (n, 2))
        sizes = rng.choice([0, 0, 0, 0, 0, 0, 1, 1, 2], n)
        for (u, v), size in zip(places, sizes, strict=True):
            grey = int(bright * (0.62, 0.34, 0.16)[size] * rng.uniform(0.6, 1.0))
            for shift in (0, width):
                cv2.circle(
                    flakes, (int(u + shift), int(v)), round((0.3, 0.9, 2.0)[size] * scale), grey, -1, cv2.LINE_AA
                )
        patterns[i] = cv2.merge([cv2.blur(flakes, (2, 3))] * 3)
    return patterns


def _glare(camera: Camera, atmosphere: Atmosphere) -> np.ndarray:
    """Veil of light (H, W + 2 margins, 3) uint8 around a sun in its middle, to be added."""
    margin = int(np.ceil(_GLARE_REACH_RAD * camera.focal_u_px)) + 1
    columns = np.arange(-margin, camera.width_px + margin, dtype=np.float32)
    aside = (columns - camera.horizon_u_px) / camera.focal_u_px
    below = (np.arange(camera.height_px, dtype=np.float32) - camera.horizon_v_px) / camera.focal_v_px
    squared = (below[:, None] + SUN_ELEVATION_RAD) ** 2 + (aside**2)[None]
    veil = 0.55 * np.exp(-squared / 0.11**2) + 0.36 * np.exp(-np.sqrt(squared) / 0.30)
    # Light mirrored by the road towards the sun.
    veil += (
        0.16
        * np.exp(-((aside / 0.07) ** 2))[None]
        * np.exp(-np.maximum(below, 0) / 0.18)[:, None]
        * (below > 0)[:, None]
    )
    warm = np.array([1.0, 0.90, 0.68], np.float32) * np.clip(atmosphere.light.mean(), 0.6, 1.1)
    return np.clip(255 * veil[..., None] * warm, 0, 255).astype(np.uint8)
