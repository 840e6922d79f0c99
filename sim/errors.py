"""The one exception for input that a person can put right, and the border where others' errors become it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

MAX_REASON = 160
"""Characters of a foreign error that are worth a reader's time."""


class BadInputError(ValueError):
    """Input from outside (a file, a folder, an option) is not usable.

    The message is one line: what was expected, what was got, what to do. The command line prints it and
    exits with status 2; a library caller may catch it as ``ValueError``.
    """


class WorkerLostError(RuntimeError):
    """A worker process ended by itself: killed, or out of memory. The message is one line, as of ``BadInputError``."""


def one_line(value: object, longest: int = MAX_REASON) -> str:
    """A foreign text or value on one short line that every terminal can print.

    >>> one_line("a\\nb \\ud800")
    'a b ?'
    """
    try:
        text = value.strerror if isinstance(value, OSError) and value.strerror else str(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"a {type(value).__name__} too large to be shown"
    text = " ".join(text[: 4 * longest].encode("utf-8", "replace").decode("utf-8").split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


@contextlib.contextmanager
def foreign_errors(path: Path | str, remedy: str) -> Iterator[None]:
    """The border to a foreign file: whatever a library raises while it reads one becomes one line about the file.

    Only calls of the library belong into the block, as a mistake of our own would be taken for the file's.

    Raises:
        BadInputError: the library raised; an interrupt passes.
    """
    try:
        yield
    except BadInputError:
        raise
    except Exception as error:  # every library has its own kinds, and damage finds those nobody documents
        reason = one_line(error) or type(error).__name__
        raise BadInputError(f"{one_line(path, 400)}: cannot be read ({reason}); {remedy}") from error
