"""Weather drawn over any frame: fog, rain, snow, frost, a low sun, spatter."""

from __future__ import annotations

import math

import cv2
import numpy as np

from driving.noise.draws import at, lasting, normal, plasma, same_all_episode, smooth_noise, to_uint8
from driving.noise.kind import HENDRYCKS_PX, Kind, hendrycks

_clouds = same_all_episode(plasma)


def fog(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Clouds of fog before the lens, the same ones all episode (Hendrycks and Dietterich 2019)."""
    if severity == 0:
        return frame.copy()
    amount = at(severity, (0, 1.5, 2.0, 2.5, 2.5, 3.0))
    clouds = _clouds(rng, frame.shape, at(severity, (2.0, 2.0, 2.0, 1.7, 1.5, 1.4)))
    brightest = frame.max() / 255.0
    share = np.float32(brightest / (brightest + amount)) if brightest > 0 else np.float32(1.0)
    return to_uint8((frame + np.float32(255.0 * amount) * clouds[..., None]) * share)


@same_all_episode
def _ice(rng: np.random.Generator, height: int, width: int, cell_px: float) -> np.ndarray:
    """Feathers of ice, grey values (H, W): thin ridges between crystals, denser towards the edges."""
    total = np.zeros((height, width), np.float32)
    for k in range(4):
        spots = smooth_noise(rng, height, width, max(cell_px / 2**k, 2.0))
        total += (1.0 - np.abs(2.0 * spots - 1.0)) ** 4 / 1.4**k
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    edge = np.clip(0.35 + 0.65 * np.maximum(np.abs(u), np.abs(v)), 0.0, 1.0)
    ice = total / total.max() * edge
    return np.float32(255.0) * np.clip(1.3 * ice, 0.0, 1.0).astype(np.float32)


_ICE_RGB = np.array([0.88, 0.95, 1.0], np.float32)


def frost(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Ice on the lens, the same all episode: the weights of Hendrycks and Dietterich 2019, ice drawn by us."""
    if severity == 0:
        return frame.copy()
    of_frame, of_ice = (at(severity, t) for t in ((1, 1, 0.8, 0.7, 0.65, 0.6), (0, 0.4, 0.6, 0.7, 0.7, 0.75)))
    ice = _ice(rng, frame.shape, frame.shape[0] / 3)[..., None] * _ICE_RGB
    return to_uint8(np.float32(of_frame) * frame + np.float32(of_ice) * ice)


def snow(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Flakes that fall across the picture, and a whiter picture (Hendrycks and Dietterich 2019)."""
    if severity == 0:
        return frame.copy()
    mean, spread, zoom, least, radius, sigma, kept = (
        at(severity, table)
        for table in (
            *((0, 0.1, 0.2, 0.55, 0.55, 0.55), (0, 0.3, 0.3, 0.3, 0.3, 0.3), (3, 3, 2, 4, 4.5, 2.5)),
            *((0.5, 0.5, 0.5, 0.9, 0.85, 0.85), (10, 10, 12, 12, 12, 12), (4, 4, 4, 8, 8, 12)),
            (1, 0.8, 0.7, 0.7, 0.65, 0.55),
        )
    )
    height, width = frame.shape[:2]
    scale = height / HENDRYCKS_PX
    cell_px = max(zoom * scale, 1.0)
    rows, columns = math.ceil(height / cell_px), math.ceil(width / cell_px)
    flakes = np.float32(mean) + np.float32(spread) * normal(rng, (rows, columns))
    flakes = np.clip(cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR), 0.0, 1.0)
    flakes[flakes < least] = 0.0
    flakes = cv2.filter2D(flakes, -1, _streak(radius * scale, sigma * scale, rng.uniform(-135, -45)))
    grey = cv2.LUT(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), to_uint8(1.5 * np.arange(256) + 127.5))
    whiter = cv2.max(frame, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
    both = cv2.convertScaleAbs(flakes + flakes[::-1, ::-1], alpha=255.0)
    return cv2.add(cv2.addWeighted(frame, kept, whiter, 1 - kept, 0.0), cv2.cvtColor(both, cv2.COLOR_GRAY2RGB))


def _streak(reach_px: float, sigma_px: float, angle_deg: float) -> np.ndarray:
    """Kernel of a trail that begins in the middle and fades."""
    n = max(1, math.ceil(reach_px))
    kernel = np.zeros((2 * n + 1, 2 * n + 1), np.float32)
    for i in np.arange(0.0, reach_px + 0.25, 0.5):
        u, v = (n + i * f(math.radians(angle_deg)) for f in (math.cos, math.sin))
        kernel[round(v), round(u)] += math.exp(-0.5 * (i / max(sigma_px, 0.1)) ** 2)
    return kernel / kernel.sum()


_N_NEAR = 4
"""Brightnesses of streaks, by how near they are."""


def rain(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Streaks of rain of ``severity`` mm/h: 2.5 is light, 10 moderate, 50 violent.

    Streaks in a picture of 78 x 200: 12 at 1 mm/h, and as many more as drops fill the air (Marshall and Palmer 1948:
    about the power 0.21 of the rain in number, and 0.84 in water); we take the power 0.6. Longer and nearer with it.
    """
    if severity == 0:
        return frame.copy()
    height, width = frame.shape[:2]
    n_streaks = min(round(12 * severity**0.6 * height * width / (78 * 200)), 5000)
    layer = np.zeros((height, width), np.uint8)
    slant = lasting(rng).uniform(-0.25, 0.25)
    length_px = height * 0.08 * (1 + 0.25 * math.log1p(severity))
    tops = rng.random((n_streaks, 2)) * (width, height)
    size = np.sort(rng.random(n_streaks))  # the nearest last
    reach = ((0.5 + size) * length_px)[:, None] * (slant, 1.0)
    streaks = np.stack([tops, tops + reach], axis=1).astype(np.int32)  # (n, 2, 2)
    for near in range(_N_NEAR):
        some = (size * _N_NEAR).astype(int) == near
        cv2.polylines(layer, list(streaks[some]), False, 90 + 90 * (near + 0.5) / _N_NEAR)
    veil = 1.0 - math.exp(-severity / 150.0)
    softened = cv2.blur(layer, (1, 3)).astype(np.float32)[..., None] / 255.0
    dimmed = frame + np.float32(veil) * (np.float32(150.0) - frame)
    return to_uint8(dimmed + softened * (np.float32(225.0) - dimmed))


@same_all_episode
def _glare(rng: np.random.Generator, height: int, width: int, _: float) -> np.ndarray:
    """Light of a sun above the horizon that shines into the lens, (H, W) in [0, 1]."""
    u0, v0 = rng.uniform(0.2, 0.8) * width, rng.uniform(0.05, 0.3) * height
    v, u = np.mgrid[:height, :width]
    away = np.hypot(u - u0, v - v0) / height
    light = 0.35 + np.exp(-((away / 0.12) ** 2)) + 0.6 * np.exp(-away / 0.35)
    return np.clip(light, 0.0, 1.0).astype(np.float32)


def low_sun(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A low sun ahead: a veil over ``severity`` of the light around it, a third as strong everywhere."""
    light = np.float32(min(severity, 1.0)) * _glare(rng, frame.shape, 0.0)[..., None]
    return to_uint8(frame + light * (np.array([255, 246, 214], np.float32) - frame))


@same_all_episode
def _drops(rng: np.random.Generator, height: int, width: int, share: float) -> np.ndarray:
    """How far each pixel is covered by drops of muddy water, (H, W) in [0, 1]."""
    cover = np.zeros((height, width), np.float32)
    while share > 0 and (cover > 0.5).mean() < share:
        radius = height * rng.uniform(0.02, 0.09)
        centre = rng.uniform(0, width), rng.uniform(0, height)
        v, u = np.mgrid[:height, :width]
        drop = np.clip((radius - np.hypot(u - centre[0], v - centre[1])) / 1.5 + 0.5, 0.0, 1.0)
        np.maximum(cover, drop, out=cover)
    return cover


_SMOOTHED = (9, 9)


def spatter(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Drops of muddy water on a share ``severity`` of the lens, the same ones all episode; they blur and darken."""
    cover = 0.85 * _drops(rng, frame.shape, min(severity, 0.95))[..., None]
    through = 0.6 * cv2.blur(frame, _SMOOTHED).astype(np.float32) + np.array([38, 30, 22], np.float32)
    return to_uint8(frame + cover.astype(np.float32) * (through - frame))


KINDS = (
    hendrycks("fog", "weather", fog),
    hendrycks("frost", "weather", frost),
    hendrycks("snow", "weather", snow),
    Kind("rain", "weather", rain, "mm/h", (5.0, 20.0, 80.0), 500.0),
    Kind("low_sun", "weather", low_sun, "share of the light", (0.3, 0.6, 0.9), 1.0),
    Kind("spatter", "weather", spatter, "share of the lens", (0.05, 0.15, 0.35), 0.95),
)
