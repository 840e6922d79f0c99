"""Units, axes and signs of the whole project, and the conversions between them.

Axes and signs
    World: x east, y north, metres; heading in radians, counter-clockwise from x.
    Vehicle: x forward, y left, origin at the middle of the rear axle.
    Image: column u to the right, row v down, pixels; (0, 0) is the centre of the first pixel.
    Left is positive: curvature, steering angles, lateral offset, heading error.

Quantities
    ``curvature_per_m``: curvature of the path of the rear axle, 1 / turning radius.
    ``road_wheel_angle_rad``: angle of the (virtual, middle) front wheel of the bicycle model.
    ``steering_wheel_angle_rad``: angle of the wheel in the driver's hands = road-wheel angle x ratio.
    ``lateral_offset_m``: car minus lane centre, across the lane.
    ``heading_error_rad``: car's heading minus the lane's.
"""

from __future__ import annotations

import numpy as np

FRAME_HEIGHT_PX = 78
FRAME_WIDTH_PX = 200
"""The picture a policy sees, rows x columns (Lechner et al. 2020)."""

FRAME_RATE_HZ = 20.0
"""Rate of the embedded world: the rate of the public recordings used beside it."""

MAX_CURVATURE_PER_M = 0.1
"""Tightest turn a command may ask for: a radius of 10 m."""

MPS_PER_MPH = 0.44704
MPS_PER_KMH = 1 / 3.6

FloatOrArray = float | np.ndarray


def curvature_from_road_wheel_angle(road_wheel_angle_rad: FloatOrArray, wheelbase_m: float) -> FloatOrArray:
    """Curvature (1/m) of a kinematic bicycle whose front wheel stands at the given angle.

    >>> round(float(curvature_from_road_wheel_angle(0.1, 2.5)), 5)
    0.04013
    """
    return np.tan(road_wheel_angle_rad) / wheelbase_m


def road_wheel_angle_from_curvature(curvature_per_m: FloatOrArray, wheelbase_m: float) -> FloatOrArray:
    """Front-wheel angle (rad) that makes a kinematic bicycle run on the given curvature.

    >>> round(float(road_wheel_angle_from_curvature(curvature_from_road_wheel_angle(0.1, 2.5), 2.5)), 9)
    0.1
    """
    return np.arctan(np.asarray(curvature_per_m) * wheelbase_m)


def curvature_from_steering_wheel_angle(
    steering_wheel_angle_rad: FloatOrArray, wheelbase_m: float, steering_ratio: float
) -> FloatOrArray:
    """Curvature (1/m) from the angle of the steering wheel; ``steering_ratio`` = wheel / road wheel."""
    return curvature_from_road_wheel_angle(np.asarray(steering_wheel_angle_rad) / steering_ratio, wheelbase_m)


def steering_wheel_angle_from_curvature(
    curvature_per_m: FloatOrArray, wheelbase_m: float, steering_ratio: float
) -> FloatOrArray:
    """Angle of the steering wheel (rad) for a curvature; undoes ``curvature_from_steering_wheel_angle``."""
    return road_wheel_angle_from_curvature(curvature_per_m, wheelbase_m) * steering_ratio


def wrap_angle(angle_rad: FloatOrArray) -> FloatOrArray:
    """The same direction in [-pi, pi).

    >>> float(wrap_angle(3 * np.pi / 2)) == -np.pi / 2
    True
    """
    return (np.asarray(angle_rad) + np.pi) % (2 * np.pi) - np.pi
