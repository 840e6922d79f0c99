"""What one network looks at, instant by instant, and how much of that is road and survives noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from driving.attention import Attribution
from driving.attention.score import map_similarity, on_road_share, road_area_share
from driving.attention.soundness import UNTRAINED_SEEDS
from driving.harness.recovery import Recovery
from driving.models.policy import Policy, build_policy, to_tensor
from driving.noise import Noise
from driving.noise.memory import STATE_BURST
from driving.others import OutsideNetwork
from sim.episodes import Instant

BLOCK = 32
"""Frames whose maps are computed in one batch."""


class _Mean:
    """A running mean of what is finite."""

    def __init__(self) -> None:
        self.n, self.total = 0, 0.0

    def add(self, value: float) -> None:
        if math.isfinite(value):
            self.n, self.total = self.n + 1, self.total + value

    @property
    def value(self) -> float | None:
        """None without any."""
        return round(self.total / self.n, 5) if self.n else None


@dataclass
class AttentionTally:
    """Scores of one network, collected frame by frame; read with ``figures``.

    Attributes:
        on_road, untrained_on_road, area: over the frames whose road mask is known.
        similarity: over the noisy frames.
        n_frames, n_mask_frames: seen, and of these with a known mask.
        shares: on the road, frame by frame.
    """

    on_road: _Mean = field(default_factory=_Mean)
    untrained_on_road: _Mean = field(default_factory=_Mean)
    area: _Mean = field(default_factory=_Mean)
    similarity: _Mean = field(default_factory=_Mean)
    n_frames: int = 0
    n_mask_frames: int = 0
    shares: list[float] = field(default_factory=list)

    def interval(self, n_together: int) -> tuple[float | None, float | None]:
        """95 % of the mean share on the road, from the means of ``n_together`` frames each; None for too few."""
        known = np.array([share for share in self.shares if math.isfinite(share)])
        n_blocks = len(known) // max(n_together, 1)
        if n_blocks < 3:
            return None, None
        means = np.array([block.mean() for block in np.array_split(known, n_blocks)])
        half = 1.96 * float(means.std(ddof=1)) / math.sqrt(n_blocks)
        return float(known.mean()) - half, float(known.mean()) + half

    def figures(self) -> dict[str, Any]:
        """Means over the frames; a share is None without a single known mask, SSIM without noise."""
        return {
            "on_road_share": self.on_road.value,
            "untrained_on_road_share": self.untrained_on_road.value,
            "ssim_clean_noisy": self.similarity.value,
            "road_area_share": self.area.value,
            "n_frames": self.n_frames,
            "n_mask_frames": self.n_mask_frames,
        }


@dataclass(frozen=True)
class Seen:
    """An instant with its map (H, W) and the means of the shares up to it.

    ``burst``: as ``Recovery.latest``, where bursts in the memory are followed.
    """

    instant: Instant
    attention: np.ndarray
    on_road_share: float | None
    untrained_on_road_share: float | None
    burst: tuple[bool, float] | None = None


class Onlooker:
    """Computes maps and scores of what one network sees, a block of instants at a time."""

    def __init__(
        self, policy: Policy | OutsideNetwork, method: Attribution, noise: Noise | None = None, method_name: str = ""
    ) -> None:
        self.policy, self.noisy, self.method_name = policy, noise is not None, method_name
        self.method: Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor] = method
        self.untrained = (
            [build_policy(policy.config, seed).eval() for seed in UNTRAINED_SEEDS] if isinstance(policy, Policy) else []
        )
        self.tally = AttentionTally()
        has_bursts = noise is not None and noise.name == STATE_BURST
        self.recovery = Recovery(policy) if has_bursts and isinstance(policy, Policy) else None
        self._bursts: dict[float, tuple[bool, float] | None] = {}

    def follow(self, stream: Iterable[Instant]) -> Iterator[Instant]:
        """The instants, bursts in the memory followed as they come: an injection is known only while it acts."""
        for instant in stream:
            if self.recovery is not None:
                self.recovery.watch([instant])
                self._bursts[instant.time_s] = self.recovery.latest()
            yield instant

    def seen(self, instants: Sequence[Instant]) -> list[Seen]:
        """The instants with their maps and the shares so far; the tally grows."""
        frames = _frames([instant.frame for instant in instants])
        states = torch.stack([instant.state_before for instant in instants])
        maps = self.method(self.policy, frames, states).numpy()
        if self.noisy:
            clean = _frames([instant.clean_frame for instant in instants])
            for value in map_similarity(self.method(self.policy, clean, states).numpy(), maps):
                self.tally.similarity.add(float(value))
        masks = [instant.info.get("road_mask") for instant in instants]
        known = [i for i, mask in enumerate(masks) if mask is not None]
        untrained = [
            dict(zip(known, self.method(other, frames[known], states[known] * 0).numpy(), strict=True))
            for other in self.untrained
            if known
        ]
        scored = []
        for i, (instant, mask) in enumerate(zip(instants, masks, strict=True)):
            tally = self.tally
            tally.n_frames += 1
            if mask is not None:
                tally.n_mask_frames += 1
                tally.area.add(float(road_area_share(mask)))
                tally.shares.append(float(on_road_share(maps[i], mask)))
                tally.on_road.add(tally.shares[-1])
                if untrained:
                    tally.untrained_on_road.add(float(np.mean([on_road_share(other[i], mask) for other in untrained])))
            burst = self._bursts.pop(instant.time_s, None)
            scored.append(Seen(instant, maps[i], tally.on_road.value, tally.untrained_on_road.value, burst))
        return scored


def _frames(frames: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (H, W, 3) each -> float (B, 3, H, W) in [0, 1], channels last in memory."""
    return to_tensor(np.stack(frames)).float() / 255.0
