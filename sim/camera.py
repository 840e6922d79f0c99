"""A pinhole camera above flat ground: metres to pixels."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from sim.checks import FINITE, POSITIVE, check_numbers, whole
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX


def focal_of(fov_deg: float, width_px: int) -> float:
    """Focal length in pixels of a picture whose left and right borders are so many degrees apart.

    >>> round(focal_of(90.0, 200), 6)
    100.0
    """
    return width_px / 2 / math.tan(math.radians(fov_deg) / 2)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera without roll, looking along the vehicle's x axis.

    A small pitch is expressed by the row of the horizon, so every image row below it is one forward
    distance on flat ground, the fact the renderer and the viewpoint shift rest on.

    Attributes:
        height_px, width_px: size of the picture.
        focal_u_px, focal_v_px: focal length in columns and rows (equal unless the picture was squeezed).
        horizon_u_px, horizon_v_px: the point where a straight level road ahead vanishes.
        height_m: of the lens above the ground.
    """

    height_px: int = FRAME_HEIGHT_PX
    width_px: int = FRAME_WIDTH_PX
    focal_u_px: float = 150.0
    focal_v_px: float = 150.0
    horizon_u_px: float = 99.5
    horizon_v_px: float = 26.0
    height_m: float = 1.4

    def __post_init__(self) -> None:
        check_numbers("camera", self, whole(1), "height_px", "width_px")
        check_numbers("camera", self, POSITIVE, "focal_u_px", "focal_v_px", "height_m")
        check_numbers("camera", self, FINITE, "horizon_u_px", "horizon_v_px")

    def resized(self, height_px: int, width_px: int) -> Camera:
        """The camera of the same picture scaled to another size (pixel centres at whole numbers)."""
        scale_u, scale_v = width_px / self.width_px, height_px / self.height_px
        return dataclasses.replace(
            self,
            height_px=height_px,
            width_px=width_px,
            focal_u_px=self.focal_u_px * scale_u,
            focal_v_px=self.focal_v_px * scale_v,
            horizon_u_px=(self.horizon_u_px + 0.5) * scale_u - 0.5,
            horizon_v_px=(self.horizon_v_px + 0.5) * scale_v - 0.5,
        )

    def cropped(self, top_px: int, left_px: int, height_px: int, width_px: int) -> Camera:
        """The camera of a rectangle cut out of the picture."""
        return dataclasses.replace(
            self,
            height_px=height_px,
            width_px=width_px,
            horizon_u_px=self.horizon_u_px - left_px,
            horizon_v_px=self.horizon_v_px - top_px,
        )

    def project(self, forward_m: np.ndarray, left_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel (u, v) of ground points given in the camera's own axes; ``forward_m`` must be positive."""
        u_px = self.horizon_u_px - self.focal_u_px * np.asarray(left_m) / forward_m
        v_px = self.horizon_v_px + self.focal_v_px * self.height_m / np.asarray(forward_m)
        return u_px, v_px
