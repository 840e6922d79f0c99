"""Guard rails, plain walls and their posts: quads between points along the road."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.compiled import compiled, interpolate
from sim.ground_profile import GroundProfile
from sim.road import Road
from sim.roadside.poses import road_points
from sim.roadside.stretches import Barrier
from sim.roadside.strips import NEAR_M, QUAD

_STEP_M = 2.0
_STRIDES = np.array([0, 1, 2, 3, 5, 8, 12, 18, 28, 51])
"""Points ahead that are joined, in steps: closer where they are near."""
_FAR_M = 104.0
_POSTS_TO_M = 35.0
_POST_M = 0.12
_THIN_PX = 0.1
_FOLD = (0.40, 0.62)
"""The fold in the middle of a beam lies in its own shadow: shares of its height."""
_OFF_GROUND_M = 0.2
"""A barrier that begins higher than this is a beam on posts."""

_LAID = np.dtype([("start_m", "f8"), ("end_m", "f8"), ("bottom_m", "f8"), ("top_m", "f8"), ("colour", "f8", 3)])
"""A barrier on a road, its colour lit."""
_POST = np.dtype([("along_m", "f8"), ("x_m", "f8"), ("y_m", "f8"), ("barrier", "i8")])


class Rails:
    """All barriers of a roadside laid along one road, in one atmosphere."""

    def __init__(self, barriers: Sequence[Barrier], road: Road, atmosphere: Atmosphere) -> None:
        self._visibility_m = atmosphere.visibility_m
        self._horizon = 255 * np.clip(atmosphere.horizon, 0, 1).astype(np.float64)
        start = np.array([barrier.start_m for barrier in barriers], float)
        end = np.array([min(barrier.end_m, road.length_m) for barrier in barriers], float)
        colours = np.array([barrier.colour for barrier in barriers], float).reshape(-1, 3)
        heights = np.array([(barrier.bottom_m, barrier.top_m) for barrier in barriers], float).reshape(-1, 2)
        light = np.asarray(atmosphere.light, np.float64)
        self._barriers = laid = np.zeros(len(barriers), _LAID)
        laid["start_m"], laid["end_m"], laid["bottom_m"], laid["top_m"] = start, end, *heights.T
        laid["colour"] = 255 * np.minimum(colours * light, 1)
        along, lateral, posts = [], [], []
        for number, barrier in enumerate(barriers):
            points = np.append(np.arange(start[number], end[number], _STEP_M), end[number])
            along.append(points)
            lateral.append(np.full(len(points), barrier.lateral_m))
            if barrier.post_spacing_m:
                places = np.arange(start[number], end[number], barrier.post_spacing_m)
                posts += [(place, barrier.lateral_m, number) for place in places]
        self._first = np.cumsum([0, *(len(points) for points in along)])
        x, y, _ = road_points(road, np.concatenate([[], *along]), np.concatenate([[], *lateral]))
        self._points = np.column_stack([x, y])
        post = np.array(sorted(posts), float).reshape(-1, 3)
        x, y, _ = road_points(road, post[:, 0], post[:, 1])
        self._posts = np.zeros(len(post), _POST)
        self._posts["along_m"], self._posts["barrier"] = post[:, 0], post[:, 2]
        self._posts["x_m"], self._posts["y_m"] = x, y

    def see(
        self, things: np.ndarray, n: int, profile: GroundProfile, s_m: float, pose: np.ndarray, camera: np.ndarray
    ) -> int:
        """Add the quads seen from ``pose`` to the ``n`` rows of ``things`` that are taken; returns how many are."""
        if not len(self._barriers):
            return n
        ground = profile.forward_m, profile.height_m, profile.crest_px
        return _see(
            things, n, *ground, s_m, pose, camera, self._barriers, self._first, self._points, self._posts,
            self._visibility_m, self._horizon,
        )  # fmt: skip


@compiled
def _see(
    things: np.ndarray, n: int, far_m: np.ndarray, height_m: np.ndarray, crest_px: np.ndarray, s_m: float,
    pose: np.ndarray, camera: np.ndarray, barriers: np.ndarray, first: np.ndarray, points: np.ndarray,
    posts: np.ndarray, visibility_m: float, horizon: np.ndarray,
) -> int:  # fmt: skip
    focal_u_px, horizon_u_px, half = camera[0], camera[2], camera[5]
    x, y, cos, sin = pose
    for owner in range(len(barriers)):
        barrier = barriers[owner]
        start_m, low_m, high_m = barrier.start_m, barrier.bottom_m, barrier.top_m
        if not (start_m < s_m + _FAR_M and barrier.end_m > s_m - 1.0):
            continue
        step = first[owner] + max(int((s_m - start_m) // _STEP_M), 0)
        f1 = l1 = 0.0
        for i in range(len(_STRIDES)):
            f0, l0 = f1, l1
            at = min(step + _STRIDES[i], first[owner + 1] - 1)
            dx, dy = points[at, 0] - x, points[at, 1] - y
            f1, l1 = dx * cos + dy * sin, dy * cos - dx * sin
            if i == 0 or at == min(step + _STRIDES[i - 1], first[owner + 1] - 1):
                continue
            # Left out: behind the lens, too far, or with both ends outside on the same side.
            if (f0 <= NEAR_M and f1 <= NEAR_M) or (f0 >= _FAR_M and f1 >= _FAR_M):
                continue
            if (l0 > half * f0 and l1 > half * f1) or (l0 < -half * f0 and l1 < -half * f1):
                continue
            fa, la, fb, lb = f0, l0, f1, l1
            if fa < NEAR_M:  # begin or end exactly at the near plane
                fa, la = NEAR_M, l0 + (NEAR_M - f0) / (f1 - f0) * (l1 - l0)
            elif fb < NEAR_M:
                fb, lb = NEAR_M, l0 + (NEAR_M - f0) / (f1 - f0) * (l1 - l0)
            bottom_a, top_a = _edges(fa, low_m, high_m, camera, far_m, height_m, crest_px)
            bottom_b, top_b = _edges(fb, low_m, high_m, camera, far_m, height_m, crest_px)
            if max(bottom_a - top_a, bottom_b - top_b) <= _THIN_PX or n + 2 > len(things):
                continue
            shade, depth_m = 1 + 0.05 * math.sin(12.9898 * (step + _STRIDES[i - 1])), 0.5 * (fa + fb)
            ua, ub = horizon_u_px - focal_u_px * la / fa, horizon_u_px - focal_u_px * lb / fb
            _add(things[n], depth_m, ua, top_a, bottom_a, ub, top_b, bottom_b)
            _colour(things[n], barrier.colour, shade, visibility_m, horizon)
            n += 1
            if low_m > _OFF_GROUND_M and bottom_a - top_a > 3.0:
                a, b = bottom_a - top_a, bottom_b - top_b
                _add(
                    things[n], depth_m - 0.01, ua, top_a + _FOLD[0] * a, top_a + _FOLD[1] * a,
                    ub, top_b + _FOLD[0] * b, top_b + _FOLD[1] * b,
                )  # fmt: skip
                _colour(things[n], barrier.colour, 0.66 * shade, visibility_m, horizon)
                n += 1
    along_m = posts["along_m"]
    for i in range(np.searchsorted(along_m, s_m), np.searchsorted(along_m, s_m + _POSTS_TO_M)):
        dx, dy = posts[i].x_m - x, posts[i].y_m - y
        f, left = dx * cos + dy * sin, dy * cos - dx * sin
        if f <= NEAR_M or n == len(things):
            continue
        barrier = barriers[posts[i].barrier]
        # A beam hides its posts' upper part; in front of a wall they are seen as a whole.
        low_m, high_m = barrier.bottom_m, barrier.top_m
        bottom, top = _edges(f, 0.0, low_m if low_m > _OFF_GROUND_M else high_m, camera, far_m, height_m, crest_px)
        u, wide = horizon_u_px - focal_u_px * left / f, 0.5 * _POST_M * focal_u_px / f
        if bottom > top + 0.5:
            _add(things[n], f + 0.02, u - wide, top, bottom, u + wide, top, bottom)
            _colour(things[n], barrier.colour, 0.55, visibility_m, horizon)
            n += 1
    return n


@compiled
def _edges(
    f: float, low_m: float, high_m: float, camera: np.ndarray,
    far_m: np.ndarray, height_m: np.ndarray, crest_px: np.ndarray,
) -> tuple[float, float]:  # fmt: skip
    """Rows of the lower and upper edge at a distance, what a crest hides cut off."""
    scale = camera[1] / f
    ground = camera[3] + scale * (camera[4] - interpolate(f, far_m, height_m))
    crest = interpolate(f, far_m, crest_px)
    limit = crest if crest < ground - 0.5 else np.inf
    return min(ground - scale * low_m, limit), min(ground - scale * high_m, limit)


@compiled
def _add(
    quad: Any, depth_m: float, u0: float, top0: float, bottom0: float, u1: float, top1: float, bottom1: float
) -> None:  # fmt: skip
    quad.kind, quad.depth_m = QUAD, depth_m
    quad.side_u[0], quad.side_top[0], quad.side_bottom[0] = u0, top0, bottom0
    quad.side_u[1], quad.side_top[1], quad.side_bottom[1] = u1, top1, bottom1


@compiled
def _colour(quad: Any, colour: np.ndarray, shade: float, visibility_m: float, horizon: np.ndarray) -> None:
    clear = math.exp(-quad.depth_m / visibility_m)
    for k in range(3):
        quad.colour[k] = clear * min(colour[k] * shade, 255.0) + (1 - clear) * horizon[k]
