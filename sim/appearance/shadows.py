"""Hard shadows on the ground: of trees, poles, buildings and bridges, as fields of the ground texture."""

from __future__ import annotations

import cv2
import numpy as np

from sim.appearance.surface import N_D, N_S, PERIOD_M, TEXEL_D_M, TEXEL_S_M, grid_d_m, grid_s_m, noise, row_of, to_u8
from sim.families import RoadFamily


def draw_shadow(rng: np.random.Generator, family: RoadFamily, is_low: bool) -> np.ndarray:
    """How far (N_D, N_S) uint8 the sun is kept off the ground: 0 lit, 255 in shadow. A low sun draws longer ones."""
    kinds = family.shadows
    kind = str(rng.choice(list(kinds), p=np.array(list(kinds.values()))))
    slant = rng.uniform(-1.6, 1.6) if is_low else rng.uniform(-0.9, 0.9)
    side = 1 if rng.random() < 0.5 else -1
    length_m = rng.uniform(8.0, 30.0) * (1.6 if is_low else 1.0)
    mask = np.zeros((N_D, N_S), np.uint8)
    if kind == "poles":
        _poles(rng, mask, side, length_m, int(rng.integers(1, 5)))
    elif kind == "trees":
        _trees(rng, mask, side, length_m)
        if rng.random() < 0.4:
            _trees(rng, mask, -side, 0.4 * length_m)
    elif kind == "bridge":
        start, wide = rng.uniform(5.0, 50.0), rng.uniform(4.0, 14.0)
        mask[:, int(start / TEXEL_S_M) : int((start + wide) / TEXEL_S_M)] = 255
    elif kind == "forest":
        mask = _forest(rng)
    elif kind == "slope":  # of a hillside or a row of houses
        ragged = noise(rng, 20.0, 9.0)[:1] * rng.uniform(0.5, 3.0) + noise(rng, 20.0, 1.5)[:1] * rng.uniform(0.0, 0.5)
        mask = to_u8(0.5 + 3 * (side * grid_d_m - rng.uniform(-5.0, 4.0) + ragged))
    mask = cv2.blur(mask, (3, 5), borderType=cv2.BORDER_REPLICATE)
    shear = np.array([[1.0, slant * TEXEL_D_M / TEXEL_S_M, -slant * N_D / 2 * TEXEL_D_M / TEXEL_S_M], [0.0, 1.0, 0.0]])
    return cv2.warpAffine(
        mask, shear, (N_S, N_D), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )


def _blob(rng: np.random.Generator, mask: np.ndarray, s_m: float, d_m: float, size_m: float, stretch: float) -> None:
    """A crown's shadow: overlapping ellipses, drawn again one period on so that it wraps."""
    for _ in range(int(rng.integers(6, 14))):
        where_s, where_d = s_m + rng.normal(0, 0.42) * size_m, d_m + rng.normal(0, 0.42) * size_m * stretch
        radius_m = size_m * rng.uniform(0.16, 0.5)
        axes = (max(int(radius_m / TEXEL_S_M), 1), max(int(radius_m * stretch / TEXEL_D_M), 1))
        for shift_m in (-PERIOD_M, 0.0, PERIOD_M):
            centre = (int((where_s + shift_m) / TEXEL_S_M), int(row_of(where_d)))
            if -axes[0] < centre[0] < N_S + axes[0]:
                cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)


def _poles(rng: np.random.Generator, mask: np.ndarray, side: int, length_m: float, n: int) -> None:
    foot_m = side * rng.uniform(6.0, 11.0)
    for i in range(n):
        s_m = (PERIOD_M / n) * (i + rng.uniform(0.2, 0.6))
        rows = sorted((int(row_of(foot_m)), int(row_of(foot_m - side * length_m))))
        wide = max(int(rng.uniform(0.12, 0.5) / TEXEL_S_M), 1)
        mask[max(rows[0], 0) : max(rows[1], 0), int(s_m / TEXEL_S_M) : int(s_m / TEXEL_S_M) + wide] = 255


def _trees(rng: np.random.Generator, mask: np.ndarray, side: int, length_m: float) -> None:
    stretch = rng.uniform(1.2, 2.6)
    for _ in range(int(rng.integers(3, 12))):
        s_m, foot_m, size_m = rng.uniform(0, PERIOD_M), side * rng.uniform(6.0, 13.0), rng.uniform(1.2, 4.5)
        crown_m = foot_m - side * length_m * rng.uniform(0.2, 0.75)
        first, last = sorted((int(row_of(foot_m)), int(row_of(crown_m))))
        column = int(s_m / TEXEL_S_M)
        mask[max(first, 0) : max(last, 0), column : column + int(rng.integers(2, 7))] = 255
        _blob(rng, mask, s_m, crown_m, size_m, stretch)


def _forest(rng: np.random.Generator) -> np.ndarray:
    """Mostly shade, with flecks and gaps of light; the gaps are long across the road."""
    shade = noise(rng, 5.0, 3.0) + np.float32(0.7) * noise(rng, 1.5, 0.9) + np.float32(0.5) * noise(rng, 0.4, 0.35)
    gaps = np.maximum(np.sin((grid_s_m / PERIOD_M * rng.integers(1, 4) + rng.random()) * 2 * np.pi), 0) ** 2
    return to_u8(0.5 + 5 * (shade + rng.uniform(0.15, 0.9) - rng.uniform(0.0, 1.6) * gaps))
