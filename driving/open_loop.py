"""Open loop: what a driver would steer on recorded drives, against what was steered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from driving.data import policy_frames
from driving.instants import on_drive
from driving.models.policy import Policy, to_tensor
from driving.rollout import PolicyOrActor
from sim.conventions import steering_wheel_angle_from_curvature
from sim.drive import Drive
from sim.errors import BadInputError
from sim.frame_cache import release


@torch.no_grad()
def predict(policy: PolicyOrActor, drive: Drive, chunk: int = 64) -> np.ndarray:
    """The curvature (T,) on a drive's frames, the state carried along and reset at gaps; ``chunk`` frames at once."""
    if not isinstance(policy, Policy):
        return np.array([instant.curvature_per_m for instant in on_drive(policy, drive, None, None, 0)], np.float32)
    policy.eval()
    frames, dt_s = policy_frames(drive, policy.config.height_px, policy.config.width_px), drive.dt_s()
    predicted = np.empty(len(drive), np.float32)
    for segment in drive.segments():
        state = policy.initial_state(1)
        for start in range(segment.start, segment.stop, chunk):
            rows = slice(start, min(start + chunk, segment.stop))
            times = torch.from_numpy(dt_s[rows].astype(np.float32))[None]
            curvature, state = policy(to_tensor(np.array(frames[rows]))[None], state, times)
            predicted[rows] = curvature[0].numpy()
            release(frames)
    return predicted


def evaluate(policy: PolicyOrActor, drives: Sequence[Drive]) -> dict[str, Any]:
    """Open-loop errors over all frames of the drives; keys as ``liquid-lane test`` writes them.

    ``rmse_steering_wheel_rad`` is there only where every drive's vehicle has a known steering ratio.
    """
    if not drives:
        raise BadInputError("test: expected at least one drive, got none; name them with --data")
    predicted, recorded = [predict(policy, drive) for drive in drives], [d.curvature_per_m for d in drives]
    guess, truth = np.concatenate(predicted), np.concatenate(recorded)
    errors = {"curvature_per_m": (guess, truth)}
    known = [
        (vehicle.wheelbase_m, vehicle.steering_ratio)
        for vehicle in (drive.meta.vehicle for drive in drives)
        if vehicle.wheelbase_m is not None and vehicle.steering_ratio is not None
    ]
    if len(known) == len(drives):
        wheel = [
            np.concatenate([steering_wheel_angle_from_curvature(k, *car) for k, car in zip(curves, known, strict=True)])
            for curves in (predicted, recorded)
        ]
        errors["steering_wheel_rad"] = (wheel[0], wheel[1])
    figures: dict[str, Any] = {}
    for unit, (given, wanted) in errors.items():
        figures[f"rmse_{unit}"] = float(np.sqrt(np.mean((given - wanted) ** 2)))
        figures[f"zero_rmse_{unit}"] = float(np.sqrt(np.mean(wanted**2)))
    both_vary = guess.std() > 0 and truth.std() > 0
    figures["correlation"] = float(np.corrcoef(guess, truth)[0, 1]) if both_vary else None
    figures["n_frames"] = len(truth)
    return figures
