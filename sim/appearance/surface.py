"""The grid of the ground texture and its pavement, with age and damage.

The texture is a grid in road coordinates: rows from left to right across the road, columns along it, periodic along
the road. Materials are one uint8 field each (a brightness or a place on a palette) and coloured by a look-up table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from sim.appearance.ground_loops import mix_noises, paint_by_table, shade_of
from sim.appearance.section import CrossSection
from sim.families import RoadFamily
from sim.seasons import Colour

TEXEL_D_M = 0.05
TEXEL_S_M = 0.1
HALF_WIDTH_M = 20.0
"""The texture reaches this far to both sides of the lane centre; beyond, its edge is repeated."""
N_D = int(2 * HALF_WIDTH_M / TEXEL_D_M)
N_S = 768
"""Texels along the road, one period of 76.8 m; a multiple of every dash period used."""
PERIOD_M = N_S * TEXEL_S_M
grid_d_m = (HALF_WIDTH_M - (np.arange(N_D, dtype=np.float32) + 0.5) * np.float32(TEXEL_D_M))[:, None]
grid_s_m = ((np.arange(N_S, dtype=np.float32) + 0.5) * np.float32(TEXEL_S_M))[None]
SOLID = 255

FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)


def row_of(d_m: FloatOrArray) -> FloatOrArray:
    """Texture row (real) of a lateral position."""
    return (HALF_WIDTH_M - d_m) / TEXEL_D_M - 0.5


def rows_between(low_m: float, high_m: float) -> slice:
    """Rows whose middles lie between two lateral positions."""
    inside = np.flatnonzero((grid_d_m[:, 0] > low_m) & (grid_d_m[:, 0] < high_m))
    return slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0)


def noise(rng: np.random.Generator, cell_d_m: float, cell_s_m: float, n_d: int = N_D) -> np.ndarray:
    """Smooth noise (n_d, N_S) float32 in about [-1, 1] with features of the given size, periodic along the road."""
    grid_d, grid_s = max(int(n_d * TEXEL_D_M / cell_d_m), 2), max(int(PERIOD_M / cell_s_m), 2)
    grid = rng.random((grid_d, grid_s), np.float32) * 2 - 1
    wrapped = np.concatenate([grid[:, -2:], grid, grid[:, :2]], axis=1)
    margin = round(2 * N_S / grid_s)
    return cv2.resize(wrapped, (N_S + 2 * margin, n_d), interpolation=cv2.INTER_LINEAR)[:, margin : margin + N_S]


def grain(rng: np.random.Generator) -> np.ndarray:
    """White noise (N_D, N_S) int8."""
    return np.frombuffer(rng.bytes(N_D * N_S), np.int8).reshape(N_D, N_S)


def white_noise(rng: np.random.Generator) -> np.ndarray:
    """White noise (N_D, N_S) float32 in [-1, 1]."""
    return grain(rng).astype(np.float32) * np.float32(1 / 128)


def to_u8(field: np.ndarray) -> np.ndarray:
    """A field in [0, 1] as uint8, clipped."""
    return np.clip(field * np.float32(255), 0, 255).astype(np.uint8)


def ramp(*stops: Colour) -> np.ndarray:
    """Look-up table (256, 1, 3) through colours in [0, 1]."""
    at = np.linspace(0, 255, len(stops))
    table = [np.interp(np.arange(256), at, channel) for channel in np.array(stops).T]
    return np.clip(np.stack(table, -1) * 255, 0, 255).astype(np.uint8)[:, None]


def paint_by(field: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Colours (n, m, 3) of a uint8 field (n, m)."""
    return paint_by_table(field, table[:, 0])


@dataclass(frozen=True)
class Pavement:
    """Looks of a pavement. ``grey`` is its mean brightness, ``is_concrete`` a surface of slabs."""

    grey: float
    tint: np.ndarray
    is_concrete: bool


def draw_pavement(rng: np.random.Generator, family: RoadFamily) -> Pavement:
    """Age and colour of the road's surface: fresh black to bleached asphalt, or concrete."""
    is_concrete = bool(rng.random() < family.concrete)
    grey = rng.uniform(0.50, 0.66) if is_concrete else rng.choice([0.17, 0.30, 0.42, 0.52]) + rng.uniform(-0.05, 0.06)
    tint = 1 + rng.uniform(-0.025, 0.025, 3) + np.array([0.02, 0.01, -0.03]) * is_concrete
    return Pavement(float(grey), tint, is_concrete)


