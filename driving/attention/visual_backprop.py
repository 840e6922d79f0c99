"""VisualBackProp (Bojarski et al., arXiv 1611.05418): where the encoder's features come from."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from driving.attention.min_max import min_max
from driving.models.policy import Policy


def visual_backprop(policy: Policy, frame: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """Attention map (B, H, W) in [0, 1] of the policy's convolutions for ``frame`` (B, 3, H, W) in [0, 1].

    Starts from the channel mean of the last feature map (after ReLU) and goes back: the map so far, upsampled
    to the earlier layer, times the channel mean of that layer; at last upsampled to the picture. One variant
    for every network: bilinear upsampling instead of the paper's transposed convolution, no normalisation per
    channel, and the picture itself is no layer.

    Upsampling is ``align_corners=False``: pixels are areas, and the outer edges of a layer and of the picture
    coincide, not the centres of their corner pixels. Each map is min-max normalised; a constant one becomes
    zeros. ``state`` is part of the attribution contract and not used: the method sees the convolutions only.
    """
    with torch.no_grad():
        layers = [maps.mean(dim=1, keepdim=True) for maps in policy.encoder.feature_maps(frame)]  # (B, 1, h, w)
        seen = layers.pop()
        for layer in reversed(layers):
            seen = _upsample(seen, layer.shape[-2:]) * layer
            # Five products of means run out of float32's range for faint features; scale is free.
            seen = seen / seen.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(seen.dtype).tiny)
        return min_max(_upsample(seen, frame.shape[-2:]).squeeze(1))


def _upsample(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
