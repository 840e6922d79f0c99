"""Donkeycar: a tub, as the versions of that program record it on a small radio-controlled car.

Version 2 (since 4.0): ``manifest.json`` holds JSON lines, the last with the catalogs' names and ``deleted_indexes``; a
catalog holds one JSON record a line; ``images`` holds the pictures. Version 1: ``record_N.json`` for every picture,
beside it. Deleted records are left out, which leaves a gap in time.

``user/angle`` runs from -1 to 1, *right* positive: in the recorded pictures the scenery moves right where it
is negative (correlation -0.88 with the flow 0.25 s later, the delay of servo and camera, left in the labels).
While the pilot steers (any ``user/mode`` but ``user``) it says nothing, and ``pilot/angle`` is the steering.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sim.camera import Camera
from sim.drive import DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.importers.still_frames import find_folder, last_name, pictures_in, still_frames
from sim.importers.view import view_of_files
from sim.reading import number, read_text
from sim.recording import Asked, Recording, Rows, UnusableRowError
from sim.steering import SteeringUnit, curvature

CAMERA = Camera(
    height_px=120,
    width_px=160,
    focal_u_px=80.0,  # 90 degrees of a wide-angle lens whose distortion the pinhole leaves out: a rough guess
    focal_v_px=80.0,
    horizon_u_px=79.5,
    horizon_v_px=40.0,  # a little above the foot of the walls around
    height_m=0.13,
)
ABOVE_HORIZON = 4 / 62
"""Share of the rows kept that lie above the horizon: the floor is what matters."""

VEHICLE = VehicleFacts(
    "radio-controlled car, about 1:10",
    wheelbase_m=0.25,
    full_lock_rad=float(np.deg2rad(25.0)),  # both typical and not measured; the tightest turn is then 1.9 /m
)
RATE_HZ = 20.0
"""That program's default, for records without a time."""

LOOKED_FOR = "the manifest.json, catalogs and images of a Donkeycar tub, or the record_N.json of an old one"


def read(src: Path, asked: Asked) -> Recording:
    """The records that are not deleted, in the order recorded; the speed is not known.

    Raises:
        BadInputError: no tub, or no usable record in it.
    """
    src = find_folder(src, _is_tub, LOOKED_FOR)
    is_old = not (src / "manifest.json").is_file() and not any(src.glob("*.catalog"))
    pictures = pictures_in(src if is_old else src / "images")
    vehicle = asked.rig.vehicle(VEHICLE)
    rows, seen, n_piloted = Rows(), set(), 0
    found = list(_old_records(src, rows) if is_old else _records(src, rows))
    rate_hz = asked.rate_hz or RATE_HZ
    has_times = any(np.isfinite(_time_s(record)) for _, record, _ in found)
    for index, record, is_deleted in found:
        name = next((last_name(value) for key, value in record.items() if key.startswith("cam/image_array")), "")
        is_again = name in seen
        seen.add(name)
        if is_deleted:
            rows.left_out["deleted"] += 1
        elif not name:
            rows.left_out["without a picture's name"] += 1
        elif is_again:
            rows.left_out["the same picture again"] += 1
        else:
            try:
                angle, is_piloted = _angle(record)
            except UnusableRowError as reason:
                rows.left_out[str(reason)] += 1
                continue
            n_piloted += is_piloted
            time_s = _time_s(record) if has_times else index / rate_hz
            rows.add(time_s, curvature(-angle, SteeringUnit.NORMALIZED, vehicle), pictures.get(name, Path(name)))
    rows.left_out["picture without a record"] += len(pictures.keys() - seen)
    rows.require(src, LOOKED_FOR)
    cutout, notes = view_of_files(rows, src, asked, CAMERA, VEHICLE, ABOVE_HORIZON)
    notes += [] if has_times else [f"No times were recorded: {rate_hz:g} frames a second are assumed."]
    notes += [f"{n_piloted} rows were steered by a pilot."] if n_piloted else []
    meta = DriveMeta("Donkeycar tub, https://www.donkeycar.com", "none stated", vehicle, " ".join(notes).strip())
    return rows.recording(src, cutout, meta, still_frames(cutout), False, LOOKED_FOR)


def _is_tub(folder: Path) -> bool:
    is_new = (folder / "manifest.json").is_file() or any(folder.glob("*.catalog"))
    return is_new or any(folder.glob("record_*.json"))


def _angle(record: dict[str, Any]) -> tuple[float, bool]:
    """Angle that the car was steered to, and whether a pilot gave it."""
    mode = record.get("user/mode", "user")
    is_piloted = mode != "user"
    angle = number(record.get("pilot/angle" if is_piloted else "user/angle"))
    if np.isnan(angle):
        raise UnusableRowError("steered by a pilot whose angle is not recorded" if is_piloted else "without steering")
    if np.isnan(curvature(angle, SteeringUnit.NORMALIZED, VEHICLE)):
        raise UnusableRowError("angle beyond -1 to 1")
    return angle, is_piloted


def _time_s(record: dict[str, Any]) -> float:
    """When it was recorded: ``_timestamp_ms`` of version 2, ``milliseconds`` of version 1."""
    return number(record.get("_timestamp_ms", record.get("milliseconds"))) / 1000.0


def _records(src: Path, rows: Rows) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Index, record and whether it is deleted, in order of the index; counts what is no record."""
    try:
        lines = [value for value in _json_lines(src / "manifest.json", Rows()) if isinstance(value, dict)]
    except BadInputError:
        lines = []
    manifest = lines[-1] if lines else {}
    listed, deleted = manifest.get("paths"), manifest.get("deleted_indexes")
    names = [last_name(name) for name in listed] if isinstance(listed, list) else []
    over = sorted((path.name for path in src.glob("*.catalog")), key=_number_in)
    names += [name for name in over if name not in names and not name.startswith(".")]
    hidden = {index for index in deleted if type(index) is int} if isinstance(deleted, list) else set()
    found: dict[int, dict[str, Any]] = {}
    for name in dict.fromkeys(names):
        path = src / name
        if name not in over:
            rows.left_out["catalog missing"] += 1
            continue
        for value in _json_lines(path, rows):
            index = value.get("_index") if isinstance(value, dict) else None
            if type(index) is not int or not 0 <= index < 2**40:
                rows.left_out["not a record"] += 1
            elif index in found:
                rows.left_out["the same index again"] += 1
            else:
                found[index] = value
    for index in sorted(found):
        yield index, found[index], index in hidden


def _old_records(src: Path, rows: Rows) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """As ``_records``, of version 1: it deletes a record by removing its files."""
    for path in sorted(src.glob("record_*.json"), key=lambda path: _number_in(path.name)):
        try:
            value = json.loads(read_text(path))
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield _number_in(path.name), value, False
        else:
            rows.left_out["torn record"] += 1


def _number_in(name: str) -> int:
    digits = re.search(r"\d{1,12}", name)
    return int(digits[0]) if digits else -1


def _json_lines(path: Path, rows: Rows) -> Iterator[Any]:
    """The values of a file with one JSON value a line; torn lines are counted."""
    for line in read_text(path).splitlines():
        if line.strip("\0 \t"):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                rows.left_out["torn line"] += 1
