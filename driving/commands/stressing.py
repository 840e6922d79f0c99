"""``stress``: policies under noises, an episode a row; ``reproduce``: the published experiment."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from driving.commands.arguments import (
    EnvOption,
    EnvOptionsOption,
    JsonOption,
    RayOption,
    WorkersOption,
    check_seconds,
    check_writable,
    parse_seeds,
)
from driving.console import print_table, progress_bar, with_interval
from driving.harness.cluster import connect, drive_tasks_on
from driving.harness.failures import film, typical_failures
from driving.harness.figures import Drives, all_figures, condition_of, kind_of
from driving.harness.reproduce import FULL, NOISES, QUICK, claims, cores_of, inside_of_all, json_of
from driving.harness.store import EpisodeStore, Key, Row
from driving.harness.sweep import Drive, Sweep, run_sweep
from driving.models import checkpoint
from driving.models.policy import Policy
from driving.noise import CLEAN, parse_noises
from driving.others import check_seen, find_drivers
from driving.report import REPORT_NAME
from driving.report.stress import stress_page
from driving.settings import env_maker, parse_env_options
from sim.errors import BadInputError
from sim.files import write_json, write_text
from sim.processes import n_cores

FIGURES_NAME = "figures.json"
DEFAULT_POLICIES = ("ltc19", "lstm64")


def stress(
    policies: Annotated[
        list[str],
        typer.Option(
            "--policies", help="Folders or names, NAME@all for all its seeds, exported models, module:factory."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; the same one again goes on.")],
    noises: Annotated[
        list[str],
        typer.Option(
            "--noises", help="none, NAME:SEVERITY; NAME, a group or all for three levels, all:middle for one."
        ),
    ],
    env: EnvOption = "lane/Procedural-v0",
    env_option: EnvOptionsOption = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Roads A:B (B not included), the same for all.")] = "1000:1020",
    seconds: Annotated[float, typer.Option("--seconds", help="Length of an episode in seconds.")] = 30.0,
    against: Annotated[
        str | None, typer.Option(help="Network that the others are compared with; default: the last one named.")
    ] = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
    films: Annotated[int, typer.Option(min=0, max=20, help="How many typical failures to film.")] = 3,
    json_path: JsonOption = None,
) -> None:
    """Drive policies on the same roads under noises; every episode is a row of OUT/episodes.csv.

    Stopped at any moment, the same command goes on and drives nothing twice.

    Example: liquid-lane stress --policies ltc19 lstm64 --noises none gaussian --seeds 1000:1020 --out sweeps/first
    """
    networks = find_drivers(policies)
    kinds = list(dict.fromkeys(kind_of(name) for name in networks))
    reference = against or kinds[-1]
    if reference not in kinds:
        raise BadInputError(f"stress: --against: expected one of {', '.join(kinds)}, got {reference!r}")
    sweep = Sweep(networks, env, parse_noises(noises), parse_seeds(seeds), check_seconds(seconds),
                  parse_env_options(env_option))  # fmt: skip
    check_seen(networks, [noise.kind.group for noise in sweep.noises if noise is not None])
    if json_path is not None:
        check_writable(json_path)
    keys = sweep.keys()
    rows = _driven(sweep, out, workers or n_cores(), keys, partial(drive_tasks_on, connect(ray)) if ray else None)
    figures = {"command": _words(policies, noises, env, seeds, seconds), **all_figures(Drives(rows), reference)}
    figures["failures"] = _film(Drives(rows), reference, films, sweep, out)
    _write(figures, sweep, out)
    if json_path is not None:
        write_json(json_path, figures)
    _show(figures, rows, out)


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the experiment; the same one again goes on.")],
    policies: Annotated[
        list[str] | None, typer.Option("--policies", help="Folders or names; default: the shipped pair.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A first answer from few drives, in about a minute.")] = False,
    workers: WorkersOption = None,
) -> None:
    """The published experiment on noise: crashes, attention maps and neurons under Gaussian noise, and its claims.

    Example: liquid-lane reproduce --quick --out experiments/noise
    """
    plan = QUICK if quick else FULL
    networks = checkpoint.load_all(policies or DEFAULT_POLICIES)
    cores = cores_of(networks)
    if "ltc" not in cores.values() or len(cores) < 2:
        raise BadInputError(f"reproduce: expected a liquid network and another kind, got {', '.join(cores)}")
    env = "lane/Procedural-v0"
    sweep = Sweep(networks, env, NOISES, plan.seeds, plan.seconds)
    n_workers, keys = workers or n_cores(), sweep.keys()
    drives = Drives(_driven(sweep, out, n_workers, keys))
    bar, advance = progress_bar("looking inside", len(networks) * len(NOISES))
    with bar:
        inside = inside_of_all(networks, env_maker(env, {}, plan.looking_seconds), plan, n_workers, advance)
    reference = next(kind for kind, core in reversed(cores.items()) if core != "ltc")
    found = claims(drives, inside, cores)
    command = (
        f"liquid-lane reproduce --policies {' '.join(policies or DEFAULT_POLICIES)}{' --quick' * quick} --out {out}"
    )
    figures = {"command": command, "quick": quick, "claims": found, "inside": json_of(inside)}
    figures |= all_figures(drives, reference)
    _write(figures, sweep, out)
    title = "A first answer (--quick)" if quick else "The published claims"
    print_table(title, found)
    print(f"See {out / REPORT_NAME}")


def _driven(sweep: Sweep, out: Path, n_workers: int, keys: list[Key], drive: Drive | None = None) -> dict[Key, Row]:
    with contextlib.closing(EpisodeStore(out)) as store:
        _drive(sweep, store, n_workers, keys, drive)
        store.write_csv(keys)
        return store.rows(keys)


def _film(drives: Drives, reference: str, n: int, sweep: Sweep, out: Path) -> list[dict[str, Any]]:
    networks = {name: policy for name, policy in sweep.policies.items() if isinstance(policy, Policy)}
    failures = [failure for failure in typical_failures(drives, reference, n) if networks.keys() >= {*failure.policies}]
    if not failures:
        return []
    make_env = env_maker(sweep.env, sweep.env_options, sweep.seconds, render=True)
    bar, advance = progress_bar("filming failures", len(failures))
    with bar:
        return film(failures, networks, make_env, out, advance)


def _write(figures: dict[str, Any], sweep: Sweep, out: Path) -> None:
    write_json(out / FIGURES_NAME, figures)
    write_text(out / REPORT_NAME, stress_page(figures, _pictures(sweep)))


def _pictures(sweep: Sweep) -> dict[str, np.ndarray]:
    """What the first road's beginning looks like under every noise of pictures."""
    with contextlib.closing(env_maker(sweep.env, sweep.env_options, sweep.seconds)()) as env:
        frame, _ = env.reset(seed=sweep.seeds[0])
    noises = [noise for noise in sweep.noises if noise is not None and noise.kind.is_picture]
    return {CLEAN: frame} | {str(noise): noise(sweep.seeds[0]).see(frame) for noise in noises}


