"""White-box attacks on the steering: the least visible change of a picture that turns the wheel most.

Fast gradient sign method (Goodfellow, Shlens and Szegedy 2015) and projected gradient descent (Madry et al. 2018), on
the recurrent policy with its state as it is; the change of this picture's command is what is searched for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from driving.models.policy import Policy


def attack(
    policy: Policy, frames: Tensor, state: Tensor, dt_s: Tensor, limit: Tensor, direction: Tensor, n_steps: int
) -> Tensor:
    """Frames uint8 (B, 3, H, W), none of whose values differs from the given ones by more than ``limit`` (B,) of 255.

    Args:
        frames: uint8 (B, 3, H, W).
        state, dt_s: of the policy before these frames (B, ...), and their time steps (B,).
        direction: (B,), 1 to the left or -1 to the right.
        n_steps: of the search; one step goes all the way, several go further than their share, and are brought back.
    """
    clean = frames.float()
    reach = limit[:, None, None, None]
    step = reach if n_steps == 1 else 2.5 * reach / n_steps
    changed = clean.clone()
    was_training = [p.requires_grad for p in policy.parameters()]
    policy.requires_grad_(False)
    try:
        for _ in range(n_steps):
            changed.requires_grad_(True)
            with torch.enable_grad():
                curvature, _ = policy.step(changed / 255.0, state, dt_s)
                (slope,) = torch.autograd.grad((curvature * direction).sum(), changed)
            changed = changed.detach() + step * slope.sign()
            changed = torch.clamp(torch.minimum(torch.maximum(changed, clean - reach), clean + reach), 0.0, 255.0)
    finally:
        for parameter, flag in zip(policy.parameters(), was_training, strict=True):
            parameter.requires_grad_(flag)
    return changed.round().to(torch.uint8)
