"""The files of a drive's folder, written frame by frame; ``sim.drive`` describes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

VIDEO, TABLE, FACTS, MASKS = "frames.mp4", "table.csv", "drive.json", "road_masks.npz"
COLUMNS = ("timestamp_s", "curvature_per_m", "speed_mps")


@contextmanager
def video_errors() -> Iterator[None]:
    """FFmpeg's errors in writing (a full disk) as the ``OSError`` they stand for."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise OSError(error.errno, error.strerror or str(error)) from error


class FrameWriter:
    """A video of a drive's frames: H.264, 4:4:4 (full colour, any odd size), close to lossless; a context.

    Args:
        path: of the file.
        rate_hz: for players; the times are in the table.
        pix_fmt: how pixels are stored; ``yuv420p``, which every player shows, halves the colour and wants an even size.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, height_px: int, width_px: int, rate_hz: float, pix_fmt: str = "yuv444p") -> None:
        with video_errors():
            self._container = av.open(str(path), "w")
            self._stream = self._container.add_stream("libx264", rate=min(max(round(rate_hz), 1), 1000))
        self._stream.height, self._stream.width = height_px, width_px
        self._stream.pix_fmt = pix_fmt
        self._stream.options = {"crf": "8", "preset": "superfast", "g": "20", "threads": "1"}
        self.n_frames = 0

    def __enter__(self) -> FrameWriter:
        return self

    def add(self, frame: np.ndarray) -> None:
        """The next frame, uint8 (H, W, 3)."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self.n_frames
        with video_errors():
            self._container.mux(self._stream.encode(picture))
        self.n_frames += 1

    def __exit__(self, kind: object, *rest: object) -> None:
        with video_errors():
            try:
                if kind is None:
                    self._container.mux(self._stream.encode())
            finally:
                self._container.close()


def write_table(folder: Path, timestamps_s: np.ndarray, curvature_per_m: np.ndarray, speed: np.ndarray | None) -> None:
    """``table.csv``: a row a frame; ``speed_mps`` empty where it is not known."""
    speeds = [""] * len(timestamps_s) if speed is None else [str(v) for v in speed]
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        # str() of a numpy number is the shortest text that reads back as the same number.
        writer.writerows((str(t), str(k), v) for t, k, v in zip(timestamps_s, curvature_per_m, speeds, strict=True))


def write_masks(folder: Path, masks: Mapping[int, np.ndarray], n_pixels: int) -> None:
    """``road_masks.npz``: the rows int64 (n,) and their masks uint8 (n, ceil(H W / 8)), eight pixels a byte."""
    bits = np.empty((len(masks), (n_pixels + 7) // 8), np.uint8)
    for packed, mask in zip(bits, masks.values(), strict=True):
        packed[:] = np.packbits(mask.reshape(-1))
    np.savez_compressed(folder / MASKS, rows=np.array(list(masks), np.int64), bits=bits)


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """``drive.json``."""
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / FACTS).write_text(text, encoding="utf-8", errors="replace")
