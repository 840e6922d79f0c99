"""``demo``, ``attend``, ``insight`` and ``circuit``: what policies look at, and what goes on inside."""

from __future__ import annotations

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
from driving.console import print_table, progress_bar
from driving.data import load_drive, parse_drive_spec
from driving.demo import run_demo
from driving.insight import WARMUP_S, insight
from driving.instants import on_drive
from driving.models import checkpoint
from driving.noise import parse_noise
from driving.settings import env_maker, find_env, known_envs, parse_env_options
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
    print(f"Written: {out / 'comparison.mp4'}, {out / 'report.html'}, {out / 'metrics.json'}")


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
        figures = compare.attend(
            {name: checkpoint.load(name) for name in checkpoint.expand(policies)},
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
    print_table(f"{method} on {source}; {road}", [{"policy": name, **row} for name, row in figures["policies"].items()])


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
