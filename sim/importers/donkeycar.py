"""Donkeycar: a tub of version 2, as that program records it on a small radio-controlled car.

``manifest.json`` holds five JSON lines, the last with the catalogs' names and ``deleted_indexes``; a catalog
holds one JSON record a line; ``images`` holds the pictures. Deleted records are left out, which leaves a gap
in time.

``user/angle`` runs from -1 to 1, *right* positive: in the recorded pictures the scenery moves right where it
is negative (correlation -0.88 with the flow 0.25 s later, the delay of servo and camera, left in the labels).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, curvature_from_road_wheel_angle
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.reading import Cutout, error_names, parse_numbers, read_picture, require_folder

CAMERA = Camera(
    height_px=120,
    width_px=160,
    focal_u_px=80.0,  # 90 degrees of a wide-angle lens whose distortion the pinhole leaves out: a rough guess
    focal_v_px=80.0,
    horizon_u_px=79.5,
    horizon_v_px=40.0,  # a little above the foot of the walls around
    height_m=0.13,
)
TOP_PX, BOTTOM_PX = 36, 98
"""Rows kept: a policy's 200:78 shape at full width, below the horizon but for a few rows."""

MAX_ROAD_WHEEL_ANGLE_RAD = float(np.deg2rad(25.0))
WHEELBASE_M = 0.25
"""Both typical of 1:10 cars and not measured; the tightest turn is then 1.9 /m."""

META = DriveMeta(
    source="Donkeycar tub, https://www.donkeycar.com",
    licence="none stated",
    vehicle=VehicleFacts("radio-controlled car, about 1:10", wheelbase_m=WHEELBASE_M),
    notes="Camera geometry, wheelbase and full steering angle (25 degrees) are rough estimates.",
)


def read(src: Path, height_px: int = 2 * FRAME_HEIGHT_PX, width_px: int = 2 * FRAME_WIDTH_PX) -> Drive:
    """A Drive of the records that are not deleted; the speed is not known.

    Raises:
        BadInputError: a file is missing, cut short, or holds a bad value.
    """
    require_folder(src, "manifest.json, catalogs and images of a Donkeycar tub, version 2")
    records, n_deleted = _read_records(src)
    columns = {}
    for name in ("cam/image_array", "user/angle", "_timestamp_ms"):
        missing = [record["_index"] for record in records if name not in record]
        if missing:
            raise BadInputError(f"{src}: record {missing[0]} has no {name!r}; record with a camera and a driver")
        columns[name] = [record[name] for record in records]
    angle = parse_numbers(src, "user/angle", columns["user/angle"])
    if np.abs(angle).max() > 1.0:
        row = int(np.argmax(np.abs(angle)))
        raise BadInputError(f"{src}: row {row}: user/angle must lie in -1 to 1, got {angle[row]}")
    n_pictures = sum(1 for _ in (src / "images").glob("*.jpg"))
    if n_pictures > len(records) + n_deleted:
        raise BadInputError(f"{src}: {len(records) + n_deleted} records, but {n_pictures} pictures in images")
    cutout = Cutout(CAMERA, TOP_PX, BOTTOM_PX, height_px, width_px)
    frames = np.empty((len(records), height_px, width_px, 3), np.uint8)
    for row, name in enumerate(columns["cam/image_array"]):
        with error_names(Path(f"{src}: row {row}")):
            picture = read_picture(src / "images" / str(name), CAMERA.height_px, CAMERA.width_px)
        frames[row] = cutout.apply(picture)
    curvature = curvature_from_road_wheel_angle(-MAX_ROAD_WHEEL_ANGLE_RAD * angle, WHEELBASE_M)
    with error_names(src):
        return Drive(
            frames,
            parse_numbers(src, "_timestamp_ms", columns["_timestamp_ms"]) / 1000.0,
            np.asarray(curvature, np.float32),
            cutout.camera,
            META,
        )


def _read_records(src: Path) -> tuple[list[dict[str, Any]], int]:
    """Records in order of their index without the deleted ones, and how many those are."""
    manifest = _read_json_lines(src / "manifest.json")[-1]
    catalogs, deleted = manifest.get("paths"), manifest.get("deleted_indexes", [])
    if not isinstance(catalogs, list) or not catalogs or not isinstance(deleted, list):
        raise BadInputError(f'{src / "manifest.json"}: the last line must list the catalogs as "paths"')
    records = [record for name in catalogs for record in _read_json_lines(src / str(name))]
    for row, record in enumerate(records):
        if type(record.get("_index")) is not int:
            raise BadInputError(f'{src}: row {row}: record has no whole number "_index"; is it a tub of version 2?')
    hidden = set(deleted)
    kept = [record for record in records if record["_index"] not in hidden]
    if not kept:
        raise BadInputError(f"{src}: all {len(records)} records are deleted")
    return sorted(kept, key=lambda record: record["_index"]), len(records) - len(kept)


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file with one JSON value a line; values of other kinds are skipped."""
    values = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read as JSON lines: {error}") from error
    for row, line in enumerate(lines):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise BadInputError(f"{path}: row {row} is not JSON, the file is cut short or damaged: {error}") from error
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        raise BadInputError(f"{path}: holds no JSON object; is it a tub of version 2?")
    return objects
