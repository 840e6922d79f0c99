"""The page itself: tables, words and style in one HTML text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from driving.noise import noise_title
from driving.report.finding import finding
from driving.report.layout import html_page, table
from driving.report.plots import offset_plots
from driving.report.words import Figures, number, policy_titles

VIDEO_NAME, PICTURE_NAME, REPORT_PAGE = "comparison.mp4", "comparison.jpg", "report.html"

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
    body = f"""<p class="finding">{escape(finding(figures))}</p>
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
The same figures as numbers: <code>metrics.json</code>.</p>"""
    return html_page(heading, body)


def gallery(figures: Figures) -> str:
    """The page that a static host shows first: what was seen, in one look."""
    names = " and ".join(policy_titles(figures).values())
    body = f"""<video src="{VIDEO_NAME}" poster="{PICTURE_NAME}" controls muted loop playsinline></video>
<p class="finding">{escape(finding(figures))}</p>
{_drive_table(figures)}
<p><a href="{REPORT_PAGE}">The whole report</a> · <a href="{PICTURE_NAME}">a picture</a> ·
<a href="metrics.json">all figures as numbers</a></p>
<p class="note">Each network steers its own car from the camera picture alone; bright places are where it looks.
Live, with noise under your hand: <code>liquid-lane serve</code>.</p>"""
    return html_page(f"Liquid Lane: {names}", body)


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
    return table(head, rows, n_words=2)


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
    return table(head, rows, n_words=2)


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
    return table(head, rows, n_words=1)
