"""Attribution through time: how much the command now depends on each of the last pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from driving.attention.command import as_float
from driving.models.policy import Policy
from sim.conventions import FRAME_RATE_HZ


def through_time(policy: Policy, frames: Tensor, state: Tensor) -> Tensor:
    """Gradient maps (B, K, H, W) of the last command with respect to each of ``frames`` (B, K, 3, H, W).

    Args:
        frames: consecutive ones, the present one last; uint8, or float in [0, 1].
        state: (B, S) before the first of them.

    Returns:
        Largest |d curvature / d channel|, in 1/m for a change from black to white; not normalised, so that the
        pictures can be compared with one another.
    """
    with torch.inference_mode(False), torch.enable_grad():
        was = policy.training
        pictures = as_float(frames).detach().clone().requires_grad_()
        try:
            curvature, _ = policy.eval()(pictures, state.detach().clone(), 1 / FRAME_RATE_HZ)
            (gradient,) = torch.autograd.grad(curvature[:, -1].sum(), pictures)
        finally:
            policy.train(was)
        return gradient.detach().abs().amax(dim=2)


def memory_shares(maps: Tensor) -> Tensor:
    """Share (B, K) of each picture in the whole of ``through_time``; zeros where nothing matters."""
    mass = maps.sum(dim=(2, 3))
    total = mass.sum(dim=1, keepdim=True)
    return torch.where(total > 0, mass / torch.where(total > 0, total, 1.0), 0.0)
