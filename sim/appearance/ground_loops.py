"""Compiled loops that paint the ground, texel by texel: each is one pass in the place of many over whole arrays.

Arithmetic is that of float32 arrays, operation by operation, so that a road looks the same to the last bit.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions are typed by what they are called with.
from __future__ import annotations

import functools

import cv2
import numpy as np

from sim.compiled import compiled
from sim.surface_class import SurfaceClass

_VISIBLE = 0.35
"""Paint that hides at least this share of the ground counts as a marking."""
_VERGE, _ROAD, _MARKING = (int(c) for c in (SurfaceClass.VERGE, SurfaceClass.ROAD, SurfaceClass.MARKING))
_PER_128, _PER_255, _255 = np.float32(1 / 128), np.float32(1 / 255), np.float32(255)
_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_WHITE, _YELLOW = np.array([226, 226, 220], np.float32), np.array([218, 164, 44], np.float32)


@functools.cache
def products() -> np.ndarray:
    """(256, 256) uint8: OpenCV's a * b / 255."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    return cv2.multiply(np.ascontiguousarray(a), np.ascontiguousarray(b), scale=1 / 255)


@compiled
def _byte(value):
    """A brightness in [0, 1], float32, as a byte, clipped and cut off."""
    return np.uint8(min(max(value * _255, _0), _255))


@compiled
def paint_by_table(field, table):
    """Colours (n, m, 3) of a uint8 field (n, m) by ``table`` (256, 3)."""
    n, m = field.shape
    out = np.empty((n, m, 3), np.uint8)
    for i in range(n):
        for j in range(m):
            value = field[i, j]
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = table[value, 0], table[value, 1], table[value, 2]
    return out


@compiled
def mix_noises(first, of_first, second, of_second, grain, of_grain):
    """first * a + second * b + grain * c, (n, m) float32; ``grain`` is int8, 128 for 1."""
    out = np.empty_like(first)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = first[i, j] * of_first + second[i, j] * of_second
            out[i, j] = value + (np.float32(grain[i, j]) * _PER_128) * of_grain
    return out


@compiled
def wear_of(noise, of_noise, grain, of_grain):
    """noise * a + grain * b, as ``mix_noises`` has it."""
    out = np.empty_like(noise)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = noise[i, j] * of_noise + (np.float32(grain[i, j]) * _PER_128) * of_grain
    return out


@compiled
def shade_of(field, by_row, grey):
    """The brightness (field + by_row) * grey of a pavement as bytes (n, m)."""
    out = np.empty(field.shape, np.uint8)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = _byte((field[i, j] + by_row[i]) * grey)
    return out


@compiled
def paint_verge(out, mix, d_m, left_m, right_m, near, far, beyond_m, ragged, of_ragged):
    """Colours (n, m, 3) of the ground near the road and, beyond a ragged border, of that further away."""
    for i in range(mix.shape[0]):
        d = d_m[i]
        for j in range(mix.shape[1]):
            field = _byte(_HALF + mix[i, j])
            border_m = beyond_m + ragged[i, j] * of_ragged
            is_outside = d > left_m + border_m or d < right_m - border_m
            for k in range(3):
                out[i, j, k] = far[field, k] if is_outside else near[field, k]


@compiled
def paint_gravel(out, mix, d_m, left_m, right_m, gravel_m, ragged, grain, table, of_grain, of_mix):
    """A strip of gravel along the pavement, in place."""
    for i in range(mix.shape[0]):
        d = d_m[i]
        for j in range(mix.shape[1]):
            border_m = gravel_m * (_1 + _HALF * ragged[i, j])
            if d < left_m + border_m and d > right_m - border_m:
                stone = np.float32(grain[i, j]) * _PER_128
                field = _byte(_HALF + of_grain * stone + of_mix * mix[i, j])
                for k in range(3):
                    out[i, j, k] = table[field, k]


@compiled
def pave(out, verge, paved, shade, damp, products, table, alpha, is_yellow):
    """A tile's colours (n, m, 3): verge, pavement (``damp`` (n, m) or (0, 0)) and paint; ``alpha`` loses the rest."""
    is_damp = damp.size > 0
    for i in range(paved.shape[0]):
        for j in range(paved.shape[1]):
            if paved[i, j] == 0:
                alpha[i, j] = 0
                for k in range(3):
                    out[i, j, k] = verge[i, j, k]
                continue
            bright = products[shade[i, j], damp[i, j]] if is_damp else shade[i, j]
            alpha[i, j] &= paved[i, j]
            share = np.float32(alpha[i, j]) * _PER_255
            for k in range(3):
                under = table[bright, k]
                if alpha[i, j] > 0:
                    paint = _YELLOW[k] if is_yellow[i, j] > 0 else _WHITE[k]
                    under = np.uint8(np.float32(under) + share * (paint - np.float32(under)))
                out[i, j, k] = under


@compiled
def light_up(colours, shadow, shadow_table, products, light, paved, alpha, texels, classes):
    """Lay the shadow (n, m) (or (0, 0)) and the light (256, 3) on a tile; its texels as uint32, and its classes."""
    is_shaded = shadow.size > 0
    lit = np.empty((256, 3), np.uint32)
    for value in range(256):
        for k in range(3):
            lit[value, k] = np.uint32(light[value, k]) << np.uint32(8 * k)
    for i in range(paved.shape[0]):
        for j in range(paved.shape[1]):
            red, green, blue = colours[i, j, 0], colours[i, j, 1], colours[i, j, 2]
            if is_shaded and shadow[i, j] > 0:  # no shadow leaves a colour as it is
                left = shadow_table[shadow[i, j]]
                red, green, blue = products[red, left[0]], products[green, left[1]], products[blue, left[2]]
            texels[i, j] = lit[red, 0] | lit[green, 1] | lit[blue, 2]
            surface = _ROAD if paved[i, j] > 0 else _VERGE
            classes[i, j] = _MARKING if alpha[i, j] > _255 * _VISIBLE else surface
