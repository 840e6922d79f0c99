"""Named kinds of road: how wide, how winding, how hilly and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.errors import BadInputError


@dataclass(frozen=True)
class RoadFamily:
    """Ranges from which the roads of one kind are drawn.

    Rounded from what road design guides (AASHTO Green Book; the German RAA, RAL and RASt) give for such roads; the
    tightest radii and steepest crests go below what is built new, as old roads do.

    Attributes:
        name: key in ``FAMILIES``.
        min_radius_m, max_radius_m: of the curves in plan.
        min_lane_width_m, max_lane_width_m: of one lane.
        min_speed_mps, max_speed_mps: an episode's top speed is drawn from here; curves are driven slower.
        mean_straight_m: mean length of the straights between curves.
        max_grade: steepest slope of the road, m/m.
        max_arc_turn_rad: furthest that one arc with one of its clothoids turns, about.
        min_vertical_radius_m: tightest crest or sag.
    """

    name: str
    min_radius_m: float
    max_radius_m: float
    min_lane_width_m: float
    max_lane_width_m: float
    min_speed_mps: float
    max_speed_mps: float
    mean_straight_m: float
    max_grade: float
    max_arc_turn_rad: float
    min_vertical_radius_m: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "name" and not (math.isfinite(value) and value > 0):
                raise BadInputError(f"road family {self.name}: expected {name} above 0, got {value!r}")
        for quantity in ("radius_m", "lane_width_m", "speed_mps"):
            low, high = getattr(self, f"min_{quantity}"), getattr(self, f"max_{quantity}")
            if low > high:
                raise BadInputError(
                    f"road family {self.name}: expected min_{quantity} <= max_{quantity}, got {low}, {high}"
                )


FAMILIES: dict[str, RoadFamily] = {
    family.name: family
    for family in (
        RoadFamily("highway", 250.0, 1500.0, 3.5, 3.9, 18.0, 27.0, 80.0, 0.04, 0.8, 600.0),
        RoadFamily("country", 50.0, 400.0, 3.0, 3.7, 10.0, 18.0, 35.0, 0.06, 1.5, 250.0),
        RoadFamily("mountain", 25.0, 120.0, 2.8, 3.4, 7.0, 12.0, 15.0, 0.10, 2.0, 150.0),
        RoadFamily("urban", 20.0, 150.0, 2.9, 3.5, 6.0, 11.0, 70.0, 0.03, 1.6, 150.0),
    )
}
"""Every kind of road by its name."""
