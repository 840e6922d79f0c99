"""A drive on one page: pictures, course and spread of the steering, gaps, what was left out, what was assumed."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sim.drive import StoredDrive
from sim.files import new_file
from sim.recording import in_words

N_PICTURES = 12
_COLUMNS = 4
_LINE = "#2a6f97"
_HORIZON = "#ff9f1c"


def plot_drive(drive: StoredDrive, path: Path) -> None:
    """Write the page as a picture (PNG, SVG or PDF by the suffix); one frame at a time is in memory.

    Raises:
        BadInputError: damaged frames, or a place that cannot be written.
    """
    shown = np.unique(np.linspace(0, len(drive) - 1, N_PICTURES).round().astype(int))
    pictures = {row: frame for row, frame in enumerate(drive.read_frames()) if row in shown}
    time_s = drive.timestamps_s - drive.timestamps_s[0]
    n_rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(12, 1.35 * n_rows + 6.2), layout="constrained")
    grid = figure.add_gridspec(n_rows + 3, _COLUMNS, height_ratios=[1.0] * n_rows + [1.5, 1.5, 1.0])
    for i, row in enumerate(shown):
        axes = figure.add_subplot(grid[i // _COLUMNS, i % _COLUMNS])
        axes.imshow(pictures[int(row)])
        axes.axhline(drive.camera.horizon_v_px, color=_HORIZON, linewidth=0.8)
        axes.plot(drive.camera.horizon_u_px, drive.camera.horizon_v_px, "+", color=_HORIZON)
        axes.set_title(f"{time_s[row]:.1f} s   {drive.curvature_per_m[row]:+.3f} 1/m", fontsize=8)
        axes.set_xlim(-0.5, drive.camera.width_px - 0.5)
        axes.set_ylim(drive.camera.height_px - 0.5, -0.5)
        axes.set_axis_off()
    _course(figure.add_subplot(grid[n_rows, :]), drive, time_s, drive.curvature_per_m, "curvature, 1/m (left +)")
    if drive.speed_mps is not None:
        _course(figure.add_subplot(grid[n_rows + 1, :2]), drive, time_s, drive.speed_mps, "speed, m/s")
    spread = figure.add_subplot(grid[n_rows + 1, 2:] if drive.speed_mps is not None else grid[n_rows + 1, :])
    spread.hist(drive.curvature_per_m, bins=61, color=_LINE, log=True)
    spread.set_xlabel("curvature, 1/m")
    spread.set_ylabel("frames")
    words = figure.add_subplot(grid[n_rows + 2, :])
    words.set_axis_off()
    words.text(0, 1, _words(drive), va="top", ha="left", fontsize=9, family="monospace", transform=words.transAxes)
    with new_file(path) as unfinished:
        figure.savefig(unfinished, dpi=110)


def _course(axes: Any, drive: StoredDrive, time_s: np.ndarray, values: np.ndarray, name: str) -> None:
    """Values over time; a line does not cross a gap, which is shaded."""
    segments = drive.segments()
    for segment in segments:
        axes.plot(time_s[segment], values[segment], color=_LINE, linewidth=0.8)
    for before, after in itertools.pairwise(segments):
        axes.axvspan(time_s[before.stop - 1], time_s[after.start], color="#d9d9d9", linewidth=0)
    axes.set_ylabel(name)
    axes.set_xlabel("time, s (grey: gaps)")
    axes.margins(x=0.01)


def _words(drive: StoredDrive) -> str:
    """The drive's facts, wrapped."""
    minutes, seconds = divmod(float(drive.dt_s().sum()), 60)
    camera, vehicle = drive.camera, drive.meta.vehicle
    facts = [
        f"{drive.folder.name}: {len(drive):,} frames of {camera.width_px} x {camera.height_px}, {minutes:.0f} min "
        f"{seconds:.0f} s, {1 / float(np.median(drive.dt_s())):.1f} a second, {len(drive.segments())} piece(s); "
        f"{in_words(drive.meta.left_out)}",
        f"{drive.meta.source} ({drive.meta.licence}); {vehicle.name}"
        + ("" if vehicle.wheelbase_m is None else f", wheelbase {vehicle.wheelbase_m:g} m"),
        f"focal length {camera.focal_u_px:.0f} px, {camera.height_m:g} m above the ground, horizon at row "
        f"{camera.horizon_v_px:.0f} (the line in the pictures)",
        drive.meta.notes,
    ]
    return "\n".join(line for fact in facts if fact for line in textwrap.wrap(fact, 128))
