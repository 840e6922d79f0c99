"""``train``: a new policy, or one that goes on, from drives or online in a world."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from driving.commands.arguments import EnvOptionsOption, check_seconds, check_writable
from driving.commands.options import configured, option_name, options_from
from driving.console import print_table, progress_bar, shown
from driving.data import AugmentConfig, load_drive
from driving.learning_curve import Validation
from driving.models import checkpoint
from driving.models.policy import CORES, ENCODERS, Policy, PolicyConfig, build_policy
from driving.models.wiring import KINDS, WiringConfig
from driving.online import OnlineConfig, OnlineWindows
from driving.rollout import rollout, totals
from driving.settings import World, env_maker, parse_env_options
from driving.train import TrainConfig, train
from sim.errors import BadInputError


@options_from(TrainConfig, AugmentConfig, OnlineConfig)
def train_(
    out: Annotated[Path, typer.Option(help="Folder of the policy to make.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Drives: FOLDER, or FOLDER@A:B for some rows.")
    ] = None,
    env: Annotated[
        str | None, typer.Option("--env", help="Instead of drives: train online in this world.")
    ] = None,
    env_option: EnvOptionsOption = None,
    core: Annotated[
        str | None, typer.Option(help=f"{', '.join(CORES)}; default: ltc, or that of --init.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help=f"Of a new policy: {', '.join(ENCODERS)}; default: shared.")
    ] = None,
    wiring: Annotated[
        str | None, typer.Option(help=f"Circuit of a new policy: {', '.join(KINDS)}; default: paper.")
    ] = None,
    initial_c: Annotated[float | None, typer.Option(help="ltc: initial C / sub-step (memory).")] = None,
    init: Annotated[str | None, typer.Option(help="Start from this policy, not from random weights.")] = None,
    validate: Annotated[list[str] | None, typer.Option(help="Drives for the figures at the end.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: as many as cores.")] = 0,
    validate_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Drive the validation roads every so many steps, and keep the best policy; 0: keep the last.",
        ),
    ] = 0,
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
    online = {field.name for field in dataclasses.fields(OnlineConfig)} & set(given)
    if env is None and (online or env_option):
        wrong = [option_name(name) for name in sorted(online)] + ["--env-option"] * bool(env_option)
        raise BadInputError(f"train: {', '.join(wrong)}: for --env only; leave out")
    config = configured(TrainConfig, given, augment=configured(AugmentConfig, given))
    check_writable(out / "weights.safetensors")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    policy = _first_policy(core, init, initial_c, config.seed, encoder, wiring)
    validation = [load_drive(spec) for spec in validate or []]
    with contextlib.ExitStack() as stack:
        worlds: OnlineWindows | None = None
        if env is not None:
            if init is not None:  # a policy that can drive needs no expert to begin with
                given = {"first_part": 0.0, "second_part": 0.0} | given
            options = parse_env_options(env_option)
            online_config = configured(OnlineConfig, given)
            make_env = env_maker(env, options, check_seconds(online_config.episode_seconds))
            worlds = OnlineWindows(make_env, online_config, config, {"env": env, "env_options": options})
            stack.callback(worlds.close)
        source = [load_drive(spec) for spec in data or []] if worlds is None else worlds
        closed_loop = None
        if validate_every:
            validated = env_maker(env or "lane/Procedural-v0", parse_env_options(env_option), VALIDATION_S)
            closed_loop = Validation(validate_every, partial(_drive_validation, make_env=validated))
        bar, advance = progress_bar("training", config.n_steps)
        with bar:
            metrics = train(
                policy, source, config, out, validation, resume, lambda step, loss: advance(), closed_loop,
                _print_row if verbose else lambda row: None,
            )  # fmt: skip
    print(f"{out}: {metrics['train_seconds']} s, loss {metrics['train_loss_last_100']:.4f}")
    if validation:
        print_table("Validation", [metrics["validation"]])


VALIDATION_SEEDS, VALIDATION_S = range(3000, 3024), 30.0
"""Roads on which a policy in training is driven: neither those of the tests nor those of the training."""


def _drive_validation(policy: Policy, make_env: World) -> dict[str, Any]:
    return totals(rollout(policy, make_env, VALIDATION_SEEDS, VALIDATION_S))


def _print_row(row: dict[str, Any]) -> None:
    shown_row = {name: shown(value) for name, value in row.items() if name != "validation"}
    print(" ".join(f"{name} {value}" for name, value in shown_row.items()), file=sys.stderr, flush=True)


def _first_policy(
    core: str | None,
    init: str | None,
    initial_c: float | None,
    seed: int,
    encoder: str | None = None,
    wiring: str | None = None,
) -> Policy:
    """What a training starts from: the policy ``init``, or a new one."""
    if core is not None and core not in CORES:
        raise BadInputError(f"core: expected one of {', '.join(CORES)}, got {core!r}")
    if init is not None:
        policy = checkpoint.load(init)
        if core not in (None, policy.config.core) or not (initial_c is encoder is wiring is None):
            raise BadInputError(
                f"--init: {init} has core {policy.config.core}; leave out --core, --initial-c, --encoder and "
                "--wiring"
            )
        return policy
    core, encoder = core or "ltc", encoder or "shared"
    fields_of = {name: {f.name for f in dataclasses.fields(config)} for name, (config, _) in CORES.items()}
    if encoder not in ENCODERS:
        raise BadInputError(f"--encoder: expected one of {', '.join(ENCODERS)}, got {encoder!r}")
    if encoder != "shared" and "n_inputs" not in fields_of[core]:
        able = ", ".join(name for name, fields in fields_of.items() if "n_inputs" in fields)
        raise BadInputError(
            f"--encoder: core {core} takes the 32 features of shared only, got {encoder}; cores for any of "
            f"{', '.join(ENCODERS)}: {able}"
        )
    settings: dict[str, Any] = {}
    if initial_c is not None:
        if "initial_c" not in fields_of[core]:
            raise BadInputError(f"--initial-c: only core ltc has it, got core {core}")
        settings["initial_c"] = initial_c
    if wiring is not None:
        if wiring not in KINDS:
            raise BadInputError(f"--wiring: expected one of {', '.join(KINDS)}, got {wiring!r}")
        if "wiring" not in fields_of[core]:
            able = ", ".join(name for name, fields in fields_of.items() if "wiring" in fields)
            raise BadInputError(f"--wiring: only cores {able} have one ({', '.join(KINDS)}), got core {core}")
        settings["wiring"] = WiringConfig(wiring)
    core_config = CORES[core][0](**settings) if settings else None
    return build_policy(PolicyConfig(core, core_config, encoder=encoder), seed)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of returning it to the system.

    A training step frees and takes the same large arrays again and again; mapping them anew costs up to a third
    of its time. Where the C library is another one, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    m_trim_threshold, m_mmap_max = -1, -4  # names and numbers of <malloc.h>
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
