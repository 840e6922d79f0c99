"""Noise in training: do the networks change places, and what becomes of the other disturbances?

    python -m tests.benchmarks.noise_training --out noisy
    liquid-lane stress --policies noisy/ltc19-noise@all noisy/ltc19-plain@all noisy/lstm64-noise@all
        noisy/lstm64-plain@all --noises none all:middle --seeds 2000:2020 --seconds 30 --out noisy/sweep

The shipped trainings of both kinds go on for the same further frames, with white noise of a variance up to 0.1 in what
they see and without. The command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from driving.commands.arguments import parse_seeds
from driving.console import print_table
from driving.data import AugmentConfig
from driving.online import OnlineConfig
from driving.recipe import DEFAULT_WORLD, NewPolicy, Training
from driving.train import TrainConfig
from tests.benchmarks.short_trainings import run_short, validated

KINDS = ("ltc19", "lstm64")
DEVIATIONS = {"plain": 0.0, "noise": round(math.sqrt(0.1), 3)}


def trainings(out: Path, kinds: Sequence[str], seeds: Sequence[int], n_steps: int) -> list[Training]:
    """Both of a pair one after the other, seed by seed: what is ready can be compared."""
    return [
        Training(
            out / f"{kind}-{name}" / str(seed),
            TrainConfig(seed=seed, n_steps=n_steps, bfloat16=True, augment=AugmentConfig(noise=deviation)),
            NewPolicy(init=f"{kind}@{seed}"),
            env=DEFAULT_WORLD,
            online=OnlineConfig(first_part=0.0, second_part=0.0),  # they can drive
            validate_every=n_steps,
            command=f"liquid-lane train --env {DEFAULT_WORLD} --init {kind}@{seed} --seed {seed} --steps {n_steps} "
            f"--noise {deviation:g} --validate-every {n_steps} --bfloat16 --threads 1 --out {out / f'{kind}-{name}'}",
        )
        for seed, kind, (name, deviation) in itertools.product(seeds, kinds, DEVIATIONS.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--seeds", default="0:5")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    runs = trainings(asked.out, asked.kinds, parse_seeds(asked.seeds), asked.steps)
    rows = [
        {"policy": f"{run.out.parent.name}@{run.out.name}", **validated(metrics)}
        for run, metrics in zip(runs, run_short(runs, asked.workers), strict=True)
    ]
    print_table(f"After {asked.steps} further steps, by validation in clean pictures", rows)


if __name__ == "__main__":
    main()
