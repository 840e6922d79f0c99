"""Integrated gradients (Sundararajan et al., arXiv 1703.01365): gradients on the way from a blurred picture."""

from __future__ import annotations

import torch
from torch import Tensor

from driving.attention.command import blurred_picture, explained, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy

N_STEPS = 32


def integrated_gradients(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Size of each pixel's part in the difference of the command from that of the blurred picture."""
    return min_max(strength(signed_integrated_gradients(policy, frame, state)[0]))


def signed_integrated_gradients(policy: Policy, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Parts (B, 3, H, W) with signs, in 1/m, and what their sums (B,) are short of the difference (completeness)."""
    from captum.attr import IntegratedGradients

    with explained(policy, frame, state) as (command, picture, memory):
        method, parts, gaps = IntegratedGradients(command), [], []
        for i in range(len(picture)):  # each is a batch of N_STEPS
            one = picture[i : i + 1]
            found, gap = method.attribute(
                one, baselines=blurred_picture(one), additional_forward_args=memory[i : i + 1], n_steps=N_STEPS,
                return_convergence_delta=True,
            )  # fmt: skip
            parts.append(found.detach())
            gaps.append(gap.detach())
        return torch.cat(parts), torch.cat(gaps)
