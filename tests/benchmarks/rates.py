"""The search of the cores' learning rates: as many short trainings, over the same rates and frames, for every core.

    python -m tests.benchmarks.rates --out rates

Every training begins with new weights behind an encoder that has learnt from pictures alone, the first part of the
recipe, which is the same whatever core comes behind it. The command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

from driving.console import note, print_table
from driving.learning_curve import badness
from driving.models import checkpoint
from driving.models.device import pick_device
from driving.models.policy import PolicyConfig, build_policy
from driving.pretraining import PretrainConfig
from driving.recipe import DEFAULT_WORLD, NewPolicy, Training
from driving.train import LR_CORE, LR_OTHER_CORES, LR_PRETRAINED_ENCODER, TrainConfig
from sim.files import write_json
from tests.benchmarks.short_trainings import run_short, validated

ENCODERS = {"ltc": "shared", "lstm": "shared", "ctrnn": "shared", "wired_cfc": "shared", "feedforward": "pilotnet"}
"""The encoder before each core, as in the shipped policies."""
RATES = (1e-3, 3e-3, 8e-3, 2e-2)


def begin(out: Path, core: str, seed: int, pretrain: PretrainConfig) -> Path:
    """A policy to start from: new weights of a core behind an encoder that has learnt from pictures."""
    encoder = ENCODERS[core]
    folder = out / "begin" / f"{core}-{seed}"
    if not (folder / checkpoint.CONFIG).is_file():
        policy = build_policy(PolicyConfig(core, encoder=encoder), seed)
        pictures = Training(
            out / "begin" / f"{encoder}-{seed}",
            TrainConfig(seed=seed, bfloat16=True),
            NewPolicy(core, encoder),
            env=DEFAULT_WORLD,
            pretrain=pretrain,
        )
        pictures.see_places(
            policy,
            resume=pictures.is_begun,
            on_row=lambda row: note(f"{pictures.out}: step {row['step']}, loss {row['loss']:.4f}"),
            device=pick_device("cpu"),
        )
        checkpoint.save(policy, folder)
    return folder


def trainings(
    out: Path, cores: Sequence[str], rates: Sequence[float], seed: int, n_steps: int, pretrain: PretrainConfig
) -> list[Training]:
    """One for each core and rate, rate by rate."""
    return [
        Training(
            out / core / f"{rate:g}",
            TrainConfig(
                seed=seed, n_steps=n_steps, lr_encoder=LR_PRETRAINED_ENCODER, lr_core=rate, bfloat16=True,
            ),
            NewPolicy(init=str(begin(out, core, seed, pretrain))),
            env=DEFAULT_WORLD,
            validate_every=n_steps,
            command=f"python -m tests.benchmarks.rates --out {out} --cores {core} --rates {rate:g} --steps {n_steps}",
        )
        for rate, core in itertools.product(rates, cores)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cores", nargs="+", default=list(ENCODERS), choices=list(ENCODERS))
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pictures", type=int, default=PretrainConfig.n_pictures)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    pretrain = PretrainConfig(n_pictures=asked.pictures)
    runs = trainings(asked.out, asked.cores, asked.rates, asked.seed, asked.steps, pretrain)
    rows = []
    for run, metrics in zip(runs, run_short(runs, asked.workers), strict=True):
        core, rate = run.out.parent.name, run.config.lr_core
        is_default = rate == LR_CORE.get(core, LR_OTHER_CORES)
        rows.append(
            {"core": core, "rate": rate, "is_default": is_default, **validated(metrics),
             "badness": badness(metrics["closed_loop_validation"])}
        )  # fmt: skip
    rows.sort(key=lambda row: (asked.cores.index(str(row["core"])), row["rate"]))
    best = {
        core: min((row for row in rows if row["core"] == core), key=lambda row: row["badness"]) for core in asked.cores
    }
    write_json(asked.out / "rates.json", {"steps": asked.steps, "trainings": rows})
    print_table(
        f"After {asked.steps} steps from the same pictures, seed {asked.seed}; by validation",
        [
            {name: value for name, value in row.items() if name != "badness"} | {"best": row is best[row["core"]]}
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
