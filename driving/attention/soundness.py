"""Is a map about the network at all? Tests that a method passes or fails, with the figures.

- Parameters at random (Adebayo et al. 2018): a map must become another one when the encoder, or the core, is as it was
  before training; one that stays shows the picture, not the network.
- Labels at random (same paper): and when the network learnt answers that have nothing to do with the pictures.
- Deletion and insertion (Petsiuk et al. 2018): covering the brightest pixels first must change the command sooner than
  covering pixels at random or from the middle of the picture on; showing them first must bring it back sooner.
- Sensitivity (Yeh et al. 2019): a change of the picture that nobody sees must not turn the map over. Infidelity (same
  paper) is told for those who compare methods by it.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from driving.attention.command import Attribution, as_float, blurred_picture
from driving.attention.score import rank_similarity
from driving.models.policy import Policy, build_policy
from sim.conventions import FRAME_RATE_HZ

MOST_ALIKE = 0.5
"""Rank correlation that the maps of a network and of its randomised self may have at most."""
MOST_SENSITIVE = 0.5
"""Change of a map, as a share of its norm, that an unseen change of the picture may cause at most."""
RADIUS, N_PERTURBED = 0.01, 4
"""Size of that change in grey values from 0 to 1, and how many are tried."""
LEVEL = 0.05
N_FRACTIONS = 10
UNTRAINED_SEEDS = (901, 902, 903)
"""Of the untrained networks that a trained one is held against."""


def with_random(policy: Policy, part: str, seed: int) -> Policy:
    """A copy whose ``part``, "encoder" or "core", is as it was before a training from ``seed``."""
    other, fresh = copy.deepcopy(policy), build_policy(policy.config, seed)
    getattr(other, part).load_state_dict(getattr(fresh, part).state_dict())
    return other.eval()


def likeness(method: Attribution, one: Policy, other: Policy, frames: Tensor, states: Tensor) -> float:
    """Mean rank correlation of the maps of two networks on the same pictures."""
    maps = [method(policy, frames, states).numpy() for policy in (one, other)]
    values = rank_similarity(*maps)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def parameter_likeness(method: Attribution, policy: Policy, part: str, frames: Tensor, states: Tensor) -> float:
    """Mean over ``UNTRAINED_SEEDS`` of the likeness to the network with a random ``part``."""
    others = [with_random(policy, part, seed) for seed in UNTRAINED_SEEDS]
    return float(np.mean([likeness(method, policy, other, frames, states) for other in others]))


def taught_at_random(
    policy: Policy, frames: Tensor, states: Tensor, n_steps: int = 300, batch: int = 32, seed: int = 0
) -> tuple[Policy, float]:
    """A copy that was taught the commands of ``policy`` on other pictures than theirs; what it explains of them.

    Args:
        frames: uint8 (N, 3, H, W).
        states: (N, S), held fixed.

    Returns:
        The network, and the share of the variance of the shuffled commands that it has learnt by heart.
    """
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        commands = policy.step(frames, states, 1 / FRAME_RATE_HZ)[0]
    wrong = commands[torch.from_numpy(rng.permutation(len(frames)))]
    other = build_policy(policy.config, UNTRAINED_SEEDS[0]).train()
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3)
    scale = wrong.std().clamp_min(1e-6)
    for _ in range(n_steps):
        rows = torch.from_numpy(rng.choice(len(frames), min(batch, len(frames)), replace=False))
        answer, _ = other.step(frames[rows], states[rows], 1 / FRAME_RATE_HZ)
        loss = (((answer - wrong[rows]) / scale) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 10.0)
        optimizer.step()
    other.eval()
    with torch.no_grad():
        left = (other.step(frames, states, 1 / FRAME_RATE_HZ)[0] - wrong).var() / wrong.var().clamp_min(1e-12)
    return other, float(1 - left)


def orders(maps: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Pixels (n, H W) from first to last: by each map, at random, and from the middle of the picture on."""
    n, height, width = maps.shape
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    middle = np.hypot((rows - (height - 1) / 2) / height, (columns - (width - 1) / 2) / width).ravel()
    # Equal pixels in a random order, not from the top left on.
    shuffle = np.argsort(rng.random((n, height * width)), axis=1)
    by_map = np.take_along_axis(maps.reshape(n, -1), shuffle, axis=1).argsort(axis=1, kind="stable")[:, ::-1]
    return {
        "map": np.take_along_axis(shuffle, by_map, axis=1),
        "random": shuffle,
        "middle": np.broadcast_to(middle.argsort(kind="stable"), (n, height * width)),
    }


