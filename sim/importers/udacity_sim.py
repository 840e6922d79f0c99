"""Udacity's driving simulator: ``driving_log.csv`` and the folder ``IMG`` of three cameras.

Columns ``center,left,right,steering,throttle,brake,speed``, with or without a header. The paths are those of
the machine that recorded (often Windows); only their file names are used, in ``SRC/IMG``.

Steering is the road-wheel angle divided by 25 degrees, *right* positive: in the recorded pictures the scenery
moves right where it is negative (correlation -0.82 with the flow one frame later). Speed is in miles an hour:
with it the flow of the road gives a camera height of 1.46 m. Rows at standstill are kept.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, curvature_from_road_wheel_angle
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.reading import Cutout, error_names, parse_numbers, read_picture, read_table, require_folder

COLUMNS = ("center", "left", "right", "steering", "throttle", "brake", "speed")
CAMERAS = ("center", "left", "right")

CAMERA = Camera(
    height_px=160,
    width_px=320,
    focal_u_px=138.6,  # 60 degrees from top to bottom; features in turns give 134 to 144
    focal_v_px=138.6,
    horizon_u_px=159.5,
    horizon_v_px=59.1,  # where the difference between the side cameras' pictures vanishes
    height_m=1.46,
)
TOP_PX, BOTTOM_PX = 10, 135
"""Rows kept: a policy's 200:78 shape at full width, down to the bonnet of the centre camera."""

MAX_ROAD_WHEEL_ANGLE_RAD = float(np.deg2rad(25.0))
MPS_PER_MPH = 0.44704
WHEELBASE_M = 2.67  # an estimate: the simulator's authors give it as the turning length of the car

SIDE_CAMERA_LEFT_M = {"center": 0.0, "left": 0.89, "right": -0.89}
"""Offsets to the left: 0.61 camera heights by the difference between the pictures."""

LOOK_AHEAD_M = 10.0
"""Distance in which the label of a side camera leads back to the centre camera's path."""

_TIME = re.compile(r"_(\d{4})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{3})\.jpg$")


def read(
    src: Path, height_px: int = 2 * FRAME_HEIGHT_PX, width_px: int = 2 * FRAME_WIDTH_PX, camera: str = "center"
) -> Drive:
    """A Drive of one of the three cameras.

    A car that stands where a side camera is, dX to the left of the path, must steer back: its label is the
    driver's curvature - 2 dX / L**2, the arc of pure pursuit with look-ahead L (the idea of side cameras:
    Bojarski et al., arXiv 1604.07316).

    Raises:
        BadInputError: a file is missing, cut short, or holds a bad value.
    """
    require_folder(src, "driving_log.csv and IMG")
    path = src / "driving_log.csv"
    table = read_table(path, COLUMNS, header_if_none=COLUMNS)
    steering = parse_numbers(path, "steering", table["steering"])
    beyond = np.flatnonzero(np.abs(steering) > 1.0)
    if beyond.size:
        row = int(beyond[0])
        raise BadInputError(f"{path}: row {row}: steering must lie in -1 to 1, got {table['steering'][row]}")
    names = [re.split(r"[\\/]", text)[-1] for text in table[camera]]
    n_pictures = sum(1 for _ in (src / "IMG").glob(f"{camera}_*.jpg"))
    if n_pictures > len(names):
        raise BadInputError(f"{path}: {len(names)} rows, but IMG has {n_pictures} pictures of the {camera} camera")
    cutout = Cutout(CAMERA, TOP_PX, BOTTOM_PX, height_px, width_px)
    frames = np.empty((len(names), height_px, width_px, 3), np.uint8)
    for row, name in enumerate(names):
        with error_names(Path(f"{path}: row {row}")):
            frames[row] = cutout.apply(read_picture(src / "IMG" / name, CAMERA.height_px, CAMERA.width_px))
    curvature = curvature_from_road_wheel_angle(-MAX_ROAD_WHEEL_ANGLE_RAD * steering, WHEELBASE_M)
    curvature -= 2.0 * SIDE_CAMERA_LEFT_M[camera] / LOOK_AHEAD_M**2
    meta = DriveMeta(
        source=f"Udacity driving simulator, {camera} camera",
        licence="none stated",
        vehicle=VehicleFacts("car of Udacity's simulator", wheelbase_m=WHEELBASE_M),
        notes="Camera geometry and wheelbase are estimates; the tyres' slip is not in the curvature.",
    )
    with error_names(path):
        return Drive(
            frames,
            np.array([_seconds(row, name) for row, name in enumerate(names)]),
            np.asarray(curvature, np.float32),
            cutout.camera,
            meta,
            speed_mps=(MPS_PER_MPH * parse_numbers(path, "speed", table["speed"])).astype(np.float32),
        )


def _seconds(row: int, name: str) -> float:
    """Time in a picture's name, ``center_2020_05_09_22_16_18_016.jpg``, in seconds since 1970 (as UTC)."""
    match = _TIME.search(name)
    if match is None:
        raise BadInputError(f"row {row}: picture must be named CAMERA_YEAR_MONTH_DAY_H_M_S_MS.jpg, got {name!r}")
    *fields, milliseconds = (int(text) for text in match.groups())
    try:
        clock = datetime.datetime(*fields, tzinfo=datetime.UTC)  # type: ignore[misc, arg-type]
    except ValueError as error:
        raise BadInputError(f"row {row}: {name!r} holds no date and time: {error}") from error
    return clock.timestamp() + milliseconds / 1000.0
