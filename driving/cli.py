"""``liquid-lane`` and ``python -m driving``: parse, call one function, print."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cv2
import torch
import typer

from driving import compare
from driving.attention import ATTRIBUTIONS
from driving.circuit_plot import save_circuit
from driving.console import print_table, progress_bar, shown
from driving.data import AugmentConfig, load_drive, parse_drive_spec
from driving.demo import run_demo
from driving.export import FORMATS, export
from driving.files import write_json
from driving.insight import WARMUP_S, insight
from driving.live import LiveConfig, LiveWindows
from driving.looks import looks_on_drive
from driving.models import checkpoint, ltc_native
from driving.models.policy import CORES, ENCODERS, Policy, PolicyConfig, build_policy
from driving.models.wiring import KINDS, WiringConfig
from driving.noise import parse_noise
from driving.settings import drive_settings, env_maker, known_envs, parse_env_options, parse_vary
from driving.train import TrainConfig, evaluate, train
from sim import drive as drive_io
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.importers import IMPORTERS, import_drive
from sim.record import Disturbance, record

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Lane keeping with a 19-neuron liquid circuit: record, train, drive, see where it looks.",
)
MAX_SECONDS = 3600.0

PolicyOption = Annotated[str, typer.Option("--policy", help="Folder of a policy, or name of a shipped one.")]
EnvOption = Annotated[str, typer.Option("--env", help="Gymnasium id of an environment.")]
EnvOptionsOption = Annotated[
    list[str] | None, typer.Option("--env-option", help="NAME=VALUE for the environment; may be repeated.")
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Episodes A:B (B not included).")]
SecondsOption = Annotated[float, typer.Option("--seconds", help="Length of an episode in seconds.")]
NoiseOption = Annotated[str | None, typer.Option("--noise", help="NAME:SEVERITY, such as gaussian:0.1.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
DataOption = Annotated[list[str], typer.Option("--data", help="Drives: FOLDER, or FOLDER@A:B for some rows.")]


def parse_seeds(text: str) -> range:
    """``A:B`` -> range(A, B).

    >>> parse_seeds("3:5")
    range(3, 5)
    """
    start, colon, stop = text.partition(":")
    if not (colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise BadInputError(f"seeds: expected A:B with whole numbers A < B, such as 1000:1020, got {text!r}")
    return range(int(start), int(stop))


def check_seconds(seconds: float) -> float:
    """A time that holds at least one frame and ends some day."""
    if not 1.0 / FRAME_RATE_HZ <= seconds <= MAX_SECONDS:
        raise BadInputError(
            f"seconds: expected {1.0 / FRAME_RATE_HZ:g} (one frame) to {MAX_SECONDS:g}, got {seconds:g}"
        )
    return seconds


def check_writable(path: Path) -> None:
    """Before long work: can a file be written there?"""
    if path.is_dir():
        raise BadInputError(f"{path}: expected the name of a file, got a folder; choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def check_new_drive(folder: Path, overwrite: bool) -> None:
    """Before long work: can a drive be written there?"""
    if folder.is_dir():
        if any(folder.iterdir()) and not overwrite:
            raise BadInputError(f"{folder}: is not empty; name a new folder or add --overwrite")
        folder = folder / "drive"
    elif folder.exists():
        raise BadInputError(f"{folder}: expected a folder, got a file; name a new folder")
    check_writable(folder)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for video, report and figures.")] = Path("demo-output"),
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Two policies (repeat the option); default: shipped ones."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Unseen roads A:B.")] = "1006:1010",
    seconds: SecondsOption = 20.0,
    noise: Annotated[str, typer.Option(help="The disturbed condition, NAME:SEVERITY.")] = "gaussian:0.1",
) -> None:
    """Both shipped policies on the same unseen roads, clean and with noise: video, report, figures.

    Example: liquid-lane demo --out demo-output
    """
    check_writable(out / "metrics.json")
    names = policies or ["ltc19", "lstm64"]
    command = ["liquid-lane", "demo", "--seeds", seeds, "--seconds", f"{seconds:g}", "--noise", noise]
    command += [word for name in policies or [] for word in ("--policy", name)]
    episode_seconds = max(check_seconds(seconds), 60.0)
    bar, advance = progress_bar("driving and looking", None)
    with bar:
        figures = run_demo(
            {name: checkpoint.load(name) for name in names},
            env_maker("lane/Procedural-v0", {}, episode_seconds),
            env_maker("lane/Procedural-v0", {}, episode_seconds, render=True),
            parse_seeds(seeds),
            seconds,
            parse_noise(noise),
            out,
            shlex.join(command),
            advance,
        )
    keys = ("title", "noise", "crashes", "km", "crashes_per_km", "mean_abs_lateral_offset_m", "frames_per_s")
    print_table("Driving", [{key: row[key] for key in keys} for row in figures["drive"]])
    attention = figures["attention"]
    share = attention["road_area_share"]
    print_table(
        f"Attention ({attention['method']}); the road is {share:.1%} of the picture",
        [{"policy": name, **row} for name, row in attention["policies"].items()],
    )
    print(f"Written: {out / 'comparison.mp4'}, {out / 'report.html'}, {out / 'metrics.json'}")


@app.command("import")
def import_(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(IMPORTERS)}.")],
    src: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    dst: Annotated[Path, typer.Argument(help="Folder of the drive to make.")],
    height: Annotated[int, typer.Option(min=2, help="Rows of the frames kept.")] = 156,
    width: Annotated[int, typer.Option(min=2, help="Columns of the frames kept.")] = 400,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing drive.")] = False,
) -> None:
    """Make a drive of a public recording.

    Example: liquid-lane import udacity-ch2 downloads/ch2/a recordings/a
    """
    if format_name not in IMPORTERS:
        raise BadInputError(f"format: expected one of {', '.join(IMPORTERS)}, got {format_name!r}")
    check_new_drive(dst, overwrite)
    drive = import_drive(format_name, src, dst, height_px=height, width_px=width, overwrite=overwrite)
    print(f"{dst}: {len(drive)} frames, {len(drive.segments())} piece(s)")


_KICKS = Disturbance()


@app.command("record")
def record_(
    out: Annotated[Path, typer.Option(help="Folder of the drive to make.")],
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "10000:12400",
    seconds: SecondsOption = 1.6,
    seed: Annotated[int, typer.Option(min=0, help="Of the disturbances.")] = 0,
    recoveries: Annotated[
        bool, typer.Option(help="Kicks and starts off the middle; labels stay the expert's.")
    ] = True,
    kick_mps2: Annotated[
        float, typer.Option(min=0.0, help="Hardest kick, as lateral acceleration.")
    ] = _KICKS.max_lateral_acceleration_mps2,
    start_offset_m: Annotated[float, typer.Option(min=0.0, help="Furthest start off the middle.")] = 0.9,
    start_heading_rad: Annotated[float, typer.Option(min=0.0, help="Largest start askew.")] = 0.06,
    env_option: EnvOptionsOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing drive.")] = False,
) -> None:
    """Record the privileged expert, one short episode a seed.

    Example: liquid-lane record --out recordings/world --seeds 10000:12400
    """
    check_new_drive(out, overwrite)
    episodes = parse_seeds(seeds)
    bar, advance = progress_bar("recording", len(episodes))
    with bar:
        drive = record(
            env_maker(env, parse_env_options(env_option), check_seconds(seconds))(),
            episodes,
            seconds,
            seed=seed,
            disturbance=Disturbance(max_lateral_acceleration_mps2=kick_mps2) if recoveries else None,
            start_offset_m=start_offset_m,
            start_heading_rad=start_heading_rad,
            on_episode=advance,
        )
    drive_io.save(drive, out, overwrite=overwrite)
    print(f"{out}: {len(drive)} frames in {len(episodes)} episodes")


_TRAIN, _AUGMENT, _LIVE = TrainConfig(), AugmentConfig(), LiveConfig()


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
    env: str, env_option: list[str] | None, live: LiveConfig, config: TrainConfig
) -> LiveWindows:
    """The worlds that a policy is trained in."""
    options = parse_env_options(env_option)
    make_env = env_maker(env, options, check_seconds(live.episode_seconds))
    return LiveWindows(make_env, live, config, {"env": env, "env_options": options})


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


@app.command("train")
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
    given = {"episode_seconds": episode_seconds, "expert_share": expert_share}
    live: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if env is None and (live or env_option):
        raise BadInputError(
            "train: --env-option, --episode-seconds and --expert-share are for --env; leave them out"
        )
    check_writable(out / "weights.safetensors")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    policy = _first_policy(core, init, initial_c, seed, encoder, wiring)
    if policy.config.core == "ltc" and not ltc_native.build():
        print("no C++ compiler found: the liquid cell trains more slowly")
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
        worlds: LiveWindows | None = None
        if env is not None:
            # A policy that can drive needs no expert to begin with.
            live_config = LiveConfig(**live, expert_ramp=0.0 if init else _LIVE.expert_ramp)
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


LR_CORE, LR_OTHER_CORES = {"ltc": 2e-2}, 3e-3


@app.command("test")
def open_loop(policy: PolicyOption, data: DataOption, json: JsonOption = None) -> None:
    """Open-loop error on recorded drives.

    Example: liquid-lane test --policy ltc19-udacity --data recordings/b@0:921
    """
    if json is not None:
        check_writable(json)
    figures = evaluate(checkpoint.load(policy), [load_drive(spec) for spec in data])
    if json is not None:
        write_json(json, figures)
    print_table(f"{policy}, open loop", [figures])


@app.command("drive")
def drive_(
    policy: PolicyOption,
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "1000:1020",
    seconds: SecondsOption = 60.0,
    noise: NoiseOption = None,
    json: JsonOption = None,
    video: Annotated[
        Path | None, typer.Option(help="Write the first episode, with its attention, as mp4.")
    ] = None,
    env_option: EnvOptionsOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="NAME=V1,V2: drive all seeds at each value; repeated: all combinations."),
    ] = None,
) -> None:
    """Drive in closed loop, many episodes at once; crashes and offsets for each setting, an optional video.

    Example: liquid-lane drive --policy ltc19 --seeds 1000:1020 --seconds 60 --vary weather=clear,night
    """
    for path in (json, video):
        if path is not None:
            check_writable(path)
    options, variations = parse_env_options(env_option), parse_vary(vary)
    check_seconds(seconds)
    model, corruption, episodes = checkpoint.load(policy), parse_noise(noise), parse_seeds(seeds)
    bar, advance = progress_bar("driving", len(episodes) * len(variations))
    with bar:
        figures = drive_settings(
            model, env, options, variations, episodes, seconds, corruption, lambda log: advance()
        )
    if json is not None:
        write_json(json, figures)
    if video is not None:
        compare.attend(
            {policy: model},
            env_maker(env, options | variations[0], seconds, render=True),
            ATTRIBUTIONS["visual_backprop"],
            corruption,
            seconds,
            episodes[0],
            video,
            source_name=f"{env}, seed {episodes[0]}",
        )
    title = f"{policy} in {env}, {noise or 'clean'}, {figures['frames_per_s']:g} frames/s"
    print_table(title, _rows_of_settings(figures))


def _rows_of_settings(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each setting, and one over everything."""
    keys = ("crashes", "km", "crashes_per_km", "mean_abs_lateral_offset_m", "kept_share")
    total = {"n_episodes": len(figures["episodes"]), **{key: figures[key] for key in keys}}
    rows = [
        {"setting": " ".join(f"{name}={shown(value)}" for name, value in row["setting"].items())}
        | {key: row[key] for key in total}
        for row in figures["settings"]
    ]
    return [*rows, {"setting": "all", **total}]


