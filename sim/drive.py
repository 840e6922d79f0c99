"""A recorded drive: camera frames with the curvature the car was steered to, in memory and on disk.

On disk a drive is a folder, format version ``DRIVE_FORMAT``:

``frames.mp4``      H.264, 4:4:4, close to lossless; video frame k is row k.
``table.csv``       ``timestamp_s,curvature_per_m,speed_mps``, a row a frame; ``speed_mps`` empty if unknown.
``drive.json``      format version, number of frames and of road masks, camera, source, licence, vehicle.
``road_masks.npz``  only for drives with road masks: the known rows and their masks, eight pixels a byte.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sim.camera import Camera
from sim.checks import POSITIVE, Number, check_numbers
from sim.conventions import FRAME_RATE_HZ, curvature_from_road_wheel_angle
from sim.drive_writer import COLUMNS, FACTS, MASKS, TABLE, VIDEO, FrameWriter, write_facts, write_masks, write_table
from sim.errors import BadInputError, foreign_errors, one_line
from sim.files import new_folder, recover
from sim.reading import error_names, parse_numbers, read_json, read_table, read_video

DRIVE_FORMAT = 2
"""Version of the folder's layout; the one before, which can be read too, had fewer facts of vehicle and pictures."""
READABLE_FORMATS = (1, DRIVE_FORMAT)

MAX_PLAUSIBLE_CURVATURE_PER_M = 10.0
"""Far beyond any real turn, toy cars included: a larger number is a wrong unit."""

GAP_FACTOR = 2.5
"""A step in time longer than this many median steps is a gap."""

FILES = {VIDEO, TABLE, FACTS, MASKS}

MAX_ASPECT_ERROR = 0.02

T = TypeVar("T")


@dataclass(frozen=True)
class VehicleFacts:
    """What is known of the car that recorded a drive; ``None`` where it is not known.

    Attributes:
        name: make and model.
        wheelbase_m: front to rear axle.
        steering_ratio: angle of the steering wheel / angle of the road wheels.
        full_lock_rad: angle of the road wheels at the stop of the steering.
    """

    name: str
    wheelbase_m: float | None = None
    steering_ratio: float | None = None
    full_lock_rad: float | None = None

    def __post_init__(self) -> None:
        check_numbers("vehicle", self, POSITIVE, "wheelbase_m", "steering_ratio")
        check_numbers("vehicle", self, Number(0, math.pi / 2, is_above=True, is_below=True), "full_lock_rad")

    @property
    def max_curvature_per_m(self) -> float | None:
        """Of the tightest turn, without slip; None where lock or wheelbase is not known."""
        if self.full_lock_rad is None or self.wheelbase_m is None:
            return None
        return float(curvature_from_road_wheel_angle(self.full_lock_rad, self.wheelbase_m))


@dataclass(frozen=True)
class DriveMeta:
    """Where a drive comes from, under which licence, and by which car.

    Attributes:
        source, licence, vehicle: of the recording.
        notes: what was estimated or assumed.
        left_out: how many of the recording's rows are not in the drive, by reason.
        horizon: row of the horizon in the pictures as they were recorded, as a share of their height.
    """

    source: str
    licence: str
    vehicle: VehicleFacts
    notes: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    horizon: float | None = None


class Timeline:
    """What follows from the times of a drive's rows; ``timestamps_s`` is float64 (T,), strictly increasing."""

    timestamps_s: np.ndarray

    def __len__(self) -> int:
        return len(self.timestamps_s)

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