def curve_areas(policy: Policy, frames: Tensor, states: Tensor, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance (n,) of the command from that of the whole picture: while pixels vanish, and while they appear.

    Each over tenths of the picture, in 1/m; what is not there is as in the blurred picture.
    """
    whole = as_float(frames)
    blurred = blurred_picture(whole)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    place = torch.from_numpy(rank).reshape(len(frames), 1, *frames.shape[-2:])
    with torch.no_grad():
        answer = policy.step(whole, states, 1 / FRAME_RATE_HZ)[0]
        areas = np.zeros((2, len(frames)))
        for k in range(1, N_FRACTIONS):
            first = place < order.shape[1] * k / N_FRACTIONS
            for i, shown in enumerate((torch.where(first, blurred, whole), torch.where(first, whole, blurred))):
                areas[i] += (policy.step(shown, states, 1 / FRAME_RATE_HZ)[0] - answer).abs().numpy()
    deletion, insertion = areas / (N_FRACTIONS - 1)
    return deletion, insertion


def sensitivity(method: Attribution, policy: Policy, frames: Tensor, states: Tensor) -> float:
    """Largest change of a map under unseen changes of its picture, as a share of its norm; median over pictures."""
    from captum.metrics import sensitivity_max

    def explain(pictures: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (method(policy, pictures[0], states),)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = sensitivity_max(
            explain, (as_float(frames),), perturb_radius=RADIUS, n_perturb_samples=N_PERTURBED,
            max_examples_per_batch=len(frames),  # one change at a time, so that the states fit
        )  # fmt: skip
    return float(found.median())


def infidelity(method: Attribution, policy: Policy, frames: Tensor, states: Tensor) -> float:
    """Mean square of what a map foretells of a change of the command, less the change, at the best scale of the map.

    As a share of the mean square change: 0 foretells all, 1 nothing. A map without signs cannot foretell a direction,
    so the sizes of the changes are compared: ``captum.metrics.infidelity`` on the distance of the command from now.
    """
    from captum.metrics import infidelity as of_captum

    whole = as_float(frames)
    with torch.no_grad():
        answer = policy.step(whole, states, 1 / FRAME_RATE_HZ)[0]
    maps = method(policy, frames, states).unsqueeze(1).expand_as(whole).contiguous()
    changes: list[Tensor] = []

    def perturb(pictures: Tensor) -> tuple[Tensor, Tensor]:
        size = pictures.shape[-2] // 4, pictures.shape[-1] // 8
        mask = torch.zeros_like(pictures)
        for one in mask:  # a square of the picture is covered by the blurred one
            row = int(torch.randint(0, pictures.shape[-2] - size[0] + 1, ()))
            column = int(torch.randint(0, pictures.shape[-1] - size[1] + 1, ()))
            one[:, row : row + size[0], column : column + size[1]] = 1.0
        return mask, pictures + mask * (blurred_picture(pictures) - pictures)

    def distance(pictures: Tensor, memory: Tensor, before: Tensor) -> Tensor:
        with torch.no_grad():
            change = -(policy.step(pictures, memory, 1 / FRAME_RATE_HZ)[0] - before).abs()
        changes.append(change)
        return change

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = of_captum(
            distance, perturb, whole, maps, additional_forward_args=(states, answer), n_perturb_samples=N_FRACTIONS,
            normalize=True,
        )  # fmt: skip
    square = torch.cat([change for change in changes if change.any()] or [torch.ones(1)]).square().mean()
    return float(found.mean() / square)


def soundness(
    method: Attribution, policy: Policy, frames: Tensor, states: Tensor, taught: Policy | None = None
) -> dict[str, float]:
    """The figures of all tests on n pictures, uint8 (n, 3, H, W), with their states (n, S).

    Args:
        taught: of ``taught_at_random``; without one the labels are not tested.
    """
    from scipy.stats import wilcoxon

    found = {
        f"likeness_random_{part}": parameter_likeness(method, policy, part, frames, states)
        for part in ("encoder", "core")
        if any(True for _ in getattr(policy, part).parameters())
    }
    if taught is not None:
        found["likeness_random_labels"] = likeness(method, policy, taught, frames, states)
    areas = {
        name: curve_areas(policy, frames, states, order)
        for name, order in orders(method(policy, frames, states).numpy()).items()
    }
    for i, (name, sign) in enumerate((("deletion", 1.0), ("insertion", -1.0))):
        for other in ("random", "middle"):
            gain = sign * (areas["map"][i] - areas[other][i])
            found[f"{name}_against_{other}"] = float(areas["map"][i].mean() / max(areas[other][i].mean(), 1e-12))
            better = wilcoxon(gain, alternative="greater").pvalue if np.any(gain) else 1.0
            found[f"{name}_against_{other}_p"] = float(better)
    found["sensitivity"] = sensitivity(method, policy, frames, states)
    found["infidelity"] = infidelity(method, policy, frames, states)
    return found


def passed(figures: dict[str, float]) -> dict[str, bool]:
    """Which tests the figures of ``soundness`` pass."""
    results = {
        name.removeprefix("likeness_").replace("_", " "): abs(value) < MOST_ALIKE
        for name, value in figures.items()
        if name.startswith("likeness_")
    }
    for name in ("deletion", "insertion"):
        results[name] = all(figures[f"{name}_against_{other}_p"] < LEVEL for other in ("random", "middle"))
    return results | {"sensitivity": figures["sensitivity"] < MOST_SENSITIVE}
