"""SmoothGrad (Smilkov et al., arXiv 1706.03825): the input gradient, averaged over noisy copies of the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from driving.attention.command import explained, strength
from driving.attention.min_max import min_max
from driving.models.policy import Policy

N_COPIES, SIGMA = 16, 0.1


def smooth_grad(policy: Policy, frame: Tensor, state: Tensor) -> Tensor:
    """Mean gradient over ``N_COPIES`` copies with noise of standard deviation ``SIGMA``, the same for every picture."""
    from captum.attr import NoiseTunnel, Saliency

    maps = []
    with explained(policy, frame, state) as (command, picture, memory), torch.random.fork_rng(devices=[]):
        method = NoiseTunnel(Saliency(command))
        for i in range(len(picture)):  # one by one: the noise must not depend on the batch
            torch.manual_seed(0)
            found = method.attribute(
                picture[i : i + 1], nt_type="smoothgrad", nt_samples=N_COPIES, stdevs=SIGMA, abs=False,
                additional_forward_args=memory[i : i + 1],
            )  # fmt: skip
            maps.append(strength(found))
    return min_max(torch.cat(maps))
