"""The memory of the liquid circuit: what its initial C does to a driver.

    python -m tests.benchmarks.memory --out memory
    liquid-lane stress --policies memory/c0.5@all memory/c3@all memory/c10@all memory/c20@all --noises none gaussian:0.1
        --seeds 2000:2020 --seconds 30 --out memory/sweep

New circuits of several initial C (over the sub-step), each behind the encoder of a shipped CNN-LSTM of the same seed,
which no liquid circuit has shaped; the same frames of driving for all. The first command trains, goes on where it was
stopped, and prints what the circuits themselves say: how long they remember, how strongly and how late they answer.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from driving.commands.arguments import parse_seeds
from driving.console import print_table
from driving.models import checkpoint
from driving.models.ltc import LTCConfig
from driving.models.policy import PolicyConfig, build_policy, to_tensor
from driving.recipe import DEFAULT_WORLD, NewPolicy, Training
from driving.train import LR_PRETRAINED_ENCODER, TrainConfig
from sim.files import write_json
from tests.benchmarks.pull import LEFT, decay_s, first_pictures, under_noise
from tests.benchmarks.short_trainings import run_short, validated

ENCODER_OF, VARIANCE = "lstm64", 0.1


def begin(folder: Path, initial_c: float, seed: int) -> Path:
    """A policy to start from: a new circuit, the encoder of the CNN-LSTM of this seed."""
    if not (folder / checkpoint.CONFIG).is_file():
        policy = build_policy(PolicyConfig("ltc", LTCConfig(initial_c=initial_c)), seed)
        policy.encoder.load_state_dict(checkpoint.load(f"{ENCODER_OF}@{seed}").encoder.state_dict())
        checkpoint.save(policy, folder)
    return folder


def trainings(out: Path, values: Sequence[float], seeds: Sequence[int], n_steps: int) -> list[Training]:
    """One for each C and seed, seed by seed: what is ready can be compared."""
    return [
        Training(
            out / f"c{initial_c:g}" / str(seed),
            TrainConfig(seed=seed, n_steps=n_steps, lr_encoder=LR_PRETRAINED_ENCODER, bfloat16=True),
            NewPolicy(init=str(begin(out / "begin" / f"c{initial_c:g}-{seed}", initial_c, seed))),
            env=DEFAULT_WORLD,
            validate_every=n_steps,
            command=f"python -m tests.benchmarks.memory --out {out} --values {initial_c:g} --steps {n_steps}",
        )
        for seed, initial_c in itertools.product(seeds, values)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--values", type=float, nargs="+", default=[0.5, 3.0, 10.0, 20.0])
    parser.add_argument("--seeds", default="0:3")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    runs = trainings(asked.out, asked.values, parse_seeds(asked.seeds), asked.steps)
    found = run_short(runs, asked.workers)
    pairs, rows = first_pictures(), []
    for run, metrics in zip(runs, found, strict=True):
        policy, valid, answer = checkpoint.load(run.out), validated(metrics), metrics["response"]
        noisy = under_noise(policy, pairs, VARIANCE)
        rows.append(
            {
                "policy": f"{run.out.parent.name}@{run.out.name}",
                "decay_s": round(float(decay_s(policy, to_tensor(pairs[:, 0])).median()), 3),
                **dataclasses.asdict(noisy),
                "gain": answer["gain"],
                "lag_s": answer["lag_s"],
                "validation_crashes": valid["crashes"],
                "validation_km": valid["km"],
                "validation_offset_m": valid["offset_m"],
                "loss": valid["loss"],
            }
        )
    write_json(asked.out / "memory.json", {"policies": rows})
    shown = ("policy", "decay_s", "pull_per_m", "shake_per_m", "off_m", "gain", "lag_s", "validation_crashes")
    title = f"After {asked.steps} steps; decay: until {100 * LEFT:g} % of a pulse in the state is left"
    print_table(title, [{name: row[name] for name in shown} for row in rows])


if __name__ == "__main__":
    main()
