"""What worker processes share: how they start, how errors pass a pipe, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import Any

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Never ``fork``: a copy of a process whose threads (torch, BLAS) hold locks may hang."""
CLOSE_SECONDS = 5.0
"""A worker that has not ended after this time is killed."""


def context() -> Any:
    """Of ``multiprocessing``, for ``START_METHOD``."""
    return multiprocessing.get_context(START_METHOD)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def portable(error: BaseException) -> BaseException:
    """The exception with the worker's traceback as a note, in a form that passes through a pipe."""
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
    return copy


def stop(pipes: Iterable[Connection], processes: Iterable[Any], at_once: bool = False) -> None:
    """Close the pipes, which ends workers that wait for a question; those that are stuck, or all, are killed."""
    for pipe in pipes:
        pipe.close()
    for process in processes:
        if not at_once:
            process.join(CLOSE_SECONDS)
        if process.is_alive():
            process.kill()
        process.join()
