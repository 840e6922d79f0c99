"""``train``: a new policy, or one that goes on, from drives or online in a world."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from driving.commands.arguments import (
    EnvOptionsOption,
    RayOption,
    WorkersOption,
    check_seconds,
    check_writable,
    parse_seeds,
)
from driving.commands.options import configured, option_name, options_from
from driving.console import live_table, note, print_table, progress_bar, shown, table_of
from driving.data import AugmentConfig
from driving.harness.cluster import connect, train_on
from driving.learning_curve import tensorboard_writer
from driving.models.device import AUTO, pick_device
from driving.models.policy import CORES, ENCODERS
from driving.models.wiring import KINDS
from driving.online import OnlineConfig
from driving.pretraining import PretrainConfig
from driving.recipe import NewPolicy, Training, figures_of, of_seeds, run_side_by_side, take_median
from driving.settings import parse_env_options
from driving.train import TrainConfig
from sim.errors import BadInputError
from sim.processes import n_cores


@options_from(TrainConfig, AugmentConfig, OnlineConfig, PretrainConfig)
def train_(
    out: Annotated[Path, typer.Option(help="Folder of the policy to make.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Drives: FOLDER, or FOLDER@A:B for some rows.")
    ] = None,
    env: Annotated[str | None, typer.Option("--env", help="Instead of drives: train online in this world.")] = None,
    env_option: EnvOptionsOption = None,
    core: Annotated[str | None, typer.Option(help=f"{', '.join(CORES)}; default: ltc, or that of --init.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help=f"Of a new policy: {', '.join(ENCODERS)}; default: shared.")
    ] = None,
    wiring: Annotated[
        str | None, typer.Option(help=f"Circuit of a new policy: {', '.join(KINDS)}; default: paper.")
    ] = None,
    initial_c: Annotated[float | None, typer.Option(help="ltc: initial C / sub-step (memory).")] = None,
    init: Annotated[str | None, typer.Option(help="Start from this policy, not from random weights.")] = None,
    max_curvature: Annotated[
        float | None, typer.Option(help="Limit of a new policy's command, 1/m; default: what the drives' car can turn.")
    ] = None,
    validate: Annotated[list[str] | None, typer.Option(help="Drives for the figures at the end.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Instead of --seed: A:B trains several side by side, in folders of their own.")
    ] = None,
    workers: WorkersOption = None,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: as many as cores.")] = 0,
    validate_every: Annotated[
        int,
        typer.Option(
            min=0, help="Drive the validation roads every so many steps, and keep the best policy; 0: keep the last."
        ),
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = AUTO,
    ray: RayOption = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Write the log there for TensorBoard as well.")] = None,
    verbose: Annotated[bool, typer.Option(help="Print every row of the log.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with a stopped run.")] = False,
    **given: Any,
) -> None:
    """Train a policy on drives, or online in a world; reproducible from this command line and the drives.

    Online, the policy drives and an expert that knows the road says what would have been right (DAgger).

    Example: liquid-lane train --data recordings/world --core ltc --out policies/mine --seed 0

    Example: liquid-lane train --env lane/Procedural-v0 --core ltc --out policies/mine --steps 4000
    """
    if bool(data) == (env is not None):
        raise BadInputError(
            f"train: expected either --data or --env, got {'both' if data else 'none of them'}; name one"
        )
    fields = [*dataclasses.fields(OnlineConfig), *dataclasses.fields(PretrainConfig)]
    online = {field.name for field in fields} & set(given)
    if env is None and (online or env_option):
        wrong = [option_name(name) for name in sorted(online)] + ["--env-option"] * bool(env_option)
        raise BadInputError(f"train: {', '.join(wrong)}: for --env only; leave out")
    if init is not None:  # a policy that can drive needs no expert to begin with
        given = {"first_part": 0.0, "second_part": 0.0} | given
    training = Training(
        out,
        configured(TrainConfig, given, augment=configured(AugmentConfig, given)),
        NewPolicy(core, encoder, wiring, initial_c, init, max_curvature),
        tuple(data or ()),
        env,
        parse_env_options(env_option),
        configured(OnlineConfig, given),
        configured(PretrainConfig, given),
        tuple(validate or ()),
        validate_every,
        device,
        _command_line(),
    )
    pick_device(device)  # a wrong one fails here
    check_seconds(training.online.episode_seconds)
    check_writable(out / "weights.safetensors")
    if seeds is not None:
        run = partial(train_on, connect(ray)) if ray else partial(run_side_by_side, n_workers=workers or n_cores())
        _train_seeds(training, parse_seeds(seeds), run, resume, tensorboard)
        return
    if ray is not None:
        raise BadInputError("train: --ray is for several seeds; name them with --seeds A:B")
    writers: list[Callable[[dict[str, Any]], None]] = []
    if tensorboard is not None:
        writers.append(tensorboard_writer(tensorboard))
    if verbose:
        writers.append(_print_row)

    def on_row(row: dict[str, Any]) -> None:
        for write in writers:
            write(row)

    if threads:
        torch.set_num_threads(threads)
    bar, advance = progress_bar("training", training.config.n_steps)
    with bar:
        metrics = training.run(resume, lambda step, loss: advance(), on_row, note)
    print(f"{out}: {metrics['train_seconds']} s, loss {metrics['train_loss_last_100']:.4f}")
    if validate:
        print_table("Validation", [metrics["validation"]])


def _train_seeds(
    training: Training, seeds: range, run: Callable[..., None], resume: bool, tensorboard: Path | None
) -> None:
    """Train side by side, with one table of how far each is; the median seed becomes the policy itself."""
    if not training.validate_every:
        training = dataclasses.replace(training, validate_every=DEFAULT_VALIDATE_EVERY)
    trainings = of_seeds(training, seeds)
    drives, _ = training.load_drives(note)  # their caches are made once, not by every process
    training.start.build(seeds[0], drives)  # what cannot be built fails here, in one line
    latest: list[dict[str, Any]] = [
        {"seed": seed, "step": "done" if resume and t.is_done else "-"}
        for seed, t in zip(seeds, trainings, strict=True)
    ]

    writers = [tensorboard_writer(tensorboard / str(seed)) for seed in seeds] if tensorboard is not None else []

    def on_row(i: int, row: dict[str, Any]) -> None:
        if writers:
            writers[i](row)
        latest[i] = {"seed": seeds[i], **{name: row[name] for name in SHOWN if row.get(name) is not None}}
        live.update(table_of("Training", [{name: row.get(name, "") for name in ("seed", *SHOWN)} for row in latest]))

    with live_table() as live:
        run(trainings, resume=resume, on_row=on_row)
    median = take_median(trainings, training.out)
    keys = ("crashes", "km", "mean_abs_lateral_offset_m")
    valid = [figures["closed_loop_validation"] for figures in figures_of(trainings)]
    rows = [{"seed": seed, **{key: row[key] for key in keys}} for seed, row in zip(seeds, valid, strict=True)]
    print_table(f"{training.out}: seed {seeds[median]} is the median", rows)


DEFAULT_VALIDATE_EVERY = 625
SHOWN = ("step", "loss", "policy_crashes_per_km", "validation_crashes", "validation_offset_m", "frames_per_s")


def _command_line() -> str:
    """What was typed; nothing where another program calls the command."""
    program = Path(sys.argv[0])
    is_ours = program.name.startswith("liquid-lane") or program.parts[-2:] == ("driving", "__main__.py")
    return shlex.join(["liquid-lane", *sys.argv[1:]]) if is_ours else ""


def _print_row(row: dict[str, Any]) -> None:
    shown_row = {name: shown(value) for name, value in row.items() if name != "validation"}
    print(" ".join(f"{name} {value}" for name, value in shown_row.items()), file=sys.stderr, flush=True)
