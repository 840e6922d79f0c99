"""Hills as the camera sees them: the height of the ground by forward distance, and the image row it shows up in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.camera import Camera


@dataclass(frozen=True)
class GroundProfile:
    """The ground ahead in one picture; its height depends on the forward distance alone.

    The camera stands on a slope and looks along it, so heights are above the plane through the car's wheels.

    Attributes:
        forward_m: (n,) float64, increasing distances ahead of the camera.
        height_m: (n,) of the ground there.
        row_px: (n,) image row the ground has there.
        crest_px: (n,) smallest row of any ground up to there: what stands further away is seen above this row only.
    """

    forward_m: np.ndarray
    height_m: np.ndarray
    row_px: np.ndarray
    crest_px: np.ndarray

    def height_at(self, forward_m: np.ndarray) -> np.ndarray:
        """Height of the ground (m) at forward distances."""
        return np.interp(forward_m, self.forward_m, self.height_m)

    def crest_at(self, forward_m: np.ndarray) -> np.ndarray:
        """Row (px) below which things standing at these distances are hidden by nearer ground."""
        return np.interp(forward_m, self.forward_m, self.crest_px)


def ground_profile(camera: Camera, forward_m: np.ndarray, height_m: np.ndarray) -> GroundProfile:
    """The profile of given heights."""
    row_px = camera.horizon_v_px + camera.focal_v_px * (camera.height_m - height_m) / forward_m
    return GroundProfile(forward_m, height_m, row_px, np.minimum.accumulate(row_px))
