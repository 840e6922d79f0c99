"""``import``, ``record`` and ``show``: commands that make a drive, and let it be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from driving.commands.arguments import (
    EnvOption,
    EnvOptionsOption,
    SecondsOption,
    SeedsOption,
    WorkersOption,
    check_new_drive,
    check_seconds,
    check_writable,
    parse_seeds,
)
from driving.commands.options import configured, options_from
from driving.console import progress_bar
from driving.drive_plot import plot_drive
from driving.drive_video import film_drive
from driving.settings import env_maker, parse_env_options
from sim import drive as drive_io
from sim.disturbance import Disturbance
from sim.errors import BadInputError, one_line
from sim.importers import IMPORTERS, import_drive
from sim.label_table import Columns
from sim.processes import n_cores
from sim.record import record
from sim.recording import Asked, in_words
from sim.rig import RIG_FILE, Rig, load_rig

_KICKS = Disturbance()


@options_from(Rig, Columns)
def import_(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{', '.join(IMPORTERS)}.")],
    src: Annotated[Path, typer.Argument(help="The recording: a folder, or a video file.")],
    dst: Annotated[Path, typer.Argument(help="Folder of the drive to make.")],
    height: Annotated[int, typer.Option(min=2, max=4096, help="Rows of the frames kept.")] = 156,
    width: Annotated[int, typer.Option(min=2, max=4096, help="Columns of the frames kept.")] = 400,
    rate_hz: Annotated[
        float | None, typer.Option(help="Frames a second, for recordings without times (or with wrong ones).")
    ] = None,
    camera: Annotated[
        Path | None, typer.Option(help=f"TOML file of camera and car; default: {RIG_FILE} in the recording.")
    ] = None,
    estimate_horizon: Annotated[bool, typer.Option(help="Find the horizon by the motion in the pictures.")] = False,
    strict: Annotated[bool, typer.Option(help="Refuse a recording of which rows must be left out.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing drive.")] = False,
    **given: Any,
) -> None:
    """Make a drive of a recording. What cannot be used is left out and counted.

    Example: liquid-lane import video phone.mp4 recordings/mine --table phone.csv --fov-deg 65
    """
    if format_name not in IMPORTERS:
        raise BadInputError(f"format: expected one of {', '.join(IMPORTERS)}, got {one_line(repr(format_name))}")
    check_new_drive(dst, overwrite)
    rig = configured(Rig, given).or_else(load_rig(camera) if camera else Rig())
    asked = Asked(height, width, rig, configured(Columns, given), rate_hz, estimate_horizon)
    bar, advance = progress_bar("importing", None)
    with bar:
        drive = import_drive(format_name, src, dst, asked, overwrite, strict, on_row=lambda: advance(1))
    minutes, seconds = divmod(float(drive.dt_s().sum()), 60)
    print(
        f"{dst}: {len(drive):,} frames, {len(drive.segments())} piece(s), {minutes:.0f} min {seconds:.0f} s; "
        f"{in_words(drive.meta.left_out)}"
    )
    print(drive.meta.notes)


def show_(
    drive: Annotated[Path, typer.Argument(help="Folder of a drive.")],
    out: Annotated[
        Path | None, typer.Option(help="Picture to write (PNG, SVG or PDF); default: DRIVE.png beside the drive.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Write an mp4 of the drive instead: path, course and wheel of its steering.")
    ] = None,
    rrd: Annotated[
        Path | None, typer.Option(help="Write a file for Rerun's viewer instead (extra rerun), to scrub through.")
    ] = None,
    policies: Annotated[
        list[str] | None, typer.Option("--policies", help="With --rrd: their commands, attention maps and neurons too.")
    ] = None,
) -> None:
    """Look at a drive: pictures with the horizon, course and spread of the steering, gaps, what was left out.

    Example: liquid-lane show recordings/mine

    Example: liquid-lane show recordings/mine --video mine.mp4
    """
    wanted = [path for path in (out, video, rrd) if path is not None]
    if len(wanted) > 1:
        raise BadInputError("show: expected one of --out, --video and --rrd, got several")
    if policies and rrd is None:
        raise BadInputError("--policies: goes with --rrd")
    place = drive.absolute()
    target = wanted[0] if wanted else place.with_name(f"{place.name}.png")
    suffixes = (".mp4",) if video else (".rrd",) if rrd else PLOT_SUFFIXES
    if target.suffix.lower() not in suffixes:
        raise BadInputError(f"show: expected a name ending in {', '.join(suffixes)}, got {one_line(target.name)}")
    check_writable(target)
    stored = drive_io.load_table(drive)
    if rrd is not None:
        _write_rerun(drive, rrd, policies or [])
    elif video is not None:
        bar, advance = progress_bar("filming", len(stored))
        with bar:
            film_drive(stored, video, lambda: advance(1))
    else:
        plot_drive(stored, target)
    print(target)


def _write_rerun(folder: Path, path: Path, names: list[str]) -> None:
    from driving.attention import ATTRIBUTIONS  # PyTorch takes seconds: only where a policy may look
    from driving.drive_rerun import write_rerun
    from driving.models import checkpoint

    networks = {name: checkpoint.load(name) for name in checkpoint.expand(names)}
    loaded = drive_io.load(folder)
    bar, advance = progress_bar("writing", len(loaded) * (1 + len(networks)))
    with bar:
        write_rerun(loaded, path, networks, next(iter(ATTRIBUTIONS.values())), lambda: advance(1))


PLOT_SUFFIXES = (".png", ".svg", ".pdf")


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
