"""The first part of a training in a world: the encoder alone learns to see, from single pictures of random places.

Pictures that follow one another show almost the same, and an encoder learns little from the second one. So the car is
put down somewhere, seen from once, and put down elsewhere. The features are read by a linear layer that is thrown away
afterwards; it says what the expert steers and, as help, which circles lead to points of the lane nearer and farther
ahead (auxiliary targets; Caruana 1997). That says far more of a picture than one number does.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from driving.data import EpisodeAugmentation
from driving.learning_curve import PICTURES, LearningCurve
from driving.models.policy import Policy, to_tensor
from driving.models.resume import PRETRAIN_RESUME_NAME, Progress, load_resume, save_resume
from driving.train import TrainConfig, descend, encode, learning_rate_factor, weighted_squared_error
from sim.checks import NOT_NEGATIVE, POSITIVE, check_numbers, whole
from sim.lane_env import LaneEnv

PURSUIT_DISTANCES_M = (12.0, 18.0, 27.0, 40.0, 60.0)
"""Of the auxiliary targets."""
N_WORLDS = 16
"""Pictures of a step come from so many roads."""
_STREAMS = {"place": 5, "augmentation": 6}
"""Keys beside those of the later parts (``driving.online``)."""


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of the first part.

    Attributes:
        n_pictures: that the encoder learns from before anything drives; 0 for none.
        pictures_a_step: of one step of the optimiser.
        places_a_road: pictures of one road, before the next is laid.
        lr_pictures: peak rate of Adam.
        auxiliary_weight: of each auxiliary target's error, against that of the expert's curvature.
        place_offset_m, place_heading_rad: standard deviation of the car's place beside the middle of its lane.
    """

    n_pictures: int = 200_000
    pictures_a_step: int = 32
    places_a_road: int = 48
    lr_pictures: float = 1e-3
    auxiliary_weight: float = 0.3
    place_offset_m: float = 0.35
    place_heading_rad: float = 0.03

    def __post_init__(self) -> None:
        check_numbers("training", self, whole(0), "n_pictures")
        check_numbers("training", self, whole(1), "pictures_a_step", "places_a_road")
        check_numbers("training", self, POSITIVE, "lr_pictures")
        check_numbers("training", self, NOT_NEGATIVE, "auxiliary_weight", "place_offset_m", "place_heading_rad")

    @property
    def n_steps(self) -> int:
        """Of the optimiser."""
        return self.n_pictures // self.pictures_a_step


