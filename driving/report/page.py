"""The page itself: tables, words and style in one HTML text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from driving.noise import noise_title
from driving.report.finding import finding
from driving.report.plots import offset_plots
from driving.report.words import Figures, number, policy_titles

VIDEO_NAME = "comparison.mp4"

READING = (
    "<b>Crash</b>: the car left its lane; the episode ends there. A road driven to its end is no crash.",
    "<b>Mean |offset|</b>: distance between car and lane centre, averaged over time, up to a crash.",
    "<b>On the road</b>: share of the attention map that lies on the road. Attention spread evenly would "
    "score the road&#8217;s share of the picture, so only the difference to it, and to the same network "
    "before training, says anything.",
    "<b>SSIM</b>: how alike the maps of the clean and the noisy picture are; 1 is the same map.",
    "One trained network of each kind was driven. Networks trained again with another seed may differ more "
    "from each other than these two kinds do: a few roads and one training decide nothing in general.",
)

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1b2230; --muted: #596274; --line: #dfe3ea; --paper: #fff; --soft: #f4f6f9;
  --p0: #0b8a94; --p1: #7d4fd6; --lane: #e9edf2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8ecf3; --muted: #9aa5b7; --line: #2c3443; --paper: #0e1117; --soft: #181d27;
    --p0: #54d0d8; --p1: #bea0ff; --lane: #1c222e;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 980px; margin: 0 auto; padding: 28px 20px 56px }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 14px }
h2 { font-size: 1.2rem; margin: 40px 0 12px }
.finding {
  font-size: 1.1rem; margin: 0 0 20px; padding: 14px 18px;
  background: var(--soft); border-left: 4px solid var(--p0); border-radius: 6px;
}
video { width: 100%; aspect-ratio: 16/9; display: block; border-radius: 10px; background: #0e1117 }
.note { color: var(--muted); font-size: .92rem; margin: 10px 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .94rem }
th, td { padding: 8px 12px; border-bottom: 1px solid var(--line); text-align: left }
th { color: var(--muted); font-weight: 600; vertical-align: bottom }
.n { text-align: right; font-variant-numeric: tabular-nums }
.key { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 22px 0 8px; font-size: .92rem }
.key span::before {
  content: ""; display: inline-block; width: 18px; height: 4px; border-radius: 2px;
  margin-right: 8px; vertical-align: middle; background: var(--colour);
}
.key .k0 { --colour: var(--p0) }
.key .k1 { --colour: var(--p1) }
.key .dot::before { width: 10px; height: 10px; border-radius: 5px; background: var(--muted) }
.key .lane::before { height: 12px; background: var(--lane) }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px }
figure { margin: 0 }
figcaption { font-size: .88rem; color: var(--muted); margin: 6px 0 }
svg { width: 100%; height: auto; display: block }
svg text { font-size: 16px; fill: var(--muted) }
svg .lane { fill: var(--lane) }
svg .grid { stroke: var(--line) }
svg .axis { stroke: var(--muted); stroke-dasharray: 4 4 }
svg polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; opacity: .85 }
polyline.p0 { stroke: var(--p0) }
polyline.p1 { stroke: var(--p1) }
circle.p0 { fill: var(--p0) }
circle.p1 { fill: var(--p1) }
details { margin: 18px 0 }
summary { cursor: pointer; color: var(--muted) }
pre { background: var(--soft); padding: 14px 16px; border-radius: 8px; overflow-x: auto }
li { margin: 6px 0 }
@media (max-width: 640px) {
  main { padding: 18px 14px 40px }
  h1 { font-size: 1.4rem }
  table { font-size: .8rem; line-height: 1.35 }
  th, td { padding: 6px 5px }
}
"""


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def page(figures: Figures) -> str:
    """The whole page."""
    titles = list(policy_titles(figures).values())
    heading = " and ".join(titles) + " on the same roads"
    key = "".join(f'<span class="k{i % 2}">{escape(title)}</span>' for i, title in enumerate(titles))
    seconds = number(figures["seconds"], "{:g}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(heading)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(heading)}</h1>
<p class="finding">{escape(finding(figures))}</p>
<video src="{VIDEO_NAME}" controls autoplay muted loop playsinline></video>
<p class="note">Each network steers its own car from the camera picture alone.
Bright places are where it looks.</p>

<h2>How they drove</h2>
{_drive_table(figures)}
<div class="key">{key}<span class="dot">left the lane</span><span class="lane">the lane</span></div>
<div class="plots">{offset_plots(figures)}</div>
<details><summary>Every episode</summary>{_episode_table(figures)}</details>

<h2>Where they looked</h2>
{_attention_table(figures)}
<p class="note">Method: {escape(str(figures["attention"]["method"]))}.</p>

<h2>How to read this</h2>
<ul>{"".join(f"<li>{line}</li>" for line in READING)}</ul>

<h2>How to make it again</h2>
<pre>{escape(str(figures["command"]))}</pre>
<p class="note">Roads (seeds): {escape(_seeds(figures["seeds"]))}. At most {escape(seconds)} s an episode.
The same figures as numbers: <code>metrics.json</code>.</p>
</main>
</body>
</html>
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], n_words: int) -> str:
    """An HTML table of plain text; the first ``n_words`` columns are words, the others figures."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if i >= n_words else ''}>{escape(text)}</{tag}>" for i, text in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head_row = f"<thead><tr>{cells('th', head)}</tr></thead>"
    return f'<div class="wide"><table>{head_row}<tbody>{body}</tbody></table></div>'


def _drive_table(figures: Figures) -> str:
    head = ("network", "picture", "crashes", "km", "crashes / km", "mean |offset| (m)", "frames / s")
    rows = [
        (
            entry["title"],
            noise_title(entry["noise"]),
            str(entry["crashes"]),
            number(entry["km"], "{:.2f}"),
            number(entry["crashes_per_km"], "{:.2f}"),
            number(entry["mean_abs_lateral_offset_m"], "{:.3f}"),
            number(entry["frames_per_s"], "{:.0f}"),
        )
        for entry in figures["drive"]
    ]
    return _table(head, rows, n_words=2)


def _episode_table(figures: Figures) -> str:
    head = ("network", "picture", "road (seed)", "left the lane", "distance (m)", "mean |offset| (m)")
    rows = [
        (
            entry["title"],
            noise_title(entry["noise"]),
            str(episode["seed"]),
            "yes" if episode["crashed"] else "no",
            number(episode["distance_m"], "{:.0f}"),
            number(episode["mean_abs_offset_m"], "{:.3f}"),
        )
        for entry in figures["drive"]
        for episode in entry["episodes"]
    ]
    return _table(head, rows, n_words=2)


def _attention_table(figures: Figures) -> str:
    attention, titles = figures["attention"], policy_titles(figures)
    head = ("network", "on the road", "same network, untrained", "road in the picture", "SSIM clean / noisy", "frames")
    rows = [
        (
            titles.get(policy, policy),
            number(scores["on_road_share"], "{:.1%}"),
            number(scores["untrained_on_road_share"], "{:.1%}"),
            number(attention["road_area_share"], "{:.1%}"),
            number(scores["ssim_clean_noisy"], "{:.3f}"),
            str(scores["n_frames"]),
        )
        for policy, scores in attention["policies"].items()
    ]
    return _table(head, rows, n_words=1)
