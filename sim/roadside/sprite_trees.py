"""Painted vegetation: leafy trees, conifers, bare crowns, bushes and whole rows of trees.

Every picture is uint8 (H, W, 4), RGB premultiplied with alpha. Painting an opaque colour with alpha 255 over zeros
keeps a picture premultiplied, so the plain drawing calls of OpenCV are enough.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from sim.roadside.sprite_solids import Painted
from sim.seasons import Season

Colour = tuple[float, ...]

SNOW: Colour = (226, 231, 238)
NEEDLES: tuple[Colour, ...] = ((58, 84, 46), (46, 72, 48), (68, 88, 52), (52, 78, 58))
BARK: tuple[Colour, ...] = ((92, 74, 58), (78, 68, 60), (112, 98, 84), (66, 54, 44))


def _tone(colour: Colour, gain: float) -> tuple[float, float, float, float]:
    red, green, blue = (min(channel * gain, 255.0) for channel in colour)
    return (red, green, blue, 255.0)


def clumps(
    picture: np.ndarray, rng: np.random.Generator, blobs: np.ndarray, colour: Colour, n_clumps: int, size_px: float
) -> None:
    """Fill round blobs (x, y, radius) with leaf clumps, dark ones behind and below, bright ones in front."""
    blob = blobs[rng.choice(len(blobs), n_clumps, p=blobs[:, 2] ** 2 / (blobs[:, 2] ** 2).sum())]
    angle, reach = rng.uniform(0, 2 * np.pi, n_clumps), np.sqrt(rng.uniform(0, 1, n_clumps))
    x = blob[:, 0] + blob[:, 2] * reach * np.cos(angle)
    y = blob[:, 1] + 0.85 * blob[:, 2] * reach * np.sin(angle)
    low, high = blobs[:, 1].min() - blobs[:, 2].max(), (blobs[:, 1] + blobs[:, 2]).max()
    # Lit from above and a little from the left; within a blob its own top is brighter than its underside.
    light = 0.62 - 0.34 * (y - low) / (high - low) - 0.34 * reach * np.sin(angle) - 0.10 * reach * np.cos(angle)
    light += rng.normal(0, 0.10, n_clumps)
    hue = rng.normal(0, 0.05, (n_clumps, 3))
    size = size_px * rng.uniform(0.5, 1.35, n_clumps) * np.clip(1.5 - reach, 0.6, 1.2)
    gain = np.clip(0.28 + 0.95 * light, 0.14, 1.15)[:, None]
    tones = np.clip(np.array(colour) * gain * (1 + hue), 0, 255)
    shapes = _leaves(np.stack([x, y], axis=1), size, size * rng.uniform(0.5, 0.9, n_clumps), rng)
    for i in np.argsort(light + rng.normal(0, 0.12, n_clumps)):
        cv2.fillConvexPoly(picture, shapes[i], (*tones[i].tolist(), 255.0), cv2.LINE_AA, 4)


def _leaves(middle: np.ndarray, long: np.ndarray, wide: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outlines (n, 10, 2) of lying ellipses, in 1/16 pixels."""
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    lean = rng.uniform(-0.7, 0.7, len(middle))[:, None]
    a, b = long[:, None] * np.cos(turn), wide[:, None] * np.sin(turn)
    outline = np.stack([a * np.cos(lean) - b * np.sin(lean), a * np.sin(lean) + b * np.cos(lean)], axis=2)
    return np.round(16 * (middle[:, None] + outline)).astype(np.int32)


