"""The last picture of a comparison video: the figures of all networks, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driving.video.canvas import (
    ACCENTS,
    BACKGROUND,
    CARD,
    DANGER,
    GOOD,
    INK,
    MUTED,
    TRACK,
    WARNING,
    WHITE,
    box,
    line,
    write,
)
from driving.video.comparison import HEIGHT_PX, MARGIN_PX, WIDTH_PX

_TOP_PX = 110


@dataclass(frozen=True)
class Result:
    """What came out for one network; shares from 0 to 1, None where unknown.

    Attributes:
        title: of the network.
        on_road_share, low, high: mean and 95 % interval over the seconds of this film.
        untrained_on_road_share, road_area_share: what it is to be read against.
        similarity: likeness (SSIM) of the maps of clean and noisy pictures.
        mean_abs_offset_m: off the middle of the lane.
        status: how the drive ended; ``crashed`` colours it.
        recovery_s: mean time in which the command was free of a burst in the memory.
    """

    title: str
    on_road_share: float | None
    low: float | None
    high: float | None
    untrained_on_road_share: float | None
    road_area_share: float | None
    similarity: float | None
    mean_abs_offset_m: float | None
    status: str
    crashed: bool
    recovery_s: float | None = None


def closing_card(results: Sequence[Result], heading: str, subtitle: str) -> np.ndarray:
    """A row for each network: uint8 RGB (720, 1280, 3)."""
    canvas = np.full((HEIGHT_PX, WIDTH_PX, 3), BACKGROUND, np.uint8)
    write(canvas, heading, MARGIN_PX, 36, 28, INK, bold=True, max_width_px=WIDTH_PX - 2 * MARGIN_PX)
    write(canvas, subtitle, MARGIN_PX, 74, 17, MUTED, max_width_px=WIDTH_PX - 2 * MARGIN_PX)
    height = min((HEIGHT_PX - _TOP_PX - 60) // max(len(results), 1), 190)
    for i, result in enumerate(results):
        _row(canvas, result, _TOP_PX + i * height, height - 14, i)
    note = "Bar: share of the attention on the road, thin line its 95 % interval over the seconds of this film."
    write(canvas, note, MARGIN_PX, HEIGHT_PX - 28, 15, MUTED, max_width_px=WIDTH_PX - 2 * MARGIN_PX)
    return canvas


def _row(canvas: np.ndarray, result: Result, top: int, height: int, i: int) -> None:
    accent, width = ACCENTS[i % len(ACCENTS)], WIDTH_PX - 2 * MARGIN_PX
    box(canvas, MARGIN_PX, top, width, height, CARD, radius_px=12)
    box(canvas, MARGIN_PX + 16, top + 16, 6, height - 32, accent, radius_px=3)
    left, middle = MARGIN_PX + 38, top + height / 2
    write(canvas, result.title, left, middle - 18, 24, INK, bold=True, max_width_px=370)
    write(canvas, result.status, left, middle + 18, 18, DANGER if result.crashed else GOOD, max_width_px=370)
    bar_left, bar_px = left + 400, 420
    if result.on_road_share is not None:
        box(canvas, bar_left, middle - 13, bar_px, 26, TRACK, radius_px=8)
        box(canvas, bar_left, middle - 13, max(16.0, bar_px * result.on_road_share), 26, accent, radius_px=8)
        if result.low is not None and result.high is not None:
            ends = [bar_left + bar_px * min(max(x, 0.0), 1.0) for x in (result.low, result.high)]
            line(canvas, (ends[0], middle), (ends[1], middle), INK, 3)
        marks = (("road in the picture", result.road_area_share, WHITE),
                 ("untrained", result.untrained_on_road_share, WARNING))  # fmt: skip
        for k, (name, share, colour) in enumerate(marks):
            if share is not None:
                x = bar_left + bar_px * share
                line(canvas, (x, middle - 19), (x, middle + 19), colour, 3)
                side = -1 if k else 1
                y = middle + side * 32
                write(canvas, f"{name} {share:.0%}", bar_left, y, 15, colour, max_width_px=bar_px)
    right = bar_left + bar_px + 30
    shown = "–" if result.on_road_share is None else f"{result.on_road_share:.0%}"
    write(canvas, shown, right, middle - 18, 34, INK, bold=True)
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f"{result.low:.0%} to {result.high:.0%}"
    write(canvas, interval, right, middle + 18, 17, MUTED)
    facts = []
    if result.mean_abs_offset_m is not None:
        facts.append(f"{result.mean_abs_offset_m:.2f} m off centre")
    if result.similarity is not None:
        facts.append(f"map kept {result.similarity:.0%} (SSIM)")
    if result.recovery_s is not None:
        facts.append(f"recovers in {result.recovery_s:.2f} s")
    for k, fact in enumerate(facts):
        y = middle + (k - (len(facts) - 1) / 2) * 30
        write(canvas, fact, WIDTH_PX - MARGIN_PX - 20, y, 17, INK, anchor="right", max_width_px=230)
