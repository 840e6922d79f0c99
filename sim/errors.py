"""The one exception for input that a person can put right, and the border where others' errors become it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

MAX_REASON = 160
"""Characters of a foreign error that are worth a reader's time."""
MAX_MESSAGE = 700
"""Characters of a whole message, which may hold long paths."""


class BadInputError(ValueError):
    """Input from outside (a file, a folder, an option) is not usable.

    The message is one line: what was expected, what was got, what to do. The command line prints it and
    exits with status 2; a library caller may catch it as ``ValueError``. Values of thousands of characters that got
    into it lose their middle.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


class WorkerLostError(RuntimeError):
    """A worker process ended by itself: killed, or out of memory. The message is one line, as of ``BadInputError``."""


def shortened(message: str, longest: int = MAX_MESSAGE) -> str:
    """A message that is too long without its middle: its place and its remedy stay.

    >>> shortened("seeds: got " + "9" * 5000 + "; expected A:B", 41)
    'seeds: got 9999999 ... 9999; expected A:B'
    """
    if len(message) <= longest:
        return message
    start = (longest - 5) // 2
    return f"{message[:start]} ... {message[start + 5 - longest :]}"


def one_line(value: object, longest: int = MAX_REASON) -> str:
    """A foreign text or value on one short line that every terminal can print.

    >>> one_line("a\\nb \\ud800")
    'a b ?'
    """
    try:
        text = value.strerror if isinstance(value, OSError) and value.strerror else str(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number too large to be shown"
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
