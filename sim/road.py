"""The centre line of a lane: straights, arcs and clothoids in plan, grades and parabolas in elevation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.errors import BadInputError

STEP_M = 0.5
"""Distance between the stored points of a centre line."""

LEVEL_START_M = 20.0
"""A random road has no grade on this first stretch."""


@dataclass(frozen=True)
class Segment:
    """A stretch whose curvature runs linearly: a straight (0, 0), an arc (k, k) or a clothoid (k0, k1)."""

    length_m: float
    curvature_start_per_m: float
    curvature_end_per_m: float


@dataclass(frozen=True)
class Road:
    """Centre line sampled every ``STEP_M`` metres of arc length; all arrays are (n,) float64.

    Arc length is measured in plan (on the map), as road engineers do. ``grade`` = dz/ds, uphill positive.
    """

    s_m: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray
    heading_rad: np.ndarray
    curvature_per_m: np.ndarray
    z_m: np.ndarray
    grade: np.ndarray

    @property
    def length_m(self) -> float:
        return self.s_m.item(-1)

    def pose_at(self, s_m: float) -> tuple[float, float, float]:
        """(x, y, heading) of the centre line at an arc length; linear between the stored points."""
        i, w = self._place(s_m)
        x, y, heading = self.x_m.item, self.y_m.item, self.heading_rad.item
        x0, y0, heading0 = x(i), y(i), heading(i)
        return (x0 + w * (x(i + 1) - x0), y0 + w * (y(i + 1) - y0), heading0 + w * (heading(i + 1) - heading0))

    def curvature_at(self, s_m: float) -> float:
        """Curvature (1/m) of the centre line at an arc length."""
        return self.interpolate(self.curvature_per_m, s_m)

    def elevation_at(self, s_m: float) -> float:
        """Height (m) of the centre line above its start at an arc length."""
        return self.interpolate(self.z_m, s_m)

    def grade_at(self, s_m: float) -> float:
        """Slope dz/ds (m/m) of the centre line at an arc length, uphill positive."""
        return self.interpolate(self.grade, s_m)

    def locate(self, x_m: float, y_m: float, s_guess_m: float) -> tuple[float, float, float]:
        """The point of the centre line nearest to (x, y): its arc length, the lateral offset and its heading.

        ``s_guess_m`` must be within a few metres, as it is from one time step to the next; the search is
        Newton's on the tangent component, so a road that passes near itself is no trap.
        """
        s_m = s_guess_m
        for _ in range(4):
            x0, y0, heading = self.pose_at(s_m)
            c, s = math.cos(heading), math.sin(heading)
            ahead_m = (x_m - x0) * c + (y_m - y0) * s
            offset_m = (y_m - y0) * c - (x_m - x0) * s
            s_m += ahead_m / max(1.0 - self.curvature_at(s_m) * offset_m, 0.2)
            if abs(ahead_m) < 1e-6:
                break
        s_m = float(min(max(s_m, 0.0), self.length_m))
        x0, y0, heading = self.pose_at(s_m)
        offset_m = (y_m - y0) * math.cos(heading) - (x_m - x0) * math.sin(heading)
        return s_m, float(offset_m), heading

    def points_near(self, s_m: float, reach_m: float = 80.0) -> np.ndarray:
        """The centre line (n, 2) in the world from ``reach_m`` before an arc length to as far behind it."""
        near = np.abs(self.s_m - s_m) < reach_m
        return np.stack([self.x_m[near], self.y_m[near]], axis=-1)

    # These run at every time step: ``item`` gives plain floats, far faster than arithmetic on numpy scalars.
    def _place(self, s_m: float) -> tuple[int, float]:
        """Index of the stored point before an arc length and the share of the way to the next one."""
        position = min(max(float(s_m) / STEP_M, 0.0), self.s_m.size - 1.000001)
        i = int(position)
        return i, position - i

    def interpolate(self, values: np.ndarray, s_m: float) -> float:
        """A quantity given at the stored points, (n,), at an arc length; linear between them."""
        i, w = self._place(s_m)
        first = values.item(i)
        return first + w * (values.item(i + 1) - first)


def road_from_segments(segments: Sequence[Segment], grade_knots: Sequence[tuple[float, float]] = ((0.0, 0.0),)) -> Road:
    """Lay the segments end to end from the origin, heading along x.

    Heading is the exact integral of the piecewise linear curvature; positions are integrated with three
    Gauss-Legendre points a step, far below a millimetre over kilometres.

    ``grade_knots``: rising (arc length in m from 0, grade) between which the grade runs linearly (equal grades: a
    tangent, different ones: a parabolic vertical curve); the last grade goes on. Elevation is its exact integral.
    """
    if not segments or any(not seg.length_m > 0 for seg in segments):
        raise BadInputError("road: expected at least one segment, each longer than 0 m")
    lengths = np.array([seg.length_m for seg in segments])
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    k0 = np.array([seg.curvature_start_per_m for seg in segments])
    slope = (np.array([seg.curvature_end_per_m for seg in segments]) - k0) / lengths
    s_m = np.arange(0.0, starts[-1] + 1e-9, STEP_M)
    curvature, heading = _linear_and_integral(s_m, starts[:-1], k0, slope)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    inner = s_m[:-1, None] + 0.5 * STEP_M * (nodes + 1.0)
    inner_heading = _linear_and_integral(inner.ravel(), starts[:-1], k0, slope)[1].reshape(inner.shape)
    dx = 0.5 * STEP_M * (np.cos(inner_heading) @ weights)
    dy = 0.5 * STEP_M * (np.sin(inner_heading) @ weights)
    x_m, y_m = (np.concatenate([[0.0], np.cumsum(delta)]) for delta in (dx, dy))
    knots_m, grades = (np.array(column, float) for column in zip(*grade_knots, strict=True))
    if knots_m[0] != 0 or not (np.diff(knots_m) > 0).all():
        raise BadInputError("road: expected grade_knots that begin at 0 m and rise")
    grade_slope = np.append(np.diff(grades) / np.diff(knots_m), 0.0)
    grade, z_m = _linear_and_integral(s_m, knots_m, grades, grade_slope)
    return Road(s_m, x_m, y_m, heading, curvature, z_m, grade)


def _linear_and_integral(
    s_m: np.ndarray, starts_m: np.ndarray, values: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A piecewise linear function (value and slope from each start on) and its exact integral from 0."""
    lengths = np.diff(starts_m)
    total = np.concatenate([[0.0], np.cumsum((values[:-1] + 0.5 * slopes[:-1] * lengths) * lengths)])
    i = np.maximum(np.searchsorted(starts_m, s_m, side="right") - 1, 0)
    u = s_m - starts_m[i]
    return values[i] + slopes[i] * u, total[i] + (values[i] + 0.5 * slopes[i] * u) * u


