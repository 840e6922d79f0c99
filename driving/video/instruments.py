"""The instruments under each camera picture. Each draws into a rectangle (left, top, width, height)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from driving.video.canvas import (
    BOX_SUPERSAMPLING,
    CARD,
    DANGER,
    FAINT,
    GOOD,
    INK,
    MUTED,
    TRACK,
    WARNING,
    WHITE,
    Colour,
    Rectangle,
    arc,
    box,
    card,
    line,
    paint,
    text_width_px,
    write,
)

WHEEL_STOP_RAD = np.radians(100)
"""The drawn wheel's turn, and the arc's end, at the largest curvature."""


@lru_cache(maxsize=8)
def _wheel_mask(radius_px: int, rim_px: int) -> np.ndarray:
    """A steering wheel seen from the front, standing straight."""
    k = BOX_SUPERSAMPLING
    side, middle, radius, rim = (2 * radius_px + 3) * k, (radius_px + 1.5) * k, radius_px * k, rim_px * k
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((middle - radius, middle - radius, middle + radius, middle + radius), outline=255, width=rim)
    inner = radius - rim / 2
    draw.line((middle - inner, middle, middle + inner, middle), fill=255, width=rim)
    draw.line((middle, middle, middle, middle + inner), fill=255, width=rim)
    hub = radius * 0.28
    draw.ellipse((middle - hub, middle - hub, middle + hub, middle + hub), fill=255)
    return np.asarray(picture.resize((side // k, side // k), Image.Resampling.BOX))


def _wheel(canvas: np.ndarray, centre: tuple[float, float], radius_px: int, turn_rad: float, accent: Colour) -> None:
    rim_px = max(6, radius_px // 6)
    mask = _wheel_mask(radius_px, rim_px)
    middle = mask.shape[0] / 2 - 0.5
    # cv2 turns counter-clockwise for positive angles: a wheel turned left.
    turn = cv2.getRotationMatrix2D((middle, middle), np.degrees(turn_rad), 1.0)
    turned = cv2.warpAffine(mask, turn, mask.shape, flags=cv2.INTER_LINEAR)
    left, top = round(centre[0] - middle), round(centre[1] - middle)
    paint(canvas, turned, left, top, (200, 208, 220))
    # The mark that stands on top when the car goes straight.
    arc(canvas, (left + middle, top + middle), radius_px - rim_px / 2, turn_rad - 0.1, turn_rad + 0.1, CARD, rim_px + 2)
    arc(
        canvas,
        (left + middle, top + middle),
        radius_px - rim_px / 2,
        turn_rad - 0.03,
        turn_rad + 0.03,
        accent,
        rim_px - 2,
    )


def steering(
    canvas: np.ndarray,
    rectangle: Rectangle,
    curvature_per_m: float,
    max_curvature_per_m: float,
    reference_curvature_per_m: float | None,
    accent: Colour,
) -> None:
    """A steering wheel turned by the command, an arc filled to its side, and the curvature as a number."""
    left, top, width, height = card(canvas, rectangle, "Steering")
    radius_px = min(width / 2, (height - 52) / 2) - 4
    centre = (left + width / 2, top + (height - 44) / 2)
    share = float(np.clip(np.nan_to_num(curvature_per_m) / max_curvature_per_m, -1, 1))
    arc(canvas, centre, radius_px, -WHEEL_STOP_RAD, WHEEL_STOP_RAD, TRACK, 6)
    arc(canvas, centre, radius_px, 0, share * WHEEL_STOP_RAD, accent, 6)
    arc(canvas, centre, radius_px, -0.01, 0.01, INK, 8)
    _wheel(canvas, centre, int(radius_px - 13), share * WHEEL_STOP_RAD, accent)
    side = "straight" if abs(curvature_per_m) < 0.0005 else "left" if curvature_per_m > 0 else "right"
    text = side if side == "straight" else f"{side} {abs(curvature_per_m):.3f} 1/m"
    middle_x = left + width / 2
    write(canvas, text, middle_x, top + height - 22, 16, INK, bold=True, anchor="centre", max_width_px=width)
    if reference_curvature_per_m is None:
        radius_m = "" if side == "straight" else f"radius {1 / abs(curvature_per_m):.0f} m"
        write(canvas, radius_m, middle_x, top + height - 2, 12, MUTED, anchor="centre", max_width_px=width)
        return
    angle = float(np.clip(reference_curvature_per_m / max_curvature_per_m, -1, 1)) * WHEEL_STOP_RAD
    toward = np.array([-np.sin(angle), -np.cos(angle)])
    near, far = np.array(centre) + toward * (radius_px - 12), np.array(centre) + toward * (radius_px + 5)
    line(canvas, (near[0], near[1]), (far[0], far[1]), WARNING, 3)
    write(canvas, "▏recorded driver", middle_x, top + height - 2, 12, WARNING, anchor="centre", max_width_px=width)


def road_share(
    canvas: np.ndarray,
    rectangle: Rectangle,
    on_road_share: float,
    road_area_share: float | None,
    untrained_on_road_share: float | None,
    accent: Colour,
) -> None:
    """The share of the attention on the road as a figure and a bar, with what it is to be read against."""
    left, top, width, _ = card(canvas, rectangle, "Attention on the road")
    known = bool(np.isfinite(on_road_share))
    figure = f"{on_road_share:.0%}" if known else "–"
    write(canvas, figure, left, top + 16, 26, INK, bold=True)
    figure_px = text_width_px(figure, 26, True) + 8
    write(canvas, "mean so far", left + figure_px, top + 20, 12, MUTED, max_width_px=width - figure_px)
    bar = top + 46
    box(canvas, left, bar - 6, width, 12, TRACK, radius_px=6)
    if known:
        box(canvas, left, bar - 6, max(12.0, width * min(on_road_share, 1.0)), 12, accent, radius_px=6)
    marks = (("road in the picture", road_area_share, WHITE), ("untrained network", untrained_on_road_share, WARNING))
    row = bar + 20
    for name, share, colour in marks:
        if share is None or not np.isfinite(share):
            continue
        x = left + width * min(max(share, 0.0), 1.0)
        line(canvas, (x, bar - 9), (x, bar + 9), CARD, 6)
        line(canvas, (x, bar - 9), (x, bar + 9), colour, 2)
        line(canvas, (left + 2, row - 5), (left + 2, row + 5), colour, 2)
        write(canvas, name, left + 10, row, 12, MUTED, max_width_px=width - 44)
        write(canvas, f"{share:.0%}", left + width, row, 12, colour, anchor="right")
        row += 17


def lane_place(canvas: np.ndarray, rectangle: Rectangle, lateral_offset_m: float, lane_half_width_m: float) -> None:
    """The lane from above with the car in it; left is left."""
    left, top, width, height = card(canvas, rectangle, "Place in the lane")
    middle_x, lane_px = left + width / 2, width * 0.66
    lane_top, lane_bottom = top + 2, top + height - 22
    share = lateral_offset_m / lane_half_width_m
    colour = DANGER if abs(share) > 1 else WARNING if abs(share) > 0.6 else GOOD
    box(canvas, middle_x - lane_px / 2, lane_top, lane_px, lane_bottom - lane_top, (38, 44, 56), radius_px=2)
    for x in (middle_x - lane_px / 2, middle_x + lane_px / 2):
        line(canvas, (x, lane_top), (x, lane_bottom), (220, 225, 232), 3)
    for y in np.arange(lane_top + 3, lane_bottom - 4, 12.0):
        line(canvas, (middle_x, y), (middle_x, y + 5), FAINT, 1)
    x = middle_x - float(np.clip(share, -1.35, 1.35)) * lane_px / 2
    car_px = (lane_bottom - lane_top) * 0.72
    car_top = (lane_top + lane_bottom - car_px) / 2
    box(canvas, x - car_px * 0.27, car_top, car_px * 0.54, car_px, colour, radius_px=6)
    box(canvas, x - car_px * 0.19, car_top + car_px * 0.24, car_px * 0.38, car_px * 0.2, CARD, radius_px=3)
    side = "left" if lateral_offset_m > 0 else "right"
    text = "centred" if abs(lateral_offset_m) < 0.005 else f"{abs(lateral_offset_m):.2f} m {side} of centre"
    write(canvas, text, middle_x, top + height - 4, 13, colour, anchor="centre", max_width_px=width)
