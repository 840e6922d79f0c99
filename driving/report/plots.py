"""Plots as inline SVG that follow the page's colours, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite

from driving.noise import noise_title
from driving.report.words import Figures, policy_titles

MAX_TRACE_POINTS = 400
LEFT, TOP, WIDTH, HEIGHT = 56, 12, 570, 230
"""The plot's inside, in the units of its view box."""


@dataclass(frozen=True)
class _Scales:
    end_s: float
    limit_m: float

    def x(self, time_s: float) -> float:
        return round(LEFT + WIDTH * time_s / self.end_s, 1)

    def y(self, offset_m: float) -> float:
        inside_m = min(max(offset_m, -self.limit_m), self.limit_m)
        return round(TOP + HEIGHT * (0.5 - inside_m / (2 * self.limit_m)), 1)


def offset_plots(figures: Figures) -> str:
    """One plot a noise: lateral offset over time, a line an episode, a dot where the car left its lane."""
    half_m, traces = figures["lane_half_width_m"], figures["traces"]
    offsets = [abs(y) for trace in traces for y in trace["lateral_offset_m"] if isfinite(y)]
    # A car that left its lane may go far: the plot keeps to what lies near the lane.
    limit_m = min(max([*offsets, 1.15 * half_m]), 1.6 * half_m)
    end_s = max([trace["time_s"][-1] for trace in traces if trace["time_s"]], default=0.0) or 1.0
    scales = _Scales(end_s, limit_m)
    classes = {policy: f"p{i % 2}" for i, policy in enumerate(policy_titles(figures))}
    crashed = {
        (entry["policy"], entry["noise"], episode["seed"])
        for entry in figures["drive"]
        for episode in entry["episodes"]
        if episode["crashed"]
    }
    plots = []
    for noise in dict.fromkeys(trace["noise"] for trace in traces):
        lines = "".join(
            _line(trace, scales, classes[trace["policy"]], (trace["policy"], noise, trace["seed"]) in crashed)
            for trace in traces
            if trace["noise"] == noise
        )
        label = escape(f"{noise_title(noise)}: offset in metres, left positive")
        plots.append(
            f"<figure><figcaption>{label}</figcaption>"
            f'<svg viewBox="0 0 {LEFT + WIDTH + 14} {TOP + HEIGHT + 34}" role="img" aria-label="{label}">'
            f"{_axes(scales, half_m)}{lines}</svg></figure>"
        )
    return "".join(plots)


def _axes(scales: _Scales, half_m: float) -> str:
    top, bottom = scales.y(half_m), scales.y(-half_m)
    parts = [f'<rect class="lane" x="{LEFT}" y="{top}" width="{WIDTH}" height="{bottom - top:.1f}"/>']
    for offset_m in range(ceil(-scales.limit_m), floor(scales.limit_m) + 1):
        kind, y = "grid" if offset_m else "axis", scales.y(offset_m)
        parts.append(f'<path class="{kind}" d="M{LEFT} {y}h{WIDTH}"/>')
        name = f"{offset_m:+d}" if offset_m else "0"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{name}</text>')
    steps_s = (1, 2, 5, 10, 20, 30, 60, 120, 300)
    step_s = next((step for step in steps_s if scales.end_s / step <= 7), ceil(scales.end_s / 7))
    for time_s in range(0, floor(scales.end_s) + 1, step_s):
        x, y = scales.x(time_s), TOP + HEIGHT + 22
        anchor = "end" if time_s + step_s > scales.end_s else "middle"  # the last one stays inside the picture
        parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{time_s} s</text>')
    return "".join(parts)


def _line(trace: Figures, scales: _Scales, css_class: str, crashed: bool) -> str:
    points: Sequence[tuple[float, float]] = [
        (scales.x(time_s), scales.y(offset_m))
        for time_s, offset_m in zip(trace["time_s"], trace["lateral_offset_m"], strict=True)
        if isfinite(offset_m)
    ]
    if not points:
        return ""
    stride = ceil(len(points) / MAX_TRACE_POINTS)
    path = " ".join(f"{x},{y}" for x, y in [*points[:-1:stride], points[-1]])
    x, y = points[-1]
    end = f'<circle class="{css_class}" cx="{x}" cy="{y}" r="6"/>' if crashed else ""
    name = escape(f"road {trace['seed']}")
    return f'<polyline class="{css_class}" points="{path}"><title>{name}</title></polyline>{end}'