def random_road(
    rng: np.random.Generator,
    length_m: float,
    min_radius_m: float = 40.0,
    max_radius_m: float = 400.0,
    max_grade: float = 0.0,
    mean_straight_m: float = 25.0,
    elevation_rng: np.random.Generator | None = None,
    max_arc_turn_rad: float = 1.75,
    min_vertical_radius_m: float = 150.0,
) -> Road:
    """A winding road of at least ``length_m``: straights and arcs joined by clothoids, no jump in curvature.

    Radii are drawn log-uniform; an arc with one of its clothoids never turns further than about
    ``max_arc_turn_rad``, so the road ahead stays in front of the car. Straights are exponential with
    ``mean_straight_m``. A longer road of the same seed begins with the shorter one.

    Hills need ``max_grade`` (m/m) above 0 and are drawn from ``elevation_rng`` alone: they never move the plan.
    """
    if max_grade > 0 and elevation_rng is None:
        raise BadInputError(f"random_road: max_grade {max_grade} needs elevation_rng, got None")
    segments = [Segment(20.0 + 20.0 * rng.random(), 0.0, 0.0)]
    total_m = segments[0].length_m
    side = 1.0 if rng.random() < 0.5 else -1.0
    while total_m < length_m + STEP_M:  # the last stored point lies up to a step before the end
        radius_m = float(np.exp(rng.uniform(np.log(min_radius_m), np.log(max_radius_m))))
        side = -side if rng.random() < 0.7 else side
        curvature = side / radius_m
        # Wide curves are long ones: their arcs and clothoids grow with the radius.
        clothoid_m = rng.uniform(0.25, 0.5) * max(min(radius_m, 120.0), 0.25 * radius_m) + 8.0
        arc_m = rng.uniform(10.0, 80.0) * max(1.0, radius_m / 400.0)
        arc_m = min(arc_m, max(max_arc_turn_rad * radius_m - clothoid_m, 5.0))
        straight_m = rng.exponential(mean_straight_m) + 2.0
        segments += [
            Segment(clothoid_m, 0.0, curvature),
            Segment(arc_m, curvature, curvature),
            Segment(clothoid_m, curvature, 0.0),
            Segment(straight_m, 0.0, 0.0),
        ]
        total_m += 2 * clothoid_m + arc_m + straight_m
    if elevation_rng is None or max_grade <= 0:
        return road_from_segments(segments)
    return road_from_segments(segments, _random_grades(elevation_rng, total_m, max_grade, min_vertical_radius_m))


def _random_grades(
    rng: np.random.Generator, length_m: float, max_grade: float, min_vertical_radius_m: float
) -> list[tuple[float, float]]:
    """Knots of a vertical alignment: constant grades joined by parabolas, the road engineer's form.

    On a parabola the grade changes by 1 / vertical radius a metre; radii are log-uniform from
    ``min_vertical_radius_m`` to eight times that. ``max_grade`` scales the hills.
    """
    s_m, grade = LEVEL_START_M, 0.0
    knots = [(0.0, 0.0), (s_m, 0.0)]
    while s_m < length_m:
        new_grade = max_grade * rng.uniform(-1.0, 1.0)
        radius_m = min_vertical_radius_m * 8.0 ** rng.random()
        tangent_m = rng.uniform(5.0, 80.0)
        curve_m = max(radius_m * abs(new_grade - grade), 1e-3)
        knots += [(s_m + curve_m, new_grade), (s_m + curve_m + tangent_m, new_grade)]
        s_m, grade = s_m + curve_m + tangent_m, new_grade
    return knots
