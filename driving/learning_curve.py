"""What a training run tells while it learns: one row of figures every few steps, and a picture of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import BadInputError
from sim.files import new_file

PICTURES, DRIVING = "pictures", "driving"
"""Parts of a training."""
LOG_NAME, CURVE_NAME = "log.csv", "curve.png"
COLUMNS = (
    *("part", "step", "frames", "seconds", "loss", "lr_encoder", "lr_core", "policy_km", "policy_crashes_per_km"),
    *("frames_per_s", "waiting_share", "validation_crashes", "validation_km", "validation_offset_m"),
)
"""Of ``log.csv``: ``part`` of the training, "pictures" or "driving", each with steps, frames and seconds of its own;
means since the row before; crashes and kilometres are of episodes that the policy itself drove;
``waiting_share`` of the time went into the world or into reading windows; the last three are of ``Validation``."""


@dataclass(frozen=True)
class Validation:
    """The policy is driven on fixed roads now and then, and the best so far is kept.

    Attributes:
        every: steps between two validations; the last step is always validated.
        drive: drives a policy and gives ``crashes``, ``km`` and ``mean_abs_lateral_offset_m``.
    """

    every: int
    drive: Callable[[Any], Mapping[str, Any]]


def badness(figures: Mapping[str, Any]) -> tuple[float, float]:
    """What the best policy has least of: crashes a km; where these are equal, metres off the middle of the lane."""
    km = figures["km"]
    return (figures["crashes"] / km if km > 0 else math.inf, figures["mean_abs_lateral_offset_m"])


class LearningCurve:
    """The rows of a run, in memory and in ``log.csv``; a resumed run goes on behind those of its steps so far.

    ``before`` are the rows of the part of the training before this one.
    """

    def __init__(
        self, folder: Path, rows: Sequence[Mapping[str, Any]] = (), before: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._path, self._before = folder / LOG_NAME, before
        self.rows = [dict(row) for row in rows]

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, and write all of them."""
        self.rows.append(dict(row))
        with new_file(self._path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            rows = [*self._before, *self.rows]
            writer.writerows({name: _shown(row.get(name)) for name in COLUMNS} for row in rows)

    def draw(self) -> None:
        """Write the picture: loss, and crashes of the policy while it learns and when it is validated."""
        save_curve([*self._before, *self.rows], self._path.with_name(CURVE_NAME))


def _shown(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``log.csv`` so far; none where there is no such file."""
    try:
        with (folder / LOG_NAME).open(newline="") as file:
            return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]
    except OSError:
        return []


def _value(text: str) -> Any:
    """Of a cell; undoes ``_shown``.

    >>> _value("driving"), _value("0.5"), _value("")
    ('driving', 0.5, None)
    """
    try:
        return float(text) if text else None
    except ValueError:
        return text


def tensorboard_writer(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes each row it is given to event files that TensorBoard shows, over the frames so far.

    Raises:
        BadInputError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInputError(
            'train: --tensorboard needs TensorBoard, got none; pip install "liquid-lane[tensorboard]"'
        ) from None
    writer = SummaryWriter(str(folder))

    def write(row: Mapping[str, Any]) -> None:
        for name in COLUMNS:
            value = row.get(name)
            if isinstance(value, (int, float)) and name not in ("step", "frames"):
                writer.add_scalar(f"{row['part']}/{name}", value, row["frames"])
        writer.flush()

    return write


def save_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the rows of a run into a .png, .svg or .pdf file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    loss, crashes = figure.subplots(2, sharex=True)
    first = [row for row in rows if row["part"] == PICTURES]
    n_before = first[-1]["frames"] if first else 0
    rows = [{**row, "frames": n_before + row["frames"]} for row in rows if row["part"] != PICTURES]
    if first:
        seen = [row["frames"] / 1000 for row in first]
        loss.semilogy(seen, [row["loss"] for row in first], color="#009E73", linewidth=1.2, label="pictures")
    frames = [row["frames"] / 1000 for row in rows]
    loss.semilogy(frames, [row["loss"] for row in rows], color="#0072B2", linewidth=1.2, label="driving")
    if first:
        loss.legend(frameon=False)
    loss.yaxis.set_minor_formatter(NullFormatter())
    loss.set_ylabel("loss")
    own = [(row["frames"] / 1000, row.get("policy_crashes_per_km")) for row in rows]
    own = [(x, y) for x, y in own if y is not None]
    crashes.plot(*zip(*own, strict=True) if own else ([], []), color="#0072B2", linewidth=1.2, label="while learning")
    valid = [row for row in rows if row.get("validation_km")]
    crashes.plot(
        [row["frames"] / 1000 for row in valid],
        [row["validation_crashes"] / row["validation_km"] for row in valid],
        "o", color="#D55E00", label="validation",
    )  # fmt: skip
    crashes.set_ylabel("crashes a km")
    crashes.set_xlabel("thousand frames")
    crashes.set_ylim(bottom=0)
    if own or valid:
        crashes.legend(frameon=False)
    for axes in (loss, crashes):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with new_file(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
