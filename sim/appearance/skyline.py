"""Hills, woods and towns at the horizon, and clouds: by bearing, far from the road."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import cv2
import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.compiled import compiled
from sim.families import RoadFamily
from sim.weathers import Weather

N_BEARINGS = 1440
_BEARINGS = np.linspace(0, 2 * np.pi, N_BEARINGS, endpoint=False)
N_ROWS = 80
TOP_RAD = 0.4
"""Ridges reach up to this elevation; their texture has ``N_ROWS`` rows from there down to the horizon."""

_SNOW = np.array([0.86, 0.89, 0.95])


def _waves(rng: np.random.Generator, low: int, high: int, n: int, is_wanted: bool = True) -> np.ndarray:
    """Whole waves around the circle, so that there is no seam: (N_BEARINGS,) of about unit size; else zeros."""
    counts = rng.integers(low, high, n)[:, None]
    size = rng.normal(size=(n, 1)) / (1 + counts / 8.0)
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    if not is_wanted:
        return np.zeros(N_BEARINGS)
    return (size * np.sin(counts * _BEARINGS + phase)).sum(0)


def _crowns(rng: np.random.Generator, spacing: int) -> np.ndarray:
    """Tree tops (N_BEARINGS,) in [0, 1]: bumps of random height, as wide as ``spacing`` bearings."""
    heights = rng.random(-(-N_BEARINGS // spacing)).astype(np.float32) ** 1.5
    at = (np.arange(N_BEARINGS) / spacing) % 1.0
    return np.repeat(heights, spacing)[:N_BEARINGS] * (1 - (2 * at - 1) ** 2) ** 0.5


def _skip(rng: np.random.Generator, n: int) -> None:
    """Leave a stream as after ``n`` numbers of ``rng.random``, which nobody needs."""
    bits: Any = rng.bit_generator
    kept = {name: bits.state[name] for name in ("has_uint32", "uinteger")}
    bits.advance(n)
    bits.state = bits.state | kept


def _houses(rng: np.random.Generator, is_wanted: bool) -> tuple[np.ndarray, np.ndarray]:
    """A row of houses by bearing: heights (N_BEARINGS,) in [0, 1], walls and windows (N_ROWS, N_BEARINGS)."""
    starts = np.sort(rng.choice(N_BEARINGS, 110, replace=False))
    tall, bright = rng.random(111) ** 1.6, rng.uniform(0.45, 1.5, 111)
    if not is_wanted:
        _skip(rng, N_ROWS * N_BEARINGS)
        return tall, bright
    house = np.searchsorted(starts, np.arange(N_BEARINGS), side="right")
    walls = np.broadcast_to(bright[house], (N_ROWS, N_BEARINGS)).astype(np.float32).copy()
    windows = (np.arange(N_ROWS) % 3 == 1)[:, None] & (np.arange(N_BEARINGS) % 4 < 2)[None]
    walls[windows & (rng.random((N_ROWS, N_BEARINGS)) < 0.7)] *= 0.5
    return tall[house], walls


def _woods(rng: np.random.Generator, rough: float, size: float) -> np.ndarray:
    """Light and dark (N_ROWS, N_BEARINGS) of crowns before one another, each bright above and dark below."""
    columns = N_BEARINGS // 4  # a quarter of the circle, repeated
    picture = np.full((N_ROWS, columns), 90, np.uint8)
    n = int(1400 / size)
    rows = np.sort(rng.uniform(-4, N_ROWS + 4, n))
    at, radii = rng.uniform(0, columns, n), size * rng.uniform(0.7, 1.4, n)
    bright = rng.uniform(0.6, 1.2, n)
    # OpenCV cuts shapes at the edges in a way of its own: those are its own work, all others are stamped.
    reach = _MAX_AXIS + 4
    is_cut = (np.abs(rows - 0.5 * N_ROWS) > 0.5 * N_ROWS - reach) | (np.abs(at - 0.5 * columns) > 0.5 * columns - reach)
    ends = [0, *(np.flatnonzero(np.diff(is_cut)) + 1).tolist(), n]
    for first, end in itertools.pairwise(ends):
        crowns = rows[first:end], at[first:end], radii[first:end], bright[first:end]
        if is_cut[first]:
            _draw_crowns(picture, *crowns, 2 * size)
        else:
            _stamp_crowns(picture, *crowns, _ellipses())
    gain = 1 + rough * (np.tile(cv2.blur(picture, (2, 2)), (1, 4)).astype(np.float32) / 110 - 1)
    return gain * (1 + 0.5 * (_slopes(rng, rough) - 1))


def _draw_crowns(
    picture: np.ndarray, rows: np.ndarray, columns: np.ndarray, radii: np.ndarray, bright: np.ndarray, margin: float
) -> None:
    """Crowns with a bright upper part, those near the sides once more beyond the other one."""
    width = picture.shape[1]
    for row, column, radius, light in zip(
        rows.tolist(), columns.tolist(), radii.tolist(), bright.tolist(), strict=True
    ):
        beyond = width if column < margin else -width if column > width - margin else 0
        for shift in (0, beyond) if beyond else (0,):
            x, y, inner = int(column + shift), int(row), max(int(0.6 * radius), 1)
            axes = max(int(radius), 1), max(int(1.1 * radius), 1)
            cv2.ellipse(picture, (x, y), axes, 0, 0, 360, int(70 * light), -1)
            upper = x - int(0.3 * radius), y - int(0.4 * radius)
            cv2.ellipse(picture, upper, (inner, inner), 0, 0, 360, int(165 * light), -1)


_MAX_AXIS = 10


@functools.cache
def _ellipses() -> np.ndarray:
    """(_MAX_AXIS, _MAX_AXIS, n, n) bool: OpenCV's filled ellipses of whole half axes (across, up) about the middle."""
    n = 2 * _MAX_AXIS + 1
    masks = np.zeros((_MAX_AXIS, _MAX_AXIS, n, n), np.uint8)
    for across in range(1, _MAX_AXIS):
        for up in range(1, _MAX_AXIS):
            cv2.ellipse(masks[across, up], (_MAX_AXIS, _MAX_AXIS), (across, up), 0, 0, 360, 1, -1)
    return masks > 0


