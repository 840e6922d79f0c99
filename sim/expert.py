"""The privileged teacher: it knows the road and where the car is, and says what to steer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.road import Road


@dataclass(frozen=True)
class PurePursuit:
    """Steer along the circle through a point of the centre line ahead (Coulter 1992).

    What it answers is a function of the road as seen from the car, so a camera policy can learn it.

    Attributes:
        look_ahead_s: time to the target point at the present speed.
        min_look_ahead_m: its least distance.
    """

    look_ahead_s: float = 0.8
    min_look_ahead_m: float = 8.0

    def curvature_per_m(
        self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float, speed_mps: float
    ) -> float:
        """Path curvature (1/m) from the rear axle at (x, y, heading) beside arc length ``s_m``."""
        ahead_m = max(self.look_ahead_s * speed_mps, self.min_look_ahead_m)
        target_x, target_y, _ = road.pose_at(s_m + ahead_m)
        dx, dy = target_x - x_m, target_y - y_m
        left_m = dy * math.cos(heading_rad) - dx * math.sin(heading_rad)
        return 2.0 * left_m / (dx * dx + dy * dy)
