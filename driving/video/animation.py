"""Animated pictures for pages that show no video: WebP and GIF, smaller and with fewer frames."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image

from driving.video.writer import VideoWriter
from sim.errors import BadInputError
from sim.files import new_file

SUFFIXES = (".webp", ".gif")
LARGEST_WIDTH_PX, LARGEST_RATE_HZ = 720, 10.0


class AnimationWriter:
    """As ``VideoWriter``, for ``.webp`` and ``.gif``: at most 720 pixels wide and 10 frames a second.

    The frames are kept until the block ends well; then the file is there, whole.
    """

    def __init__(self, path: str | Path, fps: float, height: int, width: int) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise BadInputError(f"video: expected a positive number of frames a second, got {fps!r}")
        self.path, self.fps, self.height, self.width = Path(path), fps, height, width
        self._every = max(round(fps / LARGEST_RATE_HZ), 1)
        scale = min(LARGEST_WIDTH_PX / width, 1.0)
        self._size = max(round(width * scale), 1), max(round(height * scale), 1)

    def __enter__(self) -> AnimationWriter:
        self._pictures: list[Image.Image] = []
        self._n_frames = 0
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame, uint8 RGB (height, width, 3)."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {(self.height, self.width, 3)}, got {frame.dtype} {frame.shape}")
        if self._n_frames % self._every == 0:
            self._pictures.append(Image.fromarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)))
        self._n_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        if not self._pictures:
            raise BadInputError(f"video: expected at least one frame for {self.path}, got none; drive longer")
        options = {"quality": 80, "method": 4} if self.path.suffix.lower() == ".webp" else {"optimize": True}
        with new_file(self.path) as unfinished:
            self._pictures[0].save(
                unfinished, format=self.path.suffix[1:].upper(), save_all=True, append_images=self._pictures[1:],
                duration=round(1000 * self._every / self.fps), loop=0, **options,
            )  # fmt: skip


def writer_for(path: str | Path, fps: float, height: int, width: int) -> VideoWriter | AnimationWriter:
    """By the name's end: an animated picture for ``.webp`` and ``.gif``, else an MP4 file."""
    maker = AnimationWriter if Path(path).suffix.lower() in SUFFIXES else VideoWriter
    return maker(path, fps, height, width)
