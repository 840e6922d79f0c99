"""What experiments of several short trainings share: running them side by side, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driving.console import note
from driving.recipe import Training, figures_of, run_side_by_side


def run_short(runs: Sequence[Training], n_workers: int) -> list[dict[str, Any]]:
    """Run what is not done yet, saying how far it is; the metrics of each."""
    run_side_by_side(
        runs, n_workers, resume=True,
        on_row=lambda i, row: note(f"{runs[i].out}: step {row['step']}, loss {row['loss']:.4f}"),
    )  # fmt: skip
    return figures_of(runs)


def validated(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of one training, for a table: its last loss, and its drives on the validation roads."""
    drives = metrics["closed_loop_validation"]
    return {
        "loss": metrics["train_loss_last_100"],
        "crashes": drives["crashes"],
        "km": drives["km"],
        "offset_m": drives["mean_abs_lateral_offset_m"],
    }
