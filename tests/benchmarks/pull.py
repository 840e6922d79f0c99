"""What noise does to a command: a pull to one side, a shake about it, and what it leaves of the answer to an offset.

    python -m tests.benchmarks.pull --policies cnn@all lstm64@all ltc19@all --sweep sweeps/gaussian

Every network sees the first pictures of the same roads, from a little to the left and to the right of the middle of
the lane, standing still, clean and under Gaussian noise. *Pull*: by how much the mean command moves; *one side*: the
mean of the pulls over that of their sizes, 1 where all places are pulled to one side; *shake*: its standard deviation
over time; *answer*: its change from left to right, over that in clean pictures; *off*: how far from the middle the
answer that is left would hold the pull, were it to grow with the distance. *Decay*: until 5 % of a pulse in the state
is left. With the folder of a sweep of the same networks under the same noise: rank correlations with the crashes a km.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from driving.commands.arguments import parse_seeds
from driving.console import print_table
from driving.harness.store import CSV_NAME
from driving.models import checkpoint
from driving.models.policy import Policy, to_tensor
from driving.noise.sensor import gaussian
from driving.recipe import DEFAULT_WORLD
from driving.settings import env_maker
from sim.conventions import FRAME_RATE_HZ

OFFSET_M = 0.25
PULSE, LEFT = 0.1, 0.05
"""Added to every unit of the state, and the share of it at which it counts as forgotten."""
SETTLING_S, LONGEST_S, NOISY_S = 10.0, 20.0, 5.0
ROADS = range(3000, 3016)
"""Validation roads, as those of gain and lag."""


def first_pictures(seeds: Sequence[int] = ROADS) -> np.ndarray:
    """Of our world's roads, ``OFFSET_M`` to the left and to the right of the lane's middle, uint8 (B, 2, H, W, 3)."""
    env, pairs = env_maker(DEFAULT_WORLD, {}, 1.0)(), []
    for seed in seeds:
        env.reset(seed=seed)
        pairs.append([env.place(env.along_road_m, offset_m)[0].copy() for offset_m in (OFFSET_M, -OFFSET_M)])
    env.close()
    return np.array(pairs)


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


@dataclass(frozen=True)
class UnderNoise:
    """What noise does to the commands of a network; means over places, the last a median.

    Attributes:
        pull_per_m, shake_per_m: of the command.
        one_side: size of the mean pull over the mean size, 0 to 1.
        answer: to an offset, over that in clean pictures.
        off_m: where the answer holds the pull.
    """

    pull_per_m: float
    one_side: float
    shake_per_m: float
    answer: float
    off_m: float


@torch.no_grad()
def under_noise(policy: Policy, pairs: np.ndarray, variance: float) -> UnderNoise:
    """Of uint8 pictures (B, 2, H, W, 3) from both sides of the middle that stand still under Gaussian noise."""
    n_noisy, n_settling = round(NOISY_S * FRAME_RATE_HZ), round(FRAME_RATE_HZ)
    clean, noisy, shake = (np.zeros(pairs.shape[:2]) for _ in range(3))
    for i, j in np.ndindex(*clean.shape):
        rng = np.random.default_rng([i, j])
        shown = np.stack([gaussian(pairs[i, j], variance, rng) for _ in range(n_settling + n_noisy)])
        calm, _ = policy.decode(policy.encode(to_tensor(pairs[i, j][None]))[None].expand(-1, len(shown), -1))
        command, _ = policy.decode(policy.encode(to_tensor(shown))[None])
        calm, command = calm[0, n_settling:], command[0, n_settling:]
        clean[i, j], noisy[i, j], shake[i, j] = float(calm.mean()), float(command.mean()), float(command.std())
    signed = (noisy - clean).mean(1)
    pull = np.abs(signed)
    left_right = [(commands[:, 1] - commands[:, 0]) / (2 * OFFSET_M) for commands in (clean, noisy)]  # 1/m a metre
    off_m = pull / np.maximum(left_right[1], 1e-6)
    answer = left_right[1].mean() / left_right[0].mean()
    one_side = abs(signed.mean()) / max(pull.mean(), 1e-12)
    return UnderNoise(float(pull.mean()), float(one_side), float(shake.mean()), float(answer), float(np.median(off_m)))


def crash_rates(folder: Path, variance: float) -> Mapping[str, float]:
    """Crashes a km of each network in a sweep under this noise."""
    crashes: Counter[str] = Counter()
    km: Counter[str] = Counter()
    with (folder / CSV_NAME).open(newline="") as file:  # of the program as it is, where the store keeps older rows too
        for row in csv.DictReader(file):
            if (row["noise"], float(row["severity"])) == ("gaussian", variance) and not row["error"]:
                crashes[row["policy"]] += int(row["crashed"])
                km[row["policy"]] += float(row["distance_m"]) / 1000.0
    return {name: crashes[name] / km[name] for name in km}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policies", nargs="+", required=True)
    parser.add_argument("--variance", type=float, default=0.1)
    parser.add_argument("--roads", default=f"{ROADS.start}:{ROADS.stop}")
    parser.add_argument("--sweep", type=Path)
    asked = parser.parse_args()
    pairs, rows = first_pictures(parse_seeds(asked.roads)), []
    rates = crash_rates(asked.sweep, asked.variance) if asked.sweep else {}
    for name, policy in checkpoint.load_all(asked.policies).items():
        found = under_noise(policy, pairs, asked.variance)
        row: dict[str, Any] = {"policy": name, "pull, 1/m": found.pull_per_m, "shake, 1/m": found.shake_per_m}
        row |= {"one side": found.one_side, "answer": found.answer, "off, m": found.off_m}
        row["decay, s"] = float(decay_s(policy, to_tensor(pairs[:, 0])).median())
        rows.append(row | ({"crashes a km": rates[name]} if name in rates else {}))
    two_digits = [{k: v if isinstance(v, str) else float(f"{v:.2g}") for k, v in row.items()} for row in rows]
    print_table(f"Gaussian noise of variance {asked.variance:g} on standing pictures", two_digits)
    if rates:
        for what in ("pull, 1/m", "shake, 1/m", "answer", "off, m", "decay, s"):
            ranks = spearmanr([row[what] for row in rows], [row["crashes a km"] for row in rows])
            print(f"Rank correlation of {what.partition(',')[0]} and crashes a km: {ranks.statistic:.2f}")


if __name__ == "__main__":
    main()
