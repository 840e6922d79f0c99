"""The centre line of a lane: straights, arcs and the clothoids that join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.errors import BadInputError

STEP_M = 0.5
"""Distance between the stored points of a centre line."""


@dataclass(frozen=True)
class Segment:
    """A stretch whose curvature runs linearly: a straight (0, 0), an arc (k, k) or a clothoid (k0, k1)."""

    length_m: float
    curvature_start_per_m: float
    curvature_end_per_m: float


@dataclass(frozen=True)
class Road:
    """Centre line sampled every ``STEP_M`` metres of arc length; all arrays are (n,) float64."""

    s_m: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray
    heading_rad: np.ndarray
    curvature_per_m: np.ndarray

    @property
    def length_m(self) -> float:
        return float(self.s_m[-1])

    def pose_at(self, s_m: float) -> tuple[float, float, float]:
        """(x, y, heading) of the centre line at an arc length; linear between the stored points."""
        position = min(max(s_m / STEP_M, 0.0), len(self.s_m) - 1.000001)
        i, w = int(position), position - int(position)
        x, y, heading = self.x_m, self.y_m, self.heading_rad
        return (
            float(x[i] + w * (x[i + 1] - x[i])),
            float(y[i] + w * (y[i + 1] - y[i])),
            float(heading[i] + w * (heading[i + 1] - heading[i])),
        )

    def curvature_at(self, s_m: float) -> float:
        """Curvature (1/m) of the centre line at an arc length."""
        return float(np.interp(s_m, self.s_m, self.curvature_per_m))

    def locate(self, x_m: float, y_m: float, s_guess_m: float) -> tuple[float, float, float]:
        """The point of the centre line nearest to (x, y): its arc length, the lateral offset and its heading.

        ``s_guess_m`` must be within a few metres, as it is from one time step to the next; the search is
        Newton's on the tangent component, so a road that passes near itself is no trap.
        """
        s_m = s_guess_m
        for _ in range(4):
            x0, y0, heading = self.pose_at(s_m)
            c, s = np.cos(heading), np.sin(heading)
            ahead_m = (x_m - x0) * c + (y_m - y0) * s
            offset_m = (y_m - y0) * c - (x_m - x0) * s
            s_m += ahead_m / max(1.0 - self.curvature_at(s_m) * offset_m, 0.2)
            if abs(ahead_m) < 1e-6:
                break
        s_m = min(max(s_m, 0.0), self.length_m)
        x0, y0, heading = self.pose_at(s_m)
        offset_m = (y_m - y0) * np.cos(heading) - (x_m - x0) * np.sin(heading)
        return float(s_m), float(offset_m), heading


def road_from_segments(segments: Sequence[Segment]) -> Road:
    """Lay the segments end to end from the origin, heading along x.

    Heading is the exact integral of the piecewise linear curvature; positions are integrated with three
    Gauss-Legendre points a step, far below a millimetre over kilometres.
    """
    if not segments or any(not seg.length_m > 0 for seg in segments):
        raise BadInputError("road: expected at least one segment, each longer than 0 m")
    lengths = np.array([seg.length_m for seg in segments])
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    k0 = np.array([seg.curvature_start_per_m for seg in segments])
    slope = (np.array([seg.curvature_end_per_m for seg in segments]) - k0) / lengths
    turn = np.concatenate([[0.0], np.cumsum((k0 + 0.5 * slope * lengths) * lengths)])

    def curvature_and_heading(s_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        i = np.clip(np.searchsorted(starts, s_m, side="right") - 1, 0, len(lengths) - 1)
        u = s_m - starts[i]
        return k0[i] + slope[i] * u, turn[i] + (k0[i] + 0.5 * slope[i] * u) * u

    s_m = np.arange(0.0, starts[-1] + 1e-9, STEP_M)
    curvature, heading = curvature_and_heading(s_m)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    inner = s_m[:-1, None] + 0.5 * STEP_M * (nodes + 1.0)
    inner_heading = curvature_and_heading(inner.ravel())[1].reshape(inner.shape)
    dx = 0.5 * STEP_M * (np.cos(inner_heading) @ weights)
    dy = 0.5 * STEP_M * (np.sin(inner_heading) @ weights)
    x_m, y_m = (np.concatenate([[0.0], np.cumsum(delta)]) for delta in (dx, dy))
    return Road(s_m, x_m, y_m, heading, curvature)


def random_road(
    rng: np.random.Generator, length_m: float, min_radius_m: float = 40.0, max_radius_m: float = 400.0
) -> Road:
    """A winding road of at least ``length_m``: straights and arcs joined by clothoids, no jump in curvature.

    Radii are drawn log-uniform; an arc never turns further than about 100 degrees, so the road ahead stays in
    front of the car. A longer road of the same seed begins with the shorter one.
    """
    segments = [Segment(20.0 + 20.0 * rng.random(), 0.0, 0.0)]
    total_m = segments[0].length_m
    side = 1.0 if rng.random() < 0.5 else -1.0
    while total_m < length_m:
        radius_m = float(np.exp(rng.uniform(np.log(min_radius_m), np.log(max_radius_m))))
        side = -side if rng.random() < 0.7 else side
        curvature = side / radius_m
        clothoid_m = rng.uniform(0.25, 0.5) * min(radius_m, 120.0) + 8.0
        arc_m = min(rng.uniform(10.0, 80.0), max(1.75 * radius_m - clothoid_m, 5.0))
        straight_m = rng.exponential(25.0) + 2.0
        segments += [
            Segment(clothoid_m, 0.0, curvature),
            Segment(arc_m, curvature, curvature),
            Segment(clothoid_m, curvature, 0.0),
            Segment(straight_m, 0.0, 0.0),
        ]
        total_m += 2 * clothoid_m + arc_m + straight_m
    return road_from_segments(segments)
