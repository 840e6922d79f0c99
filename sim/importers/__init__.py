"""Public formats of recorded drives; each module has one ``read(src, height_px, width_px) -> Drive``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.drive import Drive, save
from sim.errors import BadInputError
from sim.importers import donkeycar, udacity_ch2, udacity_sim

IMPORTERS: dict[str, Callable[..., Drive]] = {
    "udacity-ch2": udacity_ch2.read,
    "udacity-sim": udacity_sim.read,
    "udacity-sim-left": functools.partial(udacity_sim.read, camera="left"),
    "udacity-sim-right": functools.partial(udacity_sim.read, camera="right"),
    "donkeycar": donkeycar.read,
}
"""Every format by its name on the command line."""


def import_drive(
    format_name: str,
    src: Path | str,
    dst: Path | str,
    height_px: int = 2 * FRAME_HEIGHT_PX,
    width_px: int = 2 * FRAME_WIDTH_PX,
    overwrite: bool = False,
) -> Drive:
    """Read a recording in a public format, save it as a drive in ``dst`` and return it.

    Frames are twice a policy's picture by default, which leaves room to shift and turn the view.

    Raises:
        BadInputError: unknown format, unusable recording, or a place that cannot be written.
    """
    if format_name not in IMPORTERS:
        raise BadInputError(f"unknown format {format_name!r}; known: {', '.join(IMPORTERS)}")
    drive = IMPORTERS[format_name](Path(src), height_px, width_px)
    save(drive, dst, overwrite)
    return drive
