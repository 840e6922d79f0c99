"""``test`` and ``drive``: how well a policy steers, on recorded drives and in closed loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from driving import compare
from driving.attention import ATTRIBUTIONS
from driving.commands.arguments import (
    DataOption,
    DriverOption,
    EnvOption,
    EnvOptionsOption,
    JsonOption,
    NoiseOption,
    SecondsOption,
    SeedsOption,
    WorkersOption,
    check_seconds,
    check_writable,
    parse_seeds,
)
from driving.console import note, print_table, progress_bar, shown
from driving.models.policy import Policy
from driving.noise import parse_noise
from driving.open_loop import evaluate
from driving.others import check_seen, find_driver
from driving.rollout import frame_shape
from driving.settings import drive_settings, env_maker, parse_env_options, parse_vary
from sim.drive import find_drives
from sim.errors import BadInputError
from sim.files import write_json
from sim.frame_cache import cached_drive
from sim.processes import n_cores


def open_loop(policy: DriverOption, data: DataOption, json: JsonOption = None) -> None:
    """Open-loop error on recorded drives.

    Example: liquid-lane test --policy ltc19-udacity --data recordings/b@0:921
    """
    if json is not None:
        check_writable(json)
    model = find_driver(policy)
    height_px, width_px, _ = frame_shape(model)
    figures = evaluate(model, [cached_drive(spec, height_px, width_px, on_new=note) for spec in find_drives(data)])
    if json is not None:
        write_json(json, figures)
    print_table(f"{policy}, open loop", [figures])


def drive_(
    policy: DriverOption,
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "1000:1020",
    seconds: SecondsOption = 60.0,
    noise: NoiseOption = None,
    json: JsonOption = None,
    video: Annotated[Path | None, typer.Option(help="Write the first episode, with its attention, as mp4.")] = None,
    env_option: EnvOptionsOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="NAME=V1,V2: drive all seeds at each value; repeated: all combinations."),
    ] = None,
    workers: WorkersOption = None,
) -> None:
    """Drive in closed loop, many episodes at once; crashes and offsets for each setting, an optional video.

    Example: liquid-lane drive --policy ltc19 --seeds 1000:1020 --seconds 60 --vary weather=clear,night
    """
    for path in (json, video):
        if path is not None:
            check_writable(path)
    options, variations = parse_env_options(env_option), parse_vary(vary)
    check_seconds(seconds)
    model, disturbance, episodes = find_driver(policy), parse_noise(noise), parse_seeds(seeds)
    if video is not None and not isinstance(model, Policy):
        raise BadInputError(
            f"--video: looks inside, which {policy} does not let; use liquid-lane attend --method occlusion --video"
        )
    if disturbance is not None:
        check_seen({policy: model}, [disturbance.kind.group])
    bar, advance = progress_bar("driving", len(episodes) * len(variations) * seconds)
    with bar:
        figures = drive_settings(
            model, env, options, variations, episodes, seconds, disturbance, workers or n_cores(), advance
        )
    if json is not None:
        write_json(json, figures)
    if video is not None and isinstance(model, Policy):
        compare.attend(
            {policy: model},
            env_maker(env, options | variations[0], seconds, render=True),
            ATTRIBUTIONS["visual_backprop"],
            disturbance,
            seconds,
            episodes[0],
            video,
            source_name=f"{env}, seed {episodes[0]}",
            n_workers=workers or n_cores(),
        )
    title = f"{policy} in {env}, {noise or 'clean'}, {figures['frames_per_s']:g} frames/s"
    print_table(title, _rows_of_settings(figures))
    low, high = figures["crashed_seeds_95"]
    print(
        f"{figures['crashed_seeds']} of {figures['n_seeds']} seeds with a crash; "
        f"95 % interval of their share: {100 * low:.0f} to {100 * high:.0f} %"
    )


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
