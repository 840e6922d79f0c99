"""Stretches of road with something on them: side roads, crossings, repairs, faulty markings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sim.appearance.markings import MarkingStyle, Paint
from sim.appearance.section import CrossSection
from sim.appearance.surface import PERIOD_M, SOLID, TEXEL_S_M, grid_d_m, grid_s_m, rows_between
from sim.families import RoadFamily


@dataclass
class Tile:
    """One period of the road before it is coloured; what draws on it leaves 1 m at both ends alone.

    Attributes:
        paved: (N_D, N_S) uint8, 255 where the surface is paved.
        shade: (N_D, N_S) uint8, brightness of the pavement.
        paint: the markings.
    """

    paved: np.ndarray
    shade: np.ndarray
    paint: Paint

    def copy(self) -> Tile:
        """A tile to change without changing this one."""
        return Tile(self.paved.copy(), self.shade.copy(), self.paint.copy())


Incident = Callable[[Tile, np.random.Generator, CrossSection, MarkingStyle], None]


def _columns(start_m: float, end_m: float) -> slice:
    return slice(round(start_m / TEXEL_S_M), round(end_m / TEXEL_S_M))


def _scale(tile: Tile, start_m: float, end_m: float, factor: float) -> None:
    """Make a stretch of the pavement darker or brighter."""
    part = np.ascontiguousarray(tile.shade[:, _columns(start_m, end_m)])
    tile.shade[:, _columns(start_m, end_m)] = cv2.convertScaleAbs(part, alpha=factor)


def _join(tile: Tile, rng: np.random.Generator, section: CrossSection, side: int, s_m: float) -> float:
    """Pave a side road to the left (1) or right (-1); returns half the length its mouth takes."""
    edge_m = section.left_edge_m if side > 0 else -section.right_edge_m
    half_m, radius_m, slant = rng.uniform(2.4, 3.6), rng.uniform(2.5, 6.0), rng.uniform(-0.35, 0.35)
    outside = grid_d_m[:, 0] * side - edge_m >= -0.1
    beyond = grid_d_m[outside] * side - edge_m
    inward = np.clip(radius_m - beyond, 0, radius_m)
    flare = radius_m - np.sqrt(np.maximum(radius_m**2 - inward**2, 0))
    mouth = np.abs(grid_s_m - s_m - slant * beyond) < half_m + flare
    mouth[:, :15] = mouth[:, -15:] = False
    tile.paved[outside] = np.where(mouth, np.uint8(SOLID), tile.paved[outside])
    line_m, reach_m = (
        section.lane_width_m / 2 if side < 0 else max(section.lanes_m) + section.lane_width_m / 2,
        half_m,
    )
    reach_m += 0.5 * radius_m
    kept = rng.random()
    if kept < 0.75:
        tile.paint.clear(s_m - reach_m, s_m + reach_m, *sorted((side * (line_m - 0.4), side * 25.0)))
    worn = rng.uniform(0.1, 0.8)
    if kept < 0.35:  # a broken edge line across the mouth
        across_m = (s_m - reach_m, s_m + reach_m)
        tile.paint.line(side * line_m, 0.15, False, worn, dash=(1.6, 0.5, 0.0), along_m=across_m)
    if rng.random() < 0.6:  # the line at which the side road gives way, on its half that leads here
        stop_m = sorted((side * (edge_m + 0.6), side * (edge_m + 1.0)))
        half = (s_m - half_m, s_m) if side > 0 else (s_m, s_m + half_m)
        tile.paint.line(float(np.mean(stop_m)), 0.4, False, worn, along_m=half)
    return reach_m


def _side_road_right(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    _join(tile, rng, section, -1, rng.uniform(18.0, 58.0))


def _side_road_left(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    _join(tile, rng, section, 1, rng.uniform(18.0, 58.0))


def _crossroads(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    s_m = rng.uniform(26.0, 50.0)
    reach_m = max(_join(tile, rng, section, side, s_m) for side in (-1, 1))
    if rng.random() < 0.7:
        tile.paint.clear(s_m - reach_m, s_m + reach_m)
    if rng.random() < 0.6:
        _stop_lines(tile, section, s_m, reach_m + 1.0, rng.uniform(0.0, 0.8))
    if rng.random() < 0.5:
        kind = str(rng.choice(["straight", "left", "right"]))
        tile.paint.arrow(s_m - reach_m - 8.0, 0.0, kind, rng.uniform(0.0, 0.8))


def _stop_lines(tile: Tile, section: CrossSection, s_m: float, reach_m: float, worn: float) -> None:
    half_m = section.lane_width_m / 2
    own_left_m = max((0.0, *section.same_way_m)) + half_m
    tile.paint.bar(s_m - reach_m - 0.4, 0.4, -half_m, own_left_m, worn)
    if section.oncoming_m and section.far_carriageway_m is None:
        tile.paint.bar(s_m + reach_m, 0.4, own_left_m, max(section.oncoming_m) + half_m, worn)


def _zebra(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    s_m, length_m, worn = rng.uniform(20.0, 55.0), rng.uniform(2.5, 4.0), rng.uniform(0.0, 0.9)
    tile.paint.clear(s_m - 1.0, s_m + length_m + 1.0)
    for d_m in np.arange(section.right_edge_m + 0.3, section.left_edge_m - 0.5, 1.0):
        tile.paint.bar(s_m, length_m, d_m, d_m + 0.5, worn)
    if rng.random() < 0.6:
        _stop_lines(tile, section, s_m + length_m / 2, length_m / 2 + 1.5, worn)


def _missing(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    start_m = rng.uniform(2.0, 20.0)
    low_m, high_m = ((-1e3, 1e3), (0.0, 1e3), (-1e3, 0.0))[rng.integers(3)]
    tile.paint.clear(start_m, rng.uniform(start_m + 25.0, PERIOD_M - 2.0), low_m, high_m)


def _ghost(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    """Old lines beside the valid ones: faint, or covered with tar."""
    start_m, end_m = rng.uniform(2.0, 15.0), rng.uniform(50.0, 74.0)
    shift_m = float(rng.choice([-1, 1]) * rng.uniform(0.25, 1.1))
    half_m = section.lane_width_m / 2
    for line_m in (-half_m, half_m):
        if rng.random() < 0.5:
            tile.paint.line(line_m + shift_m, style.width_m, bool(rng.random() < 0.4), 0.5,
                            strength=float(rng.uniform(0.3, 0.75)), along_m=(start_m, end_m))  # fmt: skip
        else:
            here = (rows_between(line_m + shift_m - 0.09, line_m + shift_m + 0.09), _columns(start_m, end_m))
            tile.shade[here] = tile.shade[here] // 2


def _resurfaced(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    start_m, end_m = rng.uniform(2.0, 25.0), rng.uniform(45.0, 74.0)
    _scale(tile, start_m, end_m, float(rng.choice([0.55, 0.7, 1.35])))
    if rng.random() < 0.35:
        tile.paint.clear(start_m, end_m)


def _bridge(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    start_m, end_m = rng.uniform(8.0, 25.0), rng.uniform(45.0, 68.0)
    _scale(tile, start_m, end_m, float(rng.choice([0.8, 1.25])))
    for s_m in (start_m, end_m):  # steel joint between dark gaps
        _scale(tile, s_m - 0.3, s_m + 0.4, 0.45)
        _scale(tile, s_m, s_m + 0.1, 3.0)


def _widening(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    """A lane that opens to the right, hatched off where it begins and ends, with arrows."""
    start_m, end_m, width_m, taper_m = (rng.uniform(2.0, 8.0), rng.uniform(66.0, 74.0), rng.uniform(2.8, 3.4), 16.0)
    rise = np.clip(np.minimum(grid_s_m - start_m, end_m - grid_s_m) / taper_m, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    opened = (grid_d_m <= section.right_edge_m) & (grid_d_m > section.right_edge_m - width_m * rise)
    tile.paved[opened] = SOLID
    half_m, worn = section.lane_width_m / 2, style.worn
    tile.paint.clear(start_m, end_m, -1e3, -half_m + style.width_m)
    tile.paint.line(-half_m, style.width_m, False, worn, along_m=(start_m, end_m), dash=(3.2, 0.5, 0.0))
    along_m = grid_s_m[0, _columns(start_m, end_m)]
    outer_m = section.right_edge_m - width_m * rise[0, _columns(start_m, end_m)] + 0.3
    band = np.concatenate([outer_m, outer_m[::-1] + style.width_m])
    tile.paint.polygon(np.concatenate([along_m, along_m[::-1]]), band, worn)
    for s_m in np.arange(start_m + 3.0, start_m + taper_m - 2.0, 1.8):  # hatching in the opening wedge
        low_m = section.right_edge_m - width_m * float(np.interp(s_m, grid_s_m[0], rise[0])) + 0.4
        depth_m = -half_m - low_m
        tile.paint.polygon(
            s_m + np.array([0, 0.5, 0.5 + depth_m, depth_m]), np.array([low_m, low_m, -half_m, -half_m]), worn
        )
    lane_m = (section.right_edge_m - width_m + 0.3 - half_m) / 2
    for s_m in (start_m + taper_m + 6.0, end_m - taper_m - 4.0):
        tile.paint.arrow(s_m, lane_m, "right" if rng.random() < 0.7 else "straight", worn)
        if rng.random() < 0.5:
            tile.paint.arrow(s_m, 0.0, "straight", worn)


def _lane_arrows(tile: Tile, rng: np.random.Generator, section: CrossSection, style: MarkingStyle) -> None:
    worn = rng.uniform(0.0, 0.8)
    for s_m in (rng.uniform(12.0, 30.0), rng.uniform(42.0, 62.0)):
        for lane_m in section.lanes_m:
            if abs(lane_m) < 15.0:
                kind = str(rng.choice(["straight", "left", "right"]))
                tile.paint.arrow(s_m, lane_m, kind, worn, oncoming=lane_m in section.oncoming_m)


INCIDENTS: dict[str, Incident] = {
    "side_road_right": _side_road_right,
    "side_road_left": _side_road_left,
    "crossroads": _crossroads,
    "zebra": _zebra,
    "missing": _missing,
    "ghost": _ghost,
    "resurfaced": _resurfaced,
    "bridge": _bridge,
    "widening": _widening,
    "lane_arrows": _lane_arrows,
}
"""What may lie on a stretch of road, by the names that road families use."""


def draw_tiles(
    rng: np.random.Generator, family: RoadFamily, plain: Tile, section: CrossSection, style: MarkingStyle
) -> tuple[list[Tile], np.ndarray]:
    """The plain tile, up to three changed ones, and the order (n_periods,) in which they follow along the road."""
    names, weights = list(family.incidents), np.array(list(family.incidents.values()), float)
    n_changed = int(rng.choice(4, p=[0.1, 0.25, 0.4, 0.25]))
    tiles = [plain]
    for i in rng.choice(len(names), n_changed, replace=False, p=weights / weights.sum()):
        tiles.append(plain.copy())
        INCIDENTS[names[i]](tiles[-1], rng, section, style)
    order = np.where(rng.random(20) < 0.4, rng.integers(0, len(tiles), 20), 0)
    order[0] = 0
    return tiles, order
