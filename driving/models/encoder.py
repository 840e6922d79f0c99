"""Convolutional encoders: a picture in, features out; the paper's with its 32 features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sim.checks import check_numbers, whole
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
        check_numbers("encoder", self, whole(1, MAX_SIDE_PX), "height_px", "width_px")


def checked_frames(frames: Tensor, config: EncoderConfig) -> Tensor:
    """The frames themselves, if they are (B, 3, H, W) of this size; ``BadInputError`` otherwise."""
    size = (3, config.height_px, config.width_px)
    if frames.dim() != 4 or tuple(frames.shape[1:]) != size:
        raise BadInputError(f"encoder: expected frames (B, 3, {size[1]}, {size[2]}), got {tuple(frames.shape)}")
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


class Convolution(NamedTuple):
    """One layer in numbers, for forms other than PyTorch's (``ConvStack.convolutions``); a ReLU follows.

    Attributes:
        weight, bias: (O, I, height, width) and (O,).
        stride, groups: as in ``torch.nn.Conv2d``.
        padding: zeros (top, left, bottom, right).
    """

    weight: Tensor
    bias: Tensor
    stride: int
    padding: tuple[int, int, int, int]
    groups: int = 1


class ConvStack(nn.Module):
    """What all encoders share: whitened pictures through convolutions with ReLU. Subclasses name the layers.

    ``(B, 3, H, W)`` float in [0, 1] -> ``(B, N)``: here the last map, laid out flat. SAME padding is explicit and
    may be one larger below and to the right (``same_padding``), as in TensorFlow; PyTorch's own padding is
    symmetric and would sample other pixels. Initial weights: He normal (keeps the second moment through ReLU).
    """

    LAYERS: ClassVar[tuple[tuple[int, int, int], ...]]
    """(channels, kernel, stride) of each convolution, first to last."""
    SAME: ClassVar[bool]
    """SAME padding, or none."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or EncoderConfig()
        channels = [3, *(n_out for n_out, _, _ in self.LAYERS)]
        convs = []
        self._padding: list[tuple[int, int, int, int]] = []  # left, right, top, bottom; zeros: conv's own
        sizes = self.map_sizes(self.config)
        for (height, width), n_in, (n_out, kernel, stride) in zip(sizes, channels, self.LAYERS, strict=False):
            top, bottom = same_padding(height, kernel, stride) if self.SAME else (0, 0)
            left, right = same_padding(width, kernel, stride) if self.SAME else (0, 0)
            symmetric = top == bottom and left == right
            own = (top, left) if symmetric else (0, 0)
            convs.append(nn.Conv2d(n_in, n_out, kernel, stride, padding=own))
            self._padding.append((0, 0, 0, 0) if symmetric else (left, right, top, bottom))
        self.convs = nn.ModuleList(convs)
        # Modules, one for each layer, so that attribution methods can take hold of them.
        self.activations = nn.ModuleList(nn.ReLU(inplace=True) for _ in convs)
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.get_parameter("bias"))

    @classmethod
    def map_sizes(cls, config: EncoderConfig) -> list[tuple[int, int]]:
        """(height, width) of the picture and of every map; ``BadInputError`` if the picture is too small."""
        sizes = [(config.height_px, config.width_px)]
        for _, kernel, stride in cls.LAYERS:
            edge = 1 if cls.SAME else kernel
            height, width = ((size - edge) // stride + 1 for size in sizes[-1])
            if min(height, width) < 1:
                raise BadInputError(
                    f"encoder: {cls.__name__} needs larger pictures, got {config.height_px} x "
                    f"{config.width_px}; 66 x 66 is enough"
                )
            sizes.append((height, width))
        return sizes

    @classmethod
    def n_features(cls, config: EncoderConfig) -> int:
        """Features N of pictures of this size; ``BadInputError`` if they are too small for the layers."""
        height, width = cls.map_sizes(config)[-1]
        return cls.LAYERS[-1][0] * height * width

    def feature_maps(self, frames: Tensor) -> list[Tensor]:
        """The maps (B, C, h, w) after ReLU, first to last."""
        x = whiten(checked_frames(frames, self.config))
        maps = []
        for conv, activation, padding in zip(self.convs, self.activations, self._padding, strict=True):
            x = activation(conv(F.pad(x, padding) if any(padding) else x))  # (B, C, h, w)
            maps.append(x)
        return maps

    def forward(self, frames: Tensor) -> Tensor:
        """Features (B, N) >= 0 of frames (B, 3, H, W) in [0, 1]."""
        return self.feature_maps(frames)[-1].flatten(1)

    def convolutions(self) -> list[Convolution]:
        """The whole encoder after the whitening as convolutions; their last map, laid out flat, is ``forward``'s."""
        layers = []
        for conv, (left, right, top, bottom) in zip(self.convs, self._padding, strict=True):
            assert isinstance(conv, nn.Conv2d)
            down, across = (int(n) for n in conv.padding)
            padding = (top + down, left + across, bottom + down, right + across)
            layers.append(Convolution(conv.weight, conv.get_parameter("bias"), conv.stride[0], padding))
        return layers


class Encoder(ConvStack):
    """Five convolutions, then one small dense layer a channel (Lechner et al. 2020).

    ``(B, 3, H, W)`` float in [0, 1] -> whitened -> conv 24@5x5/2, 36@5x5/2, 48@3x3/2, 64@3x3, 8@3x3, each
    with SAME padding and ReLU -> each of the 8 maps through its own Dense(4) + ReLU -> ``(B, 32)``.
    79,420 parameters at 78x200.

    Initial weights of the dense layers: a unit sums 250 non-negative numbers whose common level says nothing about
    the road and, with plain random weights, decides alone whether the unit is ever active; so the weights of a
    unit are drawn with mean zero over the positions, and the bias is 0.5: the features of a whitened picture begin
    around 0 to 1, where the synapses of the liquid circuit have their thresholds (0.3 to 0.8).
    """

    LAYERS = ((24, 5, 2), (36, 5, 2), (48, 3, 2), (64, 3, 1), (8, 3, 1))
    SAME = True
    FEATURES_PER_MAP = 4

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__(config)
        height, width = self.map_sizes(self.config)[-1]
        n_maps, n_positions = self.LAYERS[-1][0], height * width
        weight = torch.empty(n_maps, n_positions, self.FEATURES_PER_MAP).normal_(std=0.5 / math.sqrt(n_positions))
        self.dense_weight = nn.Parameter(weight - weight.mean(dim=1, keepdim=True))
        self.dense_activation = nn.ReLU()
        self.dense_bias = nn.Parameter(torch.full((n_maps, self.FEATURES_PER_MAP), 0.5))

    @classmethod
    def n_features(cls, config: EncoderConfig) -> int:
        """Features N, 32 for every size of the picture."""
        return cls.LAYERS[-1][0] * cls.FEATURES_PER_MAP

    def forward(self, frames: Tensor) -> Tensor:
        """Features (B, 32) >= 0 of frames (B, 3, H, W) in [0, 1]; feature 4 i + j is unit j of map i."""
        last = self.feature_maps(frames)[-1].flatten(2)  # (B, 8, H W)
        dense = torch.einsum("bcp,cpk->bck", last, self.dense_weight) + self.dense_bias
        return self.dense_activation(dense).flatten(1)  # (B, 32)

    def convolutions(self) -> list[Convolution]:
        """Those of the base, and the dense layers as one whose kernels are as large as the map."""
        size = self.map_sizes(self.config)[-1]
        kernels = self.dense_weight.mT.unflatten(-1, size).flatten(0, 1).unsqueeze(1)  # (32, 1, h, w)
        dense = Convolution(kernels, self.dense_bias.flatten(), 1, (0, 0, 0, 0), len(self.dense_weight))
        return [*super().convolutions(), dense]
