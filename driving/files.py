"""Write results whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sim.errors import BadInputError


def write_text(path: Path, text: str) -> None:
    """Write ``text`` under a temporary name, then rename: an old file is kept until the new one is whole.

    Raises:
        BadInputError: the folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Figures as indented JSON, strict: no NaN or infinity."""
    write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")
