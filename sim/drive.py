"""A recorded drive: camera frames with the curvature the car was steered to, in memory and on disk.

On disk a drive is a folder, format version ``DRIVE_FORMAT``:

``frames.mp4``      H.264, 4:4:4, close to lossless; video frame k is row k.
``table.csv``       ``timestamp_s,curvature_per_m,speed_mps``, a row a frame; ``speed_mps`` empty if unknown.
``drive.json``      format version, number of frames and of road masks, camera, source, licence, vehicle.
``road_masks.npz``  only for drives with road masks: the known rows and their masks, eight pixels a byte.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from sim.camera import Camera
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.reading import error_names, parse_numbers, read_table, read_video

DRIVE_FORMAT = 1
"""Version of the folder's layout; ``load`` refuses every other one."""

MAX_PLAUSIBLE_CURVATURE_PER_M = 10.0
"""Far beyond any real turn, toy cars included: a larger number is a wrong unit."""

GAP_FACTOR = 2.5
"""A step in time longer than this many median steps is a gap."""

VIDEO, TABLE, FACTS, MASKS = "frames.mp4", "table.csv", "drive.json", "road_masks.npz"
FILES = {VIDEO, TABLE, FACTS, MASKS}
COLUMNS = ("timestamp_s", "curvature_per_m", "speed_mps")

MAX_ASPECT_ERROR = 0.02

T = TypeVar("T")


