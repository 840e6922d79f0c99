"""The card of a trained policy: what it is, how it was made, what it does and where it ends, from its own figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driving.models.policy import Policy

CARD_NAME = "README.md"
LIMITS = """\
It was made for research in simulation and on small cars in closed places. It was never tried on a public road and must
not steer a car there. It knows only what its training showed; other cameras, seasons, weathers and countries need
training of their own. One training is one sample: another seed gives another driver."""


def model_card(policy: Policy, metrics: Mapping[str, Any], name: str, command: str = "") -> str:
    """Markdown with the block of metadata that model hubs read.

    Args:
        policy: the trained one.
        metrics: what ``metrics.json`` holds; what is not in it is left out.
        name: of the policy.
        command: line that made it.
    """
    config = metrics["train_config"]
    n_core = sum(p.numel() for p in policy.core.parameters())
    n_encoder = sum(p.numel() for p in policy.encoder.parameters())
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: liquid-lane",
        "pipeline_tag: robotics",
        f"tags: [lane-keeping, imitation-learning, {policy.core.kind}]",
        "---",
        "",
        f"# {name}",
        "",
        f"{policy.title}: from a camera picture of {policy.config.height_px} x {policy.config.width_px} pixels "
        f"to a path curvature of at most {policy.config.max_curvature_per_m:g} 1/m. {n_core:,} parameters in the core, "
        f"{n_encoder:,} in the convolutional encoder before it.",
        "",
        "## Training",
        "",
        f"- data: {_data(metrics)}",
        *_first_part(metrics),
        f"- seed {config['seed']}; {config['n_steps']:,} steps of {config['batch']} windows of {config['window']} "
        f"frames, {metrics['train_seconds'] / 60:.0f} minutes",
    ]
    if command:
        lines += ["", "```sh", command, "```"]
    lines += ["", "## What it does", "", *_figures(metrics), "", "## Limits", "", *LIMITS.splitlines(), ""]
    return "\n".join(lines)


def _first_part(metrics: Mapping[str, Any]) -> list[str]:
    first = metrics.get("pretraining")
    if not first or not first["n_pictures"]:
        return []
    return [f"- first the encoder alone, {first['n_pictures']:,} single pictures of random places"]


def _data(metrics: Mapping[str, Any]) -> str:
    if "env" in metrics:
        options = ", ".join(f"{name}={value}" for name, value in metrics["env_options"].items()) or "its defaults"
        return f"online in `{metrics['env']}` with {options}, the privileged expert's answers as labels"
    return f"{metrics['n_frames']:,} frames of recorded drives"


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if valid := metrics.get("closed_loop_validation"):
        lines.append(
            f"- driven on {valid['n_seeds']} validation roads: crashes {valid['crashes']} in {valid['km']:.1f} km, "
            f"{valid['mean_abs_lateral_offset_m']:.3f} m off the middle of the lane on average"
        )
    if (answers := metrics.get("response")) and answers["n"]:
        lines.append(
            f"- beside the middle of its lane it steers back {answers['gain']:.2f} times as strongly as the expert, "
            f"{answers['lag_s']:.2f} s late"
        )
    if test := metrics.get("validation"):
        lines.append(
            f"- on {test['n_frames']:,} recorded frames: {test['rmse_curvature_per_m']:.5f} 1/m RMSE (a command of "
            f"zero: {test['zero_rmse_curvature_per_m']:.5f})"
        )
    return lines or ["- not measured"]
