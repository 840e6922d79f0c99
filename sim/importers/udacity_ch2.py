"""Udacity Challenge 2: a real Lincoln MKZ on a two-lane coast road.

Two layouts. As a video: ``center.mp4`` (640x480), ``steering.csv`` (``frame,timestamp_ns,steering_wheel_rad``; the row
of a frame by its number) and, where somebody drew them, ``road_masks/KKKK.png``: the road of frame KKKK, 255 on the
road, in the coordinates of rows 160:480 of the frame scaled to 320x160. As the challenge's own export:
``interpolated.csv`` (``timestamp, frame_id, filename, angle, speed`` among others) and the pictures of three cameras.

The steering wheel's angle is in radians, left positive: the scenery moves right where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from sim.camera import Camera
from sim.drive import DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.importers.still_frames import find_folder, last_name, pictures_in, still_frames
from sim.importers.view import view, view_of_files
from sim.label_table import Columns, read_labels
from sim.reading import Cutout, read_picture
from sim.recording import Asked, Recording, Rows
from sim.steering import SteeringUnit, curvature, side_camera_curvature_per_m
from sim.video_file import open_video

CAMERA = Camera(
    height_px=480,
    width_px=640,
    focal_u_px=1900.0,  # optical flow in bends against the steering, at about 16 m/s, gives 1,700 to 2,100
    focal_v_px=1900.0,
    horizon_u_px=326.6,  # vanishing point of the lane lines on straights
    horizon_v_px=211.3,
    height_m=1.25,  # lane width / camera height is 2.92 in the pictures, for a lane of 3.66 m
)
ABOVE_HORIZON = 46.3 / 250
"""Share of the rows kept that lie above the horizon: all of the rest is inside the masks' rows."""

MASK_TOP_PX, MASK_HEIGHT_PX, MASK_WIDTH_PX = 160, 160, 320
VEHICLE = VehicleFacts("Lincoln MKZ", wheelbase_m=2.85, steering_ratio=14.8)
SIDE_CAMERA_LEFT_M = {"center": 0.0, "left": 0.5, "right": -0.5}
"""Offsets to the left, estimates: where the rig's side cameras stood was not published."""
UNIT = SteeringUnit.STEERING_WHEEL_RAD
LOOKED_FOR = "center.mp4 and steering.csv, or interpolated.csv and the pictures it names"


def read(src: Path, asked: Asked, camera: str = "center") -> Recording:
    """Rows in order of time; curvature = tan(steering wheel / 14.8) / 2.85 m.

    Raises:
        BadInputError: no such recording, or no usable row in it.
    """
    src = find_folder(src, lambda folder: bool(_table_of(folder)), LOOKED_FOR)
    is_video = _table_of(src) == "steering.csv"
    if is_video and camera != "center":
        raise BadInputError(f"{src}: a recording as a video has the center camera alone, {camera} was asked for")
    return _read_video(src, asked) if is_video else _read_pictures(src, asked, camera)


def _table_of(folder: Path) -> str:
    return next((name for name in ("steering.csv", "interpolated.csv") if (folder / name).is_file()), "")


def _meta(vehicle: VehicleFacts, *notes: str) -> DriveMeta:
    source = "Udacity self-driving car challenge 2, https://github.com/udacity/self-driving-car"
    return DriveMeta(source, "MIT (Udacity)", vehicle, " ".join(notes).strip())


