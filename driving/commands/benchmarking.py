"""``benchmark``: a fixed protocol for any driver."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from driving.commands.arguments import WorkersOption
from driving.console import print_table, progress_bar, with_interval
from driving.harness.benchmark import PARTS, RESULT_NAME, failed_share, markdown, read_result, run_benchmark
from driving.harness.store import EpisodeStore, Key, Row
from driving.others import find_drivers
from sim.errors import BadInputError
from sim.files import write_json
from sim.processes import n_cores


def benchmark(
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="Folder or name, NAME@all for all its seeds, exported model, module:factory."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the drives; the same one again goes on.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the row; default: the policy's.")] = None,
    table: Annotated[
        list[Path] | None, typer.Option("--table", help="Print the table of these files of results instead.")
    ] = None,
    workers: WorkersOption = None,
) -> None:
    """A fixed protocol for any driver: the same roads, weathers and disturbances; OUT/benchmark.json has the figures.

    Stopped at any moment, the same command goes on and drives nothing twice.

    Example: liquid-lane benchmark --policy ltc19@all --out benchmarks/ltc19

    Example: liquid-lane benchmark --table checkpoints/benchmark/*.json
    """
    if table:
        print(markdown([read_result(path, PARTS) for path in table], PARTS), end="")
        return
    if policy is None or out is None:
        raise BadInputError("benchmark: expected --policy and --out, or --table with files of results")
    drivers = find_drivers([policy])
    with contextlib.closing(EpisodeStore(out)) as store:
        missing = {key for part in PARTS for key in part.sweep(drivers).keys()} - store.keys()  # noqa: SIM118
        bar, advance = progress_bar("episodes", len(missing))

        def on_row(key: Key, row: Row) -> None:
            advance()

        with bar:
            result = run_benchmark(name or policy, drivers, store, workers or n_cores(), on_row, PARTS)
    write_json(out / RESULT_NAME, result)
    texts = {part.name: part.text for part in PARTS}
    rows = [
        {"part": texts[row["part"]], "failed": f"{row['failed_share']:.0%} of {row['n_drives'] + row['n_errors']}"}
        | {"crashes a km (95 %)": with_interval(row, "crashes_per_km"), "|offset| m": row["mean_abs_offset_m"]}
        for row in result["parts"]
    ]
    print_table(f"{result['name']}: {failed_share(result):.0%} of the drives failed, over all parts alike", rows)
    print(f"Written: {out / RESULT_NAME}")
