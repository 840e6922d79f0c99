"""Two networks side by side: where each looks, how much of that is road, how much survives noise; a video."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from driving.attention import Attribution
from driving.attention.score import map_similarity, on_road_share, road_area_share
from driving.looks import Look, looks_in_env, looks_on_drive
from driving.models.policy import Policy, build_policy
from driving.noise import Noise
from driving.rollout import EpisodeLog
from driving.video import HEIGHT_PX, WIDTH_PX, Panel, VideoWriter, compose
from sim.conventions import FRAME_RATE_HZ, MAX_CURVATURE_PER_M
from sim.drive import Drive
from sim.errors import BadInputError

BLOCK = 32
"""Frames whose maps are computed in one batch."""
HOLD_FRAMES = 20
"""How often the last picture of a video with a crash is written."""
UNTRAINED_SEEDS = (901, 902, 903)
"""The untrained networks a score is held against; their shares are averaged."""


@dataclass
class AttentionTally:
    """Scores of one network, collected frame by frame; read with ``figures``.

    Attributes:
        on_road, untrained_on_road, area: a value a frame whose road mask is known.
        similarity: a value a noisy frame.
        n_looks: frames seen.
    """

    on_road: list[float] = field(default_factory=list)
    untrained_on_road: list[float] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    similarity: list[float] = field(default_factory=list)
    n_looks: int = 0

    def figures(self) -> dict[str, Any]:
        """Means over the frames; a share is None without a single known mask, SSIM without noise."""
        return {
            "on_road_share": _mean(self.on_road),
            "untrained_on_road_share": _mean(self.untrained_on_road),
            "ssim_clean_noisy": _mean(self.similarity),
            "road_area_share": _mean(self.area),
            "n_frames": self.n_looks,
            "n_mask_frames": len(self.area),
        }


def _mean(values: Sequence[float]) -> float | None:
    finite = [v for v in values if math.isfinite(v)]
    return round(sum(finite) / len(finite), 5) if finite else None


@dataclass(frozen=True)
class Seen:
    """A look with its map (H, W) and the means of the shares up to it."""

    look: Look
    attention: np.ndarray
    on_road_share: float | None
    untrained_on_road_share: float | None


class Onlooker:
    """Computes maps and scores of one network's looks, a block at a time."""

    def __init__(self, policy: Policy, method: Attribution, noisy: bool) -> None:
        self.policy, self.method, self.noisy = policy, method, noisy
        self.untrained = [build_policy(policy.config, seed).eval() for seed in UNTRAINED_SEEDS]
        self.tally = AttentionTally()

    def seen(self, looks: Sequence[Look]) -> list[Seen]:
        """The looks with their maps and the shares so far; the tally grows."""
        frames = _frames([look.frame for look in looks])
        states = torch.stack([look.state_before for look in looks])
        maps = self.method(self.policy, frames, states).numpy()
        self.tally.n_looks += len(looks)
        if self.noisy:
            clean = self.method(self.policy, _frames([look.clean_frame for look in looks]), states).numpy()
            self.tally.similarity += map_similarity(clean, maps).tolist()
        masks = {i: look.road_mask for i, look in enumerate(looks) if look.road_mask is not None}
        known = list(masks)
        untrained = [
            dict(zip(known, self.method(other, frames[known], states[known] * 0).numpy(), strict=True))
            for other in self.untrained
            if known
        ]
        scored = []
        for i, look in enumerate(looks):
            if i in masks:
                self.tally.area.append(float(road_area_share(masks[i])))
                self.tally.on_road.append(float(on_road_share(maps[i], masks[i])))
                shares = [on_road_share(other[i], masks[i]) for other in untrained]
                self.tally.untrained_on_road.append(float(np.mean(shares)))
            figures = self.tally.figures()
            scored.append(Seen(look, maps[i], figures["on_road_share"], figures["untrained_on_road_share"]))
        return scored


