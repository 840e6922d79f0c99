"""``liquid-lane demo``: two policies on the same unseen roads, clean and noisy; video, report, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from driving.attention import ATTRIBUTIONS
from driving.compare import close, compare, heading_for, side_by_side
from driving.instants import Driven
from driving.models.policy import Policy
from driving.noise import Noise, noise_title
from driving.onlooker import Onlooker
from driving.report import write_gallery, write_report
from driving.rollout import timed_rollout
from driving.video import HEIGHT_PX, WIDTH_PX, Film, save_frame
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.files import write_json
from sim.lane_env import LaneEnv

METHOD = "visual_backprop"
PICTURE_S = 6.0
"""Moment of the video that is kept as a picture."""
VIDEO_SECONDS = 12.0
"""Of each chapter: first the clean picture, then the disturbed one, on the same road."""


def run_demo(
    policies: Mapping[str, Policy],
    make_env: Callable[[], LaneEnv],
    make_shown_env: Callable[[], LaneEnv],
    seeds: Sequence[int],
    seconds: float,
    noise: Noise | None,
    out: Path,
    command: str,
    on_frame: Callable[[], None] = lambda: None,
    n_workers: int = 1,
) -> dict[str, Any]:
    """Drive, look, and write ``comparison.mp4``, a picture of it, ``report.html`` and ``metrics.json`` into ``out``.

    Args:
        policies: one or two, by name.
        make_env, make_shown_env: the world, the second with ``render_mode="rgb_array"`` for the video.
        seeds: roads; the video shows the first.
        seconds: longest time on each.
        noise: the second condition; the first is the clean picture.
        command: that repeats this, for the report.
        on_frame: called after every video frame.
        n_workers: processes that drive; with more than one, the film has one of its own.

    Returns:
        What ``metrics.json`` holds (keys: ``driving.report``).

    Raises:
        BadInputError: another number of policies, no seeds, or no positive time.
    """
    if not 1 <= len(policies) <= 2:
        raise BadInputError(f"demo: expected one or two policies, got {len(policies)}")
    conditions = [None] if noise is None else [None, noise]
    drive_rows, traces = [], []
    for condition in conditions:
        for name, policy in policies.items():
            logs, figures = timed_rollout(policy, make_env, seeds, seconds, condition, n_workers=n_workers)
            label = "none" if condition is None else str(condition)
            drive_rows.append({"policy": name, "title": policy.title, "noise": label, **figures})
            traces += [
                {
                    "policy": name,
                    "noise": label,
                    "seed": log.seed,
                    "time_s": [round(t, 3) for t in log.time_s],
                    "lateral_offset_m": [round(d, 4) for d in log.lateral_offset_m],
                }
                for log in logs
            ]
    attention, half_width_m = _film(
        policies, make_shown_env, seeds[0], min(seconds, VIDEO_SECONDS), conditions, out, on_frame, n_workers
    )
    save_frame(out / "comparison.mp4", PICTURE_S, out / "comparison.jpg")
    figures = {
        "command": command,
        "seeds": list(seeds),
        "seconds": seconds,
        "drive": drive_rows,
        "attention": attention,
        "traces": traces,
        "lane_half_width_m": half_width_m,
    }
    write_json(out / "metrics.json", figures)
    write_report(out, figures)
    write_gallery(out, figures)
    return figures


def _film(
    policies: Mapping[str, Policy],
    make_env: Callable[[], LaneEnv],
    seed: int,
    seconds: float,
    conditions: Sequence[Noise | None],
    out: Path,
    on_frame: Callable[[], None],
    n_workers: int,
) -> tuple[dict[str, Any], float | None]:
    """Write the video, one chapter a condition; the attention figures and the lane's half width.

    Shares on the road are those of the clean chapter, the similarity is that of the disturbed one.
    """
    method = ATTRIBUTIONS[METHOD]
    rows: dict[str, dict[str, Any]] = {name: {} for name in policies}
    area = None
    with Film(out / "comparison.mp4", FRAME_RATE_HZ, HEIGHT_PX, WIDTH_PX, n_workers) as video:
        for condition in conditions:
            driven = {
                name: Driven(policy, make_env, seed, seconds, condition, show=True) for name, policy in policies.items()
            }
            onlookers = {name: Onlooker(policy, method, condition) for name, policy in policies.items()}
            compare(
                side_by_side(driven, onlookers, make_env),
                onlookers,
                video,
                heading=heading_for(onlookers),
                subtitle=f"Simulated road {seed}, never seen in training",
                condition=noise_title(condition),
                noisy=condition is not None,
                driven=driven,
                on_frame=on_frame,
            )
            close(video, onlookers, driven, f"{noise_title(condition)}, simulated road {seed}", FRAME_RATE_HZ)
            for name, onlooker in onlookers.items():
                figures = onlooker.tally.figures()
                if condition is None:
                    rows[name] = figures
                    area = figures["road_area_share"]
                else:
                    rows[name]["ssim_clean_noisy"] = figures["ssim_clean_noisy"]
    for row in rows.values():
        row.pop("road_area_share", None)
    half_width_m = next(iter(driven.values())).log.lane_half_width_m
    return {"method": METHOD, "road_area_share": area, "policies": rows}, half_width_m
