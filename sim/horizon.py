"""Where a straight road vanishes, from the motion in the pictures alone.

While a car drives straight, everything that stands moves away from one point of the picture, the focus of expansion:
the point the car drives to (Longuet-Higgins and Prazdny 1980). Its row is the horizon of a level road.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

MAX_PAIRS = 400
MIN_POINTS = 25
MIN_PAIRS = 20
"""Fewer pairs of pictures with a clear answer give none."""
STRAIGHTEST = 0.4
"""Share of the rows, those with the least steering, that are looked at."""

_WIDTH_PX = 480
_MOVED_PX = 0.7, 30.0
_N_ROUNDS = 8


def vanishing_point(
    pictures: Iterable[tuple[int, np.ndarray]], steering: np.ndarray, max_frames: int = 6000
) -> tuple[float, float] | None:
    """Column and row (u, v) in pixels of the pictures; None where too few pictures tell.

    Args:
        pictures: row and uint8 (H, W, 3), in order.
        steering: by row, any unit; NaN where it is not known.
        max_frames: that are looked at.
    """
    known = np.abs(steering[np.isfinite(steering)])
    if not len(known):
        return None
    limit = np.quantile(known, STRAIGHTEST)
    found: list[tuple[float, float]] = []
    before: tuple[int, np.ndarray] | None = None
    scale = 1.0
    for n, (row, picture) in enumerate(pictures):
        if n == max_frames or len(found) == MAX_PAIRS:
            break
        if not abs(steering[row]) <= limit:
            before = None
            continue
        scale = min(1.0, _WIDTH_PX / picture.shape[1])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        if before is not None and before[0] == row - 1:
            point = _focus(before[1], grey)
            if point is not None:
                found.append(point)
        before = row, grey
    if len(found) < MIN_PAIRS:
        return None
    u, v = np.median(np.array(found), axis=0)
    return (float(u) + 0.5) / scale - 0.5, (float(v) + 0.5) / scale - 0.5


def _focus(before: np.ndarray, after: np.ndarray) -> tuple[float, float] | None:
    """The point that the lines of the moved points pass nearest to, by least squares that trust outliers less."""
    points = cv2.goodFeaturesToTrack(before, maxCorners=250, qualityLevel=0.01, minDistance=7)
    if points is None or len(points) < MIN_POINTS:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)
    back, status_back, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None, winSize=(15, 15), maxLevel=3)
    p, flow = points[:, 0].astype(float), (moved - points)[:, 0].astype(float)
    length = np.hypot(*flow.T)
    good = (status[:, 0] == 1) & (status_back[:, 0] == 1) & (np.abs(back - points).max(axis=(1, 2)) < 0.3)
    good &= (length > _MOVED_PX[0]) & (length < _MOVED_PX[1])
    if good.sum() < MIN_POINTS:
        return None
    p, normal = p[good], np.stack([-flow[good, 1], flow[good, 0]], axis=1) / length[good, None]
    distance = (p * normal).sum(axis=1)
    weight = np.ones(len(p))
    focus = np.zeros(2)
    for _ in range(_N_ROUNDS):
        a = normal * weight[:, None]
        matrix = a.T @ normal
        if np.linalg.cond(matrix) > 1e4:
            return None
        focus = np.linalg.solve(matrix, a.T @ distance)
        miss = np.abs(normal @ focus - distance)
        # a flow off by e px turns its line by e / length: points far from the focus say less
        spread = np.maximum(miss / np.maximum(length[good], 1.0), 1e-3)
        reach = np.hypot(*(p - focus).T) + 20.0
        weight = 1.0 / (spread * reach + reach * 0.05)
    h, w = before.shape
    inside = -0.5 * w < focus[0] < 1.5 * w and -0.5 * h < focus[1] < 1.5 * h
    away = (flow[good] * (p - focus)).sum(axis=1) > 0
    return (float(focus[0]), float(focus[1])) if inside and away.mean() > 0.8 else None
