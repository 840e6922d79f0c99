"""comma2k19: a commute on a highway by two cars with a phone-like camera (Schafer et al., arXiv 1812.05752).

A segment is a folder of one minute: ``video.hevc`` (1164 x 874, 20 a second), ``processed_log/CAN/steering_angle`` and
``speed`` with the arrays ``t`` (s, since the device's start) and ``value`` (degrees of the steering wheel, left
positive; m/s), and ``global_pose`` with ``frame_times`` on the same clock and the camera's velocity and orientation,
from which the direction of travel in the picture is known: horizon and vanishing point. A route holds its segments
as ``0``, ``1``, ...; a chunk holds routes. The description of the data set calls some folders otherwise than the data
themselves; both names are read.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.drive import DriveMeta, VehicleFacts
from sim.errors import BadInputError, foreign_errors
from sim.importers.video import MAX_LABEL_GAP_S, nearest
from sim.importers.video_frames import shown_at, video_frames
from sim.importers.view import view
from sim.reading import require_folder
from sim.recording import Asked, Recording, Rows
from sim.steering import SteeringUnit, curvature
from sim.video_file import open_video

CAMERA = Camera(
    height_px=874,
    width_px=1164,
    focal_u_px=910.0,  # as published with the data; so is the middle as the principal point
    focal_v_px=910.0,
    horizon_u_px=581.5,
    horizon_v_px=436.5,  # a level camera, where no pose says otherwise
    height_m=1.22,  # a windscreen's upper edge; not published with the data
)
ABOVE_HORIZON = 1 / 3
CARS = {
    # Wheelbases are the makers'; the ratios are those of steering racks of these cars and not part of the data.
    "b0c9d2329ad1606b": VehicleFacts("Toyota RAV4", wheelbase_m=2.66, steering_ratio=16.9),
    "99c94dc769b5d96e": VehicleFacts("Honda Civic", wheelbase_m=2.70, steering_ratio=15.4),
}
"""By the device's name, with which a route's begins."""

OTHER_CAR = VehicleFacts("car of another device than the data set's two", wheelbase_m=2.7, steering_ratio=15.5)
UNIT = SteeringUnit.STEERING_WHEEL_DEG
MAX_ARRAY_BYTES = 1 << 28
MIN_TRAVEL_MPS = 5.0
"""Below this speed the velocity says little of where the camera looks."""
MAX_TRAVEL_MPS = 200.0
"""Beyond it a pose is wrong."""

LOOKED_FOR = "segments with video.hevc, processed_log and global_pose: a segment, a route, or a chunk of routes"


def read(src: Path, asked: Asked) -> Recording:
    """All segments in ``src`` or up to two folders below it, in order of route and number.

    Raises:
        BadInputError: no segment, or none with a usable row.
    """
    require_folder(src, LOOKED_FOR)
    rows, gazes = Rows(), []
    found = _segments(src)
    if not found:
        raise BadInputError(f"{src}: no segment here; looked for {LOOKED_FOR}")
    vehicle = asked.rig.vehicle(_car(found[0]))
    for segment in found:
        try:
            gazes += _add(segment, rows, vehicle)
        except BadInputError as error:
            if len(found) == 1:
                raise
            rows.left_out[f"segment {segment.name}: {_reason(error, segment)}"] += 1
    rows.require(src, LOOKED_FOR)
    places = rows.pictures
    guess, notes_of_pose = _camera(gazes)
    size = places[0][0].size()  # type: ignore[index]
    cutout, notes = view(
        asked, guess, vehicle, size, ABOVE_HORIZON,
        lambda: shown_at(places), np.array(rows.curvature_per_m),  # type: ignore[arg-type]
    )  # fmt: skip
    source = "comma2k19, https://github.com/commaai/comma2k19"
    meta = DriveMeta(source, "MIT (comma.ai)", vehicle, " ".join([*notes, *notes_of_pose]).strip())
    return rows.recording(src, cutout, meta, video_frames(cutout), False, LOOKED_FOR)  # type: ignore[arg-type]


def _segments(src: Path) -> list[Path]:
    """Folders with a video, sorted by route and by number."""
    pattern = "video.hevc"
    found = {path.parent for depth in ("", "*/", "*/*/") for path in src.glob(depth + pattern)}
    return sorted(
        found, key=lambda path: (str(path.parent), int(path.name) if path.name.isdecimal() else -1, path.name)
    )


def _car(segment: Path) -> VehicleFacts:
    """The data set's two cars are told apart by the device in the route's name (``DEVICE|TIME``)."""
    names = "/".join(segment.absolute().parts[-3:])
    device = re.search("|".join(CARS), names)
    return CARS[device[0]] if device else OTHER_CAR


def _reason(error: BadInputError, segment: Path) -> str:
    """Without the place, which the counted name says."""
    return str(error).replace(f"{segment}/", "").removeprefix(f"{segment}: ").partition(";")[0]


def _add(segment: Path, rows: Rows, vehicle: VehicleFacts) -> list[np.ndarray]:
    """Add a segment's rows; where the camera looks while it travels, (n, 2) right and down over forward."""
    pose = next((segment / name for name in ("global_pose", "global_pos") if (segment / name).is_dir()), None)
    if pose is None:
        raise BadInputError(f"{segment}: has no global_pose with the times of its frames; copy the segment again")
    frame_times_s = _array(pose / "frame_times", 1)
    steering_t, steering_deg = _log(segment, ("steering_angle",))
    speed_t, speed_mps = _log(segment, ("speed", "car_speed"))
    video = open_video(segment / "video.hevc")
    n = min(len(video), len(frame_times_s))
    rows.left_out["frame without a time"] += len(video) - n
    at_s = frame_times_s[:n]
    labels, is_near = _at(at_s, steering_t, steering_deg)
    speeds, has_speed = _at(at_s, speed_t, speed_mps)
    rows.left_out["frame without a label"] += int((~is_near).sum())
    for k in np.flatnonzero(is_near):
        speed = float(speeds[k]) if has_speed[k] else np.nan
        rows.add(float(at_s[k]), curvature(float(labels[k]), UNIT, vehicle), (video, int(k)), speed)
    return _gaze(pose)


