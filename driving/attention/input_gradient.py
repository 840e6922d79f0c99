"""Input gradient (Simonyan et al., arXiv 1312.6034): which pixels would change the steering."""

from __future__ import annotations

import torch

from driving.attention.min_max import min_max
from driving.models.policy import Policy
from sim.conventions import FRAME_RATE_HZ


def input_gradient(policy: Policy, frame: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """Map (B, H, W) in [0, 1]: largest |d curvature / d channel| of each pixel of ``frame`` (B, 3, H, W).

    The state (B, S) is held fixed, so this is the pull of the present picture alone, over one step of
    ``1 / FRAME_RATE_HZ`` seconds. Each map is min-max normalised; a constant one (no pixel matters, or all
    alike) becomes zeros. Works on copies: no argument, parameter, gradient or mode is changed.
    """
    from captum.attr import Saliency  # slow to import, and other methods need none of it

    with torch.inference_mode(False):  # a rollout may call from within inference mode
        frame, state = frame.detach().clone().requires_grad_(), state.detach().clone()
        dt_s = frame.new_full((len(frame),), 1 / FRAME_RATE_HZ)
        gradient = Saliency(lambda picture: policy.step(picture, state, dt_s)[0]).attribute(frame)
        return min_max(gradient.detach().amax(dim=1))
