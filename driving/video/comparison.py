"""One picture of the comparison video: each network's view, attention, command and inner state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from driving.models.wiring import Wiring
from driving.video.activity import ABOVE, BELOW, hidden_units, liquid_circuit, state_scale
from driving.video.canvas import (
    ACCENTS,
    BACKGROUND,
    DANGER,
    GOOD,
    INK,
    MUTED,
    WARNING,
    WHITE,
    Colour,
    Rectangle,
    box,
    text_width_px,
    write,
)
from driving.video.instruments import lane_place, road_share, steering
from driving.video.overlay import attention_scale, camera_view

HEIGHT_PX, WIDTH_PX = 720, 1280
MARGIN_PX, GAP_PX = 24, 12
CRASHED = "OUT OF ITS LANE"
PANEL_WIDTH_PX = {1: 640, 2: 600, 3: 400, 4: 296}
MAX_PANELS = max(PANEL_WIDTH_PX)
WIDE_PX = 500
"""From this width on the instruments stand side by side, below it one above the other."""
PANEL_TOP_PX, PANEL_BOTTOM_PX = 100, 672

Drawing = Callable[[np.ndarray, Rectangle], None]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One network at one instant.

    Attributes:
        title: who drives, such as "19 liquid neurons (LTC)".
        picture: camera view, uint8 RGB (h, w, 3), of any size.
        attention: map (H, W) in [0, 1] over the same view.
        curvature_per_m: the network's command, left positive.
        max_curvature_per_m: command at which the wheel stands at its stop.
        reference_curvature_per_m: what a recorded driver did, as a thin second mark.
        on_road_share: running mean of the attention's share on the road, 0 to 1.
        untrained_on_road_share: the same for this network before training.
        lateral_offset_m, lane_half_width_m: place in the lane, left positive; drawn where both are known.
        status: one or few words, "driving" or "left the lane at 12.3 s".
        crashed: whether the car is out of its lane; ``shaken``: whether its command shows a burst in its memory.
        neurons: states (n,) to be shown.
        units_note: how they hang together, where they are no circuit's.
        wiring: of these neurons, where they are a circuit's.
        strengths: of its synapses (R,), where known.
        time_constants_s: of the neurons (n,), as they are now, where known.
        road_mask: bool (H, W), drawn as an outline; where known.
    """

    title: str
    picture: np.ndarray
    attention: np.ndarray
    curvature_per_m: float
    max_curvature_per_m: float
    reference_curvature_per_m: float | None = None
    on_road_share: float | None = None
    untrained_on_road_share: float | None = None
    lateral_offset_m: float | None = None
    lane_half_width_m: float | None = None
    status: str = "driving"
    crashed: bool = False
    shaken: bool = False
    neurons: np.ndarray | None = None
    units_note: str = ""
    wiring: Wiring | None = None
    strengths: np.ndarray | None = None
    time_constants_s: np.ndarray | None = None
    road_mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        n_neurons = 0 if self.neurons is None else len(self.neurons)
        if self.wiring is not None and self.wiring.n_neurons != n_neurons:
            raise ValueError(f"neurons must be ({self.wiring.n_neurons},), got {n_neurons}")
        if not self.max_curvature_per_m > 0:
            raise ValueError(f"max_curvature_per_m must be positive, got {self.max_curvature_per_m!r}")


def compose(
    panels: Sequence[Panel],
    *,
    heading: str,
    subtitle: str,
    condition: str,
    time_s: float,
    noisy: bool = False,
    road_area_share: float | None = None,
) -> np.ndarray:
    """One to four panels as a picture, uint8 RGB (720, 1280, 3).

    Args:
        panels: one network each, left to right.
        heading: what is shown, in one line.
        subtitle: how to read it, in one line.
        condition: of the camera picture, shown as a badge: "clean picture", "Gaussian noise 0.1".
        time_s: since the start, shown beside the badge.
        noisy: colours the badge as a warning.
        road_area_share: the road's share of the picture, which attention spread evenly would score.
    """
    if len(panels) not in PANEL_WIDTH_PX:
        raise ValueError(f"expected one to four panels, got {len(panels)}")
    canvas = _background().copy()
    _header(canvas, heading, subtitle, condition, time_s, WARNING if noisy else GOOD)
    width = PANEL_WIDTH_PX[len(panels)]
    left = MARGIN_PX if len(panels) > 1 else (WIDTH_PX - width) // 2
    step = (WIDTH_PX - 2 * MARGIN_PX - width) // max(len(panels) - 1, 1)
    for i_panel, panel in enumerate(panels):
        _panel(canvas, panel, left + i_panel * step, width, ACCENTS[i_panel], road_area_share)
    _footer(canvas, panels)
    return canvas


