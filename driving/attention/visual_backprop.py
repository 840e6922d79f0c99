"""VisualBackProp (Bojarski et al., arXiv 1611.05418): where the encoder's features come from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from driving.attention.command import as_float
from driving.attention.min_max import min_max
from driving.models.encoder import Convolution
from driving.models.policy import Policy


def visual_backprop(policy: Policy, frame: Tensor, state: Tensor, is_published: bool = False) -> Tensor:
    """Attention map (B, H, W) in [0, 1] of the policy's convolutions for ``frame`` (B, 3, H, W).

    Starts from the channel mean of the last feature map (after ReLU) and goes back: the map so far, enlarged to the
    earlier layer, times the channel mean of that layer; at last enlarged to the picture. The picture itself is no
    layer. Each map is min-max normalised; a constant one becomes zeros. ``state`` is part of the attribution contract
    and not used: the method sees the convolutions only.

    Args:
        is_published: enlarge as published, by a transposed convolution with the layer's kernel of ones; else by
            bilinear interpolation (``align_corners=False``: pixels are areas, and the outer edges of a layer and of
            the picture coincide), which shows no pattern of the kernels.
    """
    with torch.no_grad():
        maps = policy.encoder.feature_maps(as_float(frame))
        convolutions = policy.encoder.convolutions()[: len(maps)] if is_published else [None] * len(maps)
        layers = [one.mean(dim=1, keepdim=True) for one in maps]  # (B, 1, h, w)
        seen = layers.pop()
        for layer, convolution in zip(reversed(layers), reversed(convolutions[1:]), strict=True):
            seen = _enlarged(seen, layer.shape[-2:], convolution) * layer
            # Five products of means run out of float32's range for faint features; scale is free.
            seen = seen / seen.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(seen.dtype).tiny)
        return min_max(_enlarged(seen, frame.shape[-2:], convolutions[0]).squeeze(1))


def _enlarged(maps: Tensor, size: torch.Size, convolution: Convolution | None) -> Tensor:
    if convolution is None:
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    kernel = torch.ones_like(convolution.weight[:1, :1])
    spread = F.conv_transpose2d(maps, kernel, stride=convolution.stride)
    top, left, bottom, right = convolution.padding
    height, width = size[0] + top + bottom, size[1] + left + right
    spread = F.pad(spread, (0, max(width - spread.shape[-1], 0), 0, max(height - spread.shape[-2], 0)))
    return spread[..., top : top + size[0], left : left + size[1]]
