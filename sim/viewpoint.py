"""What a camera would have seen from beside the place where a picture was taken.

The ground below the horizon is a plane, everything above it is so far away that it only turns (the viewpoint
shift of Bojarski et al. 2016, arXiv 1604.07316). Both parts are exact homographies (Hartley and Zisserman, Multiple
View Geometry, Eq. (13.2)) that agree along the horizon, so there is no seam. What stands on the ground and reaches
above it is sheared; ``tests/benchmarks/bench_viewpoint.py`` measures how far that takes the picture from the true one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX


@dataclass(frozen=True)
class Move:
    """Pose of a camera in the axes of the one that took the picture, metres and radians; left is positive."""

    forward_m: float = 0.0
    left_m: float = 0.0
    yaw_rad: float = 0.0


def camera_move(forward_m: float, left_m: float, yaw_rad: float, camera_forward_m: float = 0.0) -> Move:
    """Move of a camera that sits ahead of the rear axle, from the move of the axle itself."""
    return Move(
        forward_m + camera_forward_m * (math.cos(yaw_rad) - 1.0), left_m + camera_forward_m * math.sin(yaw_rad), yaw_rad
    )


class Viewpoint:
    """Re-projects the pictures of one camera.

    Args:
        camera: of the pictures that come in.
        height_px, width_px: of the pictures that go out; of the same shape as the camera's.
    """

    def __init__(self, camera: Camera, height_px: int = FRAME_HEIGHT_PX, width_px: int = FRAME_WIDTH_PX) -> None:
        self.camera, self.height_px, self.width_px = camera, height_px, width_px
        self._coverage = _Homographies(camera.resized(FRAME_HEIGHT_PX, FRAME_WIDTH_PX))
        self._full = _Homographies(camera)
        self._seen = np.full((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), 255, np.uint8)

    def frame(self, frame: np.ndarray, move: Move) -> np.ndarray:
        """uint8 (H, W, 3) of the camera's size -> (height_px, width_px, 3), a new array.

        Pixels that the picture does not show repeat its border. No move changes no pixel.
        """
        moved = self._full.warp(frame, move, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        if moved.shape[:2] == (self.height_px, self.width_px):
            return moved
        method = cv2.INTER_AREA if self.width_px < moved.shape[1] else cv2.INTER_LINEAR
        return cv2.resize(moved, (self.width_px, self.height_px), interpolation=method)

    def mask(self, mask: np.ndarray, move: Move) -> np.ndarray:
        """Bool (H, W) of the camera's size -> bool (height_px, width_px), re-projected as its picture is."""
        moved = self._full.warp(mask.view(np.uint8), move, cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
        return cv2.resize(moved, (self.width_px, self.height_px), interpolation=cv2.INTER_NEAREST).view(bool)

    def unseen_share(self, move: Move) -> float:
        """Share of the pixels, 0 to 1, that no pixel of the incoming picture shows."""
        seen = self._coverage.warp(self._seen, move, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        return 1.0 - cv2.countNonZero(seen) / seen.size

    def support(self, max_unseen_share: float) -> tuple[float, float]:
        """The largest shift (m) and the largest turn (rad), each alone, that leave no more than that unseen."""
        shift_m = _largest(lambda x: self.unseen_share(Move(left_m=x)), max_unseen_share, 50.0)
        yaw_rad = _largest(lambda x: self.unseen_share(Move(yaw_rad=x)), max_unseen_share, 1.2)
        return shift_m, yaw_rad


class _Homographies:
    """Maps from pixels of the moved camera to pixels of the one that took the picture."""

    def __init__(self, camera: Camera) -> None:
        c = camera
        self._size = (c.width_px, c.height_px)
        # Rays are (forward, left, up), with forward = 1 inside the picture.
        self._ray_of_pixel = np.array(
            [
                [0.0, 0.0, 1.0],
                [-1.0 / c.focal_u_px, 0.0, c.horizon_u_px / c.focal_u_px],
                [0.0, -1.0 / c.focal_v_px, c.horizon_v_px / c.focal_v_px],
            ]
        )
        self._pixel_of_ray = np.linalg.inv(self._ray_of_pixel)
        self._camera_height_m = c.height_m
        self._top = min(max(math.floor(c.horizon_v_px) + 1, 0), c.height_px)  # first row that sees the ground

    def far(self, move: Move) -> np.ndarray:
        """(3, 3), for what is so far away that it only turns."""
        c, s = math.cos(move.yaw_rad), math.sin(move.yaw_rad)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return self._pixel_of_ray @ turn @ self._ray_of_pixel

    def ground(self, move: Move) -> np.ndarray:
        """(3, 3), for the plane of the ground: a ray r meets it at r h / -r_up."""
        c, s, h = math.cos(move.yaw_rad), math.sin(move.yaw_rad), self._camera_height_m
        turn = np.array([[c, -s, -move.forward_m / h], [s, c, -move.left_m / h], [0.0, 0.0, 1.0]])
        return self._pixel_of_ray @ turn @ self._ray_of_pixel

    def warp(self, picture: np.ndarray, move: Move, method: int, border: int) -> np.ndarray:
        if move == Move():
            return picture.copy()
        width, height = self._size
        out = np.empty_like(picture)
        flags = method | cv2.WARP_INVERSE_MAP
        if self._top > 0:
            matrix, size = self.far(move), (width, self._top)
            cv2.warpPerspective(picture, matrix, size, dst=out[: self._top], flags=flags, borderMode=border)
        if self._top < height:
            down = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, self._top], [0.0, 0.0, 1.0]])
            matrix, size = self.ground(move) @ down, (width, height - self._top)
            cv2.warpPerspective(picture, matrix, size, dst=out[self._top :], flags=flags, borderMode=border)
        return out


def _largest(unseen_share: Callable[[float], float], limit: float, highest: float) -> float:
    """Largest move whose share is within the limit; shares grow with the move."""
    low, high = 0.0, highest
    if unseen_share(high) <= limit:
        return high
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if unseen_share(middle) <= limit else (low, middle)
    return low
