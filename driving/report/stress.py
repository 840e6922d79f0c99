"""The page of a sweep of noises: findings in sentences, a heat map, crash rates against severity, survival curves."""

from __future__ import annotations

import base64
import math
import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib import metadata
from typing import Any

import cv2
import numpy as np

from driving.noise import ALL, CLEAN, KINDS, noise_title
from driving.report.layout import html_page, table
from driving.report.words import Figures, number

COLOURS = 6
"""Networks that have a colour of their own (``p0`` ...); further ones begin again."""
_LEFT, _TOP, _WIDTH, _HEIGHT = 54, 10, 340, 150
VERDICTS = {"holds": "fewer", "does not hold": "more", "cannot be told": "cannot be told"}


def stress_page(figures: Figures, pictures: Mapping[str, np.ndarray] | None = None) -> str:
    """The whole page.

    Args:
        figures: of ``driving.harness.figures.all_figures``, with ``command``, ``seeds`` and ``seconds``.
        pictures: uint8 (H, W, 3), RGB, of the conditions to show, by ``NAME:SEVERITY``.
    """
    networks = list(dict.fromkeys(row["network"] for row in figures["table"]))
    key = "".join(f'<span class="k{i % COLOURS}">{escape(name)}</span>' for i, name in enumerate(networks))
    body = f"""<p class="finding">{"<br>".join(escape(line) for line in findings(figures))}</p>
{_claims(figures)}{_groups(figures)}<h2>Which drives failed</h2>
<p class="note">Share of the drives that left the lane. Every network saw the same roads with the same noise.</p>
{_heat_map(figures, networks)}
<h2>More and more of it</h2>
<div class="key">{key}</div>
<div class="plots">{_severity_plots(figures, networks, pictures or {})}</div>
<h2>How far they came</h2>
<p class="note">Share of the drives still in the lane after so many kilometres (Kaplan and Meier); a drive that ended
without a crash might have gone on.</p>
<div class="key">{key}</div>
<div class="plots">{_survival_plots(figures, networks)}</div>
{_failures(figures)}<h2>Compared with {escape(str(figures["reference"]))}</h2>
{_comparison_table(figures)}
<p class="note">Ratio of the crashes a km, with the 95 % interval of a bootstrap over roads and trainings. A verdict
also needs that swapping the networks road by road, and exchanging the trainings of the two kinds, seldom gives so much
by chance: fewer than four trainings of each never tell. Drives needed: a dash where more trainings are. &#8220;After
Holm&#8221;: whether it stands when all comparisons are taken together.{_of_how_many(figures)}</p>
<details><summary>All figures</summary>{_table(figures)}</details>
<h2>How to make it again</h2>
<pre>{escape(str(figures["command"]))}</pre>
<p class="note">{escape(_versions())} Every episode: <code>episodes.csv</code>; the figures:
<code>figures.json</code>.</p>"""
    return html_page(f"{_and(networks)} under noise", body)


def findings(figures: Figures) -> list[str]:
    """Sentences that claim no more than the intervals show."""
    lines = []
    rows, reference = figures["table"], figures["reference"]
    for row in rows:
        if row["noise"] == CLEAN:
            lines.append(
                f"Without noise {row['network']} left its lane in {row['crashes']} of {row['n_drives']} drives, "
                f"{_rate(row)} times a km."
            )
    for network in dict.fromkeys(row["network"] for row in figures["comparisons"]):
        noisy = [r for r in figures["comparisons"] if r["network"] == network and r["noise"] != CLEAN]
        told = {name: [r for r in noisy if VERDICTS[r["verdict"]] == name] for name in VERDICTS.values()}
        if noisy:
            lines.append(
                f"Under {len(noisy)} noises {network} had fewer crashes a km than {reference} in {len(told['fewer'])}, "
                f"more in {len(told['more'])}; {len(told['cannot be told'])} cannot be told from these drives and "
                "trainings."
            )
        for row in figures.get("by_group", ()):
            if (row["group"], row["network"]) == (ALL, network):
                ratio, verdict = _with_interval(row, "ratio"), VERDICTS[row["verdict"]]
                lines.append(f"All of them together: {ratio} times the crashes a km: {verdict}.")
        stands = [r for r in noisy if r["holm"] and r["verdict"] != "cannot be told"]
        if stands:
            named = [f"{noise_title(r['noise'])} ({VERDICTS[r['verdict']]})" for r in stands]
            lines.append(f"Standing when all are taken together: {_and(named)}.")
    recovered: dict[str, list[float]] = {}
    for row in rows:
        if row.get("recovery_s") is not None:
            recovered.setdefault(row["network"], []).append(row["recovery_s"])
    if recovered:
        each = [f"that of {name} {_from_to(times_s)} s" for name, times_s in recovered.items()]
        lines.append(f"After a burst in the memory a command took a while to recover: {_and(each)} on average.")
    for network, error in figures["mean_corruption_error"].items():
        if network != reference and error is not None:
            lines.append(f"Averaged over noises, {network} failed {error:.0f} % as often as {reference}.")
    return lines or ["Nothing was driven."]


