"""The compiled form of the liquid time-constant cell: build it once, load it by itself afterwards.

Nothing here starts a compiler but ``build``, which takes one or two seconds and keeps the library in the user's
cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``, ``liquid-lane/``), under a name made of the source and the
processor: a new version or another machine on the same home folder builds its own. Where the library is, it is
loaded at the first use of the cell; where it is not, or does not load, ``library`` is None.

    python -m driving.models.ltc_native
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.resources
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from driving.models.ltc_circuit import Circuit

FLAGS = ("-std=c++17", "-O2", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-shared", "-fPIC")
BUILD_LIMIT_S = 120.0
POINTER = ctypes.c_void_p
LANE_BYTES = 64
"""Bytes of the samples that the library works on side by side."""


def _source() -> bytes:
    return importlib.resources.files("driving.models").joinpath("ltc_fused.cpp").read_bytes()


def _processor() -> str:
    """What ``-march=native`` depends on: the library of one processor may be illegal instructions on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        features = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
        return " ".join(sorted(features))
    except OSError:
        return f"{platform.processor()} {platform.node()}"


def library_path() -> Path:
    """Where the library of this source and this processor is kept."""
    key = hashlib.sha256(
        _source() + " ".join((*FLAGS, sys.platform, platform.machine(), _processor())).encode()
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "liquid-lane" / f"ltc-{key.hexdigest()[:16]}.so"


def compiler() -> list[str] | None:
    """The C++ compiler's command: ``$CXX``, else the first of c++, g++ and clang++; None without one."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    found = [path for path in map(shutil.which, ("c++", "g++", "clang++")) if path]
    return found[:1] or None


def build() -> bool:
    """Make the compiled form ready: True if it can be used from now on, else all goes on without it."""
    if library() is not None:
        return True
    command = compiler()
    if command is None or sys.platform == "win32":
        return False
    target = library_path()
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            source, unfinished = Path(folder) / "ltc_fused.cpp", Path(folder) / target.name
            source.write_bytes(_source())
            subprocess.run(
                [*command, *FLAGS, native, str(source), "-o", str(unfinished)],
                check=True,
                capture_output=True,
                timeout=BUILD_LIMIT_S,
            )
            unfinished.replace(target)
    except (OSError, RuntimeError, subprocess.SubprocessError):  # RuntimeError: no home folder
        return False
    library.cache_clear()
    return library() is not None


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled form, if ``build`` was run on this machine for this source, else None."""
    try:
        path = library_path()
        if not path.is_file():
            return None
        loaded = ctypes.CDLL(str(path))
        for dtype in ("float32", "float64"):
            getattr(loaded, f"ltc_forward_{dtype}").argtypes = [POINTER] * 9
            getattr(loaded, f"ltc_backward_{dtype}").argtypes = [POINTER] * 12
    except (OSError, RuntimeError, AttributeError):
        return None
    return loaded


def _entry(direction: str, dtype: torch.dtype) -> ctypes._NamedFuncPointer:
    name = "float32" if dtype == torch.float32 else "float64"
    entry: ctypes._NamedFuncPointer = getattr(library(), f"ltc_{direction}_{name}")
    return entry


def forward(
    circuit: Circuit, flat: Tensor, features: Tensor, state: Tensor, dt_s: Tensor, keep: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Outputs (B, T, O), last state (B, K) and, to ``keep``, the states at the start of every frame."""
    n_batch, n_time, _ = features.shape
    outputs, last = flat.new_empty(n_batch, n_time, circuit.n_motor), flat.new_empty(state.shape)
    saved: tuple[Tensor, ...] = ()
    if keep:
        n_lanes = LANE_BYTES // flat.element_size()
        saved = (flat.new_empty(-(-n_batch // n_lanes), n_time, circuit.n_neurons, n_lanes),)
    sizes = circuit.sizes(n_batch, n_time)
    _entry("forward", flat.dtype)(
        ctypes.addressof(sizes),
        circuit.table_address,
        flat.data_ptr(),
        features.data_ptr(),
        state.data_ptr(),
        dt_s.data_ptr(),
        outputs.data_ptr(),
        last.data_ptr(),
        saved[0].data_ptr() if keep else None,
    )
    return outputs, last, saved


def backward(
    circuit: Circuit,
    flat: Tensor,
    features: Tensor,
    dt_s: Tensor,
    saved: tuple[Tensor, ...],
    grad_outputs: Tensor,
    grad_last: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of features, state, dt_s and flat."""
    grads = tuple(torch.empty_like(x) for x in (features, grad_last, dt_s, flat))
    sizes = circuit.sizes(*dt_s.shape)
    given = (flat, features, dt_s, *saved, grad_outputs, grad_last, *grads)
    _entry("backward", flat.dtype)(
        ctypes.addressof(sizes), circuit.table_address, *(x.data_ptr() for x in given)
    )
    return grads[0], grads[1], grads[2], grads[3]


if __name__ == "__main__":
    print(f"compiled: {library_path()}" if build() else "no C++ compiler was found, or it failed")
