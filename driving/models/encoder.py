"""The convolutional head of the paper: a picture in, 32 features out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sim.conventions import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from sim.errors import BadInputError

MAX_SIDE_PX = 4096
"""Largest picture side: a broken configuration must not ask for all the memory."""


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the picture.

    Attributes:
        height_px, width_px: rows and columns, 1 to 4096 each.
    """

    height_px: int = FRAME_HEIGHT_PX
    width_px: int = FRAME_WIDTH_PX

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MAX_SIDE_PX:
                raise BadInputError(
                    f"encoder: {name} must be a whole number from 1 to {MAX_SIDE_PX}, got {value!r}"
                )


def checked_frames(frames: Tensor, config: EncoderConfig) -> Tensor:
    """The frames themselves, if they are (B, 3, H, W) of this size; ``BadInputError`` otherwise."""
    size = (3, config.height_px, config.width_px)
    if frames.dim() != 4 or tuple(frames.shape[1:]) != size:
        raise BadInputError(
            f"encoder: expected frames (B, 3, {size[1]}, {size[2]}), got {tuple(frames.shape)}"
        )
    return frames


def whiten(frames: Tensor) -> Tensor:
    """Each picture (B, C, H, W) with mean 0 and standard deviation 1 over all its channels and pixels.

    The deviation is at least 1 / sqrt(C H W), as in ``tf.image.per_image_standardization``, so that an even
    picture becomes zeros, not noise; above that floor the result does not depend on gain or offset.
    """
    n_values = frames[0].numel()
    variance, mean = torch.var_mean(frames, dim=(1, 2, 3), correction=0, keepdim=True)
    return (frames - mean) / variance.clamp(min=1.0 / n_values).sqrt()


def same_padding(size_px: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after) for an output of ceil(size / stride), TensorFlow's SAME: the odd one goes after.

    >>> same_padding(78, 5, 2), same_padding(39, 5, 2), same_padding(20, 3, 2)
    ((1, 2), (2, 2), (0, 1))
    """
    total = max((math.ceil(size_px / stride) - 1) * stride + kernel - size_px, 0)
    return total // 2, total - total // 2


class Encoder(nn.Module):
    """Five convolutions, then one small dense layer a channel (Lechner et al. 2020).

    ``(B, 3, H, W)`` float in [0, 1] -> whitened -> conv 24@5x5/2, 36@5x5/2, 48@3x3/2, 64@3x3, 8@3x3, each
    with SAME padding and ReLU -> each of the 8 maps through its own Dense(4) + ReLU -> ``(B, 32)``.
    79,420 parameters at 78x200.

    The padding is explicit and may be one larger below and to the right (``same_padding``), as in the paper's
    TensorFlow; PyTorch's own padding is symmetric and would sample other pixels.

    Initial weights: He normal for the convolutions (keeps the second moment through ReLU). A dense unit sums
    250 non-negative numbers whose common level says nothing about the road and, with plain random weights,
    decides alone whether the unit is ever active; so the weights of a unit are drawn with mean zero over the
    positions, and the bias is 0.5: the features of a whitened picture begin around 0 to 1, where the synapses
    of the liquid circuit have their thresholds (0.3 to 0.8).
    """

    LAYERS: tuple[tuple[int, int, int], ...] = ((24, 5, 2), (36, 5, 2), (48, 3, 2), (64, 3, 1), (8, 3, 1))
    """(channels, kernel, stride) of each convolution, first to last."""
    FEATURES_PER_MAP = 4
    N_FEATURES = 32

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or EncoderConfig()
        height, width, channels = self.config.height_px, self.config.width_px, 3
        convs = []
        self._padding: list[tuple[int, int, int, int]] = []  # left, right, top, bottom; zeros: conv's own
        for n_out, kernel, stride in self.LAYERS:
            top, bottom = same_padding(height, kernel, stride)
            left, right = same_padding(width, kernel, stride)
            symmetric = top == bottom and left == right
            own = (top, left) if symmetric else (0, 0)
            convs.append(nn.Conv2d(channels, n_out, kernel, stride, padding=own))
            self._padding.append((0, 0, 0, 0) if symmetric else (left, right, top, bottom))
            height, width, channels = math.ceil(height / stride), math.ceil(width / stride), n_out
        self.convs = nn.ModuleList(convs)
        self.dense_weight = nn.Parameter(torch.empty(channels, height * width, self.FEATURES_PER_MAP))
        self.dense_bias = nn.Parameter(torch.empty(channels, self.FEATURES_PER_MAP))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's global stream (see the class)."""
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.get_parameter("weight"), nonlinearity="relu")
            nn.init.zeros_(conv.get_parameter("bias"))
        n_positions = self.dense_weight.shape[1]
        with torch.no_grad():
            self.dense_weight.normal_(std=0.5 / math.sqrt(n_positions))
            self.dense_weight.sub_(self.dense_weight.mean(dim=1, keepdim=True))
            self.dense_bias.fill_(0.5)

    def feature_maps(self, frames: Tensor) -> list[Tensor]:
        """The five maps after ReLU, first to last: (B, 24, 39, 100) ... (B, 8, 10, 25) at 78x200."""
        x = whiten(checked_frames(frames, self.config))
        maps = []
        for conv, padding in zip(self.convs, self._padding, strict=True):
            x = conv(F.pad(x, padding) if any(padding) else x).relu_()  # (B, C, H, W)
            maps.append(x)
        return maps

    def forward(self, frames: Tensor) -> Tensor:
        """Features (B, 32) >= 0 of frames (B, 3, H, W) in [0, 1]; feature 4 i + j is unit j of map i."""
        last = self.feature_maps(frames)[-1].flatten(2)  # (B, 8, H W)
        dense = torch.einsum("bcp,cpk->bck", last, self.dense_weight) + self.dense_bias
        return F.relu(dense).flatten(1)  # (B, 32)
