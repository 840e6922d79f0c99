"""Udacity Challenge 2: a real Lincoln MKZ on a two-lane coast road, as a video and a table.

A folder with ``center.mp4`` (640x480), ``steering.csv`` (``frame,timestamp_ns,steering_wheel_rad``, left
positive: the scenery moves right where it is; frame k = row k) and, where somebody drew them,
``road_masks/KKKK.png``: the road of frame KKKK, 255 on the road, in the coordinates of rows 160:480 of the
frame scaled to 320x160.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, curvature_from_steering_wheel_angle
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.reading import Cutout, error_names, parse_numbers, read_picture, read_table, read_video, require_folder

CAMERA = Camera(
    height_px=480,
    width_px=640,
    focal_u_px=1900.0,  # optical flow in bends against the steering, at about 16 m/s, gives 1,700 to 2,100
    focal_v_px=1900.0,
    horizon_u_px=326.6,  # vanishing point of the lane lines on straights
    horizon_v_px=211.3,
    height_m=1.25,  # lane width / camera height is 2.92 in the pictures, for a lane of 3.66 m
)
TOP_PX, BOTTOM_PX = 165, 415
"""Rows kept: a policy's 200:78 shape, a fifth of it above the horizon, all of it inside the masks' rows."""

MASK_TOP_PX, MASK_HEIGHT_PX, MASK_WIDTH_PX = 160, 160, 320
WHEELBASE_M, STEERING_RATIO = 2.85, 14.8
META = DriveMeta(
    source="Udacity self-driving car challenge 2, https://github.com/udacity/self-driving-car",
    licence="MIT (Udacity)",
    vehicle=VehicleFacts("Lincoln MKZ", wheelbase_m=WHEELBASE_M, steering_ratio=STEERING_RATIO),
    notes="Speed was not recorded. Focal length and camera height are estimates.",
)


def read(src: Path, height_px: int = 2 * FRAME_HEIGHT_PX, width_px: int = 2 * FRAME_WIDTH_PX) -> Drive:
    """A Drive from such a folder; curvature = tan(steering wheel / 14.8) / 2.85 m.

    Raises:
        BadInputError: a file is missing, cut short, or holds a bad value.
    """
    require_folder(src, "center.mp4 and steering.csv")
    path = src / "steering.csv"
    table = read_table(path, ("frame", "timestamp_ns", "steering_wheel_rad"))
    numbers = {name: parse_numbers(path, name, texts) for name, texts in table.items()}
    misplaced = np.flatnonzero(numbers["frame"] != np.arange(len(numbers["frame"])))
    if misplaced.size:
        row = int(misplaced[0])
        raise BadInputError(f"{path}: row {row}: frame must be {row}, got {table['frame'][row]}; rows are missing")
    cutout = Cutout(CAMERA, TOP_PX, BOTTOM_PX, height_px, width_px)
    n_rows = len(numbers["frame"])
    frames = np.empty((n_rows, height_px, width_px, 3), np.uint8)
    for k, frame in enumerate(read_video(src / "center.mp4", n_rows)):
        if frame.shape[:2] != (CAMERA.height_px, CAMERA.width_px):
            raise BadInputError(f"{src / 'center.mp4'}: frames must be 480x640, got {frame.shape[0]}x{frame.shape[1]}")
        frames[k] = cutout.apply(frame)
    curvature = curvature_from_steering_wheel_angle(numbers["steering_wheel_rad"], WHEELBASE_M, STEERING_RATIO)
    masks, known = _read_masks(src / "road_masks", n_rows, cutout)
    with error_names(path):
        return Drive(
            frames,
            numbers["timestamp_ns"] / 1e9,
            np.asarray(curvature, np.float32),
            cutout.camera,
            META,
            road_masks=masks,
            road_mask_known=known,
        )


def _read_masks(folder: Path, n_rows: int, cutout: Cutout) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Masks (T, H, W) and the rows that have one (T,); (None, None) without any."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        return None, None
    masks = np.zeros((n_rows, cutout.height_px, cutout.width_px), bool)
    known = np.zeros(n_rows, bool)
    canvas = np.zeros((CAMERA.height_px, CAMERA.width_px), np.float32)
    for path in paths:
        if not path.stem.isdecimal() or int(path.stem) >= n_rows:
            raise BadInputError(f"{path}: must be named after a frame, 0000.png to {n_rows - 1:04d}.png")
        picture = read_picture(path, MASK_HEIGHT_PX, MASK_WIDTH_PX)[:, :, 0]
        band = (CAMERA.width_px, CAMERA.height_px - MASK_TOP_PX)
        canvas[MASK_TOP_PX:] = cv2.resize(picture, band, interpolation=cv2.INTER_NEAREST) > 127
        masks[int(path.stem)] = cutout.apply(canvas) >= 0.5
        known[int(path.stem)] = True
    return masks, known
