"""Where a policy looks: attribution methods of one contract, and scores of their maps.

An attribution is ``f(policy, frame (B, 3, H, W) float in [0, 1], state (B, S)) -> map (B, H, W)``:
non-negative, each map min-max normalised to [0, 1], a constant map becomes zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from driving.attention.input_gradient import input_gradient
from driving.attention.visual_backprop import visual_backprop
from driving.models.policy import Policy

Attribution = Callable[[Policy, torch.Tensor, torch.Tensor], torch.Tensor]

ATTRIBUTIONS: dict[str, Attribution] = {"visual_backprop": visual_backprop, "input_gradient": input_gradient}

__all__ = ["ATTRIBUTIONS", "Attribution", "input_gradient", "visual_backprop"]