@app.command("attend")
def attend_(
    policies: Annotated[list[str], typer.Option("--policies", help="One policy or more; a video shows two.")],
    source: Annotated[str, typer.Option(help="Folder of a drive (or FOLDER@A:B), or id of an environment.")],
    method: Annotated[str, typer.Option(help=f"{', '.join(ATTRIBUTIONS)}.")] = "visual_backprop",
    noise: NoiseOption = None,
    seconds: Annotated[float | None, typer.Option(help="At most; default: 30 s, or a whole drive.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Episode of an environment; noise.")] = 1000,
    video: Annotated[Path | None, typer.Option(help="Write an mp4 of it.")] = None,
    json: JsonOption = None,
    env_option: EnvOptionsOption = None,
) -> None:
    """Where policies look, side by side, on an environment or a recorded drive.

    Example: liquid-lane attend --policies ltc19 lstm64 --source lane/Procedural-v0 --video looks.mp4
    """
    if method not in ATTRIBUTIONS:
        raise BadInputError(f"method: expected one of {', '.join(ATTRIBUTIONS)}, got {method!r}")
    for path in (json, video):
        if path is not None:
            check_writable(path)
    if seconds is not None:
        check_seconds(seconds)
    world: Any
    if source in known_envs():
        seconds = 30.0 if seconds is None else seconds
        world = env_maker(source, parse_env_options(env_option), seconds, render=video is not None)
    elif not parse_drive_spec(source)[0].exists():
        raise BadInputError(
            f"source: expected the folder of a drive, or one of {', '.join(known_envs())}, got {source!r}"
        )
    else:
        world = load_drive(source, masks=True)
    bar, advance = progress_bar("looking", None)
    with bar:
        figures = compare.attend(
            {name: checkpoint.load(name) for name in policies},
            world,
            ATTRIBUTIONS[method],
            parse_noise(noise),
            seconds,
            seed,
            video,
            source_name=source,
            on_frame=advance,
        )
    if json is not None:
        write_json(json, figures)
    share = figures["road_area_share"]
    road = "no road mask known" if share is None else f"the road is {share:.1%} of the picture"
    print_table(
        f"{method} on {source}; {road}",
        [{"policy": name, **row} for name, row in figures["policies"].items()],
    )


