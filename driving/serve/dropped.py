"""Drives that a viewer drops into the page: the files of one, kept as long as the page is open."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sim.drive import FACTS, MASKS, TABLE, VIDEO, load_table
from sim.errors import BadInputError, one_line
from sim.files import new_folder

FILES = (VIDEO, TABLE, FACTS, MASKS)
"""Names that a file may have; the last one may be missing."""
MAX_BYTES = 500_000_000
"""Of all that a viewer drops in: some forty minutes."""


class Dropped:
    """The drives of one viewer, in a temporary folder.

    Files come one by one (``begin``, ``add``); ``take`` makes a drive of those that came since the last one.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="liquid-lane-")
        self._n_kept = self._n_incoming = 0  # bytes
        self._n_taken = 0
        self.drives: dict[str, Path] = {}

    @property
    def _incoming(self) -> Path:
        return Path(self._folder.name) / "incoming"

    def begin(self, name: str) -> Path:
        """Where a file goes; empty.

        Raises:
            BadInputError: a name that no file of a drive has.
        """
        if name not in FILES:
            raise BadInputError(f"expected one of {', '.join(FILES)}, got {one_line(repr(name), 40)}")
        self._incoming.mkdir(exist_ok=True)
        path = self._incoming / name
        path.write_bytes(b"")
        return path

    def add(self, path: Path, chunk: bytes) -> None:
        """More of a file.

        Raises:
            BadInputError: more than ``MAX_BYTES`` in all, or no room; what came in is thrown away.
        """
        self._n_incoming += len(chunk)
        try:
            if self._n_kept + self._n_incoming > MAX_BYTES:
                raise BadInputError(
                    f"a page takes up to {MAX_BYTES / 1e6:.0f} MB of drives; name it with --data instead"
                )
            with path.open("ab") as file:
                file.write(chunk)
        except (BadInputError, OSError) as error:
            self._discard()
            raise error if isinstance(error, BadInputError) else BadInputError(one_line(error)) from None

    def take(self, wanted: str) -> str:
        """The name of the drive that the files are; ``wanted`` is what the viewer calls it.

        Raises:
            BadInputError: they are none, whole and sound; they are thrown away.
        """
        name = f"dropped: {one_line(wanted, 40) or 'drive'}"
        self._n_taken += 1
        folder = Path(self._folder.name) / f"drive-{self._n_taken}"  # one of its own, even under a name that is there
        if not self._incoming.is_dir():
            raise BadInputError(f"expected the files {', '.join(FILES[:3])} of a drive")
        try:
            missing = [file for file in FILES[:3] if not (self._incoming / file).is_file()]
            if missing:
                raise BadInputError(f"expected the files {', '.join(FILES[:3])} of a drive, {missing[0]} is missing")
            load_table(self._incoming)
            with new_folder(folder) as new:
                for path in self._incoming.iterdir():
                    path.rename(new / path.name)
        except BadInputError as error:
            raise BadInputError(str(error).replace(f"{self._folder.name}/", "")) from None
        else:
            self._n_kept += self._n_incoming
        finally:
            self._discard()
        self.drives[name] = folder
        return name

    def forget(self, name: str) -> None:
        """A drive that is of no use goes, and what it took of ``MAX_BYTES`` is free again."""
        folder = self.drives.pop(name)
        self._n_kept -= sum(path.stat().st_size for path in folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)

    def _discard(self) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._n_incoming = 0

    def close(self) -> None:
        """All of it goes."""
        self._folder.cleanup()
