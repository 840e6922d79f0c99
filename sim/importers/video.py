"""A video and a table of labels: a phone behind the windscreen, a dashcam, anything FFmpeg reads.

The rows of the table go to the frames by the frame's number if the table has it, else by time (labels are interpolated
between rows), else row k to frame k. What nobody said is guessed, and the guess stands in the drive's notes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.drive import DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.importers.flow_sign import guess_positive
from sim.importers.view import view
from sim.label_table import LabelTable, find_table, read_labels
from sim.recording import Asked, Recording, Rows
from sim.rig import RIG_FILE, load_rig
from sim.steering import SteeringUnit, curvature, needed
from sim.video_file import VIDEO_SUFFIXES, VideoFile, open_video

CAMERA = Camera(
    height_px=720,
    width_px=1280,
    focal_u_px=1000.0,  # 65 degrees, about a phone's main camera in a video
    focal_v_px=1000.0,
    horizon_u_px=639.5,
    horizon_v_px=324.0,  # 45 % of the height: a camera that looks a little down
    height_m=1.3,
)
ABOVE_HORIZON = 1 / 3
"""Share of the rows kept that lie above the horizon, as in the pictures of the world."""

VEHICLE = VehicleFacts("car", wheelbase_m=2.7, steering_ratio=15.0, full_lock_rad=float(np.deg2rad(35.0)))
"""A middle-sized car."""

MAX_LABEL_GAP_S = 0.5
"""A frame further than this from a label has none."""

LOOKED_FOR = "a video and a CSV file of labels beside it"


def read(src: Path, asked: Asked) -> Recording:
    """A video file, or a folder that holds one; its table is named by ``--table`` or lies beside it.

    Raises:
        BadInputError: no video, no table, or no row that fits a frame.
    """
    video = open_video(_find_video(src))
    folder = video.path.parent
    asked = with_rig_file(asked, folder)
    table = read_labels(find_table(folder, video.path.stem, asked.columns), asked.columns)
    vehicle = asked.rig.vehicle(VEHICLE)
    needed(table.unit, vehicle)
    times_s = video.times_s if asked.rate_hz is None else np.arange(len(video)) / asked.rate_hz
    frame_of_row, labels, speeds, how = _match(times_s, table, asked)
    said = [*table.said, how]
    positive = table.positive
    if positive is None:
        positive, sign_said = guess_positive(_shown(video, frame_of_row), labels, table.unit)
        said.append(sign_said)
    sign = table.sign(positive)
    rows = Rows()
    for frame, label, speed in zip(frame_of_row, labels, speeds, strict=True):
        is_there = 0 <= frame < len(video)
        if not is_there:
            rows.left_out["row beyond the video's end"] += 1
        elif np.isnan(label):
            rows.left_out["without steering"] += 1
        else:
            rows.add(times_s[int(frame)], curvature(sign * label, table.unit, vehicle), int(frame), speed)
    rows.left_out["frame without a label"] += len(video) - len({int(f) for f in frame_of_row if 0 <= f < len(video)})
    known, size = relevant(vehicle, table.unit), video.size()
    cutout, notes = view(asked, CAMERA, known, size, ABOVE_HORIZON, lambda: _shown(video, frame_of_row), labels)
    notes.append(sentence(said))
    meta = DriveMeta(f"video {video.path.name}", "none stated", vehicle, " ".join(notes).strip())

    def frames(wanted: Sequence[object]) -> Iterator[np.ndarray | str]:
        for picture in video.frames([int(k) for k in wanted]):  # type: ignore[call-overload]
            yield picture if isinstance(picture, str) else cutout.apply(picture)

    return rows.recording(src, cutout, meta, frames, True, LOOKED_FOR)


def with_rig_file(asked: Asked, folder: Path) -> Asked:
    """With what a ``camera.toml`` in the recording's folder knows and the user did not say."""
    path = folder / RIG_FILE
    return dataclasses.replace(asked, rig=asked.rig.or_else(load_rig(path))) if path.is_file() else asked


