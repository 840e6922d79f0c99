"""The privileged teacher: it knows the road and where the car is, and says what to steer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.conventions import FloatOrArray
from sim.road import Road


@dataclass(frozen=True)
class PurePursuit:
    """Steer along the circle through a point of the centre line ahead (Coulter 1992).

    The point lies a fixed distance ahead, so the picture alone decides the answer and a camera policy can learn it.
    Were it a fixed time ahead, the answer to the same picture would fall with the square of a speed that the policy
    does not see: one that answers for the mean speed weaves at the highest. On a road whose curvature grows evenly the
    circle has the curvature of a third of the way to the point: at the top speed 0.3 s ahead, about what the steering
    and the yaw of the car lag behind.

    In a curve the rear tyres slip, and the body points further inwards than the car goes. The pursuit starts from the
    course, not from the body; without this the car would run wide by about the slip angle times the look-ahead.

    Attributes:
        look_ahead_m: distance to the target point; about a second at the highest speed keeps the car steady.
        rear_slip_s2_per_m: slip angle of the rear axle for each m/s^2 of lateral acceleration, as
            ``VehicleConfig.rear_slip_s2_per_m`` says (the default is the default car's); 0 where nothing slips.
    """

    look_ahead_m: float
    rear_slip_s2_per_m: float = 0.004

    def curvature_per_m(
        self, road: Road, s_m: float, x_m: float, y_m: float, heading_rad: float, speed_mps: float
    ) -> float:
        """Path curvature (1/m) from the rear axle at (x, y, heading) beside arc length ``s_m``."""
        target_x, target_y, _ = road.pose_at(s_m + self.look_ahead_m)
        dx, dy = target_x - x_m, target_y - y_m
        slip_rad = self.rear_slip_s2_per_m * speed_mps * speed_mps * road.curvature_at(s_m)
        course_rad = heading_rad - slip_rad
        left_m = dy * math.cos(course_rad) - dx * math.sin(course_rad)
        return 2.0 * left_m / (dx * dx + dy * dy)


RECOVERY_S, MIN_RECOVERY_M = 1.5, 6.0


def recovery_curvature_per_m(
    offset_m: FloatOrArray, heading_error_rad: FloatOrArray, speed_mps: FloatOrArray, recovery_s: float = RECOVERY_S
) -> FloatOrArray:
    """What leads back to a path, beside the path's own curvature (1/m); numbers or arrays of one shape.

    The circle that meets the path again at the distance L has a curvature changed by
    -2 offset / L^2 - 2 heading error / L (pure pursuit, Coulter 1992). L is the way in ``recovery_s``, and not less
    than ``MIN_RECOVERY_M``.
    """
    ahead_m = np.maximum(speed_mps * recovery_s, MIN_RECOVERY_M)
    return -2.0 * offset_m / ahead_m**2 - 2.0 * heading_error_rad / ahead_m
