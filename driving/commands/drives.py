"""``import`` and ``record``: commands that make a drive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driving.commands.arguments import (
    EnvOption,
    EnvOptionsOption,
    SecondsOption,
    SeedsOption,
    WorkersOption,
    check_new_drive,
    check_seconds,
    parse_seeds,
)
from driving.console import progress_bar
from driving.settings import env_maker, parse_env_options
from sim import drive as drive_io
from sim.disturbance import Disturbance
from sim.errors import BadInputError
from sim.importers import IMPORTERS, import_drive
from sim.processes import n_cores
from sim.record import record

_KICKS = Disturbance()


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


def record_(
    out: Annotated[Path, typer.Option(help="Folder of the drive to make.")],
    env: EnvOption = "lane/Procedural-v0",
    seeds: SeedsOption = "10000:12400",
    seconds: SecondsOption = 1.6,
    seed: Annotated[int, typer.Option(min=0, help="Of the disturbances.")] = 0,
    recoveries: Annotated[bool, typer.Option(help="Kicks and starts off the middle; labels stay the expert's.")] = True,
    kick_mps2: Annotated[
        float, typer.Option(min=0.0, help="Hardest kick, as lateral acceleration.")
    ] = _KICKS.max_lateral_acceleration_mps2,
    start_offset_m: Annotated[float, typer.Option(min=0.0, help="Furthest start off the middle.")] = 0.9,
    start_heading_rad: Annotated[float, typer.Option(min=0.0, help="Largest start askew.")] = 0.06,
    env_option: EnvOptionsOption = None,
    workers: WorkersOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing drive.")] = False,
) -> None:
    """Record the privileged expert, one short episode a seed.

    Example: liquid-lane record --out recordings/world --seeds 10000:12400
    """
    check_new_drive(out, overwrite)
    episodes = parse_seeds(seeds)
    world = env_maker(env, parse_env_options(env_option), check_seconds(seconds))
    bar, advance = progress_bar("recording", len(episodes) * seconds)
    with bar:
        drive = record(
            world,
            episodes,
            seconds,
            seed=seed,
            disturbance=Disturbance(max_lateral_acceleration_mps2=kick_mps2) if recoveries else None,
            start_offset_m=start_offset_m,
            start_heading_rad=start_heading_rad,
            n_workers=n_cores() if workers is None else workers,
            on_seconds=advance,
        )
    drive_io.save(drive, out, overwrite=overwrite)
    print(f"{out}: {len(drive)} frames in {len(episodes)} episodes")
