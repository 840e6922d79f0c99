"""MetaDrive's one engine in this process: what it needs to start, who has it, how it is freed."""

from __future__ import annotations

import ctypes.util
import gc
import importlib.util
import os
import sys
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from sim.adapters.metadrive_assets import assets_folder
from sim.adapters.metadrive_config import MetaDriveConfig
from sim.camera import Camera
from sim.errors import BadInputError

if TYPE_CHECKING:
    from sim.adapters.metadrive_engine import RoadEngine

_live: weakref.ReferenceType[object] | None = None
"""The environment that has the engine."""


def check_installed() -> None:
    """One line on what is missing, before anything slow is tried."""
    if importlib.util.find_spec("metadrive") is None:
        raise BadInputError(
            "lane/MetaDrive-v0: expected the simulator MetaDrive (Python 3.11), found none; "
            'run pip install "liquid-lane[metadrive]"'
        )
    if ctypes.util.find_library("EGL") is None:
        raise BadInputError(
            "lane/MetaDrive-v0: expected EGL to draw without a display, found none; "
            "run apt install libegl1 libgl1-mesa-dri"
        )


def claim(env: object) -> None:
    """Make ``env`` the one of this process; the engine of one that is gone is freed."""
    global _live
    if _live is not None and _live() is not None:
        gc.collect()
    if _live is not None and _live() is not None:
        raise BadInputError(
            "lane/MetaDrive-v0: expected one environment at a time in a process, got a second; close() the first"
        )
    if _live is not None:
        free_engine()
    _live = weakref.ref(env)


def release(env: object) -> None:
    """Free the engine if it is this environment's."""
    global _live
    if _live is not None and _live() is env:
        free_engine()
        _live = None


def start_engine(
    config: MetaDriveConfig, camera: Camera, display: Camera | None, camera_forward_m: float
) -> RoadEngine:
    """A running MetaDrive; ``claim`` the process first.

    ``display``: a second, larger camera for people.

    Raises:
        BadInputError: it does not start, or its assets cannot be written.
    """
    spec = importlib.util.find_spec("metadrive")
    assert spec is not None
    assert spec.origin is not None
    parent = None if config.assets_dir is None else Path(config.assets_dir)
    assets = assets_folder(parent, Path(spec.origin).parent / "shaders")
    platform = os.environ.get("EGL_PLATFORM")
    os.environ["EGL_PLATFORM"] = "surfaceless"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that are not ours
        from panda3d.core import loadPrcFileData

        loadPrcFileData("", "load-display p3headlessgl\naux-display\nnotify-level error")
        from sim.adapters.metadrive_engine import RoadEngine

        try:
            return RoadEngine(assets, camera, display, camera_forward_m, config.traffic_density)
        except Exception as error:
            free_engine()
            raise BadInputError(
                f"lane/MetaDrive-v0: expected an EGL driver that draws, got {str(error)[:80]!r}; "
                "run apt install libegl1 libgl1-mesa-dri"
            ) from error
        finally:
            del os.environ["EGL_PLATFORM"]
            if platform is not None:
                os.environ["EGL_PLATFORM"] = platform


def free_engine() -> None:
    """Close MetaDrive's engine, whoever started it; without one, do nothing."""
    engine_utils = sys.modules.get("metadrive.engine.engine_utils")
    if engine_utils is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine_utils.close_engine()