def _read_video(src: Path, asked: Asked) -> Recording:
    columns = Columns(
        steering_column="steering_wheel_rad",
        time_column="timestamp_ns",
        frame_column="frame",
        steering_unit=UNIT,
        time_unit="ns",
        positive="left",
    )
    table = read_labels(src / "steering.csv", columns)
    assert table.frame is not None  # named columns are there
    assert table.times_s is not None
    frame_of_row = table.frame
    video = open_video(src / "center.mp4")
    vehicle, rows = asked.rig.vehicle(VEHICLE), Rows()

    def all_shown() -> Iterator[tuple[int, np.ndarray]]:
        row_of = {int(frame): row for row, frame in enumerate(frame_of_row) if 0 <= frame < len(video)}
        for frame, picture in zip(sorted(row_of), video.frames(sorted(row_of)), strict=True):
            if not isinstance(picture, str):
                yield row_of[frame], picture

    cutout, notes = view(asked, CAMERA, VEHICLE, video.size(), ABOVE_HORIZON, all_shown, table.steering)
    masks = _read_masks(src / "road_masks", cutout)
    by_row = {}
    for frame, time_s, angle in zip(table.frame, table.times_s, table.steering, strict=True):
        if not 0 <= frame < len(video):
            rows.left_out["without a frame"] += 1
            continue
        n_before = len(rows.pictures)
        rows.add(time_s, curvature(angle, UNIT, vehicle), int(frame))
        if len(rows.pictures) > n_before and int(frame) in masks:
            by_row[n_before] = masks[int(frame)]
    named = {int(frame) for frame in table.frame if frame >= 0}
    rows.left_out["frame without a row"] += len(set(range(len(video))) - named)

    def frames(wanted: Sequence[object]) -> Iterator[np.ndarray | str]:
        numbers = np.array(wanted, int)
        if (np.diff(numbers) < 0).any():
            raise BadInputError(f"{src / 'steering.csv'}: the frames are not in the order of their times")
        for picture in video.frames(numbers.tolist()):
            yield picture if isinstance(picture, str) else cutout.apply(picture)

    meta = _meta(vehicle, *notes, "Speed was not recorded.")
    return rows.recording(src, cutout, meta, frames, True, LOOKED_FOR, by_row)


def _read_pictures(src: Path, asked: Asked, camera: str) -> Recording:
    columns = Columns(
        steering_column="angle", time_column="timestamp", picture_column="filename", time_unit="ns",
        steering_unit=UNIT, positive="left", speed_unit="mps",
    )  # fmt: skip
    table = read_labels(src / "interpolated.csv", columns)
    assert table.times_s is not None  # named columns are there
    assert table.pictures is not None
    pictures = pictures_in(src / camera) or pictures_in(src)
    vehicle, rows = asked.rig.vehicle(VEHICLE), Rows()
    side_m = SIDE_CAMERA_LEFT_M[camera]
    for k, named in enumerate(table.pictures):
        folder = named.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
        if folder in SIDE_CAMERA_LEFT_M and folder != camera:
            continue
        kappa = curvature(table.steering[k], UNIT, vehicle) + side_camera_curvature_per_m(side_m)
        speed = np.nan if table.speed_mps is None else table.speed_mps[k]
        rows.add(table.times_s[k], kappa, pictures.get(last_name(named), Path(last_name(named) or "?")), speed)
    rows.left_out["picture without a row"] += len(pictures.keys() - {last_name(name) for name in table.pictures})
    rows.require(src, LOOKED_FOR)
    cutout, notes = view_of_files(rows, src, asked, CAMERA, VEHICLE, ABOVE_HORIZON)
    notes += [f"The {camera} camera is taken to stand {abs(side_m):g} m aside."] if side_m else []
    return rows.recording(src, cutout, _meta(vehicle, *notes), still_frames(cutout), True, LOOKED_FOR)


def _read_masks(folder: Path, cutout: Cutout) -> dict[int, np.ndarray]:
    """Masks bool (H, W) by number of the frame."""
    masks = {}
    source = cutout.source
    scale = source.height_px / CAMERA.height_px
    canvas = np.zeros((source.height_px, source.width_px), np.float32)
    top = round(MASK_TOP_PX * scale)
    for path in pictures_in(folder).values():
        if not path.stem.isdecimal() or len(path.stem) > 9:
            raise BadInputError(f"{path}: must be named after a frame, such as 0326.png")
        picture = read_picture(path, MASK_HEIGHT_PX, MASK_WIDTH_PX)[:, :, 0]
        band = (source.width_px, source.height_px - top)
        canvas[top:] = cv2.resize(picture, band, interpolation=cv2.INTER_NEAREST) > 127
        masks[int(path.stem)] = cutout.apply(canvas) >= 0.5
    return masks
