"""The one exception for input that a person can put right."""


class BadInputError(ValueError):
    """Input from outside (a file, a folder, an option) is not usable.

    The message is one line: what was expected, what was got, what to do. The command line prints it and
    exits with status 2; a library caller may catch it as ``ValueError``.
    """


class WorkerLostError(RuntimeError):
    """A worker process ended by itself: killed, or out of memory. The message is one line, as of ``BadInputError``."""