def relevant(vehicle: VehicleFacts, unit: SteeringUnit) -> VehicleFacts:
    """The facts of a car that labels of that unit rest on."""
    return VehicleFacts(
        vehicle.name,
        None if unit is SteeringUnit.CURVATURE else vehicle.wheelbase_m,
        vehicle.steering_ratio if unit.startswith("steering_wheel") else None,
        vehicle.full_lock_rad if unit is SteeringUnit.NORMALIZED else None,
    )


def sentence(parts: list[str]) -> str:
    """Parts of one sentence, as one.

    >>> sentence(["times are in ms", "speed is in kmh"])
    'Times are in ms; speed is in kmh.'
    """
    return f"{parts[0][0].upper()}{'; '.join(parts)[1:]}." if parts else ""


def _find_video(src: Path) -> Path:
    if src.is_file():
        return src
    if not src.is_dir():
        raise BadInputError(f"{src}: no such video or folder; expected {LOOKED_FOR}")
    if not any(src.iterdir()):
        raise BadInputError(f"{src}: the folder is empty; expected {LOOKED_FOR}")
    found = sorted(p for p in src.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    if len(found) != 1:
        named = ", ".join(path.name for path in found[:4]) or "none"
        raise BadInputError(f"{src}: expected {LOOKED_FOR}, found {named}; name the video itself")
    return found[0]


def _match(times_s: np.ndarray, table: LabelTable, asked: Asked) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Number of the frame, label and speed (NaN: unknown) of each row of the drive, and how they were matched."""
    nothing = np.full(len(table), np.nan)
    speeds = nothing if table.speed_mps is None else table.speed_mps
    if table.frame is not None:
        first = np.nanmin(table.frame) if np.isfinite(table.frame).any() else 0.0
        is_from_1 = first == 1.0 and np.nanmax(table.frame) == len(times_s)
        frame = np.where(np.isfinite(table.frame), table.frame - is_from_1, -1.0)
        order = np.argsort(frame, kind="stable")
        return frame[order], table.steering[order], speeds[order], "rows go to frames by number"
    if table.times_s is None:
        return np.arange(len(table), dtype=float), table.steering, speeds, "row k goes to frame k"
    good = np.isfinite(table.times_s) & np.isfinite(table.steering)
    if not good.any():
        raise BadInputError("table: no row has both a time and steering")
    clock_s, first = table.times_s[good], float(np.nanmin(table.times_s))
    order = np.argsort(clock_s, kind="stable")
    clock_s = clock_s[order]
    start_s = first if asked.columns.start_s is None else asked.columns.start_s
    at_s = times_s + start_s
    is_near = np.abs(clock_s[nearest(clock_s, at_s)] - at_s) <= MAX_LABEL_GAP_S
    labels = np.interp(at_s, clock_s, table.steering[good][order])
    known_speeds = speeds[good][order]
    speed = np.interp(at_s, clock_s, known_speeds) if np.isfinite(known_speeds).all() else np.full(len(at_s), np.nan)
    how = "rows go to frames by time"
    if asked.columns.start_s is None:
        how += ", the first row at the first frame"
    frame = np.arange(len(times_s), dtype=float)
    return frame[is_near], labels[is_near], speed[is_near], how


def nearest(sorted_values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the value nearest to each."""
    after = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(sorted_values) - 1)
    return np.where(wanted - sorted_values[before] <= sorted_values[after] - wanted, before, after)


def _shown(video: VideoFile, frame_of_row: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Row and picture in order, for a look at how the scenery moves."""
    rows = [k for k, frame in enumerate(frame_of_row) if 0 <= frame < len(video)]
    pictures = video.frames([int(frame_of_row[k]) for k in rows])
    for k, picture in zip(rows, pictures, strict=True):
        if not isinstance(picture, str):
            yield k, picture