@compiled
def _stamp(picture: np.ndarray, row: int, column: int, mask: np.ndarray, value: int) -> None:
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            y, x = row + i - _MAX_AXIS, column + j - _MAX_AXIS
            if mask[i, j]:
                picture[y, x] = value


@compiled
def _stamp_crowns(
    picture: np.ndarray, rows: np.ndarray, columns: np.ndarray, radii: np.ndarray, bright: np.ndarray,
    ellipses: np.ndarray,
) -> None:  # fmt: skip
    """``_draw_crowns`` of shapes that no edge cuts."""
    for i in range(len(rows)):
        radius, row, column = radii[i], int(rows[i]), int(columns[i])
        own = ellipses[max(int(radius), 1), max(int(1.1 * radius), 1)]
        upper = ellipses[max(int(0.6 * radius), 1), max(int(0.6 * radius), 1)]
        _stamp(picture, row, column, own, int(70 * bright[i]))
        _stamp(picture, row - int(0.4 * radius), column - int(0.3 * radius), upper, int(165 * bright[i]))


def _slopes(rng: np.random.Generator, rough: float) -> np.ndarray:
    """Light and dark (N_ROWS, N_BEARINGS) by elevation and bearing on hillsides; periodic by bearing."""
    gain = np.ones((N_ROWS, N_BEARINGS), np.float32)
    for weight, (rows, columns) in ((0.4, (5, 40)), (0.35, (16, 160)), (0.3, (80, 720))):
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        grid = np.concatenate([grid[:, -1:], grid, grid[:, :1]], axis=1)
        margin = round(N_BEARINGS / columns)
        wide = cv2.resize(grid, (N_BEARINGS + 2 * margin, N_ROWS), interpolation=cv2.INTER_LINEAR)
        gain += np.float32(weight * rough) * wide[:, margin : margin + N_BEARINGS]
    return np.clip(gain, 0.1, 2.0)


