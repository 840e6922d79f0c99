"""The library of painted pictures: painted once, kept in the user's cache folder, mapped into every process.

One sparse file holds a slot for each picture of ``sim.roadside.sprites``, filled as pictures are needed. A slot begins
with the picture's facts (sizes of its resolutions, lamps) and a checksum of each resolution; the texels follow. Nothing
is trusted whose checksum is wrong: it is painted again. So two processes that fill the file at once, one that is killed
while it writes, a damaged file and a full disk all end in right pictures.
"""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
import os
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

from sim.cache_folder import cache_folder
from sim.compiled import compiled
from sim.files import short_digest
from sim.roadside.sprites import MIP_RATIO, SPRITES, Sprite, sprite

MAX_LEVELS, MAX_LAMPS = 24, 32
"""More than any picture has."""
HEADER_BYTES = 4096
SLOT_BYTES = HEADER_BYTES + (1 << 20) + (1 << 18)
"""Room for the largest picture at all its resolutions. Where nothing was written the file takes no space."""
PLACE = np.dtype([("offset", "i8"), ("n_rows", "i8"), ("n_columns", "i8")])
"""Of one resolution of a picture: where it begins in the texels (-1: not here yet), its rows and its columns."""
_PER_OCTAVE = math.log(2.0) / math.log(MIP_RATIO)
_FACTS = np.dtype(
    [
        ("crc", "<u4"),  # of what follows, up to the checksums of the texels
        ("n_levels", "<u4"),
        ("n_lamps", "<u4"),
        ("sizes", "<u4", (MAX_LEVELS, 2)),
        ("lamps", "<f8", (MAX_LAMPS, 6)),
        ("level_crc", "<u4", (MAX_LEVELS,)),  # 0 where a resolution is not here yet
    ]
)
_CHECKED = slice(4, _FACTS.fields["level_crc"][1])  # type: ignore[index]


