"""Pages of the whole Python API, from the docstrings: ``python -m driving.api_pages --out api`` (extra ``docs``)."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import driving
import sim
from sim.errors import BadInputError
from sim.files import new_folder

LEFT_OUT = ("driving.commands", "driving.examples", "driving.__main__")
"""What people run, not call."""
INDEX = "search.js"
"""A file that every folder of pages has, and hardly another one."""


def modules() -> tuple[list[str], list[str]]:
    """Names of all modules that can be imported here, and of those whose extra is not installed."""
    good, missing = [], []
    for package in (sim, driving):
        names = [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
        for name in names:
            if any(name == out or name.startswith(f"{out}.") for out in LEFT_OUT):
                continue
            try:
                importlib.import_module(name)
            except ImportError as error:
                if (error.name or "").partition(".")[0] in ("sim", "driving"):
                    raise
                missing.append(name)
            else:
                good.append(name)
    return good, missing


def write_pages(folder: Path) -> tuple[int, list[str]]:
    """Write a page for each module into ``folder``, in the place of what is there; how many, and who is missing.

    Raises:
        BadInputError: pdoc is not installed, or the folder cannot be written.
    """
    try:
        import pdoc
    except ImportError:
        raise BadInputError("api pages: pdoc is not installed; run: pip install 'liquid-lane[docs]'") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not (folder / INDEX).is_file():
        raise BadInputError(f"api pages: {folder} holds something else; name a new folder with --out")
    good, missing = modules()
    left_out = [f"!{name}" for name in (*LEFT_OUT, *missing)]
    pdoc.render.configure(docformat="google", show_source=True)
    with new_folder(folder) as unfinished, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of types that only a type checker imports
        pdoc.pdoc("sim", "driving", *left_out, output_directory=unfinished)
    return len(good), missing


def main(words: list[str] | None = None) -> int:
    """Write the pages; 0: done, 2: bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("api"))
    given = parser.parse_args(words)
    try:
        n, missing = write_pages(given.out)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.out / 'index.html'}: {n} modules")
    if missing:
        print(f"Left out, their packages are not installed: {', '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
