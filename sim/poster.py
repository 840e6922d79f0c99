"""A printed picture on boards beside the road: what an attacker could put there, or an advertiser.

The boards stand across the right side of the road, one every ``SPACING_M``, upright, clear of the pavement. They are
drawn over what is behind them; nothing but the weather lies before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sim.appearance.atmosphere import Atmosphere
from sim.camera import Camera
from sim.reading import read_picture
from sim.road import Road
from sim.surface_class import SurfaceClass

SPACING_M, BESIDE_M = 30.0, 1.0
WIDTH_M, HEIGHT_M, BOTTOM_M = 4.0, 2.6, 0.6
NEAREST_M, FARTHEST_M = 4.0, 70.0
HEIGHT_PX, WIDTH_PX = 52, 80
"""Of the printed picture as it is kept; others are resized."""


@dataclass(frozen=True)
class Board:
    """One board as the camera sees it.

    Attributes:
        corners_px: (4, 2) column and row: upper left, upper right, lower right, lower left.
        depth_m: distance along the view.
    """

    corners_px: np.ndarray
    depth_m: float


def read_poster(path: str | Path) -> np.ndarray:
    """A PNG or JPEG file as uint8 (52, 80, 3) RGB; ``BadInputError`` if it is none."""
    return cv2.resize(read_picture(Path(path)), (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)


def boards_in_view(
    road: Road, right_edge_m: float, camera: Camera, s_m: float, lens_x_m: float, lens_y_m: float, heading_rad: float
) -> Iterator[Board]:
    """The boards ahead of a pose of the lens, far to near; ``right_edge_m`` is of the pavement, left positive."""
    first, last = math.ceil(s_m / SPACING_M), math.floor((s_m + FARTHEST_M) / SPACING_M)
    grade, here_m = road.grade_at(s_m), road.elevation_at(s_m)
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)
    for k in range(last, first - 1, -1):
        at_m = k * SPACING_M
        if at_m > road.length_m:
            continue
        x_m, y_m, direction = road.pose_at(at_m)
        ends = []
        for lateral_m in (right_edge_m - BESIDE_M, right_edge_m - BESIDE_M - WIDTH_M):
            dx = x_m - lateral_m * math.sin(direction) - lens_x_m
            dy = y_m + lateral_m * math.cos(direction) - lens_y_m
            ends.append((dx * cos + dy * sin, dy * cos - dx * sin))
        if min(end[0] for end in ends) < NEAREST_M:
            continue
        rise_m = road.elevation_at(at_m) - here_m - grade * (at_m - s_m)
        corners = [
            (
                camera.horizon_u_px - camera.focal_u_px * left_m / forward_m,
                camera.horizon_v_px + camera.focal_v_px * (camera.height_m - rise_m - up_m) / forward_m,
            )
            for up_m, order in ((BOTTOM_M + HEIGHT_M, (0, 1)), (BOTTOM_M, (1, 0)))
            for forward_m, left_m in (ends[i] for i in order)
        ]
        yield Board(np.array(corners, np.float32), float(np.mean([end[0] for end in ends])))


def printed(size_px: tuple[int, int]) -> np.ndarray:
    """Corners (4, 2) of a printed picture of (height, width) pixels, in the order of a board's."""
    height, width = size_px
    return np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)], np.float32)


def seen_light(atmosphere: Atmosphere, depth_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(3,) gain and (3,) offset in [0, 1] of a board's colours: daylight, then the haze between it and the lens."""
    clear = math.exp(-depth_m / atmosphere.visibility_m)
    return np.asarray(atmosphere.light) * clear, np.asarray(atmosphere.horizon) * (1 - clear)


class Posters:
    """Draws one printed picture, uint8 (h, w, 3) RGB, on all boards."""

    def __init__(self, picture: np.ndarray, camera: Camera, atmosphere: Atmosphere, right_edge_m: float) -> None:
        self._picture, self._camera, self._atmosphere, self._edge_m = picture, camera, atmosphere, right_edge_m

    def draw(
        self, picture: np.ndarray, class_map: np.ndarray, road: Road, s_m: float, lens_x_m: float, lens_y_m: float,
        heading_rad: float,
    ) -> None:  # fmt: skip
        """Into a camera picture uint8 (H, W, 3) and its class map, as ``SIGN``."""
        size = (picture.shape[1], picture.shape[0])
        for board in boards_in_view(road, self._edge_m, self._camera, s_m, lens_x_m, lens_y_m, heading_rad):
            width = float(np.linalg.norm(board.corners_px[1] - board.corners_px[0]))
            height = float(np.linalg.norm(board.corners_px[3] - board.corners_px[0]))
            if width < 1 or height < 1:
                continue
            # As large as it is seen: a warp alone would skip texels.
            fitting = min(round(width), self._picture.shape[1]), min(round(height), self._picture.shape[0])
            small = cv2.resize(self._picture, fitting, interpolation=cv2.INTER_AREA)
            gain, offset = seen_light(self._atmosphere, board.depth_m)
            lit = np.clip(small * gain + 255 * offset, 0, 255).astype(np.uint8)
            warp = cv2.getPerspectiveTransform(printed(lit.shape[:2]), board.corners_px)
            seen = cv2.warpPerspective(lit, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            covers = np.zeros(picture.shape[:2], np.uint8)
            fixed = np.round(board.corners_px * 16).astype(np.int32)
            cv2.fillConvexPoly(covers, fixed, 255, cv2.LINE_AA, 4)
            share = covers[..., None] / 255.0
            picture[:] = (picture * (1 - share) + seen * share + 0.5).astype(np.uint8)
            class_map[covers > 127] = SurfaceClass.SIGN
