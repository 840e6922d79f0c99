"""What is found out about one network on one road: scores of its maps, and the effects of what is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driving.attention import ATTRIBUTIONS
from driving.attention.ablation import class_effects
from driving.attention.score import (
    centre_px,
    class_shares,
    evenness,
    map_similarity,
    on_road_share,
    pointing_hit,
    rank_accuracy,
    rank_similarity,
    road_area_share,
)
from driving.models.policy import Policy, to_tensor
from driving.study.scenes import Scenes
from sim.changes import CHANGES
from sim.conventions import FRAME_RATE_HZ
from sim.surface_class import SurfaceClass

N_CLASSES = len(SurfaceClass)
PARTS: Mapping[str, tuple[SurfaceClass, ...]] = {
    "road": (SurfaceClass.ROAD, SurfaceClass.OWN_LANE, SurfaceClass.MARKING),
    "own_lane": (SurfaceClass.OWN_LANE,),
    "marking": (SurfaceClass.MARKING,),
    "verge": (SurfaceClass.VERGE,),
    "objects": tuple(surface for surface in SurfaceClass if surface > SurfaceClass.MARKING),
    "sky": (SurfaceClass.SKY, SurfaceClass.HILLS),
}
"""Parts of a picture whose share of the mass is told."""
COMPARED = tuple(
    name for name, change in CHANGES.items() if change.concerns and name not in ("no_objects", "no_shadows")
)
"""Changes that concern classes of their own: their effects are the truth that maps are held against."""
ABLATION = "class_ablation"


def effects(policy: Policy, scenes: Scenes, states: Tensor, real: np.ndarray) -> dict[str, np.ndarray]:
    """By change, how the command (n,) of each scene differs from the ``real`` one (n,), in 1/m: the true effect.

    The memory is that of the real drive: what one changed picture does.
    """
    return {name: commands(policy, frames, states) - real for name, frames in scenes.changed.items()}


def commands(policy: Policy, frames: np.ndarray, states: Tensor) -> np.ndarray:
    """Commands (n,) on frames uint8 (n, H, W, 3), in 1/m."""
    with torch.no_grad():
        curvature, _ = policy.step(to_tensor(frames), states, 1 / FRAME_RATE_HZ)
    return curvature.double().numpy()


def map_scores(
    policy: Policy, scenes: Scenes, states: tuple[Tensor, Tensor], method: str, true_rms: Mapping[str, float]
) -> dict[str, float | None]:
    """Means over the scenes of one road of what the maps of ``method`` score; None where nothing can be said.

    Args:
        states: before each scene, and before the picture before it (``Scenes.states``).
        true_rms: root mean square of ``effects`` by change.
    """
    look = ATTRIBUTIONS[method]
    picked = scenes.picked
    maps = look(policy, to_tensor(scenes.film[picked]), states[0]).numpy()
    before = look(policy, to_tensor(scenes.film[np.maximum(picked - 1, 0)]), states[1]).numpy()
    found: dict[str, Any] = {"road_share": on_road_share(maps, scenes.road_masks)}
    found["road_gain"] = _gain(found["road_share"], road_area_share(scenes.road_masks))
    agrees = None
    if scenes.class_maps is not None:
        shares, areas = class_shares(maps, scenes.class_maps, N_CLASSES), _areas(scenes.class_maps)  # (n, classes)
        for part, classes in PARTS.items():
            found[f"{part}_gain"] = _gain(shares[:, classes].sum(axis=1), areas[:, classes].sum(axis=1))
        agrees = agreement(_by_change(shares), true_rms, _by_change(areas))
    found["rank_accuracy"] = rank_accuracy(maps, scenes.road_masks)
    found["pointing"] = pointing_hit(maps, scenes.road_masks)
    off_px = np.linalg.norm(centre_px(maps) - scenes.aim_px, axis=1)
    found["aim_deg"] = np.degrees(np.arctan(off_px / scenes.camera.focal_u_px))
    found["evenness"] = evenness(maps)
    found["steadiness"] = map_similarity(before, maps)
    if (scenes.film[picked] != scenes.clean_film[picked]).any():
        clean = look(policy, to_tensor(scenes.clean_film[picked]), states[0]).numpy()
        found["ssim_clean_noisy"] = map_similarity(clean, maps)
        found["rank_clean_noisy"] = rank_similarity(clean, maps)
    return {name: _mean(values) for name, values in found.items()} | {"agreement": agrees}


def _areas(class_maps: np.ndarray) -> np.ndarray:
    """Share (n, classes) of each picture that is of each class: what an even map would score."""
    return np.stack([(class_maps == k).mean(axis=(1, 2)) for k in range(N_CLASSES)], axis=-1)


def _gain(share: np.ndarray, area: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(area > 0, share / area, np.nan)


def even_agreement(scenes: Scenes, true_rms: Mapping[str, float]) -> float | None:
    """Agreement of a map that looks everywhere alike: large things count for more, and that is all it knows."""
    if scenes.class_maps is None:
        return None
    areas = _by_change(_areas(scenes.class_maps))
    return agreement(areas, true_rms, areas)


def ablation_scores(
    policy: Policy, scenes: Scenes, states: Tensor, true_rms: Mapping[str, float]
) -> tuple[dict[str, float], float | None]:
    """Root mean square change of the command by class that is covered, and its agreement with the truth."""
    assert scenes.class_maps is not None
    found = class_effects(
        policy, to_tensor(scenes.film[scenes.picked]), states, torch.from_numpy(scenes.class_maps), N_CLASSES
    ).numpy()
    areas = _areas(scenes.class_maps)
    rms = {surface.name.lower(): rms_of(found[:, surface]) for surface in SurfaceClass if areas[:, surface].any()}
    return rms, agreement(_by_change(np.abs(found)), true_rms, _by_change(areas))


def rms_of(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def _by_change(by_class: np.ndarray) -> dict[str, float]:
    """(n, classes) summed over the classes that each of ``COMPARED`` concerns, mean over the scenes."""
    return {name: float(np.nanmean(by_class[:, sorted(CHANGES[name].concerns)].sum(axis=1))) for name in COMPARED}


def agreement(
    shown: Mapping[str, float], true_rms: Mapping[str, float], area: Mapping[str, float], least: int = 4
) -> float | None:
    """Rank correlation of what maps show of each thing with its true effect, over the things that are in sight.

    None with fewer than ``least`` of them, or where all are alike.
    """
    from scipy.stats import spearmanr

    names = [name for name in true_rms if name in shown and area[name] > 0 and math.isfinite(shown[name])]
    one, other = [shown[name] for name in names], [true_rms[name] for name in names]
    if len(names) < least or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(spearmanr(one, other).statistic)


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None