def _of_how_many(figures: Figures) -> str:
    """A warning where a kind of network is one training."""
    single = dict.fromkeys(row["network"] for row in figures["table"] if row["n_trainings"] == 1)
    if not single:
        return ""
    return f" There is one training of {escape(_and(list(single)))}: the verdicts are about networks, not their kinds."


def _failures(figures: Figures) -> str:
    """Films beside the page, where there are any."""
    films = "".join(
        f'<figure><video src="{escape(row["path"])}" controls muted playsinline preload=metadata '
        f'aria-label="{escape(row["text"])}"></video><figcaption>{escape(row["text"])}</figcaption></figure>'
        for row in figures.get("failures", ())
    )
    if not films:
        return ""
    note = "Both on the same road, the seconds before the first of them leaves its lane. Bright: where each looks."
    return f'<h2>How they fail</h2>\n<p class="note">{note}</p>\n<div class="plots">{films}</div>\n'


def _from_to(values: Sequence[float]) -> str:
    """The least and the largest, once where they are the same.

    >>> _from_to([0.2, 0.104]), _from_to([0.2])
    ('0.10 to 0.20', '0.20')
    """
    ends = list(dict.fromkeys(f"{value:.2f}" for value in (min(values), max(values))))
    return " to ".join(ends)


def _claims(figures: Figures) -> str:
    """The published claims, on the page of an experiment that has them."""
    if not figures.get("claims"):
        return ""
    first = '<p class="note">A first answer from few drives (<code>--quick</code>).</p>' if figures["quick"] else ""
    head = ("claim", "noise", "published", "here", "verdict")
    rows = [
        (row["claim"], noise_title(row["noise"]), row["published"], row["here"],
         row["verdict"])
        for row in figures["claims"]
    ]  # fmt: skip
    return f"<h2>What was published</h2>{first}{table(head, rows, n_words=5)}"


def _rate(row: Figures) -> str:
    return _with_interval(row, "crashes_per_km")


