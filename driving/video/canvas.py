"""Drawing on a uint8 RGB array: anti-aliased text, rounded boxes, lines and discs, quick enough for video.

Text and boxes are drawn once by Pillow and kept as masks; the rest is cv2 with a sixteenth of a pixel.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

BACKGROUND: Colour = (14, 17, 23)
CARD: Colour = (24, 29, 39)
TRACK: Colour = (46, 54, 69)
INK: Colour = (236, 240, 246)
MUTED: Colour = (158, 168, 184)
FAINT: Colour = (98, 109, 128)
WHITE: Colour = (255, 255, 255)
GOOD: Colour = (110, 214, 150)
WARNING: Colour = (255, 190, 92)
DANGER: Colour = (255, 92, 92)
ACCENTS: tuple[Colour, ...] = ((84, 208, 216), (190, 160, 255), (240, 163, 94), (127, 208, 131))
"""Of the first network, the second, ..."""

SUBPIXEL_BITS = 4
BOX_SUPERSAMPLING = 4


@cache
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, the typeface that comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


def text_width_px(text: str, size_px: int, bold: bool = False) -> int:
    """Width of a line of text."""
    return int(np.ceil(font(size_px, bold).getlength(text)))


@lru_cache(maxsize=512)
def fitted(text: str, size_px: int, max_width_px: int, bold: bool = False) -> tuple[str, int]:
    """The text and size that fit a width: smaller by up to a quarter, then cut with an ellipsis."""
    for smaller_px in range(size_px, max(9, size_px * 3 // 4) - 1, -1):
        if text_width_px(text, smaller_px, bold) <= max_width_px:
            return text, smaller_px
    while text and text_width_px(text + "…", smaller_px, bold) > max_width_px:
        text = text[:-1]
    return text.rstrip() + "…", smaller_px


@lru_cache(maxsize=2048)
def _text_mask(text: str, size_px: int, bold: bool) -> np.ndarray:
    face = font(size_px, bold)
    ascent, descent = face.getmetrics()
    picture = Image.new("L", (text_width_px(text, size_px, bold) + 2, ascent + descent))
    ImageDraw.Draw(picture).text((0, 0), text, font=face, fill=255)
    return np.asarray(picture)


@lru_cache(maxsize=256)
def _box_mask(width_px: int, height_px: int, radius_px: int, outline_px: int) -> np.ndarray:
    k = BOX_SUPERSAMPLING
    picture = Image.new("L", (width_px * k, height_px * k))
    ImageDraw.Draw(picture).rounded_rectangle(
        (0, 0, width_px * k - 1, height_px * k - 1),
        radius_px * k,
        fill=0 if outline_px else 255,
        outline=255,
        width=outline_px * k,
    )
    return np.asarray(picture.resize((width_px, height_px), Image.Resampling.BOX))


def paint(canvas: np.ndarray, mask: np.ndarray, left: int, top: int, colour: Colour, opacity: float = 1.0) -> None:
    """Lays a colour over the canvas where a mask (h, w) of 0 to 255 says; what hangs over the edge is cut."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + mask.shape[0], canvas.shape[0]), min(left + mask.shape[1], canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    alpha = mask[y0 - top : y1 - top, x0 - left : x1 - left, None] * np.float32(opacity / 255)
    area = canvas[y0:y1, x0:x1]
    area[:] = area + alpha * (np.array(colour, dtype=np.float32) - area) + 0.5


def write(
    canvas: np.ndarray,
    text: str,
    x: float,
    y: float,
    size_px: int,
    colour: Colour = INK,
    *,
    bold: bool = False,
    anchor: str = "left",
    max_width_px: int | None = None,
) -> int:
    """One line of text with its middle at row ``y``, ``x`` its left, centre or right; returns its width."""
    if max_width_px is not None:
        text, size_px = fitted(text, size_px, max_width_px, bold)
    mask = _text_mask(text, size_px, bold)
    width_px = mask.shape[1] - 2
    left = x - {"left": 0.0, "centre": 0.5, "right": 1.0}[anchor] * width_px
    paint(canvas, mask, round(left), round(y - mask.shape[0] / 2), colour)
    return width_px


def box(
    canvas: np.ndarray,
    left: float,
    top: float,
    width_px: float,
    height_px: float,
    colour: Colour,
    *,
    radius_px: int = 8,
    outline_px: int = 0,
    opacity: float = 1.0,
) -> None:
    """A rounded rectangle, filled or (``outline_px`` > 0) its outline alone."""
    w, h, x, y = round(width_px), round(height_px), round(left), round(top)
    if not (w > 0 and h > 0):
        return
    radius_px = min(radius_px, w // 2, h // 2)
    mask = _box_mask(w, h, radius_px, outline_px)
    if outline_px or opacity < 1:
        paint(canvas, mask, x, y, colour, opacity)
        return
    paint(canvas, mask[:radius_px], x, y, colour)
    canvas[max(y + radius_px, 0) : max(y + h - radius_px, 0), max(x, 0) : max(x + w, 0)] = colour
    paint(canvas, mask[h - radius_px :], x, y + h - radius_px, colour)


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(value * (1 << SUBPIXEL_BITS)) for value in values)


def line(
    canvas: np.ndarray, start: tuple[float, float], end: tuple[float, float], colour: Colour, width_px: int = 1
) -> None:
    """A straight line between two points (x, y)."""
    cv2.line(canvas, _fixed(*start), _fixed(*end), colour, width_px, cv2.LINE_AA, SUBPIXEL_BITS)


def lines(canvas: np.ndarray, points: np.ndarray, colour: Colour, width_px: int) -> None:
    """Straight lines from each point (x, y) of (n, 2) to the next."""
    fixed = np.round(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, colour, width_px, cv2.LINE_AA, SUBPIXEL_BITS)


def disc(
    canvas: np.ndarray, centre: tuple[float, float], radius_px: float, colour: Colour, outline_px: int = -1
) -> None:
    """A disc, or with ``outline_px`` > 0 a ring."""
    cv2.circle(canvas, _fixed(*centre), _fixed(radius_px)[0], colour, outline_px, cv2.LINE_AA, SUBPIXEL_BITS)


def arc(
    canvas: np.ndarray,
    centre: tuple[float, float],
    radius_px: float,
    start_rad: float,
    end_rad: float,
    colour: Colour,
    width_px: int,
) -> None:
    """Part of a circle; angles counter-clockwise from straight up, so that left is positive."""
    angle = np.linspace(start_rad, end_rad, max(2, int(abs(end_rad - start_rad) * radius_px / 2) + 2))
    points = np.stack([centre[0] - radius_px * np.sin(angle), centre[1] - radius_px * np.cos(angle)], axis=1)
    lines(canvas, points, colour, width_px)


def mixed(low: Colour, high: Colour, share: float) -> Colour:
    """The colour at ``share`` of the way from one to the other."""
    r, g, b = (round(x + (y - x) * share) for x, y in zip(low, high, strict=True))
    return r, g, b


def card(canvas: np.ndarray, rectangle: Rectangle, title: str) -> Rectangle:
    """A box with a caption; returns the rectangle left for its content."""
    left, top, width, height = rectangle
    box(canvas, left, top, width, height, CARD, radius_px=10)
    write(canvas, title, left + 14, top + 18, 13, MUTED, max_width_px=width - 28)
    return left + 14, top + 34, width - 28, height - 46
