"""How fast to drive: as fast as allowed, slow enough for the curves, braking in time for them."""

from __future__ import annotations

import numpy as np

from sim.checks import POSITIVE, check_number
from sim.road import Road


def speed_profile(
    road: Road,
    top_speed_mps: float,
    max_lateral_acceleration_mps2: float,
    max_acceleration_mps2: float = 1.5,
    max_deceleration_mps2: float = 2.5,
) -> np.ndarray:
    """Speed (n,) float64 in m/s at each stored point of the road: the fastest that keeps all four bounds.

    v <= top speed, v^2 |curvature| <= lateral acceleration, and along the road d(v^2)/ds between minus twice the
    deceleration and twice the acceleration; both ends are free (no standing start, no stop).
    """
    for name, value in (
        ("top_speed_mps", top_speed_mps),
        ("max_lateral_acceleration_mps2", max_lateral_acceleration_mps2),
        ("max_acceleration_mps2", max_acceleration_mps2),
        ("max_deceleration_mps2", max_deceleration_mps2),
    ):
        check_number("speed profile", name, value, POSITIVE)
    # Squared speed: curves gentler than where the top speed meets the lateral bound never matter.
    gentlest_per_m = max_lateral_acceleration_mps2 / top_speed_mps**2
    bound = max_lateral_acceleration_mps2 / np.maximum(np.abs(road.curvature_per_m), gentlest_per_m)
    # v_(i+1)^2 <= v_i^2 + 2 a ds for all i is a running minimum of v^2 - 2 a s; braking is the same backwards.
    gain = 2 * max_acceleration_mps2 * road.s_m
    squared = np.minimum.accumulate(bound - gain) + gain
    loss = 2 * max_deceleration_mps2 * road.s_m
    squared = np.minimum.accumulate((squared + loss)[::-1])[::-1] - loss
    return np.sqrt(np.minimum(squared, bound))  # against rounding in the last place