def check_rows(timestamps_s: np.ndarray, curvature_per_m: np.ndarray, speed_mps: np.ndarray | None) -> None:
    """``BadInputError`` unless every number is finite, times increase and no curvature is a wrong unit's."""
    columns = {"timestamps_s": timestamps_s, "curvature_per_m": curvature_per_m, "speed_mps": speed_mps}
    for name, values in columns.items():
        if values is not None and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise BadInputError(f"drive: row {row}: {name} must be a finite number, got {values[row]}")
    not_later = np.flatnonzero(np.diff(timestamps_s) <= 0)
    if not_later.size:
        row = int(not_later[0]) + 1
        raise BadInputError(
            f"drive: row {row}: timestamp {timestamps_s[row]!s} s must be later than that of the "
            f"row before, {timestamps_s[row - 1]!s} s; remove or sort the rows"
        )
    row = int(np.argmax(np.abs(curvature_per_m)))
    if abs(curvature_per_m[row]) > MAX_PLAUSIBLE_CURVATURE_PER_M:
        raise BadInputError(
            f"drive: row {row}: |curvature| must be at most {MAX_PLAUSIBLE_CURVATURE_PER_M} /m, "
            f"got {curvature_per_m[row]}; check the unit of the steering angle"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Drive(Timeline):
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
        check_rows(self.timestamps_s, self.curvature_per_m, self.speed_mps)

    def __repr__(self) -> str:
        height, width = self.frames.shape[1:3]
        seconds = float(self.timestamps_s[-1] - self.timestamps_s[0]) if len(self) else 0.0
        masks = f", {len(self.mask_rows())} road masks" if self.road_masks is not None else ""
        return f"Drive({len(self)} frames of {height} x {width}, {seconds:.1f} s, {self.meta.source!r}{masks})"

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

    def check_aspect(self, height_px: int, width_px: int) -> None:
        """``BadInputError`` unless the pictures have about the shape, at any size, of ``height_px`` x ``width_px``."""
        check_aspect(self.camera.height_px, self.camera.width_px, height_px, width_px)


def check_aspect(height: int, width: int, height_px: int, width_px: int) -> None:
    """``BadInputError`` unless ``height`` x ``width`` has about the shape of ``height_px`` x ``width_px``."""
    if abs((width / height) / (width_px / height_px) - 1) > MAX_ASPECT_ERROR:
        raise BadInputError(
            f"drive: expected pictures shaped {width_px}:{height_px} (any size), got {width}x{height}; import it again"
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
    check_replaceable(folder, overwrite)
    with new_folder(folder) as unfinished:
        rate_hz = 1.0 / float(np.median(drive.dt_s()))
        with FrameWriter(unfinished / VIDEO, drive.camera.height_px, drive.camera.width_px, rate_hz) as writer:
            for frame in drive.frames:
                writer.add(frame)
        masks = None if drive.road_masks is None else {int(row): drive.road_masks[row] for row in drive.mask_rows()}
        write_rows(
            unfinished, drive.timestamps_s, drive.curvature_per_m, drive.speed_mps, masks, drive.camera, drive.meta
        )


def write_rows(
    folder: Path,
    timestamps_s: np.ndarray,
    curvature_per_m: np.ndarray,
    speed_mps: np.ndarray | None,
    masks: Mapping[int, np.ndarray] | None,
    camera: Camera,
    meta: DriveMeta,
) -> None:
    """All files of a drive but its video; ``masks`` are those of the rows that have one, bool (H, W), in order."""
    write_table(folder, timestamps_s, curvature_per_m, speed_mps)
    if masks is not None:
        write_masks(folder, masks, camera.height_px * camera.width_px)
    write_facts(folder, facts(len(timestamps_s), None if masks is None else len(masks), camera, meta))


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """``BadInputError`` where a drive may not be written: something else is there, or a drive to be kept."""
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or (there and not FILES >= there >= {FACTS}):
        raise BadInputError(f"{folder}: holds something else than a drive; name a new folder to write to")
    if there and not overwrite:
        raise BadInputError(f"{folder}: there is a drive already; name a new folder or allow overwriting")


def facts(n_frames: int, n_road_masks: int | None, camera: Camera, meta: DriveMeta) -> dict[str, Any]:
    """The contents of ``drive.json``."""
    return {
        "format": DRIVE_FORMAT,
        "n_frames": n_frames,
        "n_road_masks": n_road_masks,
        "camera": dataclasses.asdict(camera),
        "meta": dataclasses.asdict(meta),
    }


def load(folder: Path | str, rows: slice | None = None, masks: bool = True) -> Drive:
    """Read and check a drive; ``rows`` keeps only ``start:stop`` of it (in memory too), ``masks=False`` leaves
    the road masks on disk.

    Raises:
        BadInputError: the folder or a file is missing, cut short, contradicts another or holds a bad value.
    """
    stored = load_table(folder)
    folder, n_frames, camera = stored.folder, len(stored), stored.camera
    start, stop = row_range(folder, rows, n_frames)
    frames: np.ndarray | None = None
    for k, frame in enumerate(stored.read_frames()):
        if frames is None:  # the first frame has the camera's size: so much memory is asked for, no number's word
            with foreign_errors(folder, f"load fewer rows of it than {stop - start}"):
                frames = np.empty((stop - start, *frame.shape), np.uint8)
        if start <= k < stop:
            frames[k - start] = frame
    assert frames is not None  # a table has rows, and read_video counts
    road_masks = known = None
    if masks and stored.n_road_masks is not None:
        road_masks, known = _read_masks(folder / MASKS, stored.n_road_masks, n_frames, camera)
    return Drive(
        frames,
        stored.timestamps_s[start:stop],
        stored.curvature_per_m[start:stop],
        camera,
        stored.meta,
        None if stored.speed_mps is None else stored.speed_mps[start:stop],
        None if road_masks is None else road_masks[start:stop],
        None if known is None else known[start:stop],
    )


@dataclass(frozen=True, eq=False)
class StoredDrive(Timeline):
    """A drive on disk without its pictures, which are read one by one; fields as of ``Drive``."""

    folder: Path
    timestamps_s: np.ndarray
    curvature_per_m: np.ndarray
    camera: Camera
    meta: DriveMeta
    speed_mps: np.ndarray | None
    n_road_masks: int | None

    def facts(self) -> dict[str, Any]:
        """The contents of its ``drive.json``."""
        return facts(len(self), self.n_road_masks, self.camera, self.meta)

    def read_frames(self) -> Iterator[np.ndarray]:
        """Every frame in order, uint8 (H, W, 3); one at a time is in memory.

        Raises:
            BadInputError: the video is damaged, cut short, or not of this camera.
        """
        camera = self.camera
        for frame in read_video(self.folder / VIDEO, len(self)):
            if frame.shape[:2] != (camera.height_px, camera.width_px):
                raise BadInputError(
                    f"{self.folder / VIDEO}: frames are {frame.shape[0]}x{frame.shape[1]}, "
                    f"the camera in {FACTS} is {camera.height_px}x{camera.width_px}"
                )
            yield frame


def load_table(folder: Path | str) -> StoredDrive:
    """Read and check all of a drive but its pictures; raises as ``load`` does."""
    folder = Path(folder)
    if folder.parent.is_dir():
        with contextlib.suppress(OSError):  # a place that cannot be written is no fault for a reader
            recover(folder.absolute())
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder; give the folder of a drive")
    for name in (FACTS, TABLE, VIDEO):
        if not (folder / name).is_file():
            raise BadInputError(f"{folder}: has no {name}, so it is not a drive; make one with `import` or `record`")
    n_frames, n_masks, camera, meta = read_facts(folder / FACTS)
    path = folder / TABLE
    table = read_table(path, COLUMNS)
    if len(table["timestamp_s"]) != n_frames:
        raise BadInputError(f"{path}: {len(table['timestamp_s'])} rows, but {FACTS} says {n_frames} frames")
    if n_masks is not None and not 0 <= n_masks <= n_frames:
        raise BadInputError(f"{folder / FACTS}: n_road_masks must be 0 to {n_frames}, got {n_masks}")
    timestamps_s = parse_numbers(path, "timestamp_s", table["timestamp_s"])
    with np.errstate(over="ignore"):
        curvature_per_m = parse_numbers(path, "curvature_per_m", table["curvature_per_m"]).astype(np.float32)
        speed_mps = None
        if any(table["speed_mps"]):
            speed_mps = parse_numbers(path, "speed_mps", table["speed_mps"]).astype(np.float32)
    with error_names(folder):
        check_rows(timestamps_s, curvature_per_m, speed_mps)
    return StoredDrive(folder, timestamps_s, curvature_per_m, camera, meta, speed_mps, n_masks)


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


def find_drives(specs: Sequence[str]) -> list[str]:
    """Drives by name, patterns (``recordings/*``) replaced by the drives they fit, each once, in order.

    Raises:
        BadInputError: a pattern that fits no drive.
    """
    found: list[str] = []
    for spec in specs:
        folder, at, rows = spec.rpartition("@") if "@" in spec else (spec, "", "")
        if any(letter in folder for letter in "*?[") and not Path(folder).exists():
            with foreign_errors(spec, "expected a pattern such as recordings/*"):
                fits = sorted(path for path in glob.glob(folder) if (Path(path) / FACTS).is_file())  # noqa: PTH207
            if not fits:
                raise BadInputError(f"drive {spec!r}: no drive fits this pattern")
            found += [path + at + rows for path in fits]
        else:
            found.append(spec)
    return list(dict.fromkeys(found))


def load_drive(spec: str, masks: bool = False) -> Drive:
    """Load ``FOLDER`` or ``FOLDER@A:B`` as it was recorded, with its road masks if asked for."""
    folder, rows = parse_drive_spec(spec)
    return load(folder, rows, masks)


def row_range(folder: Path, rows: slice | None, n_frames: int) -> tuple[int, int]:
    """First row and the one after the last, of ``rows`` of a drive; ``BadInputError`` where it has no such rows."""
    start = 0 if rows is None or rows.start is None else rows.start
    stop = n_frames if rows is None or rows.stop is None else rows.stop
    if not 0 <= start < stop <= n_frames:
        raise BadInputError(f"{folder}: rows {start}:{stop} asked for, it has rows 0:{n_frames}")
    return start, stop


def read_facts(path: Path) -> tuple[int, int | None, Camera, DriveMeta]:
    """Number of frames and of road masks, camera, and where the drive comes from, of a ``drive.json``.

    Raises:
        BadInputError: it is missing, damaged, or of another format.
    """
    facts = read_json(path, "import the drive again")
    if not isinstance(facts, dict) or facts.get("format") not in READABLE_FORMATS:
        got = facts.get("format") if isinstance(facts, dict) else facts
        raise BadInputError(f"{path}: format must be {DRIVE_FORMAT}, got {one_line(repr(got))}; import the drive again")
    _check_keys(path, "drive", facts, {"format", "n_frames", "n_road_masks", "camera", "meta"})
    for name in ("n_frames", "n_road_masks"):
        value = facts[name]
        if type(value) is not int and not (name == "n_road_masks" and value is None):
            raise BadInputError(f"{path}: {name} must be a whole number, got {one_line(repr(value))}")
    camera = _build(path, "camera", Camera, facts["camera"])
    meta = facts["meta"]
    if isinstance(meta, dict) and "vehicle" in meta:
        meta = meta | {"vehicle": _build(path, "vehicle", VehicleFacts, meta["vehicle"], {"full_lock_rad"})}
    drive_meta = _build(path, "meta", DriveMeta, meta, {"left_out", "horizon"})
    if not _is_count_by_reason(drive_meta.left_out):
        raise BadInputError(f"{path}: left_out must give a whole number for each reason")
    for name in ("source", "licence", "notes"):
        if not isinstance(getattr(drive_meta, name), str):
            raise BadInputError(f"{path}: meta: {name} must be a text")
    if type(drive_meta.horizon) not in (int, float, type(None)):
        raise BadInputError(f"{path}: meta: horizon must be a number or null")
    return facts["n_frames"], facts["n_road_masks"], camera, drive_meta


def _is_count_by_reason(value: Any) -> bool:
    return isinstance(value, dict) and all(type(n) is int for n in value.values())


def _check_keys(path: Path, name: str, values: Any, expected: set[str], optional: Set[str] = frozenset()) -> None:
    got = set(values) if isinstance(values, dict) else None
    if got is None or not expected - optional <= got <= expected:
        shown = one_line(repr(values if got is None else sorted(got)))
        raise BadInputError(f"{path}: {name} must have the keys {sorted(expected)}, got {shown}")


def _build(path: Path, name: str, kind: type[T], values: Any, optional: Set[str] = frozenset()) -> T:
    """An instance of a dataclass from JSON values, every key there but ``optional`` ones, and none besides."""
    expected = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _check_keys(path, name, values, expected, optional)
    try:
        return kind(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInputError(f"{path}: {name}: {one_line(error)}") from error


def _read_masks(path: Path, n_masks: int, n_frames: int, camera: Camera) -> tuple[np.ndarray, np.ndarray | None]:
    """Masks (T, H, W) and which rows are known (T,), None for all of them."""
    n_pixels = camera.height_px * camera.width_px
    if not path.is_file():
        raise BadInputError(f"{path}: missing, but {FACTS} counts {n_masks} road masks")
    remedy = f"expected {n_masks} masks of {n_frames} frames, as {FACTS} says; copy the file again"
    with foreign_errors(path, remedy), zipfile.ZipFile(path) as file:
        rows = _read_array(file, "rows.npy", (n_masks,), np.dtype(np.int64))
        bits = _read_array(file, "bits.npy", (n_masks, (n_pixels + 7) // 8), np.dtype(np.uint8))
    if np.any((rows < 0) | (rows >= n_frames)) or np.any(np.diff(rows) <= 0):
        raise BadInputError(f"{path}: does not hold {n_masks} masks of {n_frames} frames as {FACTS} says")
    masks = np.zeros((n_frames, camera.height_px, camera.width_px), bool)  # pages never written stay unallocated
    known = np.zeros(n_frames, bool)
    known[rows] = True
    for row, packed in zip(rows, bits, strict=True):
        masks[row] = np.unpackbits(packed, count=n_pixels).reshape(masks.shape[1:])
    return masks, None if n_masks == n_frames else known


def _read_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An array of an ``.npz`` file; its header is compared before memory is asked for. Raises ``ValueError``."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{name} is of version {version}")
        got_shape, is_fortran, got_dtype = read_header[version](member)
        if (got_shape, is_fortran, got_dtype) != (shape, False, dtype):
            raise ValueError(f"{name} holds {got_dtype} {got_shape}, expected {dtype} {shape}")
        n_bytes = math.prod(shape) * dtype.itemsize
        data = member.read(n_bytes + 1)
        if len(data) != n_bytes:
            raise ValueError(f"{name} holds {len(data)} bytes, expected {n_bytes}")
        return np.frombuffer(data, dtype).reshape(shape)
