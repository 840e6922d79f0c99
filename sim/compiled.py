"""Pixel loops in Python, compiled to machine code by Numba on first use and kept on disk for the next process.

A colour of four channels is mixed as one number: ``spread`` lays its four bytes out over a uint64, 16 bits each, so
that one multiplication weighs all four.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

# Typed numbers: uint64 with a plain Python int would become a float.
_MASK, _HALVES = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_ROUND, ONE = np.uint64(0x0080008000800080), np.uint64(256)
_8, _16, _32, _48 = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(48)
_LOW = np.uint64(0xFF)


def compiled(function: F) -> F:
    """``function`` as machine code; strict IEEE arithmetic, so the same input gives the same bits everywhere.

    Kept code is used again as long as no source file of ``sim`` and of the function's own folder has changed.
    """
    try:
        dispatcher = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep it in can be written: each process compiles for itself
        return numba.njit(nogil=True, error_model="numpy")(function)
    # Numba looks at the function's own file only, and would go on with what was copied in from another one: constants,
    # called functions. It has no public way to say more.
    folders = (Path(__file__).parent, Path(function.__code__.co_filename).parent)
    dispatcher._cache._cache_file._source_stamp = tuple(map(_digest, folders))
    # A disk that is full or fails: compiled for this process alone. Numba would end the program.
    dispatcher._cache._guard_against_spurious_io_errors = lambda: contextlib.suppress(OSError)
    return dispatcher


@functools.cache
def _digest(folder: Path) -> str:
    """Of the sources in a folder and in the packages in it."""
    digest = hashlib.sha256()
    for source in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")]):
        digest.update(f"{source.relative_to(folder)} {source.stat().st_size} ".encode() + source.read_bytes())
    return digest.hexdigest()


def inlined(function: F) -> F:
    """A small compiled function that is copied into its callers: a call would count references to its arrays."""
    return numba.njit(inline="always", error_model="numpy")(function)


@compiled
def interpolate(x: float, xs: np.ndarray, ys: np.ndarray) -> float:
    """ys at x, linear between increasing ``xs`` (n,), constant beyond them."""
    low, high = 0, len(xs) - 1
    if x <= xs[low]:
        return ys[low]
    if x >= xs[high]:
        return ys[high]
    while high - low > 1:
        middle = (low + high) >> 1
        if xs[middle] <= x:
            low = middle
        else:
            high = middle
    return ys[low] + (x - xs[low]) / (xs[high] - xs[low]) * (ys[high] - ys[low])


@compiled
def to_byte(value: float) -> int:
    """Rounded and held within 0 to 255."""
    return min(max(int(value + 0.5), 0), 255)


@compiled
def spread(colour: np.uint32) -> np.uint64:
    """The four bytes of a uint32, 16 bits each, in a uint64."""
    wide = np.uint64(colour)
    wide = (wide | (wide << _16)) & _HALVES
    return (wide | (wide << _8)) & _MASK


@compiled
def spread_rgb(red: int, green: int, blue: int) -> np.uint64:
    """Three bytes, 16 bits each, in a uint64."""
    return np.uint64(red) | (np.uint64(green) << _16) | (np.uint64(blue) << _32)


@compiled
def mix(first: np.uint64, second: np.uint64, weight: np.uint64) -> np.uint64:
    """Channels of ``first`` + weight / 256 (``second`` - ``first``), rounded; ``weight`` is from 0 to 256."""
    return ((first * (ONE - weight) + second * weight + _ROUND) >> _8) & _MASK


@compiled
def channel(colour: np.uint64, k: int) -> np.int64:
    """One byte of a colour that was spread: 0 red, 1 green, 2 blue, 3 alpha."""
    return np.int64((colour >> np.uint64(16 * k)) & _LOW)


@compiled
def weight_of(share: float) -> np.uint64:
    """A share from 0 to 1 as the weight of ``mix``."""
    return np.uint64(share * 256.0 + 0.5)
