"""Hills as the camera sees them: the height of the ground by forward distance, and the image row it shows up in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.compiled import compiled


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


@compiled
def fill_rows(
    forward_m: np.ndarray, height_m: np.ndarray, eye_m: float, focal_v_px: float, horizon_v_px: float,
    row_px: np.ndarray, crest_px: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``row_px`` and ``crest_px`` (n,) of ground of these heights."""
    lowest = np.inf
    for i in range(len(forward_m)):
        row_px[i] = horizon_v_px + focal_v_px * (eye_m - height_m[i]) / forward_m[i]
        lowest = min(lowest, row_px[i])
        crest_px[i] = lowest
