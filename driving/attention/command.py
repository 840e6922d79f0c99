"""The steering command as a function of the picture, in the form that captum explains."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from driving.models.policy import Policy
from sim.conventions import FRAME_RATE_HZ

Attribution = Callable[[Policy, Tensor, Tensor], Tensor]


class Command(nn.Module):
    """Curvature (B,) in 1/m of pictures (B, 3, H, W) and states (B, S); a copy of the policy, in evaluation mode.

    Captum hangs hooks on modules and needs activations that keep their input, so it gets a copy.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).eval().requires_grad_(False)
        for module in self.policy.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        return self.policy.step(frame, state, frame.new_full((len(frame),), 1 / FRAME_RATE_HZ))[0]

    @property
    def last_activation(self) -> nn.Module:
        """The ReLU behind the last convolution: the deepest maps that still have a place in the picture."""
        return self.policy.encoder.activations[-1]


def as_float(frame: Tensor) -> Tensor:
    """uint8 as float in [0, 1]; floats as they are."""
    return frame / 255.0 if frame.dtype == torch.uint8 else frame


@contextlib.contextmanager
def explained(policy: Policy, frame: Tensor, state: Tensor) -> Iterator[tuple[Command, Tensor, Tensor]]:
    """Command, picture that takes gradients, and state, all of them copies, whatever mode the caller is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield Command(policy), as_float(frame).detach().clone().requires_grad_(), state.detach().clone()


def strength(attribution: Tensor) -> Tensor:
    """(B, 3, H, W) with signs -> (B, H, W): the largest size of the three channels."""
    return attribution.detach().abs().amax(dim=1)


COARSE_PX = (4, 10)
"""Size of what is left of a blurred picture."""


def blurred_picture(frame: Tensor) -> Tensor:
    """What stands for "nothing to be seen": each picture (B, 3, H, W) as if it had had 4 x 10 pixels.

    An even picture would not do where one goes on to the whole picture step by step: the encoder whitens what it gets,
    so that a faint picture is to it the same as a strong one.
    """
    coarse = F.adaptive_avg_pool2d(frame.detach(), COARSE_PX)
    return F.interpolate(coarse, size=frame.shape[-2:], mode="bilinear", align_corners=False)


def plain_picture(frame: Tensor) -> Tensor:
    """What covers a part: each picture (B, 3, H, W) as one even area of its mean colour."""
    return frame.detach().mean(dim=(2, 3), keepdim=True).expand_as(frame)