@cache
def _background() -> np.ndarray:
    return np.full((HEIGHT_PX, WIDTH_PX, 3), BACKGROUND, dtype=np.uint8)


def _header(canvas: np.ndarray, heading: str, subtitle: str, condition: str, time_s: float, colour: Colour) -> None:
    badge_px = text_width_px(condition, 16, bold=True) + 36
    right = WIDTH_PX - MARGIN_PX
    text_px = right - badge_px - 30 - MARGIN_PX
    write(canvas, heading, MARGIN_PX, 32, 26, INK, bold=True, max_width_px=text_px)
    write(canvas, subtitle, MARGIN_PX, 66, 16, MUTED, max_width_px=text_px)
    box(canvas, right - badge_px, 16, badge_px, 34, colour, radius_px=17, opacity=0.16)
    box(canvas, right - badge_px, 16, badge_px, 34, colour, radius_px=17, outline_px=2)
    write(canvas, condition, right - badge_px / 2, 33, 16, colour, bold=True, anchor="centre")
    write(canvas, f"{time_s:.1f} s", right - 2, 67, 16, MUTED, anchor="right")


def _panel(
    canvas: np.ndarray, panel: Panel, left: int, width: int, accent: Colour, road_area_share: float | None
) -> None:
    colour = DANGER if panel.crashed else WARNING if panel.shaken else GOOD
    status_px = text_width_px(panel.status, 15, bold=panel.crashed)
    middle = PANEL_TOP_PX + 14
    box(canvas, left, middle - 11, 5, 22, accent, radius_px=2)
    write(canvas, panel.title, left + 15, middle, 20, INK, bold=True, max_width_px=width - status_px - 60)
    write(canvas, panel.status, left + width - 2, middle, 15, colour, bold=panel.crashed, anchor="right")
    box(canvas, left + width - status_px - 18, middle - 5, 10, 10, colour, radius_px=5)

    picture_top = PANEL_TOP_PX + 36
    picture_height = round(width * panel.picture.shape[0] / panel.picture.shape[1])
    picture_height = min(picture_height, round(0.39 * width))
    picture_width = min(width, round(picture_height * panel.picture.shape[1] / panel.picture.shape[0]))
    view = (left + (width - picture_width) // 2, picture_top, picture_width, picture_height)
    camera_view(canvas, view, panel.picture, panel.attention, panel.road_mask)
    if panel.crashed:
        box(canvas, *view, DANGER, radius_px=0, opacity=0.10)
        box(canvas, *view, DANGER, radius_px=0, outline_px=4)
        banner_px = text_width_px(CRASHED, 16, bold=True) + 32
        middle_x, banner_top = view[0] + view[2] / 2, view[1] + view[3] - 46
        box(canvas, middle_x - banner_px / 2, banner_top, banner_px, 32, (196, 40, 46), radius_px=6)
        write(canvas, CRASHED, middle_x, banner_top + 16, 16, WHITE, bold=True, anchor="centre")
    top = picture_top + picture_height + GAP_PX
    _instruments(canvas, panel, (left, top, width, PANEL_BOTTOM_PX - top), accent, road_area_share)


def _instruments(
    canvas: np.ndarray, panel: Panel, area: Rectangle, accent: Colour, road_area_share: float | None
) -> None:
    """The known instruments in columns that share the width; an unknown one leaves its room to the others."""
    columns = _columns(panel, accent, road_area_share)
    left, top, width, height = area
    if width < WIDE_PX:
        _stacked(canvas, [column[1] for column in columns], area)
        return
    share = (width - GAP_PX * (len(columns) - 1)) / sum(weight for weight, _ in columns)
    x = float(left)
    for weight, drawings in columns:
        each = (height - GAP_PX * (len(drawings) - 1)) / len(drawings)
        for i, draw in enumerate(drawings):
            right, y = round(x + weight * share), round(top + i * (each + GAP_PX))
            draw(canvas, (round(x), y, right - round(x), round(each)))
        x += weight * share + GAP_PX


def _stacked(canvas: np.ndarray, columns: list[list[Drawing]], area: Rectangle) -> None:
    """Wheel and scores side by side where there is room for both, what goes on inside below them."""
    left, top, width, height = area
    rows = [[column[0] for column in columns[:2]], *([drawing] for column in columns[2:] for drawing in column)]
    each = (height - GAP_PX * (len(rows) - 1)) / len(rows)
    for i, row in enumerate(rows):
        share = (width - GAP_PX * (len(row) - 1)) / len(row)
        for k, draw in enumerate(row):
            x, y = round(left + k * (share + GAP_PX)), round(top + i * (each + GAP_PX))
            draw(canvas, (x, y, round(share), round(each)))


def _columns(panel: Panel, accent: Colour, road_area_share: float | None) -> list[tuple[float, list[Drawing]]]:
    """(share of the width, drawings from top to bottom) of each column; one without drawings falls away."""
    steer = partial(
        steering,
        curvature_per_m=panel.curvature_per_m,
        max_curvature_per_m=panel.max_curvature_per_m,
        reference_curvature_per_m=panel.reference_curvature_per_m,
        accent=accent,
    )
    scores: list[Drawing] = []
    if panel.on_road_share is not None:
        share = partial(road_share, on_road_share=panel.on_road_share, road_area_share=road_area_share)
        scores.append(partial(share, untrained_on_road_share=panel.untrained_on_road_share, accent=accent))
    offset_m, half_width_m = panel.lateral_offset_m, panel.lane_half_width_m
    if offset_m is not None and half_width_m is not None and np.isfinite(offset_m):
        scores.append(partial(lane_place, lateral_offset_m=offset_m, lane_half_width_m=half_width_m))
    inside: list[Drawing] = []
    if panel.neurons is not None and panel.wiring is not None:
        activity = partial(liquid_circuit, neurons=panel.neurons, wiring=panel.wiring)
        inside.append(partial(activity, strengths=panel.strengths, time_constants_s=panel.time_constants_s))
    elif panel.neurons is not None:
        inside.append(partial(hidden_units, hidden=panel.neurons, note=panel.units_note))
    columns: list[tuple[float, list[Drawing]]] = [(1.0, [steer]), (1.2, scores), (1.25, inside)]
    return [column for column in columns if column[1]]


def _footer(canvas: np.ndarray, panels: Sequence[Panel]) -> None:
    y, x = 697, MARGIN_PX
    x += write(canvas, "attention   none", x, y, 13, MUTED) + 8
    attention_scale(canvas, x, y, 130)
    x += 138
    x += write(canvas, "most", x, y, 13, MUTED) + 48
    if any(panel.neurons is not None for panel in panels):
        x += write(canvas, "neuron state   −1", x, y, 13, MUTED) + 8
        state_scale(canvas, x, y, 130)
        x += 138
        x += write(canvas, "+1", x, y, 13, MUTED) + 40
    if any(panel.time_constants_s is not None for panel in panels):
        x += write(canvas, "ring: time constant τ, closed at 1 s", x, y, 13, MUTED)
    if any(panel.wiring is not None for panel in panels):
        x = WIDTH_PX - MARGIN_PX
        for text, colour in (
            ("pulls it down", BELOW),
            ("/", MUTED),
            ("pushes the next up", ABOVE),
            ("lit line:", MUTED),
        ):
            x -= write(canvas, text, x, y, 13, colour, anchor="right") + 7
