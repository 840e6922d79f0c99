"""Udacity's driving simulator: ``driving_log.csv`` and the folder ``IMG`` of three cameras.

Columns ``center,left,right,steering,throttle,brake,speed``, with or without a header; the side cameras may be
missing. The paths are those of the machine that recorded (often Windows): only their file names are used, in
``SRC/IMG``. Where that machine writes decimal commas, ``0,05`` falls into two fields (``decimal_commas``).

Steering is the road-wheel angle divided by 25 degrees, *right* positive: in the recorded pictures the scenery
moves right where it is negative (correlation -0.82 with the flow one frame later). Speed is in miles an hour:
with it the flow of the road gives a camera height of 1.46 m. Rows at standstill are kept.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.conventions import MPS_PER_MPH
from sim.drive import DriveMeta, VehicleFacts
from sim.errors import BadInputError, foreign_errors, one_line
from sim.importers.still_frames import find_folder, last_name, pictures_in, still_frames
from sim.importers.view import view_of_files
from sim.reading import PICTURE_SUFFIXES, number, read_text
from sim.recording import Asked, Recording, Rows, UnusableRowError
from sim.steering import SteeringUnit, curvature, side_camera_curvature_per_m

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
ABOVE_HORIZON = 49.1 / 125
"""Share of the rows kept that lie above the horizon: those below end at the bonnet of the centre camera."""

VEHICLE = VehicleFacts(
    "car of Udacity's simulator",
    wheelbase_m=2.67,  # an estimate: the simulator's authors give it as the turning length of the car
    full_lock_rad=float(np.deg2rad(25.0)),
)
RATE_HZ = 10.0
"""About what the simulator records, for pictures whose names hold no time."""

SIDE_CAMERA_LEFT_M = {"center": 0.0, "left": 0.89, "right": -0.89}
"""Offsets to the left: 0.61 camera heights by the difference between the pictures."""

LOOKED_FOR = "driving_log.csv and the pictures in IMG"
_TIME = re.compile(r"_(\d{4})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{3})\.\w+$")
_INDEX = re.compile(r"(\d{1,12})\.\w+$")
_COLUMNS = ("steering", "throttle", "brake", "speed")


def read(src: Path, asked: Asked, camera: str = "center") -> Recording:
    """Rows of one of the three cameras in order of the times in the pictures' names.

    A car that stands where a side camera is must steer back: its label is the driver's curvature and
    ``side_camera_curvature_per_m``.

    Raises:
        BadInputError: no such recording, or no usable row in it.
    """
    src = find_folder(src, lambda folder: (folder / "driving_log.csv").is_file(), LOOKED_FOR)
    pictures = pictures_in(src / "IMG") or pictures_in(src)
    vehicle, side_m, rows = asked.rig.vehicle(VEHICLE), SIDE_CAMERA_LEFT_M[camera], Rows()
    named: set[str] = set()
    found = list(_lines(src / "driving_log.csv", camera, rows, named))
    has_times = any(_seconds(name) is not None for name, _ in found)
    rate_hz = asked.rate_hz or RATE_HZ
    for k, (name, (steering, _, _, speed)) in enumerate(found):
        index = _INDEX.search(name)
        time_s = _seconds(name) if has_times else (int(index[1]) if index else k) / rate_hz
        kappa = curvature(-steering, SteeringUnit.NORMALIZED, vehicle) + side_camera_curvature_per_m(side_m)
        if np.isnan(kappa):
            rows.left_out["steering beyond -1 to 1"] += 1
        else:
            path = pictures.get(name, Path(name))
            rows.add(np.nan if time_s is None else time_s, kappa, path, MPS_PER_MPH * speed)
    prefix = f"{camera}_"
    over = {name for name in pictures if name.startswith(prefix)} - named
    rows.left_out["picture without a row"] += len(over)
    said = ["The tyres' slip is not in the curvature."]
    if not has_times:
        said.append(f"The pictures' names hold no times: {rate_hz:g} frames a second are assumed.")
    source = f"Udacity driving simulator, {camera} camera"
    meta = DriveMeta(source, "none stated", vehicle, " ".join(said))
    rows.require(src, LOOKED_FOR)
    cutout, notes = view_of_files(rows, src, asked, CAMERA, VEHICLE, ABOVE_HORIZON)
    meta = dataclasses.replace(meta, notes=" ".join([*notes, *said]).strip())
    return rows.recording(src, cutout, meta, still_frames(cutout), True, LOOKED_FOR)


def _lines(path: Path, camera: str, rows: Rows, named: set[str]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """The picture's file name, and steering, throttle, brake and speed, of every usable row; ``named`` gets every name.

    Raises:
        BadInputError: no CSV file, or one whose header has no steering.
    """
    text = read_text(path)
    first = text[:2000].split("\n", 1)[0]
    delimiter = next((mark for mark in (";", "\t") if first.count(mark) >= 3), ",")
    with foreign_errors(path, "expected a CSV file"):
        lines = [[field.strip() for field in line] for line in csv.reader(text.splitlines(), delimiter=delimiter)]
    columns = None
    before_mph = 0.0
    for line in lines:
        if not any(line):
            continue
        if not any(_is_picture(field) or np.isfinite(number(field)) for field in line if field):
            columns = [field.lower() for field in line]
            if "steering" not in columns:
                raise BadInputError(f"{path}: needs a column steering, has {one_line(', '.join(columns))}")
            continue
        names = list(itertools.takewhile(_is_picture, line))
        try:
            name = _picture(names, columns, camera)
            named.add(name)
            values = _values(line[len(names) :], columns, before_mph)
        except UnusableRowError as reason:
            rows.left_out[str(reason)] += 1
            continue
        before_mph = values[3] if np.isfinite(values[3]) else before_mph
        yield name, values


def _is_picture(field: str) -> bool:
    return field.lower().endswith(PICTURE_SUFFIXES) or field == ""


def _picture(names: Sequence[str], columns: list[str] | None, camera: str) -> str:
    """The name of the camera's picture: in its column, else the one that begins with its name."""
    by_column = dict(zip(columns or CAMERAS, names, strict=False))
    by_name = next((text for text in names if last_name(text).startswith(camera)), "")
    name = last_name(by_column.get(camera, "") or by_name)
    if not name:
        raise UnusableRowError("without a picture's name")
    return name


