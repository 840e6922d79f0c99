"""Input gradient (Simonyan et al., arXiv 1312.6034): which pixels would change the steering."""

from __future__ import annotations

from torch import Tensor

from driving.attention.command import explained, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy


def input_gradient(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Largest |d curvature / d channel| of each pixel.

    The state (B, S) is held fixed, so this is the pull of the present picture alone.
    """
    from captum.attr import Saliency  # slow to import, and other methods need none of it

    with explained(policy, frame, state) as (command, picture, memory):
        return min_max(strength(Saliency(command).attribute(picture, additional_forward_args=memory)))
