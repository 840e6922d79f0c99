"""Painted panels: what runs along the road as a flat upright surface, uint8 (H, W, 4) premultiplied.

Town fronts, rock cuttings, stone walls, hedges and wooden fences; each panel is drawn in perspective between two
points of the road's side, and joins the next.
"""

from __future__ import annotations

import cv2
import numpy as np

from sim.roadside.sprite_solids import Lamp, Painted
from sim.roadside.sprite_trees import BARK, clumps
from sim.seasons import SEASONS, Season

Colour = tuple[float, ...]
FRONTS: tuple[Colour, ...] = (
    (208, 196, 170), (178, 110, 84), (196, 200, 196), (150, 132, 112), (222, 206, 150),
    (164, 176, 184), (200, 160, 130), (232, 228, 218),
)  # fmt: skip
PIXELS_PER_M = 20


def _noise(rng: np.random.Generator, height: int, width: int, cell: tuple[int, int]) -> np.ndarray:
    grid = rng.normal(0, 1, (max(height // cell[0], 2), max(width // cell[1], 2)))
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _fill(picture: np.ndarray, left: float, right: float, top: float, bottom: float, colour: Colour) -> None:
    picture[round(top) : round(bottom), round(left) : round(right)] = (*(min(max(c, 0), 255) for c in colour), 255)


def paint_town_front(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """Two houses wall to wall, 16 m long, up to 11 m high, sometimes with shops."""
    height, width = 11 * PIXELS_PER_M, 16 * PIXELS_PER_M
    picture = np.zeros((height, width, 4), np.uint8)
    lamps: list[Lamp] = []
    split = round(width * rng.uniform(0.4, 0.6))
    for left, right in ((0, split), (split, width)):
        wall = np.array(FRONTS[int(rng.integers(len(FRONTS)))]) * rng.uniform(0.8, 1.05)
        n_floors = int(rng.integers(2, 4))
        floor = 3.0 * PIXELS_PER_M
        top = height - n_floors * floor - 0.3 * PIXELS_PER_M
        roof = np.array(((112, 70, 56), (84, 82, 84), (98, 76, 64))[int(rng.integers(3))])
        _fill(picture, left, right, max(top - 1.3 * PIXELS_PER_M, 0), top, tuple(roof))
        _fill(picture, left, right, top, height, tuple(wall))
        _fill(picture, left, right, top, top + 4, tuple(0.6 * wall))
        _fill(picture, right - 2, right, top, height, tuple(0.7 * wall))
        n_columns = round((right - left) / (2.4 * PIXELS_PER_M))
        step = (right - left) / n_columns
        is_shop = rng.random() < 0.55
        for storey in range(1 if is_shop else 0, n_floors):
            for column in range(n_columns):
                x, y = left + (column + 0.5) * step, height - (storey + 0.55) * floor
                _fill(picture, x - 13, x + 13, y - 18, y + 17, tuple(np.minimum(1.18 * wall, 245)))
                glass = np.array((48, 56, 66)) * rng.uniform(0.7, 1.7)
                _fill(picture, x - 10, x + 10, y - 15, y + 14, tuple(glass))
                _fill(picture, x - 1, x + 1, y - 15, y + 14, (220, 218, 210))
                if rng.random() < 0.35:
                    lamps.append(Lamp(x / width, y / height, 0.9, (225, 170, 95)))
        _ground_floor(picture, rng, (left, right), floor, is_shop, lamps)
    shade = 1 + 0.05 * _noise(rng, height, width, (3, 3)) + 0.05 * _noise(rng, height, width, (40, 40))
    picture[..., :3] = np.clip(picture[..., :3] * shade[..., None], 0, picture[..., 3:])
    return picture, tuple(lamps)


def _ground_floor(
    picture: np.ndarray, rng: np.random.Generator, span: tuple[int, int], floor: float, is_shop: bool, lamps: list[Lamp]
) -> None:
    """A shop window under its awning, or a door and a plinth."""
    height, width = picture.shape[:2]
    left, right = span
    if is_shop:
        _fill(picture, left + 8, right - 30, height - 0.72 * floor, height - 10, (40, 46, 54))
        _fill(picture, left + 14, left + 34, height - 0.66 * floor, height - 16, (150, 138, 110))
        _fill(picture, right - 26, right - 10, height - 0.72 * floor, height, (70, 54, 44))
        awning = ((150, 36, 34), (36, 88, 60), (40, 62, 120), (206, 180, 60))[int(rng.integers(4))]
        _fill(picture, left + 4, right - 6, height - 0.98 * floor, height - 0.74 * floor, awning)
        lamps.append(Lamp((left + right - 22) / 2 / width, 1 - 0.4 * floor / height, 2.0, (240, 205, 150)))
    else:
        middle = left + (right - left) * rng.uniform(0.2, 0.8)
        _fill(picture, middle - 11, middle + 11, height - 0.75 * floor, height, (78, 52, 40))
    _fill(picture, left, right, height - 7, height, (96, 92, 88))


def paint_rock(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A rock cutting with a ragged top: ledges that slant, dark cracks, some green on top."""
    height, width = 128, 320
    base = np.array(((132, 122, 108), (112, 108, 106), (146, 118, 92), (98, 94, 86))[variant % 4], np.float64)
    row, column = np.mgrid[:height, :width].astype(np.float64)
    # Blocks: slanted layers, each broken by its own cracks, every block with a tone of its own.
    slant = rng.uniform(-0.3, 0.3)
    warp = 3.0 * _noise(rng, height, width, (40, 50)) + 1.2 * _noise(rng, height, width, (9, 12))
    level = (row + slant * column + warp) / rng.uniform(9.0, 15.0)
    layer = np.floor(level).astype(int)
    offsets, sizes = rng.uniform(0, 40, 200), rng.uniform(13, 30, 200)
    across = (column + 0.5 * row + 2.0 * warp + offsets[layer % 200]) / sizes[layer % 200]
    tones = rng.normal(0, 0.13, 4096)
    light = 0.84 + tones[(layer * 61 + np.floor(across).astype(int) * 7) % 4096]
    light -= 0.24 * (level % 1.0 > 0.84) + 0.16 * (across % 1.0 > 0.90) - 0.12 * (level % 1.0 < 0.16)
    light += 0.09 * _noise(rng, height, width, (26, 30)) + 0.07 * _noise(rng, height, width, (3, 3))
    light *= 1.06 - 0.22 * row / height
    rgb = base * np.clip(light, 0.2, 1.35)[..., None]
    # The outline comes back to the same height at both ends, so panels join.
    ends = np.sin(np.linspace(0, np.pi, width)) ** 0.5
    ragged = 15 + ends * (9 * _noise(rng, 2, width, (1, 40))[0] + 4 * _noise(rng, 2, width, (1, 9))[0])
    green = row < ragged + 7 + 7 * _noise(rng, height, width, (8, 8))
    rgb[green] = (np.array((92, 100, 52)) * np.clip(light, 0.4, 1.2)[..., None])[green]
    talus = row > height - 12 + 6 * _noise(rng, height, width, (8, 12))
    rgb[talus] = (np.array((118, 106, 86)) * np.clip(light, 0.4, 1.1)[..., None])[talus]
    alpha = np.clip(row - ragged, 0, 1)[..., None]
    return np.clip(np.concatenate([rgb * alpha, 255 * alpha], axis=2), 0, 255).astype(np.uint8), ()


def paint_stone_wall(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A low wall of rough stones, or a plastered garden wall."""
    height, width = 48, 320
    base = np.array(((138, 130, 118), (116, 112, 108), (196, 186, 166), (150, 92, 70))[variant % 4])
    picture = np.zeros((height, width, 4), np.uint8)
    _fill(picture, 0, width, 2, height, tuple(0.5 * base))
    rows = 5 if variant % 4 != 2 else 1
    for i in range(rows):
        y0, y1 = 4 + i * (height - 4) / rows, 3 + (i + 1) * (height - 4) / rows
        x = -rng.uniform(0, 20)
        while x < width:
            step = rng.uniform(10, 30) if rows > 1 else width
            _fill(picture, max(x, 0), min(x + step - 1.5, width), y0, y1, tuple(base * rng.uniform(0.72, 1.12)))
            x += step
    _fill(picture, 0, width, 0, 5, tuple(np.minimum(1.15 * base, 240)))
    shade = 1 + 0.08 * _noise(rng, height, width, (3, 3))
    picture[..., :3] = np.clip(picture[..., :3] * shade[..., None], 0, 255)
    return picture, ()


def paint_hedge(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A hedge, cut or wild; brown in winter."""
    height, width = 72, 320
    picture = np.zeros((height, width, 4), np.uint8)
    n = 70
    radius = rng.uniform(9, 13, n)
    wild = 9.0 if variant % 2 else 3.0
    x = np.linspace(-6, width + 6, n)
    blobs = np.concatenate(
        [np.stack([x, height - y - wild * rng.random(n), radius], axis=1) for y in (12.0, 30.0, 46.0)]
    )
    if not season.leaves:
        colour = BARK[variant % 4]
    else:  # cut hedges turn late and never all of them
        green, turned = SEASONS["summer"].leaves[(variant + 1) % 6], season.leaves[(variant + 1) % 6]
        colour = (0.6 * green[0] + 0.4 * turned[0], 0.6 * green[1] + 0.4 * turned[1], green[2])
    _fill(picture, 0, width, 26, height, tuple(0.25 * c for c in colour))
    clumps(picture, rng, blobs, (0.85 * colour[0], 0.85 * colour[1], 0.85 * colour[2]), 1900, 3.8)
    return picture, ()


def paint_fence(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A fence one sees through: rails or wires between posts."""
    height, width = 56, 320
    picture = np.zeros((height, width, 4), np.uint8)
    wood: Colour = ((112, 92, 72), (222, 220, 212), (134, 122, 106), (70, 60, 52))[variant % 4]
    if variant % 4 == 3:  # wires
        rails: tuple[int, ...] = (16, 30, 44)
        thick = 2
    else:
        rails, thick = ((12, 26, 40) if variant % 2 else (14, 34)), 6
    for y in rails:
        gain = rng.uniform(0.82, 1.02)
        _fill(picture, 0, width, y, y + thick, tuple(c * gain for c in wood))
    for x in range(20, width, 40):
        _fill(picture, x - 4, x + 4, 4, height, tuple(0.8 * c for c in wood))
        _fill(picture, x - 4, x - 1, 4, height, tuple(1.05 * c for c in wood))
    return picture, ()
