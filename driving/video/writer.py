"""An MP4 file that plays in a browser, whole or not there at all."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from sim.errors import BadInputError
from sim.files import new_file

BT709 = 1
"""The number of BT.709 in the lists of primaries and transfer curves (ITU-T H.273)."""


def save_frame(video: str | Path, at_s: float, path: str | Path) -> None:
    """One frame of a video, the last one at most, as a JPEG or PNG file."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= at_s:
                break
    rgb = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709).to_ndarray()
    options = [cv2.IMWRITE_JPEG_QUALITY, 88]
    with new_file(Path(path)) as unfinished:
        unfinished.write_bytes(cv2.imencode(Path(path).suffix, rgb[..., ::-1], options)[1].tobytes())


class VideoWriter:
    """Writes RGB frames as H.264 (yuv420p, BT.709, index at the front), for use as a context manager.

    The file is written under a temporary name in the target's folder and takes its name when the block ends
    well; otherwise nothing is left.

    Args:
        path: of the ``.mp4`` file; an existing one is replaced, missing folders are made.
        fps: frames a second.
        height, width: of every frame in pixels, even numbers (colour is stored for blocks of 2 x 2).

    Raises:
        BadInputError: size odd or rate not positive, folder not writable, or a block without a single frame.
        ValueError: a frame of another size or dtype.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with VideoWriter(Path(folder) / "grey.mp4", fps=20, height=32, width=48) as video:
    ...         video.write(np.full((32, 48, 3), 128, dtype=np.uint8))
    ...     [file.name for file in Path(folder).iterdir()]
    ['grey.mp4']
    """

    def __init__(self, path: str | Path, fps: float, height: int, width: int) -> None:
        if height < 2 or width < 2 or height % 2 or width % 2:
            raise BadInputError(f"video: expected an even height and width, got {height} x {width}; pad or crop")
        if not (np.isfinite(fps) and fps > 0):
            raise BadInputError(f"video: expected a positive number of frames a second, got {fps!r}")
        self.path, self.fps, self.height, self.width = Path(path), fps, height, width

    def __enter__(self) -> VideoWriter:
        self._file = new_file(self.path)
        name = str(self._file.__enter__())
        self._n_frames = 0
        # faststart: the index stands before the pictures, so a browser plays while it loads.
        self._container = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream(
            "libx264", rate=Fraction(self.fps).limit_denominator(1001), options={"crf": "20", "preset": "veryfast"}
        )
        self._stream.height, self._stream.width, self._stream.pix_fmt = self.height, self.width, "yuv420p"
        context = self._stream.codec_context
        context.thread_type = "FRAME"  # the next pictures are drawn while these are encoded
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = BT709
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame, uint8 RGB (height, width, 3)."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {(self.height, self.width, 3)}, got {frame.dtype} {frame.shape}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._container.mux(self._stream.encode(picture))
        self._n_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is raised inside passes through ``new_file``, which takes the file away.
        with contextlib.ExitStack() as stack:
            stack.push(self._file.__exit__)
            if error is not None:
                with contextlib.suppress(OSError):  # the file is given up: the first error is the one to tell
                    self._container.close()
                raise error
            if self._n_frames == 0:
                self._container.close()
                raise BadInputError(f"video: expected at least one frame for {self.path}, got none; drive longer")
            self._container.mux(self._stream.encode(None))
            self._container.close()
