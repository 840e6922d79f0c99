"""A camera that was knocked: turned, shifted, zoomed; the same way all episode, and nobody told the driver."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from driving.noise.draws import lasting
from driving.noise.kind import Corruption, Kind
from sim.camera import Camera

_CAMERA = Camera()


def _intrinsics(height: int, width: int) -> np.ndarray:
    camera = _CAMERA.resized(height, width)
    return np.array(
        [[camera.focal_u_px, 0, camera.horizon_u_px], [0, camera.focal_v_px, camera.horizon_v_px], [0, 0, 1.0]]
    )


def _seen_through(frame: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """The frame through ``homography`` (from old to new pixels); what it does not hold repeats its border."""
    size = frame.shape[1], frame.shape[0]
    return cv2.warpPerspective(frame, homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _turned(axis: int, name: str, text: str) -> Corruption:
    def turn(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
        if severity == 0:
            return frame.copy()
        angle_rad = math.radians(severity) * (1 if lasting(rng).random() < 0.5 else -1)
        rotation = cv2.Rodrigues(np.eye(3)[axis] * angle_rad)[0]
        k = _intrinsics(*frame.shape[:2])
        return _seen_through(frame, k @ rotation @ np.linalg.inv(k))

    turn.__name__, turn.__doc__ = name, text
    return turn


pitch = _turned(0, "pitch", "The camera nods by ``severity`` degrees, up or down.")
yaw = _turned(1, "yaw", "The camera is turned by ``severity`` degrees, to the left or the right.")
roll = _turned(2, "roll", "The camera is tilted by ``severity`` degrees, to either side.")


def shift(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """The camera sits ``severity`` metres beside its place: the ground shears about the horizon, the sky stays."""
    if severity == 0:
        return frame.copy()
    camera = _CAMERA.resized(*frame.shape[:2])
    side = 1 if lasting(rng).random() < 0.5 else -1
    # A ground point at row v lies f h / (v - horizon) ahead: its column moves by f side / distance.
    slope = side * severity / camera.height_m * camera.focal_u_px / camera.focal_v_px
    shear = np.array([[1, slope, -slope * camera.horizon_v_px], [0, 1, 0]])
    sky = max(0, math.ceil(camera.horizon_v_px))
    size = frame.shape[1], frame.shape[0]
    moved = cv2.warpAffine(frame, shear, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved[:sky] = frame[:sky]
    return moved


def focal_length(frame: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """The lens is ``severity`` of its focal length longer or shorter."""
    if severity == 0:
        return frame.copy()
    factor = 1 + severity if lasting(rng).random() < 0.5 else 1 / (1 + severity)
    k = _intrinsics(*frame.shape[:2])
    return _seen_through(frame, k @ np.diag([factor, factor, 1.0]) @ np.linalg.inv(k))


_DEGREES: tuple[tuple[str, Callable[..., np.ndarray], tuple[float, float, float]], ...] = (
    ("pitch", pitch, (1.0, 2.0, 4.0)),
    ("yaw", yaw, (1.0, 2.0, 4.0)),
    ("roll", roll, (2.0, 5.0, 10.0)),
)
KINDS = (
    *(Kind(name, "geometry", make, "degrees", levels, 45.0) for name, make, levels in _DEGREES),
    Kind("shift", "geometry", shift, "metres", (0.1, 0.25, 0.5), 5.0),
    Kind("focal_length", "geometry", focal_length, "share of the focal length", (0.05, 0.15, 0.3), 5.0),
)
