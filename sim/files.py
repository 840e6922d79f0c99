"""Files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.errors import BadInputError


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which takes the name ``path`` when the block ends well; else nothing is left.

    It lies beside ``path`` and has its suffix; an older file stays until the new one is whole. Missing folders are
    made. However it was made, the file has the permissions of an ordinary one.

    Raises:
        BadInputError: it cannot be written.
    """
    is_new_folder = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            unfinished = Path(folder) / path.name
            unfinished.touch()
            ordinary = unfinished.stat().st_mode
            yield unfinished
            unfinished.chmod(ordinary)
            unfinished.replace(path)
    except BaseException as error:
        if is_new_folder:
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        if not isinstance(error, OSError):
            raise
        raise BadInputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as ``new_file`` does."""
    with new_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Figures as indented JSON, strict: no NaN or infinity."""
    write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")
