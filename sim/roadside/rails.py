"""Guard rails, plain walls and their posts: quads between points along the road."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sim.camera import Camera
from sim.ground_profile import GroundProfile
from sim.look.atmosphere import Atmosphere
from sim.road import Road
from sim.roadside.layout import Pose, road_points, to_camera
from sim.roadside.placement import Barrier

RailItem = tuple[float, np.ndarray, tuple[float, ...]]
"""One quad to fill: depth, corners (4, 2) int32 in 1 / 2**SHIFT pixels, colour 0 to 255."""

SHIFT = 4
_STEP_M = 2.0
_STRIDES = np.array([0, 1, 2, 3, 5, 8, 12, 18, 28, 51])
"""Points ahead that are joined, in steps: closer where they are near."""
_NEAR_M = 1.5
_FAR_M = 104.0
_POSTS_TO_M = 35.0
_POST_M = 0.12
_THIN_PX = 0.1
_FOLD = (0.40, 0.62)
"""The fold in the middle of a beam lies in its own shadow: shares of its height."""


class Rails:
    """All barriers of a roadside laid along one road, seen through one camera in one atmosphere."""

    def __init__(
        self, barriers: Sequence[Barrier], road: Road, camera: Camera, atmosphere: Atmosphere
    ) -> None:
        self._camera = camera
        self._visibility_m = atmosphere.visibility_m
        self._horizon = 255 * np.clip(atmosphere.horizon, 0, 1).astype(np.float64)
        self._start = np.array([barrier.start_m for barrier in barriers])
        self._end = np.array([min(barrier.end_m, road.length_m) for barrier in barriers])
        self._bottom = np.array([barrier.bottom_m for barrier in barriers])
        self._top = np.array([barrier.top_m for barrier in barriers])
        colours = np.array([barrier.colour for barrier in barriers]).reshape(-1, 3)
        self._colour = 255 * np.minimum(colours * atmosphere.light, 1)
        along, lateral, posts = [], [], []
        for number, barrier in enumerate(barriers):
            points = np.append(np.arange(self._start[number], self._end[number], _STEP_M), self._end[number])
            along.append(points)
            lateral.append(np.full(len(points), barrier.lateral_m))
            if barrier.post_spacing_m:
                places = np.arange(self._start[number], self._end[number], barrier.post_spacing_m)
                posts += [(place, barrier.lateral_m, number) for place in places]
        self._first = np.cumsum([0, *(len(points) for points in along)])
        self._x, self._y, _ = road_points(road, np.concatenate([[], *along]), np.concatenate([[], *lateral]))
        post = np.array(sorted(posts)).reshape(-1, 3)
        self._post_along, self._post_owner = post[:, 0], post[:, 2].astype(np.int64)
        self._post_x, self._post_y, _ = road_points(road, post[:, 0], post[:, 1])

    def items(self, profile: GroundProfile, s_m: float, pose: Pose) -> list[RailItem]:
        """The quads seen from a pose of the lens beside arc length ``s_m``."""
        near = np.flatnonzero((self._start < s_m + _FAR_M) & (self._end > s_m - 1.0))
        if not len(near):
            return []
        return self._beams(near, profile, s_m, pose) + self._posts(profile, s_m, pose)

    def _beams(self, near: np.ndarray, profile: GroundProfile, s_m: float, pose: Pose) -> list[RailItem]:
        camera = self._camera
        step = np.maximum((s_m - self._start[near]) // _STEP_M, 0).astype(np.int64)
        chosen = np.minimum(
            (self._first[near] + step)[:, None] + _STRIDES, self._first[near + 1][:, None] - 1
        )
        f, left = to_camera(self._x[chosen], self._y[chosen], pose)
        half = max(camera.horizon_u_px, camera.width_px - camera.horizon_u_px) / camera.focal_u_px * f
        # Left out: behind the lens, of no length, or with both ends outside on the same side.
        seen = (f > _NEAR_M) & (f < _FAR_M)
        seen = (seen[:, 1:] | seen[:, :-1]) & (chosen[:, 1:] > chosen[:, :-1])
        seen &= ~(
            ((left > half)[:, 1:] & (left > half)[:, :-1]) | ((left < -half)[:, 1:] & (left < -half)[:, :-1])
        )
        row, column = np.nonzero(seen)
        if not len(row):
            return []
        f0, f1 = f[row, column], f[row, column + 1]
        l0, l1 = left[row, column], left[row, column + 1]
        if min(f0.min(), f1.min()) < _NEAR_M:  # begin or end exactly at the near plane
            span = np.where(f1 == f0, 1.0, f1 - f0)
            crossing = l0 + (_NEAR_M - f0) / span * (l1 - l0)
            l0, l1 = np.where(f0 < _NEAR_M, crossing, l0), np.where(f1 < _NEAR_M, crossing, l1)
            f0, f1 = np.maximum(f0, _NEAR_M), np.maximum(f1, _NEAR_M)
        owner = near[row]
        ends_f = np.stack([f0, f1])
        u = camera.horizon_u_px - camera.focal_u_px * np.stack([l0, l1]) / ends_f
        bottom, top = self._edges(profile, ends_f, self._bottom[owner], self._top[owner])
        shade = 1 + 0.05 * np.sin(12.9898 * chosen[row, column])
        shown = (bottom - top).max(axis=0) > _THIN_PX
        corners, depth = (
            np.array([u[0], top[0], u[1], top[1], u[1], bottom[1], u[0], bottom[0]]).T,
            0.5 * (f0 + f1),
        )
        colour = self._colour[owner] * shade[:, None]
        corners, depth, colour, owner = corners[shown], depth[shown], colour[shown], owner[shown]
        fold = (self._bottom[owner] > 0.2) & (corners[:, 7] - corners[:, 1] > 3.0)
        if fold.any():
            beam = corners[fold]
            a, b = beam[:, 7] - beam[:, 1], beam[:, 5] - beam[:, 3]
            beam[:, 1], beam[:, 7] = beam[:, 1] + _FOLD[0] * a, beam[:, 1] + _FOLD[1] * a
            beam[:, 3], beam[:, 5] = beam[:, 3] + _FOLD[0] * b, beam[:, 3] + _FOLD[1] * b
            corners, depth = np.concatenate([corners, beam]), np.concatenate([depth, depth[fold] - 0.01])
            colour = np.concatenate([colour, 0.66 * colour[fold]])
        return self._coloured(corners, depth, colour)

    def _posts(self, profile: GroundProfile, s_m: float, pose: Pose) -> list[RailItem]:
        camera = self._camera
        low, high = np.searchsorted(self._post_along, (s_m, s_m + _POSTS_TO_M))
        if low == high:
            return []
        f, left = to_camera(self._post_x[low:high], self._post_y[low:high], pose)
        seen = f > _NEAR_M
        f, left, owner = f[seen], left[seen], self._post_owner[low:high][seen]
        # A beam hides its posts' upper part; in front of a wall they are seen as a whole.
        top_m = np.where(self._bottom[owner] > 0.2, self._bottom[owner], self._top[owner])
        bottom, top = self._edges(profile, f, 0.0, top_m)
        u, half = camera.horizon_u_px - camera.focal_u_px * left / f, 0.5 * _POST_M * camera.focal_u_px / f
        corners = np.stack([u - half, top, u + half, top, u + half, bottom, u - half, bottom], axis=-1)
        seen = (u > -half) & (u < camera.width_px + half) & (bottom > top + 0.5)
        return self._coloured(corners[seen], f[seen] + 0.02, 0.55 * self._colour[owner[seen]])

    def _edges(
        self, profile: GroundProfile, f: np.ndarray, bottom_m: np.ndarray | float, top_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the lower and upper edge, what a crest hides cut off."""
        camera = self._camera
        scale = camera.focal_v_px / f
        ground = camera.horizon_v_px + scale * (camera.height_m - profile.height_at(f))
        crest = profile.crest_at(f)
        limit = np.where(crest < ground - 0.5, crest, np.inf)
        return np.minimum(ground - scale * bottom_m, limit), np.minimum(ground - scale * top_m, limit)

    def _coloured(self, corners: np.ndarray, depth_m: np.ndarray, colour: np.ndarray) -> list[RailItem]:
        clear = np.exp(-depth_m / self._visibility_m)[:, None]
        mixed = (clear * colour + (1 - clear) * self._horizon).tolist()
        points = np.round(np.clip(corners, -4000, 8000) * (1 << SHIFT)).astype(np.int32).reshape(-1, 4, 2)
        return list(zip(depth_m.tolist(), points, mixed, strict=True))


def draw_rail(picture: np.ndarray, class_map: np.ndarray, item: RailItem, surface: int) -> None:
    """Fill one quad, with smooth edges in the picture and hard ones in the class map."""
    _, points, colour = item
    cv2.fillConvexPoly(picture, points, colour, cv2.LINE_AA, SHIFT)
    cv2.fillConvexPoly(class_map, points, surface, cv2.LINE_8, SHIFT)
