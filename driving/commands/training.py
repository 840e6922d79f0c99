"""``train``: a new policy, or one that goes on, from drives or in a running world."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from driving.commands.arguments import EnvOptionsOption, check_seconds, check_writable
from driving.console import print_table, progress_bar
from driving.data import AugmentConfig, load_drive
from driving.models import checkpoint
from driving.models.policy import CORES, ENCODERS, Policy, PolicyConfig, build_policy
from driving.models.wiring import KINDS, WiringConfig
from driving.online import OnlineConfig, OnlineWindows
from driving.settings import env_maker, parse_env_options
from driving.train import TrainConfig, train
from sim.errors import BadInputError

LR_CORE, LR_OTHER_CORES = {"ltc": 2e-2}, 3e-3
_TRAIN, _AUGMENT, _LIVE = TrainConfig(), AugmentConfig(), OnlineConfig()


def train_(
    out: Annotated[Path, typer.Option(help="Folder of the policy to make.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Drives: FOLDER, or FOLDER@A:B for some rows.")
    ] = None,
    env: Annotated[
        str | None, typer.Option("--env", help="Instead of drives: train in this running world.")
    ] = None,
    env_option: EnvOptionsOption = None,
    episode_seconds: Annotated[
        float | None, typer.Option(help=f"--env: length of an episode; default {_LIVE.episode_seconds:g}.")
    ] = None,
    expert_share: Annotated[
        float | None,
        typer.Option(
            help="--env: share of episodes the expert drives, after a first part in which it is more "
            f"(not with --init); default {_LIVE.expert_share:g}."
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="--env: the policy drives a stretch on which it crashed so many times again at most, until it "
            f"survives; default {_LIVE.n_retries}.",
        ),
    ] = None,
    core: Annotated[
        str | None, typer.Option(help=f"{', '.join(CORES)}; default: ltc, or that of --init.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help=f"Of a new policy: {', '.join(ENCODERS)}; default: shared.")
    ] = None,
    wiring: Annotated[
        str | None, typer.Option(help=f"Circuit of a new policy: {', '.join(KINDS)}; default: paper.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from this policy, not from random weights.")] = None,
    validate: Annotated[list[str] | None, typer.Option(help="Drives for the figures at the end.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, windows and changes.")] = _TRAIN.seed,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = _TRAIN.n_steps,
    batch: Annotated[int, typer.Option(help="Windows a step.")] = _TRAIN.batch,
    window: Annotated[int, typer.Option(help="Frames a window.")] = _TRAIN.window,
    warmup: Annotated[
        int, typer.Option(help="First frames of a window (--env: of an episode) that do not count.")
    ] = _TRAIN.n_warmup,
    lr_encoder: Annotated[float, typer.Option(help="Peak rate of the encoder.")] = _TRAIN.lr_encoder,
    lr_core: Annotated[float | None, typer.Option(help="Peak rate of the core; default by core.")] = None,
    weight_exponent: Annotated[
        float, typer.Option(help="a in exp(a |curvature x 1000|).")
    ] = _TRAIN.weight_exponent,
    speed_exponent: Annotated[float, typer.Option(help="b in (speed / 10 m/s)^b.")] = _TRAIN.speed_exponent,
    bfloat16: Annotated[bool, typer.Option(help="Convolutions in bfloat16.")] = _TRAIN.bfloat16,
    initial_c: Annotated[float | None, typer.Option(help="ltc: initial C / sub-step (memory).")] = None,
    mirror: Annotated[float, typer.Option(help="Probability of a mirror image.")] = _AUGMENT.mirror,
    shift_m: Annotated[
        float, typer.Option(help="Largest sideways move of the viewpoint.")
    ] = _AUGMENT.shift_m,
    yaw_rad: Annotated[float, typer.Option(help="Largest turn of the viewpoint.")] = _AUGMENT.yaw_rad,
    light: Annotated[float, typer.Option(help="Strength of light changes, 0 to 1.")] = _AUGMENT.light,
    shadow: Annotated[float, typer.Option(help="Probability of shadows and streaks.")] = _AUGMENT.shadow,
    noise: Annotated[float, typer.Option(help="White noise up to this deviation.")] = _AUGMENT.noise,
    threads: Annotated[int, typer.Option(min=0, help="Processor threads; 0: as many as cores.")] = 0,
    log_every: Annotated[int, typer.Option(min=0, help="Print the loss every so many steps; 0: never.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on with a stopped run.")] = False,
) -> None:
    """Train a policy on drives, or live in a world; reproducible from this command line and the drives.

    Live, the policy drives and an expert that knows the road says what would have been right (DAgger).

    Example: liquid-lane train --data recordings/world --core ltc --out policies/mine --seed 0

    Example: liquid-lane train --env lane/Procedural-v0 --core ltc --out policies/mine --steps 4000
    """
    if bool(data) == (env is not None):
        raise BadInputError(
            f"train: expected either --data or --env, got {'both' if data else 'none of them'}; name one"
        )
    given = {"episode_seconds": episode_seconds, "expert_share": expert_share, "n_retries": retries}
    live: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if env is None and (live or env_option):
        raise BadInputError(
            "train: --env-option, --episode-seconds, --expert-share and --retries are for --env; leave them out"
        )
    check_writable(out / "weights.safetensors")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    policy = _first_policy(core, init, initial_c, seed, encoder, wiring)
    config = TrainConfig(
        seed=seed,
        n_steps=steps,
        batch=batch,
        window=window,
        n_warmup=warmup,
        lr_encoder=lr_encoder,
        lr_core=LR_CORE.get(policy.config.core, LR_OTHER_CORES) if lr_core is None else lr_core,
        weight_exponent=weight_exponent,
        speed_exponent=speed_exponent,
        bfloat16=bfloat16,
        augment=AugmentConfig(
            mirror=mirror, shift_m=shift_m, yaw_rad=yaw_rad, light=light, shadow=shadow, noise=noise
        ),
    )
    validation = [load_drive(spec) for spec in validate or []]
    with contextlib.ExitStack() as stack:
        worlds: OnlineWindows | None = None
        if env is not None:
            # A policy that can drive needs no expert to begin with.
            live_config = OnlineConfig(**live, expert_ramp=0.0 if init else _LIVE.expert_ramp)
            worlds = _live_windows(env, env_option, live_config, config)
            stack.callback(worlds.close)
        source = [load_drive(spec) for spec in data or []] if worlds is None else worlds
        bar, advance = progress_bar("training", steps)

        def on_step(step: int, loss: float) -> None:
            advance()
            if log_every and ((step + 1) % log_every == 0 or step + 1 == steps):
                crashes = "" if worlds is None else " crashed {} of {} episodes".format(*worlds.take_counts())
                print(f"step {step + 1}/{steps} loss {loss:.4f}{crashes}", file=sys.stderr, flush=True)

        with bar:
            metrics = train(policy, source, config, out, validation, resume, on_step)
    print(f"{out}: {metrics['train_seconds']} s, loss {metrics['train_loss_last_100']:.4f}")
    if validation:
        print_table("Validation", [metrics["validation"]])


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


def _live_windows(
    env: str, env_option: list[str] | None, live: OnlineConfig, config: TrainConfig
) -> OnlineWindows:
    """The worlds that a policy is trained in."""
    options = parse_env_options(env_option)
    make_env = env_maker(env, options, check_seconds(live.episode_seconds))
    return OnlineWindows(make_env, live, config, {"env": env, "env_options": options})


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
