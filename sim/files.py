"""Files and folders that are whole or not there at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sim.errors import BadInputError, one_line

MAX_DEPTH = 256
"""Folders one in another, beyond any that people make."""
PARTIAL, OLD = ".partial", ".old"
"""Endings of the hidden folders ``.NAME.XXXXXXXX.partial`` and ``.old`` that lie beside ``NAME`` while it is made."""
LEFT_AFTER_S = 24 * 3600.0
"""Where the system has no locks, what nobody wrote to for so long is being made no more."""


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        OSError: it cannot be made; one below so many others, too (``mkdir`` goes up by recursion).
    """
    if len(folder.parts) > MAX_DEPTH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(folder))
    folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which takes the name ``path`` when the block ends well; else nothing is left.

    It lies in a hidden folder beside ``path`` and has its name; an older file stays until the new one is whole. Missing
    folders are made. However it was made, the file has the permissions of an ordinary one. What killed runs left of
    the same name is removed first.

    Raises:
        BadInputError: it cannot be written.
    """
    is_new_folder = not path.parent.exists()
    try:
        make_folder(path.parent)
        with _workplace(path) as folder:
            unfinished = folder / path.name
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
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> BadInputError:
    return BadInputError(f"{path}: cannot be written ({one_line(error)}); free space or choose another place")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which takes the name ``folder`` when the block ends well; else nothing is left.

    A folder that is there is replaced as a whole, in one step where the system can exchange two names (Linux, by
    ``renameat2``), so that there is no moment without either. Elsewhere the older one has another name for that
    moment. What killed runs left beside it is found first: an older folder gets its name back, the rest is removed.

    Raises:
        BadInputError: it cannot be written.
    """
    folder = folder.absolute()
    try:
        make_folder(folder.parent)
        with _workplace(folder) as unfinished:
            unfinished.chmod(0o777 & ~_umask())
            yield unfinished
            if not folder.exists():
                unfinished.replace(folder)
            elif not _exchange(unfinished, folder):
                old = unfinished.with_name(unfinished.name.removesuffix(PARTIAL) + OLD)
                folder.replace(old)
                unfinished.replace(folder)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


@contextlib.contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path``, locked by this process, gone afterwards; what killed runs left goes first."""
    recover(path)
    while True:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL))
        with _locked(folder, waits=True):
            if not folder.exists():  # taken, before it was locked, for what another run had left
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def recover(path: Path) -> None:
    """Put right what killed runs left beside ``path``: an older folder gets its name back, unfinished ones go."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\w{{8}}|\d+)({re.escape(PARTIAL)}|{re.escape(OLD)})")
    for entry in [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name) and entry.is_dir()]:
        if entry.suffix == PARTIAL:
            remove_left(entry)
        elif path.exists():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.replace(path)


def remove_left(unfinished: Path) -> None:
    """Remove a hidden folder that was being filled, unless a process is still at work in it."""
    with _locked(unfinished) as is_ours:
        if is_ours:
            shutil.rmtree(unfinished, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _locked(folder: Path, waits: bool = False) -> Iterator[bool]:
    """Hold a folder's lock, which the system lets go when this process ends, however it ends.

    Args:
        waits: for whoever holds it; else it is not had.

    Yields:
        Whether no other process is at work in it; where there are no locks, by its age.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield _is_old(folder)
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError:  # held by another, or a file system without locks
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _is_old(folder: Path) -> bool:
    """Whether nobody wrote to a folder or the files in it for long."""
    try:
        last_s = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
    except OSError:  # gone meanwhile
        return False
    return time.time() - last_s > LEFT_AFTER_S


def _exchange(a: Path, b: Path) -> bool:
    """Let two paths change their names in one step; False where the system cannot (``man 2 renameat2``)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd, exchange = -100, 2
    if rename(at_cwd, os.fsencode(a), at_cwd, os.fsencode(b), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(b))


def short_digest(parts: Iterable[bytes]) -> str:
    """Of all parts one after another: 16 hexadecimal digits of SHA-256, to tell versions apart by."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as ``new_file`` does."""
    with new_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Figures as indented JSON, strict: no NaN or infinity."""
    write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")