def draw_ridges(
    rng: np.random.Generator, family: RoadFamily, atmosphere: Atmosphere
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Skyline of an episode, far to near.

    Returns:
        Heights (n, N_BEARINGS) in radians, colours (n, 3) lit and hazed, gains of the colours
        (n, N_ROWS, N_BEARINGS).
    """
    n_ridges = int(rng.integers(2, 5))
    rugged = family.ruggedness
    heights, colours, textures = [], [], []
    for i in range(n_ridges):
        nearness = i / (n_ridges - 1)
        is_wood = rng.random() < 0.35 + 0.5 * nearness
        is_town = rng.random() < 0.2 + 0.6 * nearness and family.towns_at_horizon
        base = rng.uniform(*(family.near_hills_rad if nearness > 0.5 else family.far_hills_rad))
        hills = base + 0.022 * rugged * _waves(rng, 2, 14, 6) + 0.008 * rugged * _waves(rng, 15, 70, 10)
        size = (0.004 + 0.03 * nearness**2) * rng.uniform(0.5, 1.6)
        crowns = np.maximum(_crowns(rng, int(4 + 12 * nearness)), 0.8 * _crowns(rng, int(3 + 6 * nearness)))
        gaps = np.clip(0.8 + 1.5 * _waves(rng, 3, 30, 8, is_wood and not is_town), 0, 1)  # woods end and begin
        tall, walls = _houses(rng, is_town)
        heights.append(0.02 + 2.2 * size * tall if is_town else hills + size * crowns * gaps * is_wood)
        choice, shade, haze = rng.random(), rng.uniform(0.6, 1.2), rng.uniform(0.1, 0.6)
        kinds = atmosphere.season.woods if is_wood else atmosphere.season.hills
        colour = np.array((0.45, 0.40, 0.37) if is_town else kinds[int(choice * len(kinds))]) * shade
        white = np.clip(atmosphere.snow_cover * (0.3 if is_town else 0.35 if is_wood else 0.9), 0, 1)
        colour = (colour + white * (_SNOW - colour)) * atmosphere.light
        # Far ridges are paler, in fog all of them are gone.
        clear = (1 - haze * (1 - nearness)) * np.exp(-(110.0 + 500.0 * (1 - nearness)) / atmosphere.visibility_m)
        colours.append(atmosphere.horizon + (np.clip(colour, 0, 1) - atmosphere.horizon) * clear)
        rough, crown = rng.uniform(0.3, 0.9), 3.0 + 3.0 * nearness * rng.random()
        texture = walls if is_town else _woods(rng, rough, crown) if is_wood else _slopes(rng, rough)
        textures.append(1 + clear * (texture - 1))
    ridges = np.clip(np.array(heights, np.float32), 0, TOP_RAD)
    return ridges, np.clip(np.array(colours, np.float32), 0, 1), np.array(textures, np.float32)


def draw_clouds(rng: np.random.Generator, weather: Weather) -> np.ndarray:
    """Cover (64, 512) in [0, 1] by elevation (top row is highest) and bearing, without a seam."""
    threshold = rng.uniform(*weather.cloud_threshold)
    cover = np.zeros((64, 512), np.float32)
    for weight, (rows, columns) in ((1.0, (8, 16)), (0.6, (16, 48)), (0.35, (32, 128)), (0.2, (64, 256))):
        grid = rng.random((rows, columns)).astype(np.float32)
        grid = np.concatenate([grid[:, -2:], grid, grid[:, :2]], axis=1)
        margin = round(2 * 512 / columns)
        wide = cv2.resize(grid, (512 + 2 * margin, 64), interpolation=cv2.INTER_CUBIC)
        cover += weight * wide[:, margin : margin + 512]
    return np.clip((cover - threshold - 0.35) * 1.8, 0, 1)