def _frames(frames: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (H, W, 3) each -> float (B, 3, H, W) in [0, 1], channels last in memory."""
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1).float() / 255.0


def title_of(policy: Policy) -> str:
    """What kind of network it is, in a few words."""
    core = policy.core
    if policy.config.core == "ltc":
        return f"{core.wiring.n_neurons} liquid neurons (LTC)"
    return f"CNN-LSTM, {core.config.n_units} units" if policy.config.core == "lstm" else policy.config.core


def titles(policies: Mapping[str, Policy]) -> dict[str, str]:
    """What each policy is called over its panel: its kind, and its name where two are of one kind."""
    kinds = {name: title_of(policy) for name, policy in policies.items()}
    alike = len(set(kinds.values())) < len(kinds)
    return {name: f"{kind}: {Path(name).name}" if alike else kind for name, kind in kinds.items()}


def compare(
    looks: Mapping[str, Iterator[Look]],
    onlookers: Mapping[str, Onlooker],
    video: VideoWriter | None = None,
    heading: str = "",
    subtitle: str = "",
    condition: str = "clean picture",
    noisy: bool = False,
    logs: Mapping[str, EpisodeLog] | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> None:
    """Go through the looks of all networks in step, score them, and write the video's frames.

    A network whose episode has ended keeps its last picture while the others go on; where one has crashed, all
    keep theirs for ``HOLD_FRAMES`` frames at the very end, so that it can be read.
    """
    names = titles({name: onlooker.policy for name, onlooker in onlookers.items()})

    def film(last: Mapping[str, Seen], ended: Collection[str]) -> None:
        if video is None or not last:
            return
        panels = [
            _panel(names[name], onlookers[name].policy, seen, logs[name] if logs else None, name in ended)
            for name, seen in last.items()
        ]
        picture = compose(
            panels,
            heading=heading,
            subtitle=subtitle,
            condition=condition,
            noisy=noisy,
            time_s=max(seen.look.time_s for seen in last.values()),
            road_area_share=_mean([a for o in onlookers.values() for a in o.tally.area]),
        )
        for _ in range(HOLD_FRAMES if len(ended) == len(last) else 1):
            video.write(picture)

    last: dict[str, Seen] = {}
    for instants in _blocks(zip_longest(*looks.values()), BLOCK):
        scored = {}
        for name, column in zip(looks, zip(*instants, strict=True), strict=True):
            present = [look for look in column if look is not None]
            scored[name] = onlookers[name].seen(present) if present else []
        for i in range(len(instants)):
            last |= {name: column[i] for name, column in scored.items() if i < len(column)}
            film(last, [name for name, column in scored.items() if i >= len(column)])
            on_frame()
    if logs and any(log.crashed for log in logs.values()):
        film(last, list(last))


def _blocks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while block := list(islice(items, size)):
        yield block


def _panel(title: str, policy: Policy, seen: Seen, log: EpisodeLog | None, ended: bool) -> Panel:
    look, circuit = seen.look, _circuit(policy, seen.look.state)
    crashed = bool(ended and log is not None and log.crashed)
    status = "driving" if log is not None else "watching"
    if crashed and log is not None:
        status = f"left the lane at {log.seconds:.1f} s"
    return Panel(
        title=title,
        picture=look.picture,
        attention=seen.attention,
        curvature_per_m=look.curvature_per_m,
        max_curvature_per_m=min(policy.config.max_curvature_per_m, MAX_CURVATURE_PER_M / 2),
        reference_curvature_per_m=look.reference_curvature_per_m,
        on_road_share=seen.on_road_share,
        untrained_on_road_share=seen.untrained_on_road_share,
        lateral_offset_m=look.lateral_offset_m,
        lane_half_width_m=look.lane_half_width_m,
        status=status,
        crashed=crashed,
        **circuit,
    )


def _circuit(policy: Policy, state: torch.Tensor) -> dict[str, Any]:
    """What a panel shows of the inside: the neurons of a circuit, else hidden units (of an LSTM h alone)."""
    wiring = getattr(policy.core, "wiring", None)
    if wiring is not None:
        strengths = policy.core.w.detach().numpy() if policy.config.core == "ltc" else None
        return {
            "neurons": state.numpy(),
            "synapses": wiring.synapses,
            "roles": wiring.role,
            "strengths": strengths,
        }
    return {"hidden": (state[: len(state) // 2] if policy.config.core == "lstm" else state).numpy()}


def heading_for(n_policies: int) -> str:
    """The line over the video."""
    return (
        "Same road, two networks. Bright = where each looks" if n_policies > 1 else "Bright = where it looks"
    )


def condition_of(noise: Noise | None) -> str:
    """The badge: what was done to the picture."""
    return (
        f"{noise.name.replace('_', ' ').capitalize()} noise {noise.severity:g}" if noise else "clean picture"
    )


def attend(
    policies: Mapping[str, Policy],
    source: Drive | Callable[[], Any],
    method: Attribution,
    noise: Noise | None = None,
    seconds: float | None = None,
    seed: int = 0,
    video_path: Path | None = None,
    frame_rate_hz: float | None = None,
    source_name: str = "",
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Figures of where the policies look on a recorded drive or in an environment, and the video of it.

    Args:
        policies: by name, one or two.
        source: a drive, or a maker of environments (``render_mode="rgb_array"`` for the video).
        method: attribution, the same for every policy.
        noise: what the policies see; the similarity compares each map with that of the clean frame.
        seconds: how much at most; None takes all of a drive.
        seed: episode and noise.
        video_path: mp4 to write.
        frame_rate_hz: of the video; None takes the source's, so that it plays as fast as it was driven.

    Returns:
        The keys of ``liquid-lane attend --json``.

    Raises:
        BadInputError: no policy, more than two for a video, or no positive time.
    """
    if not policies:
        raise BadInputError("attend: expected at least one policy, got none; name them with --policies")
    if video_path is not None and len(policies) > 2:
        raise BadInputError(f"attend: a video shows one or two policies, got {len(policies)}")
    if seconds is not None and not seconds > 0:
        raise BadInputError(f"attend: expected a time above 0 s, got {seconds}")
    if frame_rate_hz is None:
        frame_rate_hz = 1.0 / float(np.median(source.dt_s())) if isinstance(source, Drive) else FRAME_RATE_HZ
    logs = {name: EpisodeLog(seed) for name in policies}
    if isinstance(source, Drive):
        looks = {
            name: looks_on_drive(policy, source, seconds, noise, seed) for name, policy in policies.items()
        }
    else:
        looks = {
            name: looks_in_env(policy, source, logs[name], seconds or 60.0, noise, video_path is not None)
            for name, policy in policies.items()
        }
    onlookers = {name: Onlooker(policy, method, noise is not None) for name, policy in policies.items()}
    words: dict[str, Any] = {
        "heading": heading_for(len(policies)),
        "subtitle": source_name,
        "condition": condition_of(noise),
        "noisy": noise is not None,
    }
    shown_logs = None if isinstance(source, Drive) else logs
    if video_path is None:
        compare(looks, onlookers, None, **words, logs=shown_logs, on_frame=on_frame)
    else:
        with VideoWriter(video_path, frame_rate_hz, HEIGHT_PX, WIDTH_PX) as video:
            compare(looks, onlookers, video, **words, logs=shown_logs, on_frame=on_frame)
    area = _mean([a for onlooker in onlookers.values() for a in onlooker.tally.area])
    rows = {name: onlooker.tally.figures() for name, onlooker in onlookers.items()}
    return {"road_area_share": area, "policies": rows}