def _drive(sweep: Sweep, store: EpisodeStore, n_workers: int, keys: list[Key], drive: Drive | None) -> None:
    there = store.keys()
    n_missing = sum(key not in there for key in keys)
    bar, advance = progress_bar("episodes", n_missing)
    n_crashed = n_done = 0

    def on_row(key: Key, row: Row) -> None:
        nonlocal n_crashed, n_done
        n_crashed, n_done = n_crashed + row.crashed, n_done + 1
        advance()
        bar.update(bar.task_ids[0], description=f"{condition_of(key)}, {n_crashed} of {n_done} crashed")

    with bar:
        run_sweep(sweep, store, n_workers, on_row, drive)


def _show(figures: dict[str, Any], rows: dict[Key, Row], out: Path) -> None:
    print_table(str(out), [_table_row(row) for row in figures["table"]])
    if figures["comparisons"]:
        title = f"Has it at most as many crashes a km as {figures['reference']}?"
        print_table(title, [_comparison_row(row) for row in figures["comparisons"]])
    if figures["by_group"]:
        print_table("By what is disturbed", [_group_row(row) for row in figures["by_group"]])
    errors = [row.error for row in rows.values() if row.error is not None]
    if errors:
        print(f"{len(errors)} episodes could not be driven, the first: {errors[0]}")
    print(f"{out / 'episodes.csv'}: {len(rows)} rows; see {out / REPORT_NAME}")


def _table_row(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("noise", "network", "n_drives", "crashes", "km")}
    return shown | {"a km (95 %)": with_interval(row, "crashes_per_km"), "|offset| m": row["mean_abs_offset_m"]}


def _comparison_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "noise": row["noise"],
        "network": row["network"],
        "ratio (95 %)": with_interval(row, "ratio"),
        "verdict": row["verdict"] + (", after Holm too" if row["holm"] else ""),
        "drives needed": row["n_drives_needed"],
    }


def _group_row(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("group", "network", "n_noises", "n_drives", "failed_share")}
    compared = "ratio" in row
    return shown | {
        "a km (95 %)": with_interval(row, "crashes_per_km"),
        "ratio (95 %)": with_interval(row, "ratio") if compared else "",
        "verdict": row["verdict"] if compared else "",
    }


def _words(policies: list[str], noises: list[str], env: str, seeds: str, seconds: float) -> str:
    named = f"--policies {' '.join(policies)} --noises {' '.join(noises)}"
    return f"liquid-lane stress {named} --env {env} --seeds {seeds} --seconds {seconds:g}"
