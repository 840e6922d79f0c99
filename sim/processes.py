"""What worker processes share: how they start, how errors pass a pipe, and how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

from sim.errors import WorkerLostError

START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""Never ``fork``: a copy of a process whose threads (torch, BLAS) hold locks may hang."""
CLOSE_SECONDS = 5.0
"""A worker that has not ended after this time is killed."""


def context() -> Any:
    """Of ``multiprocessing``, for ``START_METHOD``."""
    return multiprocessing.get_context(START_METHOD)


def start(target: Callable[..., None], *arguments: Any) -> tuple[Connection, Any]:
    """A process that runs ``target(pipe, *arguments)``, and this end of the pipe, which ends when the process does."""
    here, there = context().Pipe()
    process = context().Process(target=target, args=(there, *arguments), daemon=True)
    process.start()
    there.close()  # so that the end of the worker is the end of the pipe
    return here, process


def begin_work() -> None:
    """First in every worker: Ctrl-C is for the process that asks, and the processes are the parallelism."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    function: Callable[[Any], Any], jobs: Sequence[Any], n_workers: int, name: Callable[[Any], str] = str
) -> Iterator[tuple[int, Any]]:
    """The place and the result of ``function(job)`` for every job, as they come, from ``n_workers`` processes.

    One worker is this process. Whoever stops asking ends the work.

    Args:
        name: of a job, for the message when its process is lost.

    Raises:
        WorkerLostError: a process ended by itself.
        Exception: what ``function`` raised, as itself.
    """
    if min(n_workers, len(jobs)) <= 1:
        for i, job in enumerate(jobs):
            yield i, function(job)
        return
    waiting = iter(range(len(jobs)))
    # By value: on its own ``multiprocessing`` sends every tensor inside as a file descriptor of shared memory, and a
    # dozen networks are more than a process can be given.
    packed = pickle.dumps(function)
    processes: dict[Connection, Any] = {}
    at_work: dict[Connection, int] = {}
    try:
        for _ in range(min(n_workers, len(jobs))):
            here, process = start(_do_jobs, packed)
            processes[here] = process
            at_work[here] = next(waiting)
            here.send(jobs[at_work[here]])
        while at_work:
            for pipe in wait(list(at_work)):
                assert isinstance(pipe, Connection)
                i = at_work.pop(pipe)
                try:
                    is_done, answer = pipe.recv()
                except (EOFError, OSError):
                    at_work[pipe] = i
                    raise WorkerLostError(
                        f"a worker process ended by itself at {name(jobs[i])}; was it killed, or out of memory? Try "
                        "again, with fewer workers if memory is short"
                    ) from None
                if not is_done:
                    raise answer
                if (following := next(waiting, None)) is not None:
                    at_work[pipe] = following
                    pipe.send(jobs[following])
                yield i, answer
    finally:
        stop(processes, processes.values(), at_once=bool(at_work))


def _do_jobs(pipe: Any, packed: bytes) -> None:
    begin_work()
    function = pickle.loads(packed)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = pipe.recv()
            try:
                answer: tuple[bool, Any] = True, function(job)
            except BaseException as error:
                answer = False, portable(error)
            pipe.send(answer)


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