@app.command("insight")
def insight_(
    policy: PolicyOption,
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "1000:1010",
    seconds: SecondsOption = 30.0,
    json: JsonOption = None,
    env_option: EnvOptionsOption = None,
) -> None:
    """What the neurons do while driving: shares of the principal components; time constants, currents, couplings.

    The first second of each episode is left out. Example: liquid-lane insight --policy ltc19 --json inside.json
    """
    if json is not None:
        check_writable(json)
    if check_seconds(seconds) <= WARMUP_S:
        raise BadInputError(f"seconds: expected more than {WARMUP_S:g}, which are left out, got {seconds:g}")
    episodes, make_env = parse_seeds(seeds), env_maker(env, parse_env_options(env_option), seconds)
    bar, advance = progress_bar("driving", None)
    with bar:
        figures = insight(checkpoint.load(policy), make_env, episodes, seconds, advance)
    if json is not None:
        write_json(json, figures)
    print_table(
        f"{policy} in {env}: principal components of its state",
        [
            {"part": part, **{f"share {i + 1}": share for i, share in enumerate(shares)}}
            | {"n_frames": figures["n_frames"], "crashes": figures["crashes"]}
            for part, shares in figures["principal_shares"].items()
        ],
    )
    if "neurons" in figures:
        print_table(
            "Its neurons (tau: time constant; r: correlation with the command; reach: coupling to others)",
            [
                {
                    "neuron": f"{row['neuron']} {row['role']}",
                    "state": row["mean_state"],
                    "its std": row["std_state"],
                    "tau ms": 1e3 * row["mean_time_constant_s"],
                    "|current|": row["mean_abs_current"],
                    "reach": row["outgoing_sensitivity"],
                    "r": row["correlation_with_command"],
                }
                for row in figures["neurons"]
            ],
        )


