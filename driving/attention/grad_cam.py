"""Grad-CAM (Selvaraju et al., arXiv 1610.02391) on the last convolution."""

from __future__ import annotations

from torch import Tensor

from driving.attention.command import explained
from driving.attention.min_max import min_max
from driving.models.policy import Policy


def grad_cam(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Maps of the last convolution, weighted by their mean gradient; its size, as steering has two directions.

    The published method keeps what is positive, which speaks of one class of many; a command that is pushed to the
    right is as much of an answer as one to the left.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    with explained(policy, frame, state) as (command, picture, memory):
        found = LayerGradCam(command, command.last_activation).attribute(picture, additional_forward_args=memory)
        larger = LayerAttribution.interpolate(found, tuple(picture.shape[-2:]), "bilinear")
        return min_max(larger.detach().squeeze(1).abs())
