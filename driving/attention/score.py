"""Numbers from attention maps: how much lies on the road, and how much of a map survives noise."""

from __future__ import annotations

import numpy as np


def on_road_share(maps: np.ndarray, road_mask: np.ndarray) -> np.ndarray:
    """Share of each map's mass that lies on the road, in [0, 1]; shape () for (H, W), (B,) for (B, H, W).

    ``road_mask`` is bool (H, W) or (B, H, W). A map without mass looks nowhere: it scores nan, to be left out
    of means with ``np.nanmean``. Read it beside ``road_area_share``, which a uniform map would score, and
    beside the score of the same network untrained.
    """
    maps = np.asarray(maps, dtype=np.float64)
    mass = maps.sum(axis=(-2, -1))
    on_road = np.where(road_mask, maps, 0.0).sum(axis=(-2, -1))
    return np.where(mass > 0, on_road / np.where(mass > 0, mass, 1.0), np.nan)


def road_area_share(road_mask: np.ndarray) -> np.ndarray:
    """Share of the picture that is road; shape () for a mask (H, W), (B,) for (B, H, W)."""
    return np.asarray(road_mask, dtype=bool).mean(axis=(-2, -1))


def map_similarity(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    """SSIM of two maps in [0, 1] of one shape; shape () for (H, W), (B,) for (B, H, W). 1 = the same map.

    The settings of Wang et al. 2004: Gaussian window of sigma 1.5 (11 x 11, so a map needs 11 rows and
    columns), population covariance, data range 1.
    """
    from skimage.metrics import structural_similarity  # slow to import, and most commands need none of it

    clean, noisy = np.asarray(clean, dtype=np.float64), np.asarray(noisy, dtype=np.float64)
    if clean.shape != noisy.shape:
        raise ValueError(f"the maps must have one shape, got {clean.shape} and {noisy.shape}")
    if clean.ndim == 3:
        return np.array([map_similarity(one, other) for one, other in zip(clean, noisy, strict=True)])
    similarity = structural_similarity(
        clean, noisy, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return np.asarray(similarity)
