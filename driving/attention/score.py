"""Numbers from attention maps: where their mass lies, how much is gathered there, how much of a map survives noise.

Maps are (..., H, W), non-negative; masks and class maps of the same shape. A map without mass looks nowhere: it scores
nan, to be left out of means with ``np.nanmean``.
"""

from __future__ import annotations

import numpy as np


def on_road_share(maps: np.ndarray, road_mask: np.ndarray) -> np.ndarray:
    """Share of each map's mass that lies on the road, in [0, 1]; shape () for (H, W), (B,) for (B, H, W).

    ``road_mask`` is bool (H, W) or (B, H, W). Read it beside ``road_area_share``, which a uniform map would score, and
    beside the score of the same network untrained. The literature's name is relevance mass accuracy (Arras et al.
    2022).
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


def class_shares(maps: np.ndarray, class_map: np.ndarray, n_classes: int) -> np.ndarray:
    """Share (..., n_classes) of each map's mass that lies on the pixels of each class."""
    mass = np.stack([on_road_share(maps, class_map == k) for k in range(n_classes)], axis=-1)
    return np.asarray(mass)


def rank_accuracy(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share inside the mask of the K brightest pixels, K being its size (Arras et al. 2022); nan for an empty one.

    Equally bright pixels count by their share, so an even map scores the mask's share of the picture.
    """
    maps, mask = np.asarray(maps, np.float64), np.asarray(mask, bool)
    if maps.ndim == 3:
        return np.array([rank_accuracy(one, inside) for one, inside in zip(maps, mask, strict=True)])
    n = int(mask.sum())
    if n == 0 or not maps.any():
        return np.asarray(np.nan)
    least = np.partition(maps, -n, axis=None)[-n]
    above, level = maps > least, maps == least
    share = (n - above.sum()) / level.sum()
    return np.asarray(((above & mask).sum() + share * (level & mask).sum()) / n)


def pointing_hit(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """1 where the brightest pixel lies in the mask, else 0 (the pointing game, Zhang et al. 2018); shape (...)."""
    flat = np.asarray(maps).reshape(*maps.shape[:-2], -1)
    inside = np.asarray(mask, bool).reshape(flat.shape)
    hit = np.take_along_axis(inside, flat.argmax(axis=-1)[..., None], axis=-1)[..., 0].astype(float)
    return np.where(flat.any(axis=-1), hit, np.nan)


def centre_px(maps: np.ndarray) -> np.ndarray:
    """Column and row (..., 2) of each map's centre of mass."""
    maps = np.asarray(maps, np.float64)
    mass = maps.sum(axis=(-2, -1))
    rows, columns = np.arange(maps.shape[-2]), np.arange(maps.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = (maps.sum(axis=-2) @ columns) / mass, (maps.sum(axis=-1) @ rows) / mass
    return np.stack([u, v], axis=-1)


def evenness(maps: np.ndarray) -> np.ndarray:
    """Entropy of each map over that of an even one: 1 spread evenly, 0 one single pixel; shape (...)."""
    flat = np.asarray(maps, np.float64).reshape(*maps.shape[:-2], -1)
    mass = flat.sum(axis=-1, keepdims=True)
    share = np.divide(flat, mass, where=mass > 0, out=np.zeros_like(flat))
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1) / np.log(flat.shape[-1])
    return np.where(mass[..., 0] > 0, entropy, np.nan)


def rank_similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rank correlation (Spearman) of the pixels of two maps; shape (...); nan where one of them is even."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.asarray(m).reshape(*m.shape[:-2], -1), axis=-1) for m in (one, other)]
    a, b = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.where(spread > 0, (a * b).sum(axis=-1) / np.where(spread > 0, spread, 1.0), np.nan)
