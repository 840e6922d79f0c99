"""Formats of recordings; each module has one ``read(src, asked) -> Recording``, which takes what can be used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from sim.drive import StoredDrive
from sim.errors import BadInputError
from sim.importers import comma2k19, donkeycar, lerobot, pictures, udacity_ch2, udacity_sim, video
from sim.recording import Asked, Recording, in_words

IMPORTERS: dict[str, Callable[[Path, Asked], Recording]] = {
    "video": video.read,
    "pictures": pictures.read,
    "donkeycar": donkeycar.read,
    "udacity-ch2": udacity_ch2.read,
    "udacity-ch2-left": functools.partial(udacity_ch2.read, camera="left"),
    "udacity-ch2-right": functools.partial(udacity_ch2.read, camera="right"),
    "udacity-sim": udacity_sim.read,
    "udacity-sim-left": functools.partial(udacity_sim.read, camera="left"),
    "udacity-sim-right": functools.partial(udacity_sim.read, camera="right"),
    "comma2k19": comma2k19.read,
    "lerobot": lerobot.read,
}
"""Every format by its name on the command line."""


def read_recording(format_name: str, src: Path | str, asked: Asked | None = None) -> Recording:
    """A recording in one of the formats; its pictures are read when they are asked for.

    Raises:
        BadInputError: unknown format, or nothing usable.
    """
    if format_name not in IMPORTERS:
        raise BadInputError(f"unknown format {format_name!r}; known: {', '.join(IMPORTERS)}")
    return IMPORTERS[format_name](Path(src), asked or Asked())


def import_drive(
    format_name: str,
    src: Path | str,
    dst: Path | str,
    asked: Asked | None = None,
    overwrite: bool = False,
    is_strict: bool = False,
    on_row: Callable[[], None] = lambda: None,
) -> StoredDrive:
    """Read a recording and save it as a drive in ``dst``, one frame at a time; its times, labels and what was left out.

    Args:
        format_name: one of ``IMPORTERS``.
        src, dst: the recording; the folder of the drive.
        asked: what the user says of it.
        overwrite: replace an older drive.
        is_strict: refuse a recording of which anything must be left out.
        on_row: called after every row.

    Raises:
        BadInputError: unknown format, nothing usable, or a place that cannot be written.
    """
    recording = read_recording(format_name, src, asked)
    try:
        return recording.save(Path(dst), overwrite, is_strict, on_row)
    except BadInputError as error:
        message = str(error)
        raise error if message.startswith(str(Path(dst).absolute())) else BadInputError(f"{src}: {message}") from error


__all__ = ["IMPORTERS", "Asked", "Recording", "import_drive", "in_words", "read_recording"]
