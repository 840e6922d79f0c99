"""The one normalisation of every attention map."""

from __future__ import annotations

import torch


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Each map (B, H, W) moved and scaled to [0, 1] on its own.

    A constant map holds no preference for any place, so it becomes zeros; so does one with values that are
    not finite.
    """
    low = maps.amin(dim=(1, 2), keepdim=True)
    span = maps.amax(dim=(1, 2), keepdim=True) - low
    usable = torch.isfinite(span) & (span > 0)
    return torch.where(usable, (maps - low) / torch.where(usable, span, 1.0), 0.0)
