"""Kinematic bicycle with a steering that lags, has a top rate and a stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.conventions import MAX_CURVATURE_PER_M


@dataclass(frozen=True)
class VehicleConfig:
    """A mid-size passenger car.

    Attributes:
        wheelbase_m: between the axles.
        steering_lag_s: time constant of the road wheels following their command (first order).
        max_road_wheel_rate_rad_s: fastest the road wheels turn.
        max_curvature_per_m: steering stop, as path curvature.
        n_substeps: integration steps within one call of ``advance``.
    """

    wheelbase_m: float = 2.7
    steering_lag_s: float = 0.15
    max_road_wheel_rate_rad_s: float = 0.6
    max_curvature_per_m: float = MAX_CURVATURE_PER_M
    n_substeps: int = 4


@dataclass
class VehicleState:
    """Pose of the rear axle and angle of the road wheels."""

    x_m: float = 0.0
    y_m: float = 0.0
    heading_rad: float = 0.0
    road_wheel_angle_rad: float = 0.0


def advance(
    state: VehicleState, curvature_command_per_m: float, speed_mps: float, dt_s: float, config: VehicleConfig
) -> VehicleState:
    """The state after ``dt_s`` under a constant command and speed.

    Each sub-step moves the rear axle along an exact circular arc of the curvature in its middle, so a steady
    steering angle traces its circle without integration error.
    """
    limit = config.max_curvature_per_m
    command = math.atan(min(max(curvature_command_per_m, -limit), limit) * config.wheelbase_m)
    h = dt_s / config.n_substeps
    approach = 1.0 - math.exp(-h / config.steering_lag_s) if config.steering_lag_s > 0 else 1.0
    max_turn = config.max_road_wheel_rate_rad_s * h
    x, y, heading, angle = state.x_m, state.y_m, state.heading_rad, state.road_wheel_angle_rad
    for _ in range(config.n_substeps):
        turn = min(max((command - angle) * approach, -max_turn), max_turn)
        curvature = math.tan(angle + 0.5 * turn) / config.wheelbase_m
        angle += turn
        half = 0.5 * curvature * speed_mps * h
        chord = speed_mps * h * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
        x += chord * math.cos(heading + half)
        y += chord * math.sin(heading + half)
        heading += 2.0 * half
    return VehicleState(x, y, heading, angle)
