"""The camera picture with the attention map laid over it, and the scale of its colours."""

from __future__ import annotations

from functools import lru_cache

import cv2
import matplotlib
import numpy as np

from driving.video.canvas import Rectangle

PICTURE_SATURATION, PICTURE_LIGHT = 0.45, 0.62
"""What is left of the camera picture's colour and light under the attention map."""

OUTLINE = (150, 214, 178)
"""Colour of the road's outline."""


@lru_cache(maxsize=1)
def _attention_table() -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 attention values: its colour x opacity, and 255 x what it leaves of the picture."""
    share = np.linspace(0, 1, 256)[:, None]
    opacity = 0.92 * share**0.8
    covered = matplotlib.colormaps["inferno"](0.25 + 0.75 * share[:, 0])[:, :3] * 255 * opacity
    left_over = np.repeat(255 * (1 - opacity), 3, axis=1)
    return np.round(covered).astype(np.uint8)[None], np.round(left_over).astype(np.uint8)[None]


def camera_view(
    canvas: np.ndarray,
    rectangle: Rectangle,
    picture: np.ndarray,
    attention: np.ndarray,
    road_mask: np.ndarray | None = None,
) -> None:
    """The camera picture, toned down, under the attention map: bright where the network looks; the road outlined."""
    left, top, width, height = rectangle
    shown = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    saturated = PICTURE_LIGHT * PICTURE_SATURATION
    toned = cv2.addWeighted(shown, saturated, grey, PICTURE_LIGHT - saturated, 0)
    level = cv2.resize(np.nan_to_num(attention).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    index = cv2.cvtColor(cv2.convertScaleAbs(np.clip(level, 0, 1), alpha=255), cv2.COLOR_GRAY2RGB)
    covered, left_over = _attention_table()
    dimmed = cv2.multiply(toned, cv2.LUT(index, left_over), scale=1 / 255)
    view = cv2.add(dimmed, cv2.LUT(index, covered))
    if road_mask is not None:
        cv2.drawContours(view, _outlines(road_mask, width, height), -1, OUTLINE, 1, cv2.LINE_AA)
    canvas[top : top + height, left : left + width] = view


def _outlines(road_mask: np.ndarray, width: int, height: int) -> list[np.ndarray]:
    """Of the road in a larger picture, without specks and small holes."""
    share = cv2.resize(road_mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = (cv2.GaussianBlur(share, (0, 0), width / 250) > 0.5).astype(np.uint8)
    found, _ = cv2.findContours(cv2.copyMakeBorder(smooth, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.RETR_LIST,
                                cv2.CHAIN_APPROX_NONE)  # fmt: skip
    return [contour - 1 for contour in found if cv2.contourArea(contour) > 0.002 * width * height]


def attention_scale(canvas: np.ndarray, left: int, middle: int, width_px: int) -> None:
    """The colours of ``camera_view`` from no to most attention, over a road's grey."""
    covered, left_over = _attention_table()
    colours = cv2.addWeighted(covered, 1.0, left_over, 60 / 255, 0)
    strip = cv2.resize(colours, (width_px, 10), interpolation=cv2.INTER_LINEAR)
    canvas[middle - 5 : middle + 5, left : left + width_px] = strip
