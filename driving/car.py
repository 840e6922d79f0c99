"""The car that drives were recorded with: how tightly it turns, and what its camera shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from driving.models.policy import CAR_FACTS, CURVATURE_UNIT_PER_M, Policy
from sim.conventions import MAX_CURVATURE_PER_M
from sim.drive import MAX_PLAUSIBLE_CURVATURE_PER_M, Drive
from sim.errors import BadInputError

PERCENTILE = 99.9
"""Of a drive's |curvature|: what lies beyond are slips of the hand and of the recording."""
MARGIN = 1.25
"""Between that and the limit of a car whose full lock nobody knows."""


def car_of(drives: Sequence[Drive], max_curvature_per_m: float | None = None) -> dict[str, Any]:
    """Limit, unit, camera and car, as fields of ``PolicyConfig``, for a policy that learns from drives.

    The limit is ``max_curvature_per_m``, if given. Else it is the road car's 0.1 /m where ``PERCENTILE`` of the labels
    lies within it; else the tightest turn of the cars whose full lock is known, or ``MARGIN`` times that percentile.
    The unit keeps its share of the limit. Camera and car stand there where all drives agree.
    """
    if max_curvature_per_m is not None and not 0 < max_curvature_per_m <= MAX_PLAUSIBLE_CURVATURE_PER_M:
        raise BadInputError(
            f"--max-curvature: expected above 0 to {MAX_PLAUSIBLE_CURVATURE_PER_M:g} /m, got {max_curvature_per_m:g}"
        )
    limit = max_curvature_per_m or MAX_CURVATURE_PER_M
    if max_curvature_per_m is None and drives and largest_label(drives) > MAX_CURVATURE_PER_M:
        locks = [drive.meta.vehicle.max_curvature_per_m for drive in drives]
        known = [lock for lock in locks if lock is not None]
        limit = max(known) if len(known) == len(locks) else max([MARGIN * largest_label(drives), *known])
        limit = max(limit, largest_label(drives))
    fields: dict[str, Any] = {
        "max_curvature_per_m": limit,
        "curvature_unit_per_m": CURVATURE_UNIT_PER_M * (limit / MAX_CURVATURE_PER_M),
    }
    facts = {
        (
            round((drive.camera.horizon_v_px + 0.5) / drive.camera.height_px, 4),
            None if drive.meta.horizon is None else round(drive.meta.horizon, 4),
            drive.meta.vehicle.wheelbase_m,
            drive.meta.vehicle.full_lock_rad,
        )
        for drive in drives
        if drive.meta.horizon is not None
    }
    if len(facts) == 1 and all(drive.meta.horizon is not None for drive in drives):
        fields |= dict(zip(CAR_FACTS, facts.pop(), strict=True))
    return fields


def largest_label(drives: Sequence[Drive]) -> float:
    """``PERCENTILE`` of |curvature| over all frames of the drives, in 1/m."""
    return float(np.percentile(np.abs(np.concatenate([drive.curvature_per_m for drive in drives])), PERCENTILE))


def check_limit(policy: Policy, drives: Sequence[Drive], name: str) -> None:
    """``BadInputError`` where drives bend beyond what a policy may command: it could only learn to be at its stop."""
    limit = policy.config.max_curvature_per_m
    if drives and largest_label(drives) > limit:
        raise BadInputError(
            f"train: the drives' curvature reaches {largest_label(drives):.3g} /m ({PERCENTILE} % of the frames are "
            f"within), the limit of {name} is {limit:g} /m; begin a new policy, without --init"
        )