def lane_phase(section: CrossSection) -> np.ndarray:
    """Position across the nearest lane in lane widths, (N_D, 1) in [-0.5, 0.5] on lanes."""
    lanes = np.array(section.lanes_m, np.float32)
    nearest = lanes[np.abs(grid_d_m - lanes[None]).argmin(axis=1)][:, None]
    return (grid_d_m - nearest) / np.float32(section.lane_width_m)


def draw_shade(rng: np.random.Generator, section: CrossSection, pavement: Pavement) -> np.ndarray:
    """Brightness (N_D, N_S) uint8 of the pavement as it would lie everywhere."""
    phase = np.abs(lane_phase(section))
    tracks = np.exp(-(((phase - 0.24) / 0.09) ** 2)) * rng.uniform(-0.16, 0.12)
    oil = np.exp(-((phase / 0.06) ** 2)) * rng.uniform(-0.14, 0.02)
    blotches, streaks, fine = rng.uniform(0.02, 0.12), rng.uniform(0.01, 0.07), rng.uniform(0.03, 0.12)
    shade = mix_noises(
        noise(rng, 1.3, 7.0), np.float32(blotches), noise(rng, 0.25, 3.0), np.float32(streaks), grain(rng),
        np.float32(fine),
    )  # fmt: skip
    by_row = (1 + tracks + oil).astype(np.float32)
    if pavement.is_concrete:
        shade += by_row
        slabs = 1 + rng.uniform(-0.07, 0.07, (len(section.lanes_m) + 8, 16)).astype(np.float32)
        across = np.floor((grid_d_m[:, 0] + section.lane_width_m / 2) / section.lane_width_m).astype(int) % len(slabs)
        shade *= np.repeat(slabs[across], N_S // 16, axis=1)
        shade[:, :: N_S // 16] *= 0.62
        shade[np.flatnonzero(np.diff(across))] *= 0.7
        by_row = np.zeros_like(by_row)
    picture = shade_of(shade, by_row[:, 0], np.float32(pavement.grey))
    _damage(rng, picture, section)
    return picture


def _damage(rng: np.random.Generator, shade: np.ndarray, section: CrossSection) -> None:
    """Patches, cracks, tar seams and stains, all within one period."""
    low, high = section.right_edge_m, section.left_edge_m
    for _ in range(rng.poisson(1.2)):  # patches, darker when fresh
        width, length = rng.uniform(0.5, 2.2) / TEXEL_D_M, rng.uniform(0.8, 9.0) / TEXEL_S_M
        row, column = row_of(rng.uniform(low, high)), rng.uniform(20, N_S - 120)
        here = (slice(int(max(row, 0)), int(row + width)), slice(int(column), int(min(column + length, N_S - 20))))
        shade[here] = cv2.multiply(np.ascontiguousarray(shade[here]), float(rng.choice([0.62, 0.78, 1.18])))
    age = rng.random() ** 2
    for kind in rng.random(rng.poisson(14 * age)):
        is_tar, n = kind < 0.3, 48
        across = kind > 0.7  # a crack from edge to edge, else along the road
        start = np.array([rng.uniform(40, N_S - 40), row_of(rng.uniform(low, high))])
        step = np.array([0.0, 5.0]) if across else np.array([rng.uniform(3, 11), 0.0])
        # A jagged course; tar is poured in smoother sweeps.
        wander = np.cumsum(rng.normal(0, [0.5, 0.8], (n, 2)), axis=0) + rng.normal(0, 0.1 if is_tar else 0.4, (n, 2))
        points = (start + wander + step * np.arange(n)[:, None]).clip([15, 0], [N_S - 16, N_D - 1])
        dark = int(cv2.sumElems(shade)[0] / shade.size * (0.4 if is_tar else 0.6))
        cv2.polylines(shade, [(points * 16).astype(np.int32)], False, dark, 1, cv2.LINE_AA, 4)
    for _ in range(rng.poisson(1.0)):  # stains of oil and water
        centre = (int(rng.uniform(50, N_S - 50)), int(row_of(rng.uniform(low, high))))
        axes = (int(rng.uniform(2, 12)), int(rng.uniform(4, 22)))
        reach = slice(max(centre[1] - axes[1] - 2, 0), centre[1] + axes[1] + 3)
        stain = np.zeros_like(shade[reach])
        cv2.ellipse(stain, (centre[0], centre[1] - reach.start), axes, 0, 0, 360, int(rng.uniform(20, 60)), -1)
        shade[reach] = cv2.subtract(np.ascontiguousarray(shade[reach]), stain)