def _values(fields: Sequence[str], columns: list[str] | None, before_mph: float) -> tuple[float, ...]:
    """Steering, throttle, brake, speed."""
    if columns is not None:
        wanted = [column for column in columns if column not in CAMERAS]
    else:
        wanted = list(_COLUMNS)
    if len(fields) == len(wanted):
        by_name = dict(zip(wanted, (number(field) for field in fields), strict=True))
        values = tuple(by_name.get(column, np.nan) for column in _COLUMNS)
    elif columns is None or wanted == list(_COLUMNS):
        values = decimal_commas(fields, before_mph)
    else:
        raise UnusableRowError("row with missing or extra fields")
    if np.isnan(values[0]):
        raise UnusableRowError("without steering")
    return values


def decimal_commas(fields: Sequence[str], before_mph: float) -> tuple[float, ...]:
    """Steering, throttle, brake and speed out of five to eight fields, where a comma stands for the point too.

    Which fields belong together follows from what can be: steering from -1 to 1, throttle and brake from 0 to 1 and
    never both (the simulator's one pedal axis). Of what is left, the speed nearest to the row before is taken.

    >>> decimal_commas(["-0", "05", "0", "3", "0", "15", "2"], before_mph=15.0)
    (-0.05, 0.3, 0.0, 15.2)
    """
    n_pairs = len(fields) - len(_COLUMNS)
    if not 1 <= n_pairs <= len(_COLUMNS):
        raise UnusableRowError("row with missing or extra fields")
    possible = []
    for is_pair in itertools.product((True, False), repeat=len(_COLUMNS)):
        if sum(is_pair) != n_pairs:
            continue
        rest, values = iter(fields), []
        for pair in is_pair:
            whole = next(rest)
            digits = next(rest) if pair else ""
            good = re.fullmatch(r"-?\d+", whole) and re.fullmatch(
                r"\d+(E-?\d+)?" if pair else "", digits, re.IGNORECASE
            )
            values.append(number(f"{whole}.{digits}") if good else np.nan)
        steering, throttle, brake, speed = values
        if abs(steering) <= 1 and 0 <= throttle <= 1 and 0 <= brake <= 1 and throttle * brake == 0 and speed >= 0:
            possible.append(tuple(values))
    if not possible:
        raise UnusableRowError("row with missing or extra fields")
    return min(possible, key=lambda values: abs(values[3] - before_mph))


def _seconds(name: str) -> float | None:
    """Time in a picture's name, ``center_2020_05_09_22_16_18_016.jpg``, in seconds since 1970 (as UTC)."""
    match = _TIME.search(name)
    if match is None:
        return None
    *fields, milliseconds = (int(text) for text in match.groups())
    try:
        clock = datetime.datetime(*fields, tzinfo=datetime.UTC)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    return clock.timestamp() + milliseconds / 1000.0
