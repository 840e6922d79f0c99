"""What the command line shows: tables on standard output, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

console = Console()
MAX_WORD = 20
"""A word up to this length is not broken in a table."""


def progress_bar(what: str, total: float | None) -> tuple[Progress, Callable[..., None]]:
    """A bar and the function that moves it on, by one or by a number; silent when the output is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    task = bar.add_task(what, total=total)
    return bar, lambda by=1: bar.advance(task, by)


def note(text: str) -> None:
    """One line on standard error: what is done now that takes time or room."""
    print(text, file=sys.stderr, flush=True)


HEADINGS = {
    "title": "network",
    "crashes_per_km": "crashes\na km",
    "mean_abs_lateral_offset_m": "|offset|\nm",
    "frames_per_s": "frames/s",
    "kept_share": "kept",
    "n_episodes": "drives",
    "n_drives": "drives",
    "on_road_share": "on road",
    "untrained_on_road_share": "untrained",
    "ssim_clean_noisy": "SSIM clean, noisy",
    "road_area_share": "road area",
    "n_mask_frames": "n with mask",
    "rmse_curvature_per_m": "RMSE 1/m",
    "zero_rmse_curvature_per_m": "of zero 1/m",
    "rmse_steering_wheel_rad": "RMSE wheel rad",
    "zero_rmse_steering_wheel_rad": "of zero wheel rad",
}
"""JSON keys as a table shows them, where words would be too long for 80 columns."""


def live_table() -> Live:
    """A table that is shown anew as it changes; silent when the output is no terminal."""
    return Live(console=Console(stderr=True, quiet=not sys.stderr.isatty()), refresh_per_second=2, transient=True)


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table."""
    console.print(table_of(title, rows))


def table_of(title: str, rows: list[dict[str, Any]]) -> Table:
    """Rows of equal keys as a table."""
    # Text, not str: a path may hold brackets, which rich would take for markup.
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for key, value in rows[0].items():
        # Words instead of one long name, so that a narrow terminal breaks headings and does not cut them off.
        heading = HEADINGS.get(key, key.replace("_", " "))
        if isinstance(value, str):
            words = [word for row in rows for word in str(row[key]).split()]
            width = min(max(map(len, words), default=1), MAX_WORD)
            table.add_column(heading, justify="left", overflow="fold", min_width=width)
        else:
            table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row.values()))
    return table


def shown(value: Any) -> str:
    """A value for people: four digits, a dash for None."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def with_interval(row: dict[str, Any], name: str) -> str:
    """A figure of a row with its interval, for people; a dash where it is unknown."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "-"
    return f"{value:.3g} ({'?' if low is None else f'{low:.3g}'} to {'?' if high is None else f'{high:.3g}'})"
