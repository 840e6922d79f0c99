"""What several commands take: their common options, and the checks before long work."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError, one_line
from sim.files import make_folder

MAX_SECONDS = 3600.0
SEED_DIGITS = 12
MAX_EPISODES = 1_000_000
"""Of one command: a year of driving."""
DriverOption = Annotated[
    str, typer.Option("--policy", help="Folder of a policy, name of a shipped one, exported model, or module:factory.")
]
PolicyOption = Annotated[str, typer.Option("--policy", help="Folder of a policy, or name of a shipped one.")]
EnvOption = Annotated[str, typer.Option("--env", help="Gymnasium id of an environment.")]
EnvOptionsOption = Annotated[
    list[str] | None, typer.Option("--env-option", help="NAME=VALUE for the environment; may be repeated.")
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Episodes A:B (B not included).")]
SecondsOption = Annotated[float, typer.Option("--seconds", help="Length of an episode in seconds.")]
NoiseOption = Annotated[str | None, typer.Option("--noise", help="NAME:SEVERITY, such as gaussian:0.1.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that drive; default: one for each core.")
]
RayOption = Annotated[
    str | None, typer.Option("--ray", help="Work on the Ray cluster at this address; auto finds one, local begins one.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
DataOption = Annotated[list[str], typer.Option("--data", help="Drives: FOLDER, or FOLDER@A:B for some rows.")]


def parse_seeds(text: str) -> range:
    """``A:B`` -> range(A, B).

    >>> parse_seeds("3:5")
    range(3, 5)
    """
    start, colon, stop = text.partition(":")
    is_whole = all(part.isascii() and part.isdecimal() and len(part) <= SEED_DIGITS for part in (start, stop))
    if not (colon and is_whole and int(start) < int(stop)):
        got = one_line(repr(text))
        raise BadInputError(f"seeds: expected A:B with whole numbers A < B, such as 1000:1020, got {got}")
    if int(stop) - int(start) > MAX_EPISODES:
        raise BadInputError(f"seeds: expected at most {MAX_EPISODES:,} episodes, got {text}; take them in parts")
    return range(int(start), int(stop))


def check_seconds(seconds: float) -> float:
    """A time that holds at least one frame and ends some day."""
    if not 1.0 / FRAME_RATE_HZ <= seconds <= MAX_SECONDS:
        raise BadInputError(
            f"seconds: expected {1.0 / FRAME_RATE_HZ:g} (one frame) to {MAX_SECONDS:g}, got {seconds:g}"
        )
    return seconds


def check_writable(path: Path) -> None:
    """Before long work: can a file be written there?"""
    if path.is_dir():
        raise BadInputError(f"{path}: expected the name of a file, got a folder; choose another place")
    try:
        make_folder(path.parent)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def check_new_drive(folder: Path, overwrite: bool) -> None:
    """Before long work: can a drive be written there?"""
    if folder.is_dir():
        if any(folder.iterdir()) and not overwrite:
            raise BadInputError(f"{folder}: is not empty; name a new folder or add --overwrite")
        folder = folder / "drive"
    elif folder.exists():
        raise BadInputError(f"{folder}: expected a folder, got a file; name a new folder")
    check_writable(folder)
