"""Reading tables, pictures and videos that somebody else made, with errors that name the file and the row."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps

from sim.camera import Camera
from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.errors import BadInputError, foreign_errors, one_line

MAX_PICTURE_PX = 64_000_000
"""Pixels of the largest picture that is decoded: beyond any camera of a car."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


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


def is_hidden(path: Path) -> bool:
    """Is it a file that systems put beside others' (``._name``, ``.DS_Store``, ``Thumbs.db``)?"""
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without a mark at its beginning; in UTF-16 if it is marked so.

    Raises:
        BadInputError: it is not there, or no text.
    """
    with foreign_errors(path, "expected a text file"):
        data = path.read_bytes()
        marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return data.decode("utf-16" if marked else "utf-8-sig")


def read_json(path: Path, remedy: str) -> Any:
    """The value in a JSON file; ``NaN`` and ``Infinity`` are none."""
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: is not JSON ({one_line(error)}); {remedy}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_table(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """The texts of some columns of a CSV file, one entry a row.

    Raises:
        BadInputError: no such file, no rows, a missing column, or a row with too few fields.
    """
    text = read_text(path)
    with foreign_errors(path, "expected a CSV file"):
        lines = [[field.strip() for field in line] for line in csv.reader(io.StringIO(text)) if line]
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


def number(value: object) -> float:
    """A number or its text, with a point or a comma, as float; NaN where it is none.

    >>> number(" 0,5"), number("1e-3"), number(None), number(True)
    (0.5, 0.001, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    if isinstance(value, str) and value.count(",") == 1 and "." not in value:
        value = value.replace(",", ".")
    try:
        got = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return got if math.isfinite(got) else math.nan


def parse_numbers(path: Path, column: str, texts: Sequence[object]) -> np.ndarray:
    """Texts (or numbers) of a column as finite float64 (T,); the error names file, row and column."""
    values = np.array([number(text) for text in texts])
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values)))
        got = one_line(repr(texts[row]) if isinstance(texts[row], str) else texts[row])
        raise BadInputError(f"{path}: row {row}: {column} must be a finite number, got {got}")
    return values


def read_video(path: Path, n_frames: int) -> Iterator[np.ndarray]:
    """Frames of a video in order, each uint8 (H, W, 3) RGB.

    Raises:
        BadInputError: it cannot be decoded, or has fewer or more than ``n_frames`` frames.
    """
    k = 0
    reformatter = VideoReformatter()  # kept: a new one for every frame costs more than the decoding
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise BadInputError(f"{path}: cannot be decoded, its codec is unknown; copy the video again")
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not a grey patch
            for k, frame in enumerate(container.decode(stream), start=1):
                if frame.is_corrupt:
                    raise BadInputError(f"{path}: frame {k - 1} is damaged; copy the video again")
                if k > n_frames:
                    raise BadInputError(f"{path}: more frames than the {n_frames} rows of its table")
                if frame.width * frame.height > MAX_PICTURE_PX:
                    raise BadInputError(f"{path}: frames of {frame.width}x{frame.height} are larger than any camera's")
                yield reformatter.reformat(frame, format="rgb24").to_ndarray()
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(
            f"{path}: cannot be decoded after frame {k} of {n_frames}, it is cut short or damaged ({one_line(error)})"
        ) from error
    if k < n_frames:
        raise BadInputError(f"{path}: {k} frames, but its table has {n_frames} rows; the video is cut short")


def read_picture(path: Path, height_px: int | None = None, width_px: int | None = None) -> np.ndarray:
    """A JPEG or PNG file as uint8 (H, W, 3) RGB, upright; of any size, unless one is given.

    Raises:
        BadInputError: missing, cut short (some decoders fill up with grey), or of another size.
    """
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", "PNG")) as image:
            warnings.simplefilter("ignore")
            if image.width * image.height > MAX_PICTURE_PX:
                raise BadInputError(f"{path}: a picture of {image.width}x{image.height} is larger than any camera's")
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError as error:
        raise BadInputError(f"{path}: picture cannot be read: {error.strerror}") from error
    except BadInputError:
        raise
    except Exception as error:  # what Pillow's readers raise for damage is not documented
        raise BadInputError(f"{path}: picture is cut short or damaged; copy it again or remove its row") from error
    if None not in (height_px, width_px) and picture.shape[:2] != (height_px, width_px):
        raise BadInputError(
            f"{path}: picture must be {height_px}x{width_px} (rows x columns), "
            f"got {picture.shape[0]}x{picture.shape[1]}"
        )
    return picture


@dataclass(frozen=True)
class Cutout:
    """A rectangle of the original picture, scaled to the size of a drive's frames.

    Attributes:
        source: camera of the original pictures.
        top_px, bottom_px: first row of the rectangle and the row after its last.
        height_px, width_px: size of the result.
        left_px, right_px: first column and the column after the last; None: the whole width.
    """

    source: Camera
    top_px: int
    bottom_px: int
    height_px: int
    width_px: int
    left_px: int = 0
    right_px: int | None = None

    @property
    def horizon(self) -> float:
        """Row of the horizon in the original picture, as a share of its height."""
        return (self.source.horizon_v_px + 0.5) / self.source.height_px

    @property
    def camera(self) -> Camera:
        """Camera of the result; what the scaling squeezes goes into its two focal lengths."""
        right_px = self.source.width_px if self.right_px is None else self.right_px
        band = self.source.cropped(self.top_px, self.left_px, self.bottom_px - self.top_px, right_px - self.left_px)
        return band.resized(self.height_px, self.width_px)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, 3) of the source camera's size -> the same of the result's size."""
        band = picture[self.top_px : self.bottom_px, self.left_px : self.right_px]
        shrinks = self.width_px < band.shape[1]
        return cv2.resize(
            band, (self.width_px, self.height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )


def cut_to_shape(camera: Camera, above: float, height_px: int, width_px: int) -> Cutout:
    """The largest rectangle with the shape of a policy's picture (200:78), scaled to ``height_px`` x ``width_px``.

    Args:
        camera: of the original pictures.
        above: share of the rectangle's rows that lie above the horizon; as near as the picture allows.
        height_px, width_px: of the result.

    Raises:
        BadInputError: the picture is too small to be cut.
    """
    shape = FRAME_WIDTH_PX / FRAME_HEIGHT_PX
    width = min(camera.width_px, round(camera.height_px * shape))
    height = min(camera.height_px, round(width / shape))
    if height < 8 or width < 8:
        raise BadInputError(f"pictures of {camera.height_px}x{camera.width_px} are too small; expected 8x20 or more")
    top = round(camera.horizon_v_px - above * height)
    left = round(camera.horizon_u_px + 0.5 - width / 2)
    top, left = min(max(top, 0), camera.height_px - height), min(max(left, 0), camera.width_px - width)
    return Cutout(camera, top, top + height, height_px, width_px, left, left + width)