class Library:
    """Pictures at the resolutions that are asked for, where compiled code finds them.

    Args:
        path: of the file; None keeps what is painted in the memory of this process alone.

    Attributes:
        texels: (n,) uint32, RGB and alpha of all, premultiplied; pages that nobody looked at take no memory, the
            others are shared by all processes.
        places: (n_sprites, MAX_LEVELS) of type ``PLACE``.
        n_levels: (n_sprites,) int64 resolutions of a picture, 0 where it was never looked at.
        lamps: (m, 6) of all pictures looked at: place in shares of the picture, radius in metres, RGB.
        lamps_of: (n_sprites, 2) int64, first and last + 1 of a picture's lamps.
    """

    def __init__(self, path: Path | None) -> None:
        n = len(SPRITES)
        self._file, self._memory = _mapped(path, n * SLOT_BYTES)
        self._slots = np.frombuffer(self._memory, np.uint8).reshape(n, SLOT_BYTES)
        self.texels = np.frombuffer(self._memory, np.uint32)
        self.places = np.full((n, MAX_LEVELS), -1, PLACE)
        self.n_levels = np.zeros(n, np.int64)
        self.lamps = np.empty((0, 6))
        self.lamps_of = np.zeros((n, 2), np.int64)
        self.n_painted = 0

    def look_up(self, index: int) -> None:
        """Note the sizes and lamps of a picture."""
        facts = self._facts(index)
        if not facts["crc"] or facts["crc"] != _crc(self._slots[index, _CHECKED]):
            self._write(index * SLOT_BYTES, _facts_of(self._painted(index)))
            facts = self._facts(index)
        n_levels = int(facts["n_levels"])
        rows, columns = facts["sizes"][:n_levels].T
        self.places["n_rows"][index, :n_levels], self.places["n_columns"][index, :n_levels] = rows, columns
        lamps = facts["lamps"][: facts["n_lamps"]]
        self.lamps_of[index] = len(self.lamps), len(self.lamps) + len(lamps)
        self.lamps = np.concatenate([self.lamps, lamps])
        self.n_levels[index] = n_levels

    def load(self, index: int, level: int) -> None:
        """Make one resolution of a picture available that was looked up."""
        n_texels = self.places["n_rows"][index].clip(0) * self.places["n_columns"][index].clip(0)
        begin = HEADER_BYTES + 4 * int(n_texels[:level].sum())
        end = begin + 4 * int(n_texels[level])
        crc = int(self._facts(index)["level_crc"][level])
        if not crc or crc != _level_crc(self._slots[index, begin:end]):
            texels = self._painted(index).mips[level]
            self._write(index * SLOT_BYTES + begin, texels)
            place = index * SLOT_BYTES + _FACTS.fields["level_crc"][1] + 4 * level  # type: ignore[index]
            self._write(place, np.array(_level_crc(texels), "<u4"))
        self.places["offset"][index, level] = (index * SLOT_BYTES + begin) // 4

    def _facts(self, index: int) -> np.void:
        facts: np.void = self._slots[index, : _FACTS.itemsize].view(_FACTS)[0]
        return facts

    def _painted(self, index: int) -> Sprite:
        self.n_painted += 1
        return sprite(index)

    def _write(self, place: int, values: np.ndarray) -> None:
        """Into the file for all, or, where that cannot be, into this process's own copy of the page."""
        data = np.ascontiguousarray(values).tobytes()
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk, or a file that may only be read
                os.pwrite(self._file, data, place)
        if self._memory[place : place + len(data)] != data:
            self._memory[place : place + len(data)] = data

    def __deepcopy__(self, memo: object) -> Library:
        """A copied world uses the same library."""
        return self

    def close(self) -> None:
        """Give the file back; the memory goes with the last array."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _facts_of(painted: Sprite) -> np.ndarray:
    facts = np.zeros(1, _FACTS)
    facts["n_levels"], facts["n_lamps"] = len(painted.mips), len(painted.lamps)
    facts["sizes"][0, : len(painted.mips)] = [mip.shape[:2] for mip in painted.mips]
    for i, lamp in enumerate(painted.lamps):
        facts["lamps"][0, i] = (lamp.x, lamp.y, lamp.radius_m, *lamp.colour)
    facts["crc"] = _crc(facts.view(np.uint8)[_CHECKED])
    return facts.view(np.uint8)


def _crc(values: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def _level_crc(texels: np.ndarray) -> int:
    return _crc(texels) or 1  # 0 says that there is none


def _mapped(path: Path | None, n_bytes: int) -> tuple[int | None, mmap.mmap]:
    """A file of this size, made if need be, and its pages: shared until this process writes to one."""
    private = {"flags": mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)} if os.name == "posix" else {}
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY) if path is not None and private else ():
        try:
            file = os.open(path, flags | os.O_CLOEXEC, 0o644)  # type: ignore[arg-type]
            try:
                if os.fstat(file).st_size < n_bytes:
                    os.ftruncate(file, n_bytes)
                memory = mmap.mmap(file, n_bytes, prot=mmap.PROT_READ | mmap.PROT_WRITE, **private)
            except BaseException:
                os.close(file)
                raise
        except (OSError, ValueError):
            continue
        return file, memory
    if private:
        private["flags"] |= mmap.MAP_ANONYMOUS
    return None, mmap.mmap(-1, n_bytes, **private)


def library_path() -> Path | None:
    """The library's file in the user's cache folder, its name a digest of what the pictures are made of.

    None where the folder cannot be made. Files of other versions that were not used for a month are removed.
    """
    machine = f"{cv2.__version__} {np.__version__} {sys.byteorder} {SLOT_BYTES}".encode()
    here = Path(__file__).parent
    sources = here.parent / "seasons.py", *sorted(here.glob("sprite*.py"))
    path = cache_folder() / f"roadside-{short_digest([machine, *(source.read_bytes() for source in sources)])}.bin"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    _remove_unused(path)
    return path


def _remove_unused(path: Path) -> None:
    month_s = 30 * 24 * 3600.0
    with contextlib.suppress(OSError):
        if path.exists():
            path.touch()
            return
        now_s = time.time()
        for other in path.parent.glob("roadside-*.bin"):
            if other.stat().st_mtime < now_s - month_s:
                other.unlink()


@functools.cache
def library() -> Library:
    """The library of this process: what one world has loaded serves all."""
    return Library(library_path())


@compiled
def level_of(n_rows: int, rows_px: float, n_levels: int) -> int:
    """The resolution of a picture of ``n_rows`` that has about as many rows as are to be drawn."""
    octaves = math.log2(max(n_rows / rows_px, 1.0))
    return min(int(_PER_OCTAVE * octaves + 0.5), n_levels - 1)
