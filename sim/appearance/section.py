"""Lateral layout of a road: its lanes, edges and what kind of traffic uses them, by family."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.families import RoadFamily

_REACH_M = 19.0
_FAR_SHOULDER_M = 1.2


@dataclass(frozen=True)
class CrossSection:
    """Lateral layout, metres from the centre of the own lane, left positive.

    Attributes:
        lane_width_m: of the own lane.
        left_edge_m, right_edge_m: the paved surface lies between them; what the road mask shows.
        same_way_m, oncoming_m: middles of the other lanes of the own and of the opposite direction.
        has_kerb: the pavement beyond the edges is a raised footway, as in towns.
    """

    lane_width_m: float
    left_edge_m: float
    right_edge_m: float
    same_way_m: tuple[float, ...] = ()
    oncoming_m: tuple[float, ...] = ()
    has_kerb: bool = False

    @property
    def far_carriageway_m(self) -> tuple[float, float] | None:
        """Right and left edge of the opposite direction's own carriageway beyond a median, None without one."""
        if not self.oncoming_m or min(self.oncoming_m) < self.left_edge_m:
            return None
        half_m = self.lane_width_m / 2
        return min(self.oncoming_m) - half_m - 0.6, max(self.oncoming_m) + half_m + _FAR_SHOULDER_M

    @property
    def lanes_m(self) -> tuple[float, ...]:
        """Middles of all lanes, from right to left."""
        return tuple(sorted((0.0, *self.same_way_m, *self.oncoming_m)))


PARKING_M = 2.2
"""Width of a row of parking bays, inside the paved surface."""


def draw_section(rng: np.random.Generator, family: RoadFamily, lane_width_m: float | None = None) -> CrossSection:
    """Draw the layout of one road; a given lane width replaces the drawn one and moves no other draw."""
    drawn_m = rng.uniform(family.min_lane_width_m, family.max_lane_width_m)
    width_m = float(drawn_m if lane_width_m is None else lane_width_m)
    weights = np.array([lanes.weight for lanes in family.lanes])
    lanes = family.lanes[rng.choice(len(weights), p=weights / weights.sum())]
    right_m, left_m = rng.uniform(*family.shoulder_m), rng.uniform(*family.shoulder_m)
    median_m, parks = rng.uniform(2.5, 4.5), rng.random(2) < (0.45 if family.has_kerb else 0.0)
    n_left = lanes.same_way + (0 if lanes.divided else lanes.oncoming)
    first_m = (lanes.same_way + 1) * width_m + (left_m + median_m + 0.6 if lanes.divided else 0.0)
    # What lies further away than the ground is drawn is left out: then the own carriageway stands alone.
    oncoming_m = [first_m + width_m * i for i in range(lanes.oncoming)]
    oncoming_m = [lane_m for lane_m in oncoming_m if lane_m + width_m / 2 + _FAR_SHOULDER_M < _REACH_M]
    return CrossSection(
        lane_width_m=width_m,
        left_edge_m=float((n_left + 0.5) * width_m + left_m + PARKING_M * parks[0]),
        right_edge_m=float(-(0.5 * width_m + right_m + PARKING_M * parks[1])),
        same_way_m=tuple(width_m * (i + 1) for i in range(lanes.same_way)),
        oncoming_m=tuple(float(lane_m) for lane_m in oncoming_m),
        has_kerb=family.has_kerb,
    )