def _with_interval(row: Figures, name: str) -> str:
    value, low, high = (number(row[key], "{:.2f}") for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _groups(figures: Figures) -> str:
    """What is disturbed, with all kinds and severities of it added up."""
    rows = [
        (
            row["group"], row["network"], VERDICTS[row["verdict"]] if "ratio" in row else "–",
            _with_interval(row, "ratio") if "ratio" in row else "–",
            _rate(row), number(row["failed_share"], "{:.0%}"), f"{row['n_drives']:,}", str(row["n_noises"]),
        )
        for row in figures.get("by_group", ())
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("disturbed", "network", "verdict", f"ratio to {figures['reference']} (95 %)", "crashes a km (95 %)",
            "failed", "drives", "noises")  # fmt: skip
    note = "Crashes a km under all kinds and severities of a group, added up; all:mild: the mild level of each kind."
    return f'<h2>What is disturbed</h2>\n<p class="note">{note}</p>\n{table(head, rows, n_words=3)}'


def _by_noise(figures: Figures) -> dict[str, list[str]]:
    """Conditions of each kind of noise, by severity."""
    kinds: dict[str, list[str]] = {}
    for condition in dict.fromkeys(row["noise"] for row in figures["table"]):
        kinds.setdefault(condition.rpartition(":")[0], []).append(condition)
    return {kind: sorted(found, key=lambda c: float(c.rpartition(":")[2])) for kind, found in kinds.items()}


def _heat_map(figures: Figures, networks: Sequence[str]) -> str:
    at = {(row["noise"], row["network"]): row for row in figures["table"]}
    lines = []
    for conditions in _by_noise(figures).values():
        for condition in conditions:
            cells = "".join(_heat_cell(at.get((condition, network))) for network in networks)
            lines.append(f"<tr><td>{escape(noise_title(condition))}</td>{cells}</tr>")
    head = "".join(f'<th class="n">{escape(network)}</th>' for network in networks)
    return (
        f'<div class="wide"><table class="heat"><thead><tr><th>noise</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _heat_cell(row: Figures | None) -> str:
    share = None if row is None else row["failed_share"]
    if share is None:
        return '<td class="n">–</td>'
    return f'<td class="n" style="--heat:{share:.3f}">{share:.0%}</td>'


def _severity_plots(figures: Figures, networks: Sequence[str], pictures: Mapping[str, np.ndarray]) -> str:
    at = {(row["noise"], row["network"]): row for row in figures["table"]}
    plots = []
    for kind, conditions in _by_noise(figures).items():
        if kind == "none" or len(conditions) < 2:
            continue
        if any((CLEAN, network) in at for network in networks):
            conditions = [CLEAN, *conditions]
        severities = [float(condition.rpartition(":")[2]) for condition in conditions]
        known = [at[c, n]["crashes_per_km_high"] or 0.0 for c in conditions for n in networks if (c, n) in at]
        most = max([at[c, n]["crashes_per_km"] or 0.0 for c in conditions for n in networks if (c, n) in at] + [1e-9])
        plot = _Plot((severities[0], severities[-1]), (0.0, max(min(max(known), 1.6 * most), 1.0)))
        lines = [_band(plot, severities, [at.get((c, n)) for c in conditions], i) for i, n in enumerate(networks)]
        title = KINDS[kind].title if kind in KINDS else kind
        unit = KINDS[kind].unit if kind in KINDS else "severity"
        label = f"{title}: crashes a km against {unit}"
        is_seen = any(c in pictures for c in conditions if c != CLEAN)
        shown = [_thumbnail(pictures[c], c) for c in conditions if c in pictures and is_seen]
        plots.append(_figure(label, plot.svg(label, "".join(lines)), f'<div class="row">{"".join(shown)}</div>'))
    return "".join(plots) or '<p class="note">No noise was driven at two severities.</p>'


def _band(plot: _Plot, severities: Sequence[float], rows: Sequence[Figures | None], i_network: int) -> str:
    known = [(s, r) for s, r in zip(severities, rows, strict=True) if r is not None and r["crashes_per_km"] is not None]
    if not known:
        return ""
    upper = [plot.at(s, r["crashes_per_km"] if r["crashes_per_km_high"] is None else r["crashes_per_km_high"])
             for s, r in known]  # fmt: skip
    lower = [plot.at(s, r["crashes_per_km_low"] or 0.0) for s, r in known]
    middle = [plot.at(s, r["crashes_per_km"]) for s, r in known]
    name = f"p{i_network % COLOURS}"
    dots = "".join(f'<circle class="{name}" cx="{x}" cy="{y}" r="4"/>' for x, y in middle)
    band = f'<polygon class="band {name}" points="{_points([*upper, *lower[::-1]])}"/>'
    return f'{band}<polyline class="{name}" points="{_points(middle)}"/>{dots}'


def _survival_plots(figures: Figures, networks: Sequence[str]) -> str:
    plots = []
    by_condition: dict[str, list[Figures]] = {}
    for curve in figures["survival"]:
        by_condition.setdefault(curve["noise"], []).append(curve)
    for condition, curves in by_condition.items():
        if condition != CLEAN and all(curve["share"][-1] == 1.0 for curve in curves):
            continue  # nobody failed
        plot = _Plot((0.0, max(max(curve["km"]) for curve in curves) or 1.0), (0.0, 1.0))
        lines = []
        for curve in curves:
            steps, share = [], 1.0
            for km, after in zip(curve["km"], curve["share"], strict=True):
                steps += [plot.at(km, share), plot.at(km, after)]
                share = after
            name = f"p{networks.index(curve['network']) % COLOURS}"
            lines.append(f'<polyline class="{name}" points="{_points(steps)}"/>')
        label = f"{noise_title(condition)}: share in the lane against km"
        plots.append(_figure(label, plot.svg(label, "".join(lines)), ""))
    return "".join(plots)


class _Plot:
    """Axes of a small plot, and where a point lies in it."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        """In the units of the view box; what lies above is kept at the top."""
        (x0, x1), (y0, y1) = self._x, self._y
        across = (x - x0) / (x1 - x0) if x1 > x0 else 0.5
        up = min(max((y - y0) / (y1 - y0), 0.0), 1.0)
        return round(_LEFT + _WIDTH * across, 1), round(_TOP + _HEIGHT * (1 - up), 1)

    def svg(self, label: str, inside: str) -> str:
        """The plot, with a few round numbers at its axes."""
        parts = []
        for y in _round_numbers(*self._y):
            height = self.at(self._x[0], y)[1]
            parts.append(f'<path class="grid" d="M{_LEFT} {height}h{_WIDTH}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{height + 5:.1f}" text-anchor="end">{y:g}</text>')
        for x in _round_numbers(*self._x):
            place = self.at(x, self._y[0])[0]
            parts.append(f'<text x="{place}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{x:g}</text>')
        box = f"0 0 {_LEFT + _WIDTH + 18} {_TOP + _HEIGHT + 30}"
        return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}{inside}</svg>'


def _round_numbers(low: float, high: float) -> list[float]:
    """Three to six numbers from ``low`` to ``high``.

    >>> _round_numbers(0.0, 0.3)
    [0.0, 0.1, 0.2, 0.3]
    """
    if not high > low:
        return [low]
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _figure(caption: str, svg: str, below: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}{below}</figure>"


def _thumbnail(picture: np.ndarray, condition: str) -> str:
    _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    data = base64.b64encode(packed.tobytes()).decode()
    title = escape(noise_title(condition))
    return f'<img src="data:image/jpeg;base64,{data}" alt="{title}" title="{title}">'


def _comparison_table(figures: Figures) -> str:
    head = ("network", "noise", "crashes a km", "verdict", "after Holm", "ratio", "95 %", "drives needed")
    rows = [
        (
            row["network"],
            noise_title(row["noise"]),
            VERDICTS[row["verdict"]],
            row["verdict"],
            "yes" if row["holm"] else "no",
            number(row["ratio"], "{:.2f}"),
            f"{number(row['ratio_low'], '{:.2f}')} to {number(row['ratio_high'], '{:.2f}')}",
            "–" if row["n_drives_needed"] is None else f"{row['n_drives_needed']:,}",
        )
        for row in figures["comparisons"]
    ]
    return table(head, rows, n_words=5) if rows else '<p class="note">There is one network only.</p>'


def _table(figures: Figures) -> str:
    head = ("noise", "network", "trainings", "drives", "not driven", "crashes", "km", "crashes a km (95 %)",
            "|offset| m", "lateral m/s²", "jerk m/s³")  # fmt: skip
    rows: list[tuple[Any, ...]] = [
        (
            noise_title(row["noise"]), row["network"], str(row["n_trainings"]),
            str(row["n_drives"]), str(row["n_errors"]), str(row["crashes"]), number(row["km"], "{:.2f}"), _rate(row),
            number(row["mean_abs_offset_m"], "{:.3f}"), number(row["rms_lateral_acceleration_mps2"], "{:.2f}"),
            number(row["rms_lateral_jerk_mps3"], "{:.2f}"),
        )
        for row in figures["table"]
    ]  # fmt: skip
    return table(head, rows, n_words=2)


def _versions() -> str:
    names = ("liquid-lane", "torch", "numpy", "opencv-python-headless")
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {', '.join(found)}."