@app.command()
def circuit(
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(help="Picture to make: .svg, .png or .pdf.")],
    data: Annotated[
        str | None,
        typer.Option(help="Drive FOLDER@A:B: colour the neurons by their states after these rows."),
    ] = None,
) -> None:
    """Draw the circuit of a policy: neurons in layers, synapses by sign and strength.

    Example: liquid-lane circuit --policy ltc19 --out circuit.svg
    """
    check_writable(out)
    model, states, title = checkpoint.load(policy), None, policy
    if data is not None:
        for look in looks_on_drive(model, load_drive(data), None, None, 0):
            states, title = look.state.numpy(), f"{policy} after {look.time_s:.2f} s of {data}"
    save_circuit(model.core, out, states, title)
    print(f"Written: {out}")


@app.command("export")
def export_(
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(help="Folder of the exported policy.")],
    format_name: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "onnx",
) -> None:
    """Write a policy for other programs: ONNX (for the runtime without PyTorch) or torch.export.

    Example: liquid-lane export --policy ltc19 --out exported/ltc19
    """
    check_writable(out / "policy.json")
    paths, worst = export(checkpoint.load(policy), out, Path(policy).name, format_name)
    print(f"Written: {', '.join(map(str, paths))}; largest difference to PyTorch {worst:.1e}")


# What typer raises for a wrong option, by way of the names it exports: older releases take the classes from
# the package click, newer ones bring their own.
_UsageError: Any = typer.BadParameter.__base__


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0: done, 2: bad input, with one line on standard error."""
    cv2.setNumThreads(1)  # torch's threads do the work; more would only contend
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=_spread(arguments or ["--help"]), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    except _UsageError as error:
        message = error.format_message()
    except BadInputError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'file'}: {error.strerror or error}"
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


MANY_VALUED = ("--policies", "--data", "--validate", "--env-option", "--vary")


def _spread(arguments: list[str]) -> list[str]:
    """``--policies P Q`` -> ``--policies P --policies Q``, for the options that take many values."""
    spread: list[str] = []
    many: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            many = argument if argument in MANY_VALUED else None
        elif many is not None and spread[-1] != many:
            spread.append(many)
        spread.append(argument)
    return spread


if __name__ == "__main__":
    sys.exit(main())
