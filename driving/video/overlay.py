"""The camera picture with the attention map laid over it, and the scale of its colours."""

from __future__ import annotations

from functools import lru_cache

import cv2
import matplotlib
import numpy as np

from driving.video.canvas import Rectangle

PICTURE_SATURATION, PICTURE_LIGHT = 0.45, 0.62
"""What is left of the camera picture's colour and light under the attention map."""


@lru_cache(maxsize=1)
def _attention_table() -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 attention values: its colour x opacity, and 255 x what it leaves of the picture."""
    share = np.linspace(0, 1, 256)[:, None]
    opacity = 0.92 * share**0.8
    covered = matplotlib.colormaps["inferno"](0.25 + 0.75 * share[:, 0])[:, :3] * 255 * opacity
    left_over = np.repeat(255 * (1 - opacity), 3, axis=1)
    return np.round(covered).astype(np.uint8)[None], np.round(left_over).astype(np.uint8)[None]


def camera_view(canvas: np.ndarray, rectangle: Rectangle, picture: np.ndarray, attention: np.ndarray) -> None:
    """The camera picture, toned down, under the attention map: bright where the network looks."""
    left, top, width, height = rectangle
    shown = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturated = PICTURE_LIGHT * PICTURE_SATURATION
    toned = cv2.addWeighted(shown, saturated, grey, PICTURE_LIGHT - saturated, 0)
    level = cv2.resize(np.nan_to_num(attention).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    index = cv2.cvtColor(cv2.convertScaleAbs(np.clip(level, 0, 1), alpha=255), cv2.COLOR_GRAY2RGB)
    covered, left_over = _attention_table()
    dimmed = cv2.multiply(toned, cv2.LUT(index, left_over), scale=1 / 255)
    canvas[top : top + height, left : left + width] = cv2.add(dimmed, cv2.LUT(index, covered))


def attention_scale(canvas: np.ndarray, left: int, middle: int, width_px: int) -> None:
    """The colours of ``camera_view`` from no to most attention, over a road's grey."""
    covered, left_over = _attention_table()
    colours = cv2.addWeighted(covered, 1.0, left_over, 60 / 255, 0)
    strip = cv2.resize(colours, (width_px, 10), interpolation=cv2.INTER_LINEAR)
    canvas[middle - 5 : middle + 5, left : left + width_px] = strip
