"""``demo``, ``attend``, ``insight`` and ``circuit``: what policies look at, and what goes on inside."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from driving import compare
from driving.attention import ATTRIBUTIONS
from driving.commands.arguments import (
    EnvOption,
    EnvOptionsOption,
    JsonOption,
    NoiseOption,
    PolicyOption,
    SecondsOption,
    SeedsOption,
    WorkersOption,
    check_seconds,
    check_writable,
    parse_seeds,
)
from driving.console import print_table, progress_bar, with_interval
from driving.data import load_drive, parse_drive_spec
from driving.demo import run_demo
from driving.insight import WARMUP_S, insight
from driving.instants import on_drive
from driving.models import checkpoint
from driving.noise import CLEAN, Noise, noise_title, parse_noise
from driving.others import find_network
from driving.report import GALLERY_NAME, REPORT_NAME
from driving.settings import env_maker, find_env, known_envs, parse_env_options
from driving.study.run import OWN, REFERENCE, Study, run_study
from driving.study.scenes import Stage
from driving.study.still import Moment, check_still, save_still
from sim.errors import BadInputError
from sim.files import write_json
from sim.processes import n_cores


def demo(
    out: Annotated[Path, typer.Option(help="Folder for video, report and figures.")] = Path("demo-output"),
    policies: Annotated[
        list[str] | None, typer.Option("--policy", help="Two policies (repeat the option); default: shipped ones.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Unseen roads A:B.")] = "1006:1010",
    seconds: SecondsOption = 20.0,
    noise: Annotated[str, typer.Option(help="The disturbed condition, NAME:SEVERITY.")] = "gaussian:0.1",
    workers: WorkersOption = None,
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
            workers or n_cores(),
        )
    keys = ("title", "noise", "crashes", "km", "crashes_per_km", "mean_abs_lateral_offset_m", "frames_per_s")
    print_table("Driving", [{key: row[key] for key in keys} for row in figures["drive"]])
    attention = figures["attention"]
    share = attention["road_area_share"]
    print_table(
        f"Attention ({attention['method']}); the road is {share:.1%} of the picture",
        [{"policy": name, **row} for name, row in attention["policies"].items()],
    )
    written = "comparison.mp4", REPORT_NAME, "metrics.json"
    print(f"Written: {', '.join(str(out / name) for name in written)}; begin with {out / GALLERY_NAME}")


def attend_(
    policies: Annotated[
        list[str],
        typer.Option("--policies", help="One policy or more (a video shows up to four); exported, module:factory."),
    ],
    source: Annotated[str, typer.Option(help="Folder of a drive (or FOLDER@A:B), or id of an environment.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help=f"{', '.join(ATTRIBUTIONS)}; default: the first. Several: one for each policy, or for one."
        ),
    ] = None,
    noise: NoiseOption = None,
    seconds: Annotated[float | None, typer.Option(help="At most; default: 30 s, or a whole drive.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Episode of an environment; noise.")] = 1000,
    seeds: Annotated[
        str | None, typer.Option(help="Roads A:B of an environment: a study, with intervals and the effects of things.")
    ] = None,
    sound: Annotated[bool, typer.Option("--sound", help="With --seeds: test the soundness of the methods.")] = False,
    video: Annotated[Path | None, typer.Option(help="Write an mp4; .webp or .gif for an animated picture.")] = None,
    still: Annotated[
        Path | None, typer.Option(help="Figure of the last moment for papers, by all methods: .png, .svg or .pdf.")
    ] = None,
    json: JsonOption = None,
    env_option: EnvOptionsOption = None,
    workers: WorkersOption = None,
) -> None:
    """Where policies look, side by side, on an environment or a recorded drive.

    With --seeds, over many roads: scores of the maps on the same pictures for all and on each network's own drives,
    what the command really hangs on (worlds in which one thing is otherwise), and whether the maps show it.

    Example: liquid-lane attend --policies ltc19 lstm64 --source lane/Procedural-v0 --video looks.mp4

    Example: liquid-lane attend --policies ltc19@all lstm64@all --source lane/Procedural-v0 --seeds 2000:2020
    """
    methods = method or ["visual_backprop"]
    for name in methods:
        if name not in ATTRIBUTIONS:
            raise BadInputError(f"method: expected one of {', '.join(ATTRIBUTIONS)}, got {name!r}")
    for path in (json, video, still):
        if path is not None:
            check_writable(path)
    if seconds is not None:
        check_seconds(seconds)
    if still is not None:
        check_still(still)
        _still(policies, source, methods, parse_noise(noise), seconds, seed, still, env_option)
        return
    is_recording = find_env(source) is None and parse_drive_spec(source)[0].exists()
    if seeds is not None or (is_recording and video is None and (len(methods) > 1 or sound)):
        _study(policies, source, methods, parse_noise(noise), seeds, seconds or 10.0, sound, video, json,
               env_option, workers or n_cores())  # fmt: skip
        return
    if sound:
        raise BadInputError("attend: --sound is for a study (--seeds A:B)")
    names = checkpoint.expand(policies)
    if len(methods) > 1 and len(names) not in (1, len(methods)):
        raise BadInputError(
            f"attend: expected a method for each of {len(names)} policies, or one policy, got {len(methods)} methods; "
            "with --seeds A:B every policy is looked at by all"
        )
    world: Any
    if find_env(source) is not None:
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
        networks = {name: find_network(name) for name in names}
        if len(names) == 1 < len(methods):
            networks = {f"{names[0]} by {name}": networks[names[0]] for name in methods}
        by_each: Any = dict(zip(networks, methods, strict=True)) if len(methods) > 1 else ATTRIBUTIONS[methods[0]]
        figures = compare.attend(
            networks,
            world,
            by_each,
            parse_noise(noise),
            seconds,
            seed,
            video,
            source_name=source,
            on_frame=advance,
            n_workers=workers or n_cores(),
        )
    if json is not None:
        write_json(json, figures)
    share = figures["road_area_share"]
    road = "no road mask known" if share is None else f"the road is {share:.1%} of the picture"
    title = f"{', '.join(methods)} on {source}; {road}"
    print_table(title, [{"policy": name, **row} for name, row in figures["policies"].items()])


def _still(
    policies: list[str], source: str, methods: list[str], noise: Noise | None, seconds: float | None, seed: int,
    path: Path, env_option: list[str] | None,
) -> None:  # fmt: skip
    """``attend --still``: the same picture for all, from a drive of the expert or a recorded one."""
    networks = checkpoint.load_all(policies)
    moments = {}
    if find_env(source) is not None:
        seconds = seconds or 5.0
        make_env = env_maker(source, parse_env_options(env_option), seconds)
        with contextlib.closing(Stage(make_env, {}, seconds)) as stage:
            scenes = stage.play(seed, seconds, None, noise)
        for name, policy in networks.items():
            state = scenes.states(policy)[0][-1]
            moments[name] = Moment(scenes.film[scenes.picked[-1]], state, scenes.road_masks[-1])
        title = f"{source}, road {seed}, {seconds:g} s; {noise_title(noise)}"
    else:
        drive = load_drive(source, masks=True)
        for name, policy in networks.items():
            for instant in on_drive(policy, drive, seconds, noise, seed):
                last = instant
            moments[name] = Moment(last.frame, last.state_before, last.info.get("road_mask"))
        title = f"{source}, {last.time_s:.1f} s; {noise_title(noise)}"
    save_still(path, networks, moments, methods, title)
    print(f"Written: {path}")


def _study(
    policies: list[str], source: str, methods: list[str], noise: Noise | None, seeds: str | None, seconds: float,
    sound: bool, video: Path | None, json: Path | None, env_option: list[str] | None, n_workers: int,
) -> None:  # fmt: skip
    """``attend --seeds``, and several methods on a recorded drive."""
    if video is not None:
        raise BadInputError("attend: a study has no video; leave it out, or --seeds and all methods but one")
    recording = None
    if seeds is None:
        recording = load_drive(source, masks=True)
        if not len(recording.mask_rows()):
            raise BadInputError(f"source: a study of a recorded drive needs road masks, {source} has none")
    elif find_env(source) is None:
        raise BadInputError(f"source: --seeds needs one of {', '.join(known_envs())}, got {source!r}")
    roads = range(0) if seeds is None else parse_seeds(seeds)
    networks = checkpoint.load_all(policies)
    noises = (None,) if noise is None else (None, noise)
    options = parse_env_options(env_option)
    study = Study(
        networks, methods, source, roads, seconds, noises=noises, sound=sound, env_options=options, recording=recording
    )
    bar, advance = progress_bar("looking", (len(noises) if recording else len(roads)) + sound)
    with bar:
        figures = run_study(study, n_workers, advance)
    if json is not None:
        write_json(json, figures)
    for drive in (REFERENCE, OWN):
        rows = [_study_row(row) for row in figures["table"] if row["drive"] == drive]
        if rows:
            print_table({REFERENCE: "On the same pictures", OWN: "On each one's own drives"}[drive], rows)
    if effects := [row for row in figures["effects"] if row["drive"] == REFERENCE and row["noise"] == CLEAN]:
        print_table(
            "Change of the command when one thing is otherwise, as a share of the commands (95 %)",
            [{"what": row["text"], "network": row["network"], "share": with_interval(row, "share")} for row in effects],
        )
    if figures["soundness"]:
        print_table(
            "Soundness",
            [
                {"method": row["method"], "policy": row["policy"]}
                | {
                    word: ", ".join(name for name, good in row["passed"].items() if good is wanted) or "-"
                    for word, wanted in (("passes", True), ("fails", False))
                }
                for row in figures["soundness"]
            ],
        )
        if any(row["fails"] for row in figures["table"]):
            print(f"{FAILS.strip()}: this method fails a test of soundness on this network.")
    print("\n".join(figures["findings"]))


FAILS = " (!)"


def _study_row(row: dict[str, Any]) -> dict[str, Any]:
    shown_columns = {name: with_interval(row, name) for name in ("road_gain", "agreement")}
    row = row | {"method": row["method"] + FAILS * bool(row["fails"])}
    return {name: row[name] for name in ("noise", "method", "network")} | shown_columns


def insight_(
    policy: PolicyOption,
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "1000:1010",
    seconds: SecondsOption = 30.0,
    json: JsonOption = None,
    env_option: EnvOptionsOption = None,
    workers: WorkersOption = None,
) -> None:
    """What the neurons do while driving: shares of the principal components; time constants, currents, couplings.

    The first second of each episode is left out. Example: liquid-lane insight --policy ltc19 --json inside.json
    """
    if json is not None:
        check_writable(json)
    if check_seconds(seconds) <= WARMUP_S:
        raise BadInputError(f"seconds: expected more than {WARMUP_S:g}, which are left out, got {seconds:g}")
    episodes, make_env = parse_seeds(seeds), env_maker(env, parse_env_options(env_option), seconds)
    bar, advance = progress_bar("driving", len(episodes) * seconds)
    with bar:
        figures = insight(checkpoint.load(policy), make_env, episodes, seconds, workers or n_cores(), advance)
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


def circuit(
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(help="Picture to make: .svg, .png or .pdf.")],
    data: Annotated[
        str | None, typer.Option(help="Drive FOLDER@A:B: colour the neurons by their states after these rows.")
    ] = None,
) -> None:
    """Draw the circuit of a policy: neurons in layers, synapses by sign and strength.

    Example: liquid-lane circuit --policy ltc19 --out circuit.svg
    """
    from driving.circuit_plot import save_circuit  # matplotlib is slow to import, and nothing else needs it

    check_writable(out)
    model, states, title = checkpoint.load(policy), None, policy
    if data is not None:
        for instant in on_drive(model, load_drive(data), None, None, 0):
            states, title = instant.state.numpy(), f"{policy} after {instant.time_s:.2f} s of {data}"
    save_circuit(model.core, out, states, title)
    print(f"Written: {out}")
