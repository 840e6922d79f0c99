"""Guided Grad-CAM (Selvaraju et al., arXiv 1610.02391): guided backpropagation where Grad-CAM looks."""

from __future__ import annotations

import warnings

from torch import Tensor

from driving.attention.command import explained, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy


def guided_grad_cam(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Guided backpropagation times Grad-CAM where that is positive."""
    from captum.attr import GuidedGradCam

    with explained(policy, frame, state) as (command, picture, memory), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = GuidedGradCam(command, command.last_activation)
        found = method.attribute(picture, additional_forward_args=memory, interpolate_mode="bilinear")
        return min_max(strength(found))