def _grain(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Leaf-sized flicker of light; colour never exceeds its alpha."""
    fine = cv2.resize(
        rng.normal(0, 1, (picture.shape[0] // 2, picture.shape[1] // 2)), (picture.shape[1], picture.shape[0])
    )
    rgb = picture[..., :3] * np.clip(1 + strength * fine, 0.3, 1.6)[..., None]
    out = picture.copy()
    out[..., :3] = np.minimum(rgb, picture[..., 3:]).astype(np.uint8)
    return out


def _trunk(
    picture: np.ndarray, rng: np.random.Generator, foot: tuple[float, float], top: tuple[float, float], width: float
) -> Colour:
    """A tapering stem with a lit and a dark side; returns its colour."""
    bark = BARK[int(rng.integers(len(BARK)))]
    (x0, y0), (x1, y1) = foot, top
    for left, right, gain in ((-1.0, 1.0, 0.62), (-1.0, 0.1, 0.95)):
        corners = [
            (x0 + 0.75 * left * width, y0), (x0 + 0.5 * left * width, y0 - width),
            (x1 + 0.3 * left * width, y1), (x1 + 0.3 * right * width, y1),
            (x0 + 0.5 * right * width, y0 - width), (x0 + 0.75 * right * width, y0),
        ]  # fmt: skip
        cv2.fillPoly(picture, [np.array(corners, np.int32)], _tone(bark, gain), cv2.LINE_AA)
    return bark


def _twigs(
    picture: np.ndarray,
    rng: np.random.Generator,
    start: tuple[float, float, float],
    length: float,
    width: float,
    bark: Colour,
) -> None:
    """A branch from (x, y, direction) and all that grows out of it."""
    x, y, direction = start
    end_x, end_y = x + length * np.sin(direction), y - length * np.cos(direction)
    tone = _tone(bark, 0.55 + 0.35 * rng.random())
    cv2.line(picture, (int(x), int(y)), (int(end_x), int(end_y)), tone, max(round(width), 1), cv2.LINE_AA)
    if length < 12:
        return
    for side in (-1, 1, *([0] if rng.random() < 0.5 else [])):
        turned = 0.92 * direction + side * rng.uniform(0.25, 0.65)
        _twigs(picture, rng, (end_x, end_y, turned), length * rng.uniform(0.62, 0.84), width * 0.66, bark)


def paint_leafy(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A broad-leaved tree; bare in winter. The last two variants carry their crown high on a long stem."""
    height, width = 256, 220
    picture = np.zeros((height, width, 4), np.uint8)
    tall = variant % 6 >= 4
    low = height * (0.58 if tall else rng.uniform(0.70, 0.80))  # where the crown ends below
    foot, fork = (width / 2, height - 3.0), (width / 2 + rng.uniform(-8, 8), low - 25)
    bark = _trunk(picture, rng, foot, fork, 7.0 if tall else 9.0)
    n_blobs = int(rng.integers(8, 13))
    reach = rng.uniform(0.62, 0.80)  # of the half width
    turn = rng.uniform(0, 2 * np.pi, n_blobs)
    spread = np.sqrt(rng.uniform(0.0, 1.0, n_blobs))
    blobs = np.stack(
        [
            width / 2 + reach * 0.5 * width * spread * np.cos(turn),
            0.5 * (low + 26) + 0.34 * (low - 20) * spread * np.sin(turn),
            rng.uniform(0.12, 0.20, n_blobs) * height,
        ],
        axis=1,
    )
    margin = blobs[:, 2] + 8
    blobs[:, 0] = np.clip(blobs[:, 0], margin, width - margin)
    blobs[:, 1] = np.clip(blobs[:, 1], margin, low - 0.3 * blobs[:, 2])
    if not season.leaves:
        for direction in rng.uniform(-0.75, 0.75, 4):
            _twigs(picture, rng, (foot[0], rng.uniform(low - 20, low + 12), direction), 0.24 * low, 4.5, bark)
        _twigs(picture, rng, (*fork, 0.0), 0.27 * low, 5.5, bark)
        return picture, ()
    for blob in blobs[::3]:
        ends = (int(fork[0]), int(fork[1] + 20)), (int(blob[0]), int(blob[1]))
        cv2.line(picture, *ends, _tone(bark, 0.5), 3, cv2.LINE_AA)
    colour = season.leaves[variant % len(season.leaves)]
    clumps(picture, rng, blobs, colour, 520, 9.0)
    return _grain(picture, rng, 0.16), ()


def paint_conifer(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A spruce or a fir, with snow on its boughs in winter for every other variant."""
    height, width = 256, 130
    picture = np.zeros((height, width, 4), np.uint8)
    colour = NEEDLES[variant % len(NEEDLES)]
    snowy = season.snow_on_roofs and variant % 2 == 0
    _trunk(picture, rng, (width / 2, height - 3.0), (width / 2, 20.0), 5.0)
    slim = rng.uniform(0.34, 0.46)
    for y in np.arange(8, height - 22, 4.2):
        share = y / (height - 22)
        half = slim * width * (share**0.85) * rng.uniform(0.86, 1.1) + 2
        for x in rng.uniform(-half, half, int(4 + 14 * share)):
            side = x / (half + 1e-9)
            droop = 10 * abs(side) * share + rng.uniform(-3, 4)
            gain = 0.62 + 0.20 * rng.normal() - 0.09 * abs(side) - 0.18 * side - 0.15 * share
            is_white = snowy and gain > 0.5 and rng.random() < 0.3
            tone = _tone(SNOW if is_white else colour, float(np.clip(gain + 0.25, 0.25, 1.15)))
            centre = (int(width / 2 + x), int(y + droop))
            axes = (int(3 + 6 * share), int(2 + 2.5 * share))
            cv2.ellipse(picture, centre, axes, 28 * side, 0, 360, tone, -1, cv2.LINE_AA)
    return _grain(picture, rng, 0.20), ()


def paint_bush(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """A low bush or tuft of tall grass; thin and brown in winter."""
    height, width = 112, 168
    picture = np.zeros((height, width, 4), np.uint8)
    if not season.leaves:
        bark = BARK[variant % len(BARK)]
        for x in rng.uniform(0.3, 0.7, 22):
            _twigs(picture, rng, (x * width, height - 4.0, rng.uniform(-0.7, 0.7)), 26.0, 2.0, bark)
        return picture, ()
    n_blobs = int(rng.integers(4, 7))
    radius = rng.uniform(0.22, 0.34, n_blobs) * height
    x, y = rng.uniform(0.24, 0.76, n_blobs) * width, height - 6 - radius * rng.uniform(0.8, 1.5, n_blobs)
    blobs = np.stack([x, y, radius], axis=1)
    blobs[:, 1] = np.maximum(blobs[:, 1], radius + 6)
    colour = season.leaves[(2 * variant + 1) % len(season.leaves)]
    clumps(picture, rng, blobs, tuple(0.9 * c for c in colour), 240, 7.0)
    return _grain(picture, rng, 0.16), ()


@functools.cache
def _tree(is_conifer: bool, variant: int, season: Season) -> np.ndarray:
    """A tree for rows, the same in all of them."""
    rng = np.random.default_rng([int(is_conifer), variant])
    return (paint_conifer if is_conifer else paint_leafy)(rng, variant, season, 0.0)[0]


def paint_tree_row(rng: np.random.Generator, variant: int, season: Season, yaw_rad: float) -> Painted:
    """The edge of a wood, several trees wide: what stands far from the road is drawn with one of these."""
    height, width = 176, 512
    picture = np.zeros((height, width, 4), np.uint8)
    conifers = variant % 2 == 1
    for depth in range(2):
        n_trees = int(rng.integers(6, 9))
        for x in (np.arange(n_trees) + 0.5 + rng.uniform(-0.3, 0.3, n_trees)) * (width - 110) / n_trees + 55:
            tree = _tree(bool(conifers and rng.random() < 0.75), int(rng.integers(6)), season)
            tall = int(height * rng.uniform(0.66, 1.0) * (1.0 if depth == 0 else 0.86))
            wide = min(int(tree.shape[1] * tall / tree.shape[0]), 108)
            tree = cv2.resize(tree, (wide, tall), interpolation=cv2.INTER_AREA)
            gain = (0.72, 1.0)[depth] * rng.uniform(0.85, 1.1)
            tree[..., :3] = (tree[..., :3] * gain).clip(0, tree[..., 3:])
            left = int(np.clip(x - wide / 2, 0, width - wide))
            place = picture[height - tall :, left : left + wide]
            place[:] = tree + (place * (1 - tree[..., 3:] / 255.0)).astype(np.uint8)
    n = 26
    under = np.stack([rng.uniform(26, width - 26, n), np.full(n, height - 17.0), rng.uniform(10, 17, n)], axis=1)
    colour = season.undergrowth or season.leaves[(variant + 2) % 6]
    clumps(picture, rng, under, tuple(0.62 * c for c in colour), 360, 6.0)
    return picture, ()