class Places:
    """Pictures of random places on random roads, and what is steered there; any step can be asked for, in any order.

    A world stays on a road for ``places_a_road`` pictures; the worlds change roads one after another. The roads are
    others than those of the later parts, and of runs with another seed.

    Args:
        make_env: makes a world with a privileged expert.
        pretrain, config: settings.
        seeds: that training may use.
    """

    def __init__(
        self, make_env: Callable[[], LaneEnv], pretrain: PretrainConfig, config: TrainConfig, seeds: range
    ) -> None:
        self._pretrain, self._config, self._seeds = pretrain, config, seeds
        self._envs = [make_env()]
        most = min(type(self._envs[0]).MAX_PER_PROCESS or N_WORLDS, N_WORLDS, pretrain.pictures_a_step)
        n_worlds = next(n for n in range(most, 0, -1) if pretrain.pictures_a_step % n == 0)
        self._envs += [make_env() for _ in range(n_worlds - 1)]
        self._roads: list[int | None] = [None] * n_worlds
        self._half_lane_m = [0.0] * n_worlds

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames uint8 (B, H, W, 3), curvatures (B, 1 + n) of the expert and the auxiliary targets, speeds (B,)."""
        n_worlds, n_pictures = len(self._envs), self._pretrain.pictures_a_step
        shape = self._envs[0].observation_space.shape
        frames = np.empty((n_pictures, *shape), np.uint8)
        targets = np.empty((n_pictures, 1 + len(PURSUIT_DISTANCES_M)), np.float32)
        speed_mps = np.empty(n_pictures, np.float32)
        n_each = n_pictures // n_worlds
        for i, (b, k) in enumerate(itertools.product(range(n_worlds), range(n_each))):
            ahead = b * self._pretrain.places_a_road // n_worlds  # so that not all change roads at once
            i_road, i_place = divmod(step * n_each + k + ahead, self._pretrain.places_a_road)
            frames[i], targets[i], speed_mps[i] = self._see(b, i_road * n_worlds + b, i_place)
        return frames, targets, speed_mps

    def _see(self, b: int, road: int, i_place: int) -> tuple[np.ndarray, np.ndarray, float]:
        pretrain, config, env = self._pretrain, self._config, self._envs[b]
        seed = self._seed(road)
        if self._roads[b] != road:
            _, info = env.reset(seed=seed)
            self._roads[b], self._half_lane_m[b] = road, info["lane_half_width_m"]
        rng = np.random.default_rng([config.seed, seed, _STREAMS["place"], i_place])
        along_m, offset_m, heading_rad = rng.uniform(0.0, env.road_m), *rng.standard_normal(2)
        widest_m = 0.9 * self._half_lane_m[b]
        offset_m = min(max(pretrain.place_offset_m * offset_m, -widest_m), widest_m)
        frame, info = env.place(along_m, offset_m, pretrain.place_heading_rad * heading_rad)
        augmentation = EpisodeAugmentation(config.augment, (config.seed, seed, _STREAMS["augmentation"], i_place), 1)
        augmentation.begin_window(*frame.shape[:2])
        augmentation.apply(frame, 0, seen := np.empty_like(frame))
        limit = env.vehicle.max_curvature_per_m
        targets = np.array([env.expert_curvature_per_m(), *env.pursuit_curvatures_per_m(PURSUIT_DISTANCES_M)])
        return seen, np.clip(targets, -limit, limit), info["speed_mps"]

    def _seed(self, road: int) -> int:
        """Counted from the end of the seeds, those of a run one after another."""
        pretrain = self._pretrain
        n_roads = len(self._envs) * (pretrain.n_pictures // (len(self._envs) * pretrain.places_a_road) + 3)
        return self._seeds[-1 - (self._config.seed * n_roads + road) % len(self._seeds)]

    def close(self) -> None:
        """Close all worlds."""
        while self._envs:
            self._envs.pop().close()


class _Sight(nn.Module):
    """An encoder and the linear layer that reads its features."""

    def __init__(self, policy: Policy, seed: int) -> None:
        super().__init__()
        self.encoder = policy.encoder
        n_features = policy.encoder.n_features(policy.encoder.config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.readout = nn.Linear(n_features, 1 + len(PURSUIT_DISTANCES_M))


def pretrain_encoder(
    policy: Policy,
    places: Places,
    pretrain: PretrainConfig,
    config: TrainConfig,
    out: Path,
    identity: Mapping[str, Any],
    resume: bool = False,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    device: torch.device | None = None,
) -> list[dict[str, Any]]:
    """Train the policy's encoder in place; the rows of the log.

    A resume point is kept as ``out/pretraining.safetensors``, with the end as the last one.

    Raises:
        BadInputError: a loss or gradient that is not finite, or a resume point of another run.
    """
    sight = _Sight(policy, config.seed).to(device).train()
    sight.encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(sight.parameters(), lr=pretrain.lr_pictures)
    run = {"config": dataclasses.asdict(config), "pretraining": dataclasses.asdict(pretrain), **identity}
    path = out / PRETRAIN_RESUME_NAME
    progress = load_resume(sight, optimizer, run, path) if resume and path.is_file() else Progress()
    losses, curve = progress.losses, LearningCurve(out, progress.rows)
    started_s = time.monotonic() - progress.seconds
    row_started_s, waited_s = time.monotonic(), 0.0
    row_every = max(1, config.log_every * config.batch * config.window // pretrain.pictures_a_step)  # as many frames
    for step in range(len(losses), pretrain.n_steps):
        began_s = time.perf_counter()
        frames, targets, speed_mps = places.batch(step)
        waited_s += time.perf_counter() - began_s
        for group in optimizer.param_groups:
            group["lr"] = pretrain.lr_pictures * learning_rate_factor(step, pretrain.n_steps, config.lr_rise)
        losses.append(_step(sight, policy, optimizer, frames, targets, speed_mps, pretrain, config, step))
        done = step + 1
        if done % row_every == 0 or done == pretrain.n_steps:
            seconds = time.monotonic() - row_started_s
            n_steps = done - (curve.rows[-1]["step"] if curve.rows else 0)
            row = {
                "part": PICTURES,
                "step": done,
                "frames": done * pretrain.pictures_a_step,
                "seconds": round(time.monotonic() - started_s, 1),
                "loss": float(np.mean(losses[-n_steps:])),
                "lr_encoder": optimizer.param_groups[0]["lr"],
                "frames_per_s": round(n_steps * pretrain.pictures_a_step / seconds, 1),
                "waiting_share": round(waited_s / seconds, 4),
            }
            curve.add(row)
            on_row(row)
            row_started_s, waited_s = time.monotonic(), 0.0
        if done % (config.checkpoint_every * 4) == 0 or done == pretrain.n_steps:
            save_resume(sight, optimizer, run, path, Progress(losses, curve.rows, time.monotonic() - started_s))
    sight.encoder.to(memory_format=torch.contiguous_format)
    return curve.rows


def _step(
    sight: _Sight,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    frames: np.ndarray,
    targets: np.ndarray,
    speed_mps: np.ndarray,
    pretrain: PretrainConfig,
    config: TrainConfig,
    step: int,
) -> float:
    """One step of the optimiser; the loss before it."""
    read = sight.readout(encode(policy, to_tensor(frames), config.bfloat16))  # (B, 1 + n)
    wanted, speeds = torch.from_numpy(targets).to(read.device), torch.from_numpy(speed_mps).to(read.device)
    unit = policy.config.curvature_unit_per_m

    def error(k: int) -> Tensor:
        column = slice(k, k + 1)
        return weighted_squared_error(
            unit * read[:, column], wanted[:, column], speeds[:, None], unit, config.weight_exponent,
            config.speed_exponent, outlier_per_m=config.outlier_per_m,
        )  # fmt: skip

    loss = error(0)
    for k in range(1, read.shape[1]):
        loss = loss + pretrain.auxiliary_weight * error(k)
    return descend(loss, sight, optimizer, config.clip_norm, f"step {step} of the pictures", "--lr-pictures")
