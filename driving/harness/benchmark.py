"""The benchmark: one fixed protocol for any driver, one file of results, one table that anyone can add a row to."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driving.console import with_interval
from driving.harness.figures import Drives, kind_of, table
from driving.harness.store import EpisodeStore, Key, Row
from driving.harness.sweep import Sweep, driver_digest, program_digest, run_sweep
from driving.models.policy import Policy
from driving.noise import parse_noise
from driving.others import Other
from sim.errors import BadInputError, foreign_errors, one_line

BENCHMARK = 1
"""Version of the protocol and of the file: another world, noise or road is another number, and another table."""
RESULT_NAME = "benchmark.json"
ENV = "lane/Procedural-v0"


@dataclass(frozen=True)
class Part:
    """Roads under one condition.

    Attributes:
        name: of the condition, in the results.
        text: over its column.
        seeds, seconds: of the episodes.
        noise: ``NAME:SEVERITY``; None for the clean picture.
        options: of the world.
    """

    name: str
    text: str
    seeds: range
    seconds: float
    noise: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def sweep(self, drivers: Mapping[str, Policy | Other]) -> Sweep:
        """The part's drives."""
        return Sweep(drivers, ENV, [parse_noise(self.noise)], self.seeds, self.seconds, dict(self.options))


def _noisy(name: str, text: str, noise: str) -> Part:
    return Part(name, text, range(2000, 2020), 30.0, noise)


PARTS = (
    Part("road", "fair roads", range(2000, 2060), 60.0),
    Part("snow", "snow", range(2500, 2520), 30.0, options={"weather": "snow"}),
    Part("night", "night", range(2500, 2520), 30.0, options={"weather": "night"}),
    _noisy("gaussian", "Gaussian noise, variance 0.1", "gaussian:0.1"),
    _noisy("motion_blur", "motion blur", "motion_blur:3"),
    _noisy("fog", "fog on the picture", "fog:3"),
    _noisy("dirt", "dirt on the lens", "dirt:0.25"),
    _noisy("pitch", "camera knocked by 2 degrees", "pitch:2"),
    _noisy("dropped", "six of ten frames dropped", "dropped:0.6"),
    _noisy("delay", "command 0.15 s late", "delay:0.15"),
)
"""All of the embedded world: what a road camera meets, and one disturbance of each group."""

_OF_A_PART = {
    "part": str, "n_trainings": int, "n_drives": int, "n_errors": int, "crashes": int, "km": float,
    "crashes_per_km": float, "crashes_per_km_low": float, "crashes_per_km_high": float, "failed_share": float,
    "mean_abs_offset_m": float, "rms_lateral_jerk_mps3": float,
}  # fmt: skip
"""Keys of a part's results; every float may be null where nothing was driven far enough."""
_OF_ALL = {"benchmark": int, "name": str, "digests": dict, "program": str, "liquid_lane": str, "parts": list}


def run_benchmark(
    name: str,
    drivers: Mapping[str, Policy | Other],
    store: EpisodeStore,
    n_workers: int = 1,
    on_row: Callable[[Key, Row], None] = lambda key, row: None,
    parts: Sequence[Part] = PARTS,
) -> dict[str, Any]:
    """Drive what the store does not have yet; what ``RESULT_NAME`` holds.

    Args:
        name: of the row.
        drivers: trainings of one kind of network, or one driver.

    Raises:
        BadInputError: drivers of several kinds, or what ``run_sweep`` raises.
    """
    if len(kinds := {kind_of(driver) for driver in drivers}) != 1:
        raise BadInputError(f"benchmark: expected one kind of network a row, got {', '.join(sorted(kinds)) or 'none'}")
    rows = []
    for part in parts:
        sweep = part.sweep(drivers)
        run_sweep(sweep, store, n_workers, on_row)
        (found,) = table(Drives(store.rows(sweep.keys())))
        rows.append({"part": part.name} | {key: found[key] for key in _OF_A_PART if key != "part"})
        rows[-1]["failed_share"] = _with_errors(found)
    return {
        "benchmark": BENCHMARK,
        "name": name,
        "digests": {driver: driver_digest(drivers[driver]) for driver in drivers},
        "program": program_digest(),
        "liquid_lane": importlib.metadata.version("liquid-lane"),
        "parts": rows,
    }


def _with_errors(found: Mapping[str, Any]) -> float:
    """The share of drives that failed; one that the driver could not drive to its end by an error is one of them."""
    failed = (found["failed_share"] or 0.0) * found["n_drives"] + found["n_errors"]
    return round(failed / (found["n_drives"] + found["n_errors"]), 5)


def read_result(path: Path, parts: Sequence[Part] = PARTS) -> dict[str, Any]:
    """A file of results, checked key by key.

    Raises:
        BadInputError: it cannot be read, is of another version, or a key or part is missing, unknown or of a wrong
            kind.
    """
    with foreign_errors(path, "expected a file that liquid-lane benchmark wrote"):
        result = json.loads(path.read_text(encoding="utf-8"))
    _check(path, result, _OF_ALL)
    if result["benchmark"] != BENCHMARK:
        raise BadInputError(
            f"{path}: expected benchmark {BENCHMARK}, got {one_line(result['benchmark'], 40)}; run it again with this "
            "release"
        )
    for row in result["parts"]:
        _check(path, row, _OF_A_PART)
    names = [row["part"] for row in result["parts"]]
    if names != [part.name for part in parts]:
        raise BadInputError(f"{path}: expected the parts {', '.join(p.name for p in parts)}, got {one_line(names)}")
    return dict(result)


def _check(path: Path, found: Any, wanted: Mapping[str, type]) -> None:
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        got = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise BadInputError(f"{path}: expected the keys {', '.join(wanted)}, got {one_line(got)}")
    for key, kind in wanted.items():
        value = found[key]
        if kind is float:
            good = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            good = good and (value is None or math.isfinite(value))
        else:
            good = type(value) is kind
        if not good:
            raise BadInputError(f"{path}: {key}: expected a {kind.__name__}, got {one_line(repr(value), 40)}")


def failed_share(result: Mapping[str, Any]) -> float:
    """Mean over the parts of the share of drives that left their lane: 0 for a driver that never does."""
    shares = [row["failed_share"] for row in result["parts"] if row["failed_share"] is not None]
    return sum(shares) / len(shares) if shares else math.nan


def markdown(results: Sequence[Mapping[str, Any]], parts: Sequence[Part] = PARTS) -> str:
    """The table, a row a result, those that fail least first; crashes a km with 95 % by part."""
    heads = ["driver", "trainings", "drives that failed", *(part.text for part in parts), "off the middle, m"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for result in sorted(results, key=lambda result: (failed_share(result), result["name"])):
        first = result["parts"][0]
        cells = [result["name"], str(first["n_trainings"]), f"{100 * failed_share(result):.0f} %"]
        cells += [with_interval(row, "crashes_per_km") for row in result["parts"]]
        offset_m = first["mean_abs_offset_m"]
        lines.append("| " + " | ".join([*cells, "-" if offset_m is None else f"{offset_m:.2f}"]) + " |")
    return "\n".join(lines) + "\n"
