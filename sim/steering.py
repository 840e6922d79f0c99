"""What recordings call steering, and the curvature it stands for."""

from __future__ import annotations

import math
from enum import StrEnum

from sim.conventions import curvature_from_road_wheel_angle
from sim.drive import VehicleFacts
from sim.errors import BadInputError

LOCK_TOLERANCE = 0.01
"""A normalised value so far beyond 1 is full lock (a joystick's -32768 / 32767); further, it is another unit."""


SIDE_LOOK_AHEAD_M = 10.0
"""Distance in which the label of a side camera leads back to the middle one's path."""


def side_camera_curvature_per_m(left_m: float) -> float:
    """What a label gets where the camera is ``left_m`` to the left of the path: the way back to it.

    -2 dX / L**2, the arc of pure pursuit with look-ahead L (the idea of side cameras: Bojarski et al., arXiv
    1604.07316).
    """
    return -2.0 * left_m / SIDE_LOOK_AHEAD_M**2


class SteeringUnit(StrEnum):
    """What the numbers of a column are."""

    CURVATURE = "curvature_per_m"
    ROAD_WHEEL_RAD = "road_wheel_rad"
    ROAD_WHEEL_DEG = "road_wheel_deg"
    STEERING_WHEEL_RAD = "steering_wheel_rad"
    STEERING_WHEEL_DEG = "steering_wheel_deg"
    NORMALIZED = "normalized"


def needed(unit: SteeringUnit, vehicle: VehicleFacts) -> None:
    """``BadInputError`` unless the car is known as far as the unit needs it."""
    wanted = [] if unit is SteeringUnit.CURVATURE else [("wheelbase_m", vehicle.wheelbase_m)]
    if unit in (SteeringUnit.STEERING_WHEEL_RAD, SteeringUnit.STEERING_WHEEL_DEG):
        wanted.append(("steering_ratio", vehicle.steering_ratio))
    if unit is SteeringUnit.NORMALIZED:
        wanted.append(("full_lock", vehicle.full_lock_rad))
    missing = [name for name, value in wanted if value is None]
    if missing:
        raise BadInputError(f"steering in {unit} needs the car's {' and '.join(missing)}; give it by its option")


def curvature(value: float, unit: SteeringUnit, vehicle: VehicleFacts) -> float:
    """Curvature (1/m) of the path for one value, left positive as the value is; NaN where it cannot be."""
    if unit is SteeringUnit.CURVATURE:
        return value
    angle = math.radians(value) if unit.endswith("_deg") else value
    if unit is SteeringUnit.NORMALIZED:
        if abs(value) > 1.0 + LOCK_TOLERANCE:
            return math.nan
        angle = min(max(value, -1.0), 1.0) * (vehicle.full_lock_rad or math.nan)
    elif unit.startswith("steering_wheel"):
        angle /= vehicle.steering_ratio or math.nan
    if not abs(angle) < math.pi / 2:
        return math.nan
    return float(curvature_from_road_wheel_angle(angle, vehicle.wheelbase_m or math.nan))
