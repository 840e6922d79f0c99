"""A film that a process of its own draws and writes, so that the next pictures are driven meanwhile."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from driving.video.animation import AnimationWriter, writer_for
from driving.video.writer import VideoWriter
from sim.errors import WorkerLostError
from sim.processes import begin_work, portable, start, stop

N_AHEAD = 64
"""Pictures that may wait to be drawn."""
END = "end"


class Film:
    """As the writers, for pictures that are still to be drawn.

    The file is there, whole, when the block ends well, and not at all otherwise.

    Args:
        n_workers: above 1 a process draws and writes; a script that asks for it needs ``if __name__ == "__main__":``.

    Raises:
        BadInputError: as the writers.
        WorkerLostError: the process that draws ended by itself.
    """

    def __init__(self, path: str | Path, fps: float, height: int, width: int, n_workers: int = 1) -> None:
        self._writer, self._n_workers = writer_for(path, fps, height, width), n_workers
        self._pipe: Any = None

    def __enter__(self) -> Film:
        if self._n_workers > 1:
            self._pipe, self._process = start(_draw_all, self._writer)
        else:
            self._writer.__enter__()
        return self

    def show(self, draw: Callable[[], np.ndarray], n_times: int = 1) -> None:
        """Adds the picture that ``draw`` makes, uint8 RGB (height, width, 3), so many times; it can be pickled."""
        if self._pipe is None:
            _write(self._writer, draw, n_times)
            return
        with contextlib.suppress(OSError):
            self._pipe.send((draw, n_times))
        if self._pipe.poll():  # before the end it has only errors to tell
            self._end()

    def _end(self) -> None:
        """Wait for the process's last word, and raise it if it is an error."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerLostError(
                f"the process that draws {self._writer.path} ended by itself; was it killed, or out of memory?"
            ) from None
        if answer is not None:
            raise answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is None:
            self._writer.__exit__(kind, error, trace)
            return
        try:
            if error is None:
                with contextlib.suppress(OSError):  # its last word says why
                    self._pipe.send(END)
                self._end()
        finally:
            stop([self._pipe], [self._process])


def _write(writer: VideoWriter | AnimationWriter, draw: Callable[[], np.ndarray], n_times: int) -> None:
    picture = draw()
    for _ in range(n_times):
        writer.write(picture)


def _draw_all(pipe: Any, writer: VideoWriter | AnimationWriter) -> None:
    """In the process: draw what comes through the pipe until its end; without a proper end the file is given up."""
    begin_work()
    waiting: queue.Queue[Any] = queue.Queue(N_AHEAD)
    reader = threading.Thread(target=_read, args=(pipe, waiting), daemon=True)
    reader.start()
    try:
        with writer:
            while (item := waiting.get()) != END:
                if item is None:
                    raise EOFError
                _write(writer, *item)
        answer = None
    except BaseException as error:
        answer = portable(error)
    try:
        pipe.send(answer)
    except OSError:  # nobody waits for it
        return
    while reader.is_alive():  # what is still sent is read, so that the sender gets to the answer
        try:
            waiting.get(timeout=0.1)
        except queue.Empty:
            continue


def _read(pipe: Any, waiting: queue.Queue[Any]) -> None:
    """Everything from the pipe; None where it ends without a word."""
    item: Any = None
    while item != END:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            item = None
        waiting.put(item)
        if item is None:
            return
