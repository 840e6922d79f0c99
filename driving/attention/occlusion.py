"""Occlusion (Zeiler and Fergus, arXiv 1311.2901): how the command changes when a part of the picture is covered."""

from __future__ import annotations

import torch
from torch import Tensor

from driving.attention.command import explained, plain_picture, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy

N_AT_ONCE = 32


def occlusion(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Mean |change of the command| over the patches of the picture's mean colour that cover a pixel.

    A patch is an eighth of the height and a tenth of the width, and moves by half of that.
    """
    from captum.attr import Occlusion

    with explained(policy, frame, state) as (command, picture, memory), torch.no_grad():
        height, width = max(picture.shape[-2] // 8, 1), max(picture.shape[-1] // 10, 1)
        found = Occlusion(command).attribute(
            picture, (3, height, width), strides=(3, max(height // 2, 1), max(width // 2, 1)),
            baselines=plain_picture(picture), additional_forward_args=memory, perturbations_per_eval=N_AT_ONCE,
        )  # fmt: skip
        return min_max(strength(found))
