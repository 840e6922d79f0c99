"""Painted houses and barns, uint8 (H, W, 4) premultiplied, seen from any side."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from sim.roadside.sprite_solids import GLASS, Colour, Painted, Painter, Points, inset
from sim.seasons import Season


@dataclass(frozen=True)
class HouseShape:
    """A house: its long side runs along the road, its ridge too unless ``gable_to_road``."""

    length_m: float
    width_m: float
    eaves_m: float
    ridge_m: float
    wall: Colour
    roof: Colour
    gable_to_road: bool = False
    is_barn: bool = False


HOUSES = (
    HouseShape(11.0, 8.5, 3.2, 6.4, (214, 204, 184), (126, 66, 48)),
    HouseShape(9.0, 8.0, 5.6, 8.8, (226, 224, 216), (92, 74, 66)),
    HouseShape(12.0, 9.0, 3.4, 6.0, (170, 96, 74), (84, 80, 80)),
    HouseShape(9.5, 9.5, 5.4, 9.4, (198, 178, 132), (140, 74, 52), gable_to_road=True),
    HouseShape(14.0, 8.0, 2.9, 4.6, (186, 194, 190), (110, 108, 104)),
    HouseShape(10.0, 8.0, 3.4, 7.0, (140, 150, 134), (70, 66, 64), gable_to_road=True),
)
BARNS = (
    HouseShape(16.0, 10.0, 4.2, 7.6, (112, 84, 62), (120, 118, 116), is_barn=True),
    HouseShape(14.0, 11.0, 4.6, 8.4, (128, 48, 40), (96, 92, 90), gable_to_road=True, is_barn=True),
    HouseShape(20.0, 12.0, 5.0, 7.0, (168, 172, 170), (140, 146, 148), is_barn=True),
    HouseShape(13.0, 9.0, 3.8, 6.6, (146, 122, 92), (132, 84, 60), is_barn=True),
)


def _openings(painter: Painter, rng: np.random.Generator, wall: Points, shape: HouseShape, width_m: float) -> None:
    """Windows and a door in one wall, or the gate of a barn."""
    seen = painter.sees(wall)
    if shape.is_barn:
        painter.face(inset(wall, 0.34, 0.62, 0.0, 0.78), tuple(0.55 * c for c in shape.wall))
        return
    n_floors, n_columns = max(round(shape.eaves_m / 2.8), 1), max(round(width_m / 2.6), 2)
    door = int(rng.integers(n_columns))
    for floor in range(n_floors):
        for column in range(n_columns):
            middle, low = (column + 0.5) / n_columns, (floor + 0.32) / n_floors
            half, high = 0.52 / width_m, (floor + 0.80) / n_floors
            if floor == 0 and column == door:
                painter.face(inset(wall, middle - half, middle + half, 0.0, high), (88, 58, 42))
                continue
            frame = inset(wall, middle - 1.25 * half, middle + 1.25 * half, low - 0.03, high + 0.03)
            painter.face(frame, (226, 224, 216))
            pane = inset(wall, middle - half, middle + half, low, high)
            painter.face(pane, GLASS if rng.random() < 0.7 else (92, 104, 116))
            if rng.random() < 0.4 and seen:
                x, y, z = (float(c) for c in np.mean(pane, axis=0))
                painter.lamp((x, y, z), 0.9, (225, 165, 90))


@functools.cache
def _grain() -> np.ndarray:
    """Roughness of plaster and tiles, a gain for every pixel of the largest house."""
    return np.clip(1 + 0.05 * np.random.default_rng(0).normal(0, 1, (512, 768)), 0.8, 1.2).astype(np.float32)


def _paint_house(rng: np.random.Generator, shape: HouseShape, yaw_rad: float, snowy: bool) -> Painted:
    if shape.gable_to_road:  # the model has its ridge along x
        yaw_rad += np.pi / 2
        length_m, width_m = shape.width_m, shape.length_m
    else:
        length_m, width_m = shape.length_m, shape.width_m
    painter = Painter((length_m, width_m, shape.ridge_m), yaw_rad, 24.0)
    x, y, low, top = length_m / 2, width_m / 2, shape.eaves_m, shape.ridge_m
    walls: dict[float, list[Points]] = {
        length_m: [
            [(x, y, 0), (-x, y, 0), (-x, y, low), (x, y, low)],
            [(-x, -y, 0), (x, -y, 0), (x, -y, low), (-x, -y, low)],
        ],
        width_m + 1e-6: [
            [(x, -y, 0), (x, y, 0), (x, y, low), (x, -y, low)],
            [(-x, y, 0), (-x, -y, 0), (-x, -y, low), (-x, y, low)],
        ],
    }
    for end in (-1.0, 1.0):
        gable = [(end * x, -end * y, low), (end * x, end * y, low), (end * x, 0.0, top)]
        painter.face(gable, shape.wall)
    for wall_m, pair in walls.items():
        for wall in pair:
            painter.face(wall, shape.wall)
            painter.face(inset(wall, 0, 1, 0, 0.09), tuple(0.6 * c for c in shape.wall))
            _openings(painter, rng, wall, shape, wall_m)
    over_m = 0.25
    drop_m = over_m * (top - low) / y
    for side in (-1, 1):
        eaves = (side * (y + over_m), low - drop_m)
        end = side * (x + over_m)
        slope: Points = [(end, *eaves), (-end, *eaves), (-end, 0.0, top), (end, 0.0, top)]
        painter.face(slope, (228, 232, 238) if snowy else shape.roof)
    if not shape.is_barn:
        for corners in _box_faces(0.25 * x, 0.25 * y, 0.4, top - 1.2, top + 0.3):
            painter.face(corners, (120, 82, 70))
    rows, columns = painter.picture.shape[:2]
    rgb = painter.picture[..., :3] * _grain()[:rows, :columns, None]
    painter.picture[..., :3] = np.minimum(rgb, painter.picture[..., 3:])
    return painter.picture, tuple(painter.lamps)


def _box_faces(x: float, y: float, half: float, low: float, high: float) -> list[Points]:
    """The four sides of a small upright box."""
    ring = [(x + half, y - half), (x + half, y + half), (x - half, y + half), (x - half, y - half)]
    return [
        [(*ring[i], low), (*ring[(i + 1) % 4], low), (*ring[(i + 1) % 4], high), (*ring[i], high)] for i in range(4)
    ]


def paint_house(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A house of ``HOUSES``; yaw 0 looks along the road it stands at."""
    return _paint_house(rng, HOUSES[variant % len(HOUSES)], yaw_rad, season.snow_on_roofs and variant % 2 == 0)


def paint_barn(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A barn of ``BARNS``; yaw 0 looks along the road it stands at."""
    return _paint_house(rng, BARNS[variant % len(BARNS)], yaw_rad, season.snow_on_roofs and variant % 2 == 0)