@dataclass(frozen=True)
class VehicleFacts:
    """What is known of the car that recorded a drive; ``None`` where it is not known.

    Attributes:
        name: make and model.
        wheelbase_m: front to rear axle.
        steering_ratio: angle of the steering wheel / angle of the road wheels.
    """

    name: str
    wheelbase_m: float | None = None
    steering_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("wheelbase_m", "steering_ratio"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise BadInputError(f"vehicle: {name} must be a positive number or null, got {value!r}")


@dataclass(frozen=True)
class DriveMeta:
    """Where a drive comes from, under which licence, and by which car; ``notes`` says what was estimated."""

    source: str
    licence: str
    vehicle: VehicleFacts
    notes: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Drive:
    """Arrays of one length T, one camera; frame k is row k, always.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB.
        timestamps_s: float64 (T,), strictly increasing.
        curvature_per_m: float32 (T,), of the path the car was steered to, left positive.
        camera: geometry of the frames, ``(height_px, width_px) == (H, W)``.
        meta: source, licence, vehicle.
        speed_mps: float32 (T,), or None where it was not recorded.
        road_masks: bool (T, H, W), True on the road, or None.
        road_mask_known: bool (T,), the rows whose mask is known; None together with masks means all of them.

    Raises:
        BadInputError: an array has the wrong length, shape or type, or a row holds a value that cannot be.
    """

    frames: np.ndarray
    timestamps_s: np.ndarray
    curvature_per_m: np.ndarray
    camera: Camera
    meta: DriveMeta
    speed_mps: np.ndarray | None = None
    road_masks: np.ndarray | None = None
    road_mask_known: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.dtype != np.uint8 or self.frames.shape[3] != 3:
            raise BadInputError(
                f"drive: frames must be uint8 (T, H, W, 3), got {self.frames.dtype} {self.frames.shape}"
            )
        n_rows, height_px, width_px, _ = self.frames.shape
        if n_rows == 0:
            raise BadInputError("drive: no rows; a drive needs at least one frame")
        if (self.camera.height_px, self.camera.width_px) != (height_px, width_px):
            raise BadInputError(
                f"drive: camera is {self.camera.height_px}x{self.camera.width_px}, "
                f"frames are {height_px}x{width_px}; crop and resize the camera with its frames"
            )
        if self.road_mask_known is not None and self.road_masks is None:
            raise BadInputError("drive: road_mask_known is given without road_masks; give both or neither")
        expected = {
            "timestamps_s": ((n_rows,), np.float64),
            "curvature_per_m": ((n_rows,), np.float32),
            "speed_mps": ((n_rows,), np.float32),
            "road_masks": ((n_rows, height_px, width_px), np.bool_),
            "road_mask_known": ((n_rows,), np.bool_),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise BadInputError(f"drive: {name} must be {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
        self._check_rows()

    def _check_rows(self) -> None:
        for name in ("timestamps_s", "curvature_per_m", "speed_mps"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise BadInputError(f"drive: row {row}: {name} must be a finite number, got {values[row]}")
        not_later = np.flatnonzero(np.diff(self.timestamps_s) <= 0)
        if not_later.size:
            row = int(not_later[0]) + 1
            raise BadInputError(
                f"drive: row {row}: timestamp {self.timestamps_s[row]!s} s must be later than that of the "
                f"row before, {self.timestamps_s[row - 1]!s} s; remove or sort the rows"
            )
        row = int(np.argmax(np.abs(self.curvature_per_m)))
        if abs(self.curvature_per_m[row]) > MAX_PLAUSIBLE_CURVATURE_PER_M:
            raise BadInputError(
                f"drive: row {row}: |curvature| must be at most {MAX_PLAUSIBLE_CURVATURE_PER_M} /m, "
                f"got {self.curvature_per_m[row]}; check the unit of the steering angle"
            )

    def __repr__(self) -> str:
        height, width = self.frames.shape[1:3]
        seconds = float(self.timestamps_s[-1] - self.timestamps_s[0]) if len(self) else 0.0
        masks = f", {len(self.mask_rows())} road masks" if self.road_masks is not None else ""
        return f"Drive({len(self)} frames of {height} x {width}, {seconds:.1f} s, {self.meta.source!r}{masks})"

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self, start: int, stop: int) -> Drive:
        """The drive of rows ``start`` to ``stop - 1``; its arrays are views, not copies."""
        if not 0 <= start < stop <= len(self):
            raise BadInputError(f"drive: rows {start}:{stop} asked for, it has rows 0:{len(self)}")
        fields = ("frames", "timestamps_s", "curvature_per_m", "speed_mps", "road_masks", "road_mask_known")
        arrays = {name: getattr(self, name) for name in fields}
        return dataclasses.replace(
            self, **{name: array[start:stop] for name, array in arrays.items() if array is not None}
        )

    def mask_rows(self) -> np.ndarray:
        """Rows whose road mask is known, ascending int64 (n,); empty without masks."""
        if self.road_masks is None:
            return np.zeros(0, np.int64)
        return np.arange(len(self)) if self.road_mask_known is None else np.flatnonzero(self.road_mask_known)

    def segments(self) -> list[slice]:
        """Runs of rows without a gap in time, in order, covering every row."""
        steps_s = np.diff(self.timestamps_s)
        gaps = np.flatnonzero(steps_s > GAP_FACTOR * np.median(steps_s)) + 1 if steps_s.size else steps_s
        edges = [0, *(int(row) for row in gaps), len(self)]
        return [slice(start, stop) for start, stop in itertools.pairwise(edges)]

    def dt_s(self) -> np.ndarray:
        """Time since the frame before, float64 (T,).

        The first row of a segment has none and takes the median step (a drive of one row: 1 / frame rate).
        """
        steps_s = np.diff(self.timestamps_s)
        median_s = np.median(steps_s) if steps_s.size else 1.0 / FRAME_RATE_HZ
        dt_s = np.concatenate([[median_s], steps_s])
        dt_s[[segment.start for segment in self.segments()]] = median_s
        return dt_s

    def check_aspect(self, height_px: int, width_px: int) -> None:
        """``BadInputError`` unless the pictures have about the shape, at any size, of ``height_px`` x ``width_px``."""
        _, height, width, _ = self.frames.shape
        if abs((width / height) / (width_px / height_px) - 1) > MAX_ASPECT_ERROR:
            raise BadInputError(
                f"drive: expected pictures shaped {width_px}:{height_px} (any size), got {width}x{height}; "
                "import it again"
            )


# On disk ---------------------------------------------------------------------------------------------------


def save(drive: Drive, folder: Path | str, overwrite: bool = False) -> None:
    """Write a drive as a folder, complete or not at all; ``load`` undoes it (frames: within H.264's loss).

    Args:
        drive: what to write.
        folder: made anew; an empty folder is used as it is.
        overwrite: replace a drive that is already there. Anything else in the way is never removed.

    Raises:
        BadInputError: something else is in the way, or the place cannot be written.
    """
    folder = Path(folder).absolute()
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or (there and not FILES >= there >= {FACTS}):
        raise BadInputError(f"{folder}: holds something else than a drive; name a new folder to write to")
    if there and not overwrite:
        raise BadInputError(f"{folder}: there is a drive already; name a new folder or allow overwriting")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        partial.mkdir(parents=True)
        _write_files(drive, partial)
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    except (OSError, av.error.FFmpegError) as error:
        raise BadInputError(f"{folder}: cannot write a drive there: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.replace(folder)
        shutil.rmtree(old, ignore_errors=True)


def _write_files(drive: Drive, folder: Path) -> None:
    _write_video(drive, folder / VIDEO)
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        speeds = [""] * len(drive) if drive.speed_mps is None else [str(v) for v in drive.speed_mps]
        # str() of a numpy number is the shortest text that reads back as the same number.
        writer.writerows(
            (str(t), str(k), v) for t, k, v in zip(drive.timestamps_s, drive.curvature_per_m, speeds, strict=True)
        )
    facts = {
        "format": DRIVE_FORMAT,
        "n_frames": len(drive),
        "n_road_masks": None if drive.road_masks is None else len(drive.mask_rows()),
        "camera": dataclasses.asdict(drive.camera),
        "meta": dataclasses.asdict(drive.meta),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if drive.road_masks is not None:
        rows = drive.mask_rows()
        bits = np.packbits(drive.road_masks[rows].reshape(len(rows), -1), axis=1)
        np.savez_compressed(folder / MASKS, rows=rows, bits=bits)


def _write_video(drive: Drive, path: Path) -> None:
    rate_hz = max(1, round(1.0 / float(np.median(drive.dt_s()))))  # for players; the times are in the table
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate_hz)
        stream.height, stream.width = drive.frames.shape[1:3]
        stream.pix_fmt = "yuv444p"  # full colour resolution, and any odd size
        stream.options = {"crf": "10", "preset": "fast", "g": "20", "threads": "1"}
        for k, frame in enumerate(drive.frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = k
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def load(folder: Path | str, rows: slice | None = None, masks: bool = True) -> Drive:
    """Read and check a drive; ``rows`` keeps only ``start:stop`` of it (in memory too), ``masks=False`` leaves
    the road masks on disk.

    Raises:
        BadInputError: the folder or a file is missing, cut short, contradicts another or holds a bad value.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder; give the folder of a drive")
    for name in (FACTS, TABLE, VIDEO):
        if not (folder / name).is_file():
            raise BadInputError(f"{folder}: has no {name}, so it is not a drive; make one with `import` or `record`")
    n_frames, n_masks, camera, meta = _read_facts(folder / FACTS)
    table = read_table(folder / TABLE, COLUMNS)
    if len(table["timestamp_s"]) != n_frames:
        raise BadInputError(f"{folder / TABLE}: {len(table['timestamp_s'])} rows, but {FACTS} says {n_frames} frames")
    start, stop = _row_range(folder, rows, n_frames)
    frames = np.empty((stop - start, camera.height_px, camera.width_px, 3), np.uint8)
    for k, frame in enumerate(read_video(folder / VIDEO, n_frames)):
        if frame.shape != frames.shape[1:]:
            raise BadInputError(
                f"{folder / VIDEO}: frames are {frame.shape[0]}x{frame.shape[1]}, "
                f"the camera in {FACTS} is {camera.height_px}x{camera.width_px}"
            )
        if start <= k < stop:
            frames[k - start] = frame
    road_masks = known = None
    if masks and n_masks is not None:
        road_masks, known = _read_masks(folder / MASKS, n_masks, n_frames, camera)
    timestamps_s = parse_numbers(folder / TABLE, "timestamp_s", table["timestamp_s"])
    curvature_per_m = parse_numbers(folder / TABLE, "curvature_per_m", table["curvature_per_m"])
    speed_mps = None
    if any(table["speed_mps"]):
        speed_mps = parse_numbers(folder / TABLE, "speed_mps", table["speed_mps"]).astype(np.float32)
    with error_names(folder):
        return Drive(
            frames,
            timestamps_s[start:stop],
            curvature_per_m.astype(np.float32)[start:stop],
            camera,
            meta,
            None if speed_mps is None else speed_mps[start:stop],
            None if road_masks is None else road_masks[start:stop],
            None if known is None else known[start:stop],
        )


def parse_drive_spec(spec: str) -> tuple[Path, slice | None]:
    """A drive's folder and the rows wanted of it, from ``FOLDER`` or ``FOLDER@A:B`` (B not included).

    >>> parse_drive_spec("drives/b@960:")
    (PosixPath('drives/b'), slice(960, None, None))
    """
    folder, at, rows = spec.rpartition("@")
    if not at:
        return Path(spec), None
    start, colon, stop = rows.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (start, stop)):
        raise BadInputError(f"drive {spec!r}: expected FOLDER or FOLDER@A:B with whole numbers A, B; got {rows!r}")
    return Path(folder), slice(int(start) if start else None, int(stop) if stop else None)


def load_drive(spec: str, masks: bool = False) -> Drive:
    """Load ``FOLDER`` or ``FOLDER@A:B`` as it was recorded, with its road masks if asked for."""
    folder, rows = parse_drive_spec(spec)
    return load(folder, rows, masks)


def _row_range(folder: Path, rows: slice | None, n_frames: int) -> tuple[int, int]:
    start = 0 if rows is None or rows.start is None else rows.start
    stop = n_frames if rows is None or rows.stop is None else rows.stop
    if not 0 <= start < stop <= n_frames:
        raise BadInputError(f"{folder}: rows {start}:{stop} asked for, it has rows 0:{n_frames}")
    return start, stop


def _read_facts(path: Path) -> tuple[int, int | None, Camera, DriveMeta]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != DRIVE_FORMAT:
        got = facts.get("format") if isinstance(facts, dict) else facts
        raise BadInputError(f"{path}: format must be {DRIVE_FORMAT}, got {got!r}; import the drive again")
    _check_keys(path, "drive", facts, {"format", "n_frames", "n_road_masks", "camera", "meta"})
    for name in ("n_frames", "n_road_masks"):
        value = facts[name]
        if type(value) is not int and not (name == "n_road_masks" and value is None):
            raise BadInputError(f"{path}: {name} must be a whole number, got {value!r}")
    camera = _build(path, "camera", Camera, facts["camera"])
    meta = facts["meta"]
    if isinstance(meta, dict) and "vehicle" in meta:
        meta = meta | {"vehicle": _build(path, "vehicle", VehicleFacts, meta["vehicle"])}
    return facts["n_frames"], facts["n_road_masks"], camera, _build(path, "meta", DriveMeta, meta)


def _check_keys(path: Path, name: str, values: Any, expected: set[str]) -> None:
    got = set(values) if isinstance(values, dict) else None
    if got != expected:
        raise BadInputError(
            f"{path}: {name} must have the keys {sorted(expected)}, got {values if got is None else sorted(got)}"
        )


def _build(path: Path, name: str, kind: type[T], values: Any) -> T:
    """An instance of a dataclass from JSON values, every key there and none besides."""
    _check_keys(path, name, values, {field.name for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{path}: {name}: {error}") from error


def _read_masks(path: Path, n_masks: int, n_frames: int, camera: Camera) -> tuple[np.ndarray, np.ndarray | None]:
    """Masks (T, H, W) and which rows are known (T,), None for all of them."""
    n_pixels = camera.height_px * camera.width_px
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            rows, bits = file["rows"], file["bits"]
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: missing, but {FACTS} counts {n_masks} road masks") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(f"{path}: cannot be read, it is cut short or not a mask file ({error})") from error
    good = rows.shape == (n_masks,) and bits.shape == (n_masks, (n_pixels + 7) // 8) and bits.dtype == np.uint8
    if not good or rows.dtype != np.int64 or np.any((rows < 0) | (rows >= n_frames)) or np.any(np.diff(rows) <= 0):
        raise BadInputError(f"{path}: does not hold {n_masks} masks of {n_frames} frames as {FACTS} says")
    masks = np.zeros((n_frames, camera.height_px, camera.width_px), bool)  # pages never written stay unallocated
    known = np.zeros(n_frames, bool)
    known[rows] = True
    for row, packed in zip(rows, bits, strict=True):
        masks[row] = np.unpackbits(packed, count=n_pixels).reshape(masks.shape[1:])
    return masks, None if n_masks == n_frames else known
