"""Videos as people have them: any container FFmpeg reads, variable rates, rotation marks, cut short or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from sim.errors import BadInputError, foreign_errors
from sim.reading import MAX_PICTURE_PX

DAMAGED = "frame damaged or beyond the video's end"
VIDEO_SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".avi",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".3gp",
    ".hevc",
    ".h264",
)
_REMEDY = "expected a video that FFmpeg reads; copy it again"


@dataclass(frozen=True, eq=False)
class VideoFile:
    """A video's frames by their order of showing, found without decoding it.

    Attributes:
        path: of the file.
        times_s: float64 (F,), when each frame is shown, the first at 0.
        has_times: does the file say when its frames are shown?
    """

    path: Path
    times_s: np.ndarray
    has_times: bool
    _order: dict[int, int]

    def __len__(self) -> int:
        return len(self.times_s)

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray | str]:
        """A frame, uint8 (H, W, 3) RGB and upright, or the reason why it is not there, for each of ``wanted``.

        Args:
            wanted: numbers of frames in ascending order; one may come several times.
        """
        decoded = self._decoded()
        k, frame = next(decoded, (len(self), None))
        for want in wanted:
            while k < want:
                k, frame = next(decoded, (len(self), None))
            yield _upright(frame) if k == want and frame is not None else DAMAGED

    def size(self) -> tuple[int, int]:
        """Rows and columns of the first frame that can be decoded, upright.

        Raises:
            BadInputError: there is none.
        """
        first = next(self._decoded(), None)
        if first is None:
            raise BadInputError(f"{self.path}: no frame can be decoded; {_REMEDY}")
        return _upright(first[1]).shape[:2]

    def _decoded(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Number and frame; after damage nothing until a frame that stands for itself."""
        last, is_broken, size = -1, False, None
        with foreign_errors(self.path, _REMEDY), av.open(str(self.path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)  # after an error of the file there is none
                    frames = [] if packet is None else packet.decode()
                except (av.error.FFmpegError, ValueError):
                    is_broken = True
                    continue
                if packet is None:
                    return
                for frame in frames:
                    is_broken = (is_broken and not frame.key_frame) or frame.is_corrupt
                    size = size or (frame.width, frame.height)
                    is_other = (frame.width, frame.height) != size or frame.width * frame.height > MAX_PICTURE_PX
                    k = self._order.get(frame.pts, -1) if self.has_times else last + 1
                    if k > last:
                        last = k
                        if not is_broken and not is_other:
                            yield k, frame


def open_video(path: Path) -> VideoFile:
    """Find the frames of a video.

    Raises:
        BadInputError: it is no video, or FFmpeg cannot read it.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: no such video; expected a file that FFmpeg reads")
    shown = []
    has_times = True
    with foreign_errors(path, _REMEDY), av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.video:
            raise BadInputError(f"{path}: has no pictures; {_REMEDY}")
        stream = container.streams.video[0]
        rate_hz = float(stream.average_rate or stream.guessed_rate or 0) or 30.0
        time_base = float(stream.time_base or 1 / rate_hz)
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    has_times = has_times and packet.pts is not None
                    shown.append(packet.pts)
        except (av.error.FFmpegError, ValueError):
            pass  # cut short: what came before it stays
    if not shown:
        raise BadInputError(f"{path}: holds no frame; {_REMEDY}")
    if not has_times:
        return VideoFile(path, np.arange(len(shown)) / rate_hz, False, {})
    order = sorted(set(shown))
    times_s = (np.array(order, float) - order[0]) * time_base
    return VideoFile(path, times_s, True, {pts: k for k, pts in enumerate(order)})


_reformatter = VideoReformatter()  # kept: a new one for every frame costs more than the decoding


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """Uint8 (H, W, 3) RGB, turned as the file's mark says."""
    picture = _reformatter.reformat(frame, format="rgb24").to_ndarray()
    n_quarters = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.rot90(picture, n_quarters) if n_quarters else picture
