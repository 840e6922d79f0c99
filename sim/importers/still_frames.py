"""Pictures in files as the frames of a drive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np

from sim.errors import BadInputError, one_line
from sim.reading import PICTURE_SUFFIXES, Cutout, is_hidden, read_picture, require_folder

N_TRIED = 15
"""Readable pictures that are looked at for the size of all."""

MISSING, DAMAGED, OTHER_SIZE = "picture missing", "picture damaged", "picture of another size"


def last_name(path: object) -> str:
    """The file's name in a path of whatever system; "" where it is no text."""
    return re.split(r"[\\/]", path)[-1].strip() if isinstance(path, str) else ""


def pictures_in(folder: Path) -> dict[str, Path]:
    """Every picture file of a folder by its name; what systems hide there is none."""
    if not folder.is_dir():
        return {}
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(path))
    return {path.name: path for path in found}


def _is_there(path: object) -> TypeGuard[Path]:
    """Is it the path of a file? Names that no system could have are none."""
    try:
        return isinstance(path, Path) and path.is_file()
    except (OSError, ValueError):
        return False


def common_size(paths: Sequence[object], src: Path) -> tuple[int, int]:
    """Rows and columns of most of the first pictures that can be read.

    Raises:
        BadInputError: none can be.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for path in paths:
        if not _is_there(path):
            continue
        try:
            height, width, _ = read_picture(path).shape
        except BadInputError:
            continue
        sizes[height, width] += 1
        if sizes.total() == N_TRIED:
            break
    if not sizes:
        raise BadInputError(f"{src}: none of {len(paths)} pictures can be read; expected JPEG or PNG files")
    return sizes.most_common(1)[0][0]


def shown(paths: Sequence[object]) -> Iterator[tuple[int, np.ndarray]]:
    """Row and picture of those files that can be read, in order."""
    for row, path in enumerate(paths):
        try:
            picture = read_picture(path) if _is_there(path) else None
        except BadInputError:
            continue
        if picture is not None:
            yield row, picture


def still_frames(cutout: Cutout) -> Callable[[Sequence[object]], Iterator[np.ndarray | str]]:
    """A reader of picture files for ``Recording.frames``: each cut out, or the reason why it is not."""
    size = cutout.source.height_px, cutout.source.width_px

    def frames(paths: Sequence[object]) -> Iterator[np.ndarray | str]:
        for path in paths:
            if not _is_there(path):
                yield MISSING
                continue
            try:
                picture = read_picture(path)
            except BadInputError:
                yield DAMAGED
                continue
            yield cutout.apply(picture) if picture.shape[:2] == size else OTHER_SIZE

    return frames


def find_folder(src: Path, is_it: Callable[[Path], bool], looked_for: str, levels: int = 2) -> Path:
    """``src``, or the one folder below it (to ``levels``) or above it that is what was looked for.

    Raises:
        BadInputError: there is none, or more than one below, which are named.
    """
    require_folder(src, looked_for)
    if is_it(src):
        return src
    layer = [src]
    for _ in range(levels):
        layer = sorted(
            entry for folder in layer for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )
        found = [folder for folder in layer if is_it(folder)]
        if len(found) > 1:
            named = ", ".join(str(folder.relative_to(src)) for folder in found[:4])
            raise BadInputError(f"{src}: holds {len(found)} recordings ({one_line(named)}); import one of them")
        if found:
            return found[0]
    above = src.absolute().parent
    if is_it(above):
        return above
    raise BadInputError(f"{src}: expected {looked_for}")
