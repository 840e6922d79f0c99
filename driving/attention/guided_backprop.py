"""Guided backpropagation (Springenberg et al., arXiv 1412.6806): gradients that pass ReLUs upwards only."""

from __future__ import annotations

import warnings

from torch import Tensor

from driving.attention.command import explained, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy


def guided_backprop(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Size of the gradient that is left when negative gradients stop at every ReLU of the encoder.

    The core has no ReLU (but a "feedforward" one, whose ReLUs are plain functions): its gradients pass as they are.
    """
    from captum.attr import GuidedBackprop

    with explained(policy, frame, state) as (command, picture, memory), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum tells of its hooks
        return min_max(strength(GuidedBackprop(command).attribute(picture, additional_forward_args=memory)))
