"""The pictures of drives at the size a policy sees, made once, on disk, mapped into memory when they are needed.

A drive keeps its frames as a video, which can only be read from its beginning; training draws windows from anywhere. So
its frames are scaled once and lie as a plain array in the cache folder (``$LIQUID_LANE_CACHE``): 46,800 bytes a
frame of 78 x 200, 3.4 GB an hour at 20 Hz. However long the drives are, the memory taken is that of the windows in
use. A cache belongs to the bytes of its video: another video is another cache. What nobody used for ``KEPT_DAYS`` is
removed when a new one is made, and so is what a killed program left half written.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sim.cache_folder import cache_folder
from sim.drive import VIDEO, Drive, StoredDrive, check_aspect, load_table, parse_drive_spec, row_range
from sim.errors import BadInputError, foreign_errors
from sim.files import PARTIAL, new_file, remove_left

KEPT_DAYS = 60
WORTH_SAYING_BYTES = 100e6
"""A cache of this size or more is announced."""
CACHE_VERSION = 1
_CHUNK_BYTES = 1 << 22


def scaled(frame: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """A frame (H, W, 3) at the size a policy sees."""
    if frame.shape[:2] == (height_px, width_px):
        return frame
    method = cv2.INTER_LINEAR if frame.shape[1] < width_px else cv2.INTER_AREA
    return cv2.resize(frame, (width_px, height_px), interpolation=method)


def cached_drive(spec: str, height_px: int, width_px: int, on_new: Callable[[str], None] = lambda text: None) -> Drive:
    """A drive (``FOLDER`` or ``FOLDER@A:B``) whose frames, at the given size, are mapped from the cache; no road masks.

    Args:
        spec: the drive and its rows.
        height_px, width_px: of the frames.
        on_new: told, before a large cache is made, how large it will be and where it lies.

    Raises:
        BadInputError: a drive that cannot be loaded, of another shape, or no room for its cache.
    """
    folder, rows = parse_drive_spec(spec)
    stored = load_table(folder)
    check_aspect(stored.camera.height_px, stored.camera.width_px, height_px, width_px)
    start, stop = row_range(folder, rows, len(stored))
    path = cache_path(stored, height_px, width_px)
    if not path.is_file():
        _make(stored, height_px, width_px, path, on_new)
    with contextlib.suppress(OSError):
        path.touch()  # in use
    with foreign_errors(path, "remove it, and it is made anew"):
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    if frames.shape != (len(stored), height_px, width_px, 3) or frames.dtype != np.uint8:
        raise BadInputError(f"{path}: is not what its name says; remove it, and it is made anew")
    return Drive(
        frames[start:stop],
        stored.timestamps_s[start:stop],
        stored.curvature_per_m[start:stop],
        stored.camera.resized(height_px, width_px),
        stored.meta,
        None if stored.speed_mps is None else stored.speed_mps[start:stop],
    )


def release(frames: np.ndarray) -> None:
    """Let mapped pages go that were read; they stay in the system's cache as long as it has room."""
    mapped: Any = getattr(frames, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def frames_folder() -> Path:
    """Where the caches lie."""
    return cache_folder() / "frames"


def cache_path(stored: StoredDrive, height_px: int, width_px: int) -> Path:
    """Where the frames of a drive at a size lie once they were read: by the content of its video."""
    digest = hashlib.blake2b(f"{CACHE_VERSION} {len(stored)} {height_px}x{width_px}".encode(), digest_size=16)
    with foreign_errors(stored.folder / VIDEO, "import the drive again"), (stored.folder / VIDEO).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return frames_folder() / f"{digest.hexdigest()}.npy"


def _make(stored: StoredDrive, height_px: int, width_px: int, path: Path, on_new: Callable[[str], None]) -> None:
    n_bytes = len(stored) * height_px * width_px * 3
    _remove_unused(path.parent)
    if n_bytes >= WORTH_SAYING_BYTES:
        on_new(f"{stored.folder}: {len(stored):,} frames go to a cache of {n_bytes / 1e9:.2f} GB in {path.parent}")
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(stored), height_px, width_px, 3)}
    with new_file(path) as unfinished:
        free = shutil.disk_usage(path.parent).free
        if n_bytes > 0.95 * free:
            raise BadInputError(
                f"{path.parent}: {n_bytes / 1e9:.2f} GB are needed for the frames of {stored.folder}, "
                f"{free / 1e9:.2f} GB are free; make room or set LIQUID_LANE_CACHE to another disk"
            )
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for frame in stored.read_frames():
                file.write(scaled(frame, height_px, width_px).tobytes())


def _remove_unused(folder: Path) -> None:
    """Caches that nobody used for long, and what killed runs left half written."""
    oldest_s = time.time() - KEPT_DAYS * 24 * 3600
    for path in folder.glob("*.npy"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest_s:
                path.unlink()
    for unfinished in folder.glob(f".*{PARTIAL}"):
        remove_left(unfinished)