def _at(at_s: np.ndarray, t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values interpolated at some times, and where a measurement lies near enough."""
    return np.interp(at_s, t, values), np.abs(t[nearest(t, at_s)] - at_s) <= MAX_LABEL_GAP_S


def _log(segment: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of one signal of the car, in order of time, without what is not finite."""
    folders = [segment / "processed_log" / "CAN" / name for name in names]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    t, values = _array(folder / "t", 1), _array(folder / "value", None).reshape(-1)
    if len(t) != len(values):
        raise BadInputError(f"{folder}: {len(t)} times, but {len(values)} values; copy the segment again")
    good = np.isfinite(t) & np.isfinite(values)
    order = np.argsort(t[good], kind="stable")
    if len(order) < 2:
        raise BadInputError(f"{folder}: holds fewer than two measurements; copy the segment again")
    return t[good][order], values[good][order]


def _array(path: Path, n_axes: int | None) -> np.ndarray:
    """A file of one array of numbers, with or without the suffix ``.npy``, as float64."""
    path = path if path.is_file() else path.with_name(f"{path.name}.npy")
    if not path.is_file():
        raise BadInputError(f"{path.with_suffix('')}: no such file; copy the segment again")
    with foreign_errors(path, "expected a NumPy array; copy the segment again"):
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: its header alone asks for no memory
        if not isinstance(values, np.ndarray) or values.nbytes > MAX_ARRAY_BYTES or values.dtype.kind not in "fiu":
            raise ValueError("it holds no array of numbers of a minute")
        if n_axes is not None and values.ndim != n_axes:
            raise ValueError(f"its array has {values.ndim} axes in the place of {n_axes}")
        return np.array(values, np.float64)


def _gaze(pose: Path) -> list[np.ndarray]:
    """Direction of travel as the camera sees it, right and down over forward: one array (n, 2), or none."""
    try:
        velocity, turn = _array(pose / "frame_velocities", 2), _array(pose / "frame_orientations", 2)
    except BadInputError:
        return []
    if velocity.shape[1:] != (3,) or turn.shape != (len(velocity), 4):
        return []
    # Orientations are Hamilton quaternions w, x, y, z; their inverse turns the earth's axes to forward, right, down.
    w, vector = turn[:, :1], -turn[:, 1:]
    with np.errstate(over="ignore", invalid="ignore"):
        t = 2 * np.cross(vector, velocity)
        local = velocity + w * t + np.cross(vector, t)
        is_travel = (np.abs(local) < MAX_TRAVEL_MPS).all(axis=1) & (local[:, 0] > MIN_TRAVEL_MPS)
    return [local[is_travel, 1:] / local[is_travel, :1]] if is_travel.any() else []


def _camera(gazes: list[np.ndarray]) -> tuple[Camera, list[str]]:
    """The camera with the point it travels to, the median over all poses."""
    if not gazes:
        return CAMERA, []
    right, down = np.median(np.concatenate(gazes), axis=0)
    u_px = CAMERA.horizon_u_px + CAMERA.focal_u_px * float(right)
    v_px = CAMERA.horizon_v_px + CAMERA.focal_v_px * float(down)
    if not (0 < u_px < CAMERA.width_px and 0 < v_px < CAMERA.height_px):
        return CAMERA, []
    found = dataclasses.replace(CAMERA, horizon_u_px=round(u_px, 1), horizon_v_px=round(v_px, 1))
    return found, [f"The poses give the vanishing point: column {u_px:.0f}, row {v_px:.0f}."]
