"""What noise does to a command: a steady pull to one side, and a shake about it; and how long a network remembers.

    python -m tests.benchmarks.pull --policies cnn@all lstm64@all ltc19@all --sweep sweeps/gaussian

Every network sees the first pictures of the same roads, standing still, clean and under Gaussian noise. *Pull*: by how
much the mean command moves; *shake*: its standard deviation over time. With the folder of a sweep of the same networks
under the same noise: rank correlation of each with the crashes a km.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from driving.commands.arguments import parse_seeds
from driving.console import print_table
from driving.harness.store import EpisodeStore
from driving.models import checkpoint
from driving.models.policy import Policy, to_tensor
from driving.noise.sensor import gaussian
from driving.recipe import DEFAULT_WORLD
from driving.settings import env_maker
from sim.conventions import FRAME_RATE_HZ

PULSE, LEFT = 0.1, 0.05
"""Added to every unit of the state, and the share of it at which it counts as forgotten."""
SETTLING_S, LONGEST_S, NOISY_S = 10.0, 20.0, 5.0
ROADS = range(3000, 3016)
"""Validation roads, as those of gain and lag."""


def first_pictures(seeds: Sequence[int] = ROADS) -> np.ndarray:
    """Of our world's roads, uint8 (B, H, W, 3)."""
    env = env_maker(DEFAULT_WORLD, {}, 1.0)()
    frames = np.stack([env.reset(seed=seed)[0].copy() for seed in seeds])
    env.close()
    return frames


@torch.no_grad()
def decay_s(policy: Policy, frames: Tensor) -> Tensor:
    """Time (B,) until a pulse in the state has fallen to ``LEFT`` of it, while frames (B, 3, H, W) stand still.

    ``LONGEST_S`` and a frame where it has not by then; a frame's time without a state.
    """
    features = policy.encode(frames)[:, None]  # (B, 1, N)
    _, calm = policy.decode(features.expand(-1, round(SETTLING_S * FRAME_RATE_HZ), -1))
    shaken = calm + PULSE
    begun, left = (shaken - calm).flatten(1).norm(dim=-1), []
    for _ in range(round(LONGEST_S * FRAME_RATE_HZ)):
        (_, calm), (_, shaken) = policy.decode(features, calm), policy.decode(features, shaken)
        left.append((shaken - calm).flatten(1).norm(dim=-1) > LEFT * begun)
    frame = torch.arange(1, len(left) + 1)[:, None]
    return (torch.where(torch.stack(left), frame, 0).amax(0) + 1) / FRAME_RATE_HZ


@torch.no_grad()
def pull_and_shake(policy: Policy, frames: np.ndarray, variance: float) -> tuple[float, float]:
    """In 1/m, means over uint8 frames (B, H, W, 3) that stand still under Gaussian noise."""
    n_noisy, n_settling = round(NOISY_S * FRAME_RATE_HZ), round(FRAME_RATE_HZ)
    pulls, shakes = [], []
    for seed, frame in enumerate(frames):
        rng = np.random.default_rng(seed)
        noisy = np.stack([gaussian(frame, variance, rng) for _ in range(n_settling + n_noisy)])
        clean, _ = policy.decode(policy.encode(to_tensor(frame[None]))[None].expand(-1, len(noisy), -1))
        command, _ = policy.decode(policy.encode(to_tensor(noisy))[None])
        pulls.append(float((command - clean)[0, n_settling:].mean().abs()))
        shakes.append(float(command[0, n_settling:].std()))
    return float(np.mean(pulls)), float(np.mean(shakes))


def crash_rates(folder: Path, variance: float) -> Mapping[str, float]:
    """Crashes a km of each network in a sweep under this noise."""
    crashes: dict[str, int] = {}
    km: dict[str, float] = {}
    with contextlib.closing(EpisodeStore(folder)) as store:
        for key, row in store.rows(store.keys()).items():
            if (key.noise, key.severity) == ("gaussian", variance) and row.error is None:
                crashes[key.policy] = crashes.get(key.policy, 0) + row.crashed
                km[key.policy] = km.get(key.policy, 0.0) + row.distance_m / 1000.0
    return {name: crashes[name] / km[name] for name in crashes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policies", nargs="+", required=True)
    parser.add_argument("--variance", type=float, default=0.1)
    parser.add_argument("--roads", default=f"{ROADS.start}:{ROADS.stop}")
    parser.add_argument("--sweep", type=Path)
    asked = parser.parse_args()
    frames, rows = first_pictures(parse_seeds(asked.roads)), []
    rates = crash_rates(asked.sweep, asked.variance) if asked.sweep else {}
    for name, policy in checkpoint.load_all(asked.policies).items():
        pull, shake = pull_and_shake(policy, frames, asked.variance)
        row: dict[str, Any] = {"policy": name, "pull, 1/m": pull, "shake, 1/m": shake}
        row["decay, s"] = float(decay_s(policy, to_tensor(frames)).median())
        rows.append(row | ({"crashes a km": rates[name]} if name in rates else {}))
    print_table(f"Gaussian noise of variance {asked.variance:g} on standing pictures", rows)
    if rates:
        for what in ("pull, 1/m", "shake, 1/m", "decay, s"):
            found = spearmanr([row[what] for row in rows], [row["crashes a km"] for row in rows])
            print(f"Rank correlation of {what.partition(',')[0]} and crashes a km: {found.statistic:.2f}")


if __name__ == "__main__":
    main()
