"""Reading tables, pictures and videos that somebody else made, with errors that name the file and the row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from sim.camera import Camera
from sim.errors import BadInputError


@contextmanager
def error_names(path: Path) -> Iterator[None]:
    """Put the path in front of a ``BadInputError`` that comes from inside the block."""
    try:
        yield
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def require_folder(path: Path, holding: str) -> None:
    """Raise BadInputError unless the path is a folder with something in it."""
    if not path.is_dir():
        raise BadInputError(f"{path}: no such folder; expected {holding}")
    if not any(path.iterdir()):
        raise BadInputError(f"{path}: the folder is empty; expected {holding}")


def read_table(path: Path, columns: Sequence[str], header_if_none: Sequence[str] = ()) -> dict[str, list[str]]:
    """The texts of some columns of a CSV file, one entry a row.

    ``header_if_none`` is the header of a file that may come without one.

    Raises:
        BadInputError: no such file, no rows, a missing column, or a row with too few fields.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [[field.strip() for field in line] for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path}: cannot be read as a CSV file: {error}") from error
    if lines and header_if_none and header_if_none[0] not in lines[0]:
        lines.insert(0, list(header_if_none))
    header = lines[0] if lines else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise BadInputError(f"{path}: needs the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    if len(lines) == 1:
        raise BadInputError(f"{path}: has a header but no rows")
    for row, line in enumerate(lines[1:]):
        if len(line) != len(header):
            raise BadInputError(f"{path}: row {row} has {len(line)} fields, the header has {len(header)}")
    return {name: [line[header.index(name)] for line in lines[1:]] for name in columns}


def parse_numbers(path: Path, column: str, texts: Sequence[object]) -> np.ndarray:
    """Texts (or numbers) of a column as finite float64 (T,); the error names file, row and column."""
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            values[row] = float(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise BadInputError(f"{path}: row {row}: {column} must be a finite number, got {text!r}")
    return values


def read_video(path: Path, n_frames: int) -> Iterator[np.ndarray]:
    """Frames of a video in order, each uint8 (H, W, 3) RGB.

    Raises:
        BadInputError: it cannot be decoded, or has fewer or more than ``n_frames`` frames.
    """
    k = 0
    reformatter = VideoReformatter()  # kept: a new one for every frame costs more than the decoding
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not a grey patch
            for k, frame in enumerate(container.decode(stream), start=1):
                if frame.is_corrupt:
                    raise BadInputError(f"{path}: frame {k - 1} is damaged; copy the video again")
                if k > n_frames:
                    raise BadInputError(f"{path}: more frames than the {n_frames} rows of its table")
                yield reformatter.reformat(frame, format="rgb24").to_ndarray()
    except (av.error.FFmpegError, IndexError) as error:
        raise BadInputError(
            f"{path}: cannot be decoded after frame {k} of {n_frames}, it is cut short or damaged ({error})"
        ) from error
    if k < n_frames:
        raise BadInputError(f"{path}: {k} frames, but its table has {n_frames} rows; the video is cut short")


def read_picture(path: Path, height_px: int | None = None, width_px: int | None = None) -> np.ndarray:
    """A JPEG or PNG file as uint8 (H, W, 3) RGB; of any size, unless one is given.

    Raises:
        BadInputError: missing, cut short (the decoder alone would fill up with grey), or of another size.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: picture cannot be read: {error.strerror}") from error
    end = b"IEND" if data.startswith(b"\x89PNG") else b"\xff\xd9"
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if end in data[-64:] else None
    if picture is None:
        raise BadInputError(f"{path}: picture is cut short or damaged; copy it again or remove its row")
    if None not in (height_px, width_px) and picture.shape[:2] != (height_px, width_px):
        raise BadInputError(
            f"{path}: picture must be {height_px}x{width_px} (rows x columns), "
            f"got {picture.shape[0]}x{picture.shape[1]}"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


@dataclass(frozen=True)
class Cutout:
    """A band of rows of the original picture, full width, scaled to the size of a drive's frames.

    Attributes:
        source: camera of the original pictures.
        top_px, bottom_px: first row of the band and the row after its last.
        height_px, width_px: size of the result.
    """

    source: Camera
    top_px: int
    bottom_px: int
    height_px: int
    width_px: int

    @property
    def camera(self) -> Camera:
        """Camera of the result; what the scaling squeezes goes into its two focal lengths."""
        band = self.source.cropped(self.top_px, 0, self.bottom_px - self.top_px, self.source.width_px)
        return band.resized(self.height_px, self.width_px)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, 3) of the source camera's size -> the same of the result's size."""
        shrinks = self.width_px < self.source.width_px
        return cv2.resize(
            picture[self.top_px : self.bottom_px],
            (self.width_px, self.height_px),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
