"""Where the objects of a roadside are on one road, and around one camera at one time."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from sim.compiled import compiled
from sim.road import STEP_M, Road
from sim.roadside.sprites import KINDS, SPRITES
from sim.roadside.stretches import Roadside

UPRIGHT = np.dtype(
    [
        ("x_m", "f8"), ("y_m", "f8"), ("heading_rad", "f8"),
        ("reach_m", "f8"),  # the larger of width and length
        ("width_m", "f8"), ("length_m", "f8"),  # of the body; length 0 for what always faces the viewer
        ("margin_m", "f8"), ("tall_m", "f8"), ("below_m", "f8"),  # of the picture: beside, in all, under ground
        ("sprite", "i8"), ("surface", "i8"),
    ]
)  # fmt: skip
"""Something upright in the world."""
PANEL = np.dtype([("x_m", "f8", 2), ("y_m", "f8", 2), ("tall_m", "f8"), ("sprite", "i8"), ("surface", "i8")])
"""Something that runs along the road, from one end to the other."""

BEHIND_M = 14.0
FARTHER_M = 10.0
_CLEAR_M = 0.7
_WATCHED_M = 10.0


def road_points(road: Road, along_m: np.ndarray, lateral_m: np.ndarray | float) -> tuple[np.ndarray, ...]:
    """World place x, y and direction of the road at arc lengths and lateral positions."""
    heading = np.interp(along_m, road.s_m, road.heading_rad)
    x_m = np.interp(along_m, road.s_m, road.x_m) - lateral_m * np.sin(heading)
    y_m = np.interp(along_m, road.s_m, road.y_m) + lateral_m * np.cos(heading)
    return x_m, y_m, heading


@compiled
def _stands_free(
    road_x: np.ndarray, road_y: np.ndarray, x_m: np.ndarray, y_m: np.ndarray, lateral_m: np.ndarray
) -> np.ndarray:
    """Whether no other part of the road comes near: a winding road must not run through its own trees."""
    free = np.ones(len(x_m), np.bool_)
    for i in range(len(x_m)):
        limit_m = min(abs(lateral_m[i]), _WATCHED_M) - _CLEAR_M
        k = 0
        while k < len(road_x):
            spare_m = math.hypot(road_x[k] - x_m[i], road_y[k] - y_m[i]) - limit_m
            if spare_m <= 0.0:
                free[i] = False
                break
            k += max(int(spare_m / STEP_M), 1)  # a road of that length cannot come nearer
    return free


class ObjectLayout:
    """The objects of a roadside laid along one road: what stands has its place once and for all.

    Attributes:
        upright: (n,) ``UPRIGHT``, what stands, sorted along the road.
        cars: (m,) ``UPRIGHT``, what moves, as ``place_cars`` left it.
    """

    def __init__(self, roadside: Roadside, road: Road) -> None:
        self.road = road
        entries = [SPRITES[index] for index in roadside.sprite]
        kinds = [KINDS[entry.name] for entry in entries]
        table = np.zeros(len(kinds), UPRIGHT)
        table["x_m"], table["y_m"], table["heading_rad"] = road_points(road, roadside.along_m, roadside.lateral_m)
        table["width_m"] = roadside.width_m
        for row, kind, entry, height_m in zip(table, kinds, entries, roadside.height_m, strict=True):
            row["length_m"] = kind.lengths_m[entry.variant] if kind.lengths_m else 0.0
            row["margin_m"] = 2 * kind.margin_m
            row["tall_m"] = height_m * (1 + kind.below + kind.above)
            row["below_m"] = height_m * kind.below
        table["reach_m"] = np.maximum(table["width_m"], table["length_m"])
        table["sprite"], table["surface"] = roadside.sprite, roadside.surface_class
        is_panel = np.array([kind.is_panel for kind in kinds], bool)
        moves = roadside.speed_mps != 0
        # What is parked on the left, and what comes towards the viewer, shows its front.
        turned = np.where(moves, roadside.speed_mps < 0, roadside.lateral_m > 0)
        self._direction = np.where(turned, np.pi, 0.0)[moves]
        table["heading_rad"] += np.where(turned, np.pi, 0.0)
        stands = np.flatnonzero(~moves & ~is_panel)
        free = _stands_free(road.x_m, road.y_m, table["x_m"][stands], table["y_m"][stands], roadside.lateral_m[stands])
        self.upright = table[stands[free]]
        self._standing_along: list[float] = roadside.along_m[stands[free]].tolist()
        self._moving = table[moves]
        self.cars = self._moving.copy()
        self._moving_along, self._moving_lateral = roadside.along_m[moves], roadside.lateral_m[moves]
        self._speed = roadside.speed_mps[moves]
        self._lay_panels(roadside, is_panel)

    def _lay_panels(self, roadside: Roadside, is_panel: np.ndarray) -> None:
        along, half = roadside.along_m[is_panel], 0.5 * roadside.width_m[is_panel]
        lateral = roadside.lateral_m[is_panel]
        start_x, start_y, _ = road_points(self.road, along - half, lateral)
        end_x, end_y, _ = road_points(self.road, along + half, lateral)
        self._panels = panels = np.zeros(len(along), PANEL)
        panels["x_m"], panels["y_m"] = np.stack([start_x, end_x], 1), np.stack([start_y, end_y], 1)
        panels["tall_m"], panels["sprite"] = roadside.height_m[is_panel], roadside.sprite[is_panel]
        panels["surface"] = roadside.surface_class[is_panel]
        self._panels_along: list[float] = along.tolist()
        self._panel_reach_m = float(half.max()) if len(half) else 0.0

    def standing(self, s_m: float, far_m: float) -> tuple[int, int]:
        """The rows of ``upright`` for what stands from a little behind ``s_m`` to ``far_m`` ahead."""
        low = bisect_left(self._standing_along, s_m - BEHIND_M)
        return low, bisect_left(self._standing_along, s_m + far_m + FARTHER_M)

    def place_cars(self, s_m: float, time_s: float, far_m: float) -> int:
        """Move the cars' rows of ``cars`` to where they are; returns how many, from the first row on, are near."""
        road = self.road
        return _place_cars(
            self._moving, self._moving_along, self._moving_lateral, self._speed, self._direction, time_s,
            s_m, far_m, road.length_m, road.x_m, road.y_m, road.heading_rad, self.cars,
        )  # fmt: skip

    def panels(self, s_m: float, far_m: float) -> np.ndarray:
        """The panels (``PANEL``) of the stretch ahead."""
        low = bisect_left(self._panels_along, s_m - self._panel_reach_m - BEHIND_M)
        return self._panels[low : bisect_left(self._panels_along, s_m + far_m + self._panel_reach_m)]


@compiled
def _place_cars(
    table: np.ndarray, along_m: np.ndarray, lateral_m: np.ndarray, speed_mps: np.ndarray, direction: np.ndarray,
    time_s: float, s_m: float, far_m: float, length_m: float,
    road_x: np.ndarray, road_y: np.ndarray, road_heading: np.ndarray, cars: np.ndarray,
) -> int:  # fmt: skip
    n = 0
    for i in range(len(table)):
        along = (along_m[i] + speed_mps[i] * time_s) % length_m
        if abs(along - (s_m + 0.5 * far_m)) < 0.5 * far_m + BEHIND_M:
            k = min(int(along / STEP_M), len(road_x) - 2)
            share = along / STEP_M - k
            heading = road_heading[k] + share * (road_heading[k + 1] - road_heading[k])
            cars[n] = table[i]
            cars[n].x_m = road_x[k] + share * (road_x[k + 1] - road_x[k]) - lateral_m[i] * math.sin(heading)
            cars[n].y_m = road_y[k] + share * (road_y[k + 1] - road_y[k]) + lateral_m[i] * math.cos(heading)
            cars[n].heading_rad = heading + direction[i]
            n += 1
    return n
