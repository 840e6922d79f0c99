"""Painted lines, arrows and crossings in the ground texture, with their wear."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sim.appearance.ground_loops import wear_of
from sim.appearance.section import PARKING_M, CrossSection
from sim.appearance.surface import (
    N_D,
    N_S,
    TEXEL_D_M,
    TEXEL_S_M,
    grain,
    grid_d_m,
    grid_s_m,
    noise,
    row_of,
    rows_between,
)
from sim.families import RoadFamily

DASH_PERIODS_M = (6.4, 9.6, 12.8)
_ARROWS = {  # outlines, metres (forward, left) from the arrow's middle
    "straight": ((-2.2, 0.08), (0.6, 0.08), (0.6, 0.38), (2.2, 0.0), (0.6, -0.38), (0.6, -0.08), (-2.2, -0.08)),
    "left": (
        (-2.2, 0.08), (-0.2, 0.08), (0.7, 0.35), (0.2, 0.45), (1.2, 1.0), (2.0, 0.2), (1.5, 0.25), (0.4, -0.08),
        (-2.2, -0.08),
    ),
}  # fmt: skip


@dataclass
class Paint:
    """The painted layer while it is being laid.

    Attributes:
        alpha: (N_D, N_S) uint8, how much of the ground the paint hides.
        is_yellow: (N_D, N_S) uint8, 255 where it is yellow.
        wear: (N_D, N_S) float32 in about [-1, 1], where paint goes first.
    """

    alpha: np.ndarray
    is_yellow: np.ndarray
    wear: np.ndarray

    def copy(self) -> Paint:
        """A layer to paint on without changing this one; the wear is shared."""
        return Paint(self.alpha.copy(), self.is_yellow.copy(), self.wear)

    def lay(self, rows: slice, columns: slice, cover: np.ndarray, strength: float, worn: float, yellow: bool) -> None:
        """Lay paint on a rectangle by its cover in [0, 1]; ``worn`` 0 is fresh, 1 nearly gone."""
        wear = self.wear[rows, columns]
        left = np.clip(1.2 - worn * (0.75 + wear), 0, 1) * np.float32(255 * strength)
        new = (cover * left).astype(np.uint8)
        here = self.alpha[rows, columns]
        self.is_yellow[rows, columns][new > here] = 255 if yellow else 0
        np.maximum(here, new, out=here)

    def line(
        self, d_m: float, width_m: float, yellow: bool, worn: float, strength: float = 1.0,
        dash: tuple[float, float, float] | None = None, along_m: tuple[float, float] = (0.0, 1e3),
    ) -> None:  # fmt: skip
        """A line along the road; ``dash`` is (period, painted share, phase) in metres."""
        rows = rows_between(d_m - width_m / 2 - TEXEL_D_M, d_m + width_m / 2 + TEXEL_D_M)
        cover = np.clip((width_m / 2 - np.abs(grid_d_m[rows] - d_m)) / TEXEL_D_M + 0.5, 0, 1)
        along = ((grid_s_m >= along_m[0]) & (grid_s_m < along_m[1])).astype(np.float32)
        if dash is not None:
            along *= (grid_s_m + dash[2]) % dash[0] < dash[0] * dash[1]
        self.lay(rows, slice(None), cover * along, strength, worn, yellow)

    def bar(self, s_m: float, length_m: float, low_m: float, high_m: float, worn: float, yellow: bool = False) -> None:
        """A rectangle across the road, from ``s_m`` on and between two lateral positions."""
        first = round(s_m / TEXEL_S_M)
        columns = slice(first, first + max(round(length_m / TEXEL_S_M), 1))
        self.lay(rows_between(low_m, high_m), columns, np.ones((1, 1), np.float32), 1.0, worn, yellow)

    def polygon(self, s_m: np.ndarray, d_m: np.ndarray, worn: float, yellow: bool = False) -> None:
        """A filled outline given in metres."""
        mask = np.zeros((N_D, N_S), np.uint8)
        points = np.stack([s_m / TEXEL_S_M - 0.5, row_of(d_m)], -1)
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        rows = rows_between(float(np.min(d_m)) - 0.1, float(np.max(d_m)) + 0.1)
        self.lay(rows, slice(None), mask[rows] * np.float32(1 / 255), 1.0, worn, yellow)

    def arrow(self, s_m: float, d_m: float, kind: str, worn: float, oncoming: bool = False) -> None:
        """An arrow ("straight", "left" or "right") in a lane, pointing forward or, oncoming, back."""
        outline = np.array(_ARROWS["left" if kind == "right" else kind])
        side, ahead = (-1 if kind == "right" else 1), (-1 if oncoming else 1)
        self.polygon(s_m + ahead * outline[:, 0], d_m + ahead * side * outline[:, 1], worn)

    def clear(self, start_m: float, end_m: float, low_m: float = -1e3, high_m: float = 1e3) -> None:
        """Take all paint off a rectangle."""
        columns = slice(max(round(start_m / TEXEL_S_M), 0), max(round(end_m / TEXEL_S_M), 0))
        self.alpha[rows_between(low_m, high_m), columns] = 0


@dataclass(frozen=True)
class MarkingStyle:
    """How an episode's lines are painted.

    Attributes:
        width_m: of a line.
        worn: 0 fresh to 1 nearly gone, of the whole road.
        yellow_centre: lines between the two directions are yellow.
    """

    width_m: float
    worn: float
    yellow_centre: bool


def draw_markings(rng: np.random.Generator, family: RoadFamily, section: CrossSection) -> tuple[Paint, MarkingStyle]:
    """The lines that run along the whole road."""
    style = MarkingStyle(
        float(rng.uniform(0.10, 0.20)), float(rng.choice([0.1, 0.35, 0.65, 0.95])), bool(rng.random() < 0.45)
    )
    wear = wear_of(noise(rng, 0.35, 2.5), np.float32(0.8), grain(rng), np.float32(0.45))
    paint = Paint(np.zeros((N_D, N_S), np.uint8), np.zeros((N_D, N_S), np.uint8), wear)
    lane_m, width_m = section.lane_width_m, style.width_m
    period_m, share, phase_m = float(rng.choice(DASH_PERIODS_M)), rng.uniform(0.3, 0.55), rng.uniform(0, 12.8)
    dash = (period_m, float(share), float(phase_m))

    def worn() -> float:  # every line is of an age of its own
        return float(np.clip(style.worn + rng.uniform(-0.25, 0.25), 0, 1.1))

    own_way = (0.0, *section.same_way_m)
    far = section.far_carriageway_m
    has_edges, dashed_edge = rng.random() < family.edge_lines, rng.random() < 0.06
    for lane in (*own_way[1:], *sorted(section.oncoming_m)[1:]):
        paint.line(lane - lane_m / 2, width_m, False, worn(), dash=dash)
    kinds = family.centre_lines
    centre = str(rng.choice(list(kinds), p=np.array(list(kinds.values()))))
    gap_m, has_studs = rng.uniform(0.10, 0.18), rng.random() < 0.3
    if section.oncoming_m and far is None:
        middle_m, yellow = max(own_way) + lane_m / 2, style.yellow_centre
        if centre in ("double", "half"):
            offset_m = (gap_m + width_m) / 2
            paint.line(middle_m + offset_m, width_m, yellow, worn())
            paint.line(middle_m - offset_m, width_m, yellow, worn(), dash=dash if centre == "half" else None)
        elif centre != "none":
            paint.line(middle_m, width_m, yellow, worn(), dash=dash if centre == "dashed" else None)
        if has_studs and centre != "none":
            paint.line(middle_m, 0.12, yellow, 0.0, dash=(6.4, 0.02, dash[2]))
    if has_edges:
        paint.line(-lane_m / 2, width_m, False, worn(), dash=dash if dashed_edge else None)
        own_left = max(own_way) if far is not None else max(section.lanes_m)
        paint.line(own_left + lane_m / 2, width_m, style.yellow_centre and far is not None, worn())
    if far is not None:
        paint.line(min(section.oncoming_m) - lane_m / 2, width_m, style.yellow_centre, worn())
        paint.line(max(section.oncoming_m) + lane_m / 2, width_m, False, worn())
    _paint_bays(paint, section, worn())
    return paint, style


def _paint_bays(paint: Paint, section: CrossSection, worn: float) -> None:
    """Bays along the kerb where the paved surface is wide enough for them."""
    half_m = section.lane_width_m / 2
    if not section.has_kerb:
        return
    for side, edge_m, lane_m in (
        (-1, section.right_edge_m, -half_m),
        (1, section.left_edge_m, max(section.lanes_m) + half_m),
    ):
        if side * (edge_m - lane_m) < PARKING_M:
            continue
        inner_m = edge_m - side * PARKING_M
        paint.line(inner_m, 0.1, False, worn, dash=(6.4, 0.5, 0.0))
        for s_m in np.arange(3.2, 76.8, 6.4):
            paint.bar(float(s_m), 0.12, min(inner_m, edge_m), max(inner_m, edge_m), worn)
