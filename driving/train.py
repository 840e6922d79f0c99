"""Train a policy on windows of recorded drives or of running worlds: one readable loop, resumable, reproducible."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from driving.data import AugmentConfig, Batch, Windows
from driving.learning_curve import DRIVING, LearningCurve, Validation, badness
from driving.models import checkpoint
from driving.models.policy import CURVATURE_UNIT_PER_M, Policy, to_tensor
from driving.models.resume import RESUME_NAME, Progress, load_resume, save_resume
from driving.open_loop import evaluate
from sim.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_numbers, whole
from sim.drive import Drive
from sim.errors import BadInputError
from sim.files import new_file

CPU = torch.device("cpu")
LR_CORE, LR_OTHER_CORES = {"ltc": 2e-2, "wired_cfc": 2e-2}, 3e-3
"""Peak rates of the recurrent cores, by kind and of all others: found by a search of equal size for each
(``tests/benchmarks/rates.py``). The sparse circuits of the paper's wiring need a larger one; to the others it makes no
difference that a search tells."""
LR_ENCODER, LR_PRETRAINED_ENCODER = 1e-3, 5e-4


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run; together with the drives and the first weights they decide its result.

    Attributes:
        seed: of the order of windows and the augmentation.
        n_steps: optimiser steps; 2,300 of 20 windows of 16 frames are 736,000 frames.
        batch: windows a step (Lechner et al. 2020: 20).
        window: frames a window (16 there).
        n_warmup: first frames of a window whose error does not count: the state starts at zero.
        lr_encoder: peak rate of Adam for the convolutional head; by default 0.001, and half of it for an encoder that
            has learnt from pictures already.
        lr_core: peak rate for the recurrent core; by default that of its kind (``LR_CORE``).
        lr_rise: share of the steps in which the rates rise linearly; they fall as a half cosine afterwards.
        clip_norm: largest norm of the gradient.
        weight_exponent: weight of a frame's error is exp(a |curvature x 1000|); the paper's a, 0.1 for open
            loop and 0 for closed loop.
        speed_exponent: and (speed / 10 m/s) to this power: what a wrong curvature does to the place on the
            road grows with the square of the speed.
        outlier_per_m: an error of the curvature beyond this counts linearly, not squared: else the few frames of a
            car that is nearly lost, where it could hardly be right, outweigh all others. This one and
            ``weight_exponent`` are for a car of 10 m turning radius, and scale with the limit of other cars.
        bfloat16: run the convolutions in bfloat16 (faster where the processor has it).
        checkpoint_every: steps between two resume points.
        log_every: steps between two rows of the log.
        augment: what is done to the windows.
    """

    seed: int = 0
    n_steps: int = 2300
    batch: int = 20
    window: int = 16
    n_warmup: int = 4
    lr_encoder: float | None = None
    lr_core: float | None = None
    lr_rise: float = 0.05
    clip_norm: float = 10.0
    weight_exponent: float = 0.02
    speed_exponent: float = 2.0
    outlier_per_m: float | None = 0.004
    bfloat16: bool = False
    checkpoint_every: int = 250
    log_every: int = 25
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_numbers("training", self, whole(1), "n_steps", "batch", "window", "checkpoint_every", "log_every")
        check_numbers("training", self, whole(0), "seed", "n_warmup")
        if self.n_warmup >= self.window:
            raise BadInputError(f"training: n_warmup must be below window = {self.window}, got {self.n_warmup}")
        check_numbers("training", self, POSITIVE, "lr_encoder", "lr_core", "clip_norm", "outlier_per_m")
        check_numbers("training", self, SHARE, "lr_rise")
        check_numbers("training", self, NOT_NEGATIVE, "weight_exponent", "speed_exponent")


def weighted_squared_error(
    predicted: Tensor,
    target: Tensor,
    speed_mps: Tensor,
    unit_per_m: float,
    weight_exponent: float,
    speed_exponent: float = 0.0,
    n_warmup: int = 0,
    counts: Tensor | None = None,
    outlier_per_m: float | None = None,
) -> Tensor:
    """sum(w (yhat - y)^2) / sum(w) with w = exp(a |y|) (speed / 10 m/s)^b, y = 1000 x curvature, of (B, T) in 1/m.

    Lechner et al. 2020, who have no speed term. ``a`` and ``outlier_per_m`` are for a policy whose unit is
    ``CURVATURE_UNIT_PER_M``; one that turns ten times as tightly has ten times its unit, and they scale with it. The
    squared error is in the policy's unit; the first ``n_warmup`` frames are left out, and those where ``counts`` (B, T)
    is false. Without any frame it is 0. An error beyond ``outlier_per_m`` counts linearly, as the tangent of the square
    goes on (Huber 1964).
    """
    predicted, target = predicted[:, n_warmup:], target[:, n_warmup:]
    scale = unit_per_m / CURVATURE_UNIT_PER_M
    weight = torch.exp(weight_exponent * 1000.0 / scale * target.abs())
    moving_mps = speed_mps[:, n_warmup:].clamp(min=1.0)  # frames of a standing car count as well
    weight = weight * (moving_mps / 10.0) ** speed_exponent
    if counts is not None:
        weight = weight * counts[:, n_warmup:]
    # Were no frame to count, the smallest number keeps 0 / 0 away.
    n = weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    error = (predicted - target) / unit_per_m
    squared = error**2
    if outlier_per_m is not None:
        limit = outlier_per_m * scale / unit_per_m
        squared = torch.where(error.abs() <= limit, squared, limit * (2 * error.abs() - limit))
    return (weight * squared).sum() / n


def learning_rate_factor(step: int, n_steps: int, lr_rise: float) -> float:
    """Linear rise, then half a cosine to zero, in [0, 1]."""
    n_rise = max(1, round(lr_rise * n_steps))
    if step < n_rise:
        return (step + 1) / n_rise
    return 0.5 * (1 + math.cos(math.pi * (step - n_rise) / max(1, n_steps - n_rise)))


@dataclass(frozen=True)
class EncodedWindows:
    """What one step learns from: B windows of T frames.

    Attributes:
        features: (B, T, N) of the frames, with the encoder's gradient.
        state: (B, ...) of the core before the first frame; None begins at its initial state.
        curvature_per_m, speed_mps, dt_s: labels, speeds and time steps (B, T).
        counts: (B, T) bool, the frames whose error counts; None for all but the first ``n_warmup``.
    """

    features: Tensor
    state: Tensor | None
    curvature_per_m: Tensor
    speed_mps: Tensor
    dt_s: Tensor
    counts: Tensor | None = None

    def to(self, device: torch.device) -> EncodedWindows:
        """All of it on one device."""
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device) for name, value in vars(self).items()
        }
        return EncodedWindows(**moved)


class WindowSource(ABC):
    """Where ``train`` takes its windows from; ``identity`` is what a resumed run must have in common, as json."""

    identity: dict[str, Any]

    @abstractmethod
    def windows(self, policy: Policy, step: int) -> EncodedWindows:
        """The windows of a step. The same step of the same run gives the same ones, if all before it in its round
        of ``checkpoint_every`` steps were asked for in order."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Figures for ``metrics.json``."""

    @abstractmethod
    def take_figures(self) -> dict[str, Any]:
        """Since the last call: ``waited_s`` for the world or for windows, and other columns of the learning curve."""


class RecordedWindows(WindowSource):
    """Windows of drives, each begun with the state zero.

    While a step is computed a thread reads and changes the windows of the next one, so that a long recording on a slow
    disk keeps nobody waiting. What a step gets depends on its number alone.
    """

    def __init__(self, drives: Sequence[Drive], config: TrainConfig, height_px: int, width_px: int) -> None:
        self._windows = Windows(drives, config.window, height_px=height_px, width_px=width_px)
        self._config, self._n_frames = config, sum(len(drive) for drive in drives)
        self.identity = {"n_windows": len(self._windows)}
        self._waited_s = 0.0
        self._reader = ThreadPoolExecutor(1, "windows")
        self._ahead: dict[int, Future[Batch]] = {}

    def _sampled(self, step: int) -> Batch:
        """The batch of a step; the next one is begun."""
        batch = self._ahead.pop(step, None) or self._begun(step)
        self._ahead = {step + 1: self._begun(step + 1)} if step + 1 < self._config.n_steps else {}
        return batch.result()

    def _begun(self, step: int) -> Future[Batch]:
        config = self._config
        return self._reader.submit(self._windows.sample, config.batch, (config.seed, step), config.augment)

    def windows(self, policy: Policy, step: int) -> EncodedWindows:
        config, started_s = self._config, time.perf_counter()
        batch = self._sampled(step)
        self._waited_s += time.perf_counter() - started_s
        target = torch.from_numpy(batch.curvature_per_m)
        features = encode(policy, to_tensor(batch.frames).flatten(0, 1), config.bfloat16)
        return EncodedWindows(
            features.unflatten(0, target.shape),  # (B, T, N)
            None,
            target,
            torch.from_numpy(batch.speed_mps),
            torch.from_numpy(batch.dt_s),
        )

    def metrics(self) -> dict[str, Any]:
        return self.identity | {"n_frames": self._n_frames}

    def take_figures(self) -> dict[str, Any]:
        waited_s, self._waited_s = self._waited_s, 0.0
        return {"waited_s": waited_s}


def encode(policy: Policy, frames: Tensor, bfloat16: bool) -> Tensor:
    """Features (B, N), float32, of uint8 frames (B, 3, H, W), on the policy's device."""
    device = next(policy.parameters()).device
    with torch.autocast(device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext():
        features = policy.encode(frames.to(device))
    return features.float()


def train(
    policy: Policy,
    data: Sequence[Drive] | WindowSource,
    config: TrainConfig,
    out: Path,
    validation: Sequence[Drive] = (),
    resume: bool = False,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    closed_loop: Validation | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    device: torch.device = CPU,
    rows_before: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Train ``policy`` in place, save it to the folder ``out`` and return its metrics.

    The folder gets a ``log.csv`` and its picture as well. A resume point (weights, optimiser, step) is kept as
    ``out/resume.safetensors`` until the end; with ``resume`` the run goes on there and ends in the same weights as one
    that was never stopped.

    Args:
        data: recorded drives, or a source made for this ``config``; the caller closes it.
        validation: drives for open-loop figures at the end.
        closed_loop: drives the policy now and then: the one of the least ``badness`` is saved, not the last.
        on_row: gets every row of the log.
        device: that trains; the policy is on the CPU afterwards.
        rows_before: of the log, of what was done before.

    Raises:
        BadInputError: no usable window, a loss or gradient that is not finite, or ``resume`` where there is
            no resume point or one of another run.
    """
    size = (policy.config.height_px, policy.config.width_px)
    source = data if isinstance(data, WindowSource) else RecordedWindows(data, config, *size)
    if config.lr_core is None:
        config = dataclasses.replace(config, lr_core=LR_CORE.get(policy.config.core, LR_OTHER_CORES))
    if config.lr_encoder is None:
        config = dataclasses.replace(config, lr_encoder=LR_ENCODER)
    policy.to(device).train()
    policy.encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        [
            {"params": policy.encoder.parameters(), "lr": config.lr_encoder},
            {"params": policy.core.parameters(), "lr": config.lr_core},
        ]
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    # What must be the same for a run to go on where another stopped.
    run = {"config": dataclasses.asdict(config), "policy": policy.config.to_dict(), **source.identity}
    progress = load_resume(policy, optimizer, run, out / RESUME_NAME) if resume else Progress()
    losses, curve = progress.losses, LearningCurve(out, progress.rows, rows_before)
    row_started_s = time.monotonic()
    started_s = row_started_s - progress.seconds
    source.take_figures()
    for step in range(len(losses), config.n_steps):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * learning_rate_factor(step, config.n_steps, config.lr_rise)
        losses.append(_step(policy, optimizer, source.windows(policy, step).to(device), config, step))
        on_step(step, losses[-1])
        done, is_last = step + 1, step + 1 == config.n_steps
        is_validated = closed_loop is not None and (done % closed_loop.every == 0 or is_last)
        if done % config.log_every == 0 or is_validated or is_last:
            row = _row(source, config, losses, curve, optimizer, time.monotonic() - row_started_s)
            row["seconds"] = round(time.monotonic() - started_s, 1)
            if is_validated and closed_loop is not None:
                row |= _validated(policy, closed_loop, curve, out)
            curve.add(row)
            on_row(row)
            row_started_s = time.monotonic()
        if done % config.checkpoint_every == 0 and not is_last:
            progress = Progress(losses, curve.rows, time.monotonic() - started_s)
            save_resume(policy, optimizer, run, out / RESUME_NAME, progress)
    metrics: dict[str, Any] = {
        **source.metrics(),
        "train_loss_last_100": float(np.mean(losses[-100:])),
        "train_seconds": round(time.monotonic() - started_s, 1),
        "train_config": dataclasses.asdict(config),
    }
    if closed_loop is not None:
        policy.load_state_dict(load_file(out / BEST_NAME))
        best = min((row for row in curve.rows if "validation" in row), key=lambda row: badness(row["validation"]))
        metrics |= {"best_step": best["step"], "closed_loop_validation": best["validation"]}
    policy.to(CPU).eval()
    policy.encoder.to(memory_format=torch.contiguous_format)
    if validation:
        metrics["validation"] = evaluate(policy, validation)
    checkpoint.save(policy, out, metrics)
    curve.draw()
    for name in (RESUME_NAME, BEST_NAME):
        (out / name).unlink(missing_ok=True)
    return metrics


BEST_NAME = "best.safetensors"
"""Weights of the best validation so far, while the run lasts."""


def _step(
    policy: Policy, optimizer: torch.optim.Optimizer, windows: EncodedWindows, config: TrainConfig, step: int
) -> float:
    """One step of the optimiser; the loss before it."""
    predicted, _ = policy.decode(windows.features, windows.state, windows.dt_s)
    loss = weighted_squared_error(
        predicted,
        windows.curvature_per_m,
        windows.speed_mps,
        policy.config.curvature_unit_per_m,
        config.weight_exponent,
        config.speed_exponent,
        config.n_warmup if windows.counts is None else 0,
        windows.counts,
        config.outlier_per_m,
    )
    return descend(loss, policy, optimizer, config.clip_norm, f"step {step}", "--lr-core or --lr-encoder")


def descend(
    loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float, where: str, rates: str
) -> float:
    """One step down the gradient, its norm clipped; the loss before it.

    Raises:
        BadInputError: a loss or gradient that is not finite, ``where`` it came up and which ``rates`` to lower.
    """
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
    value = loss.item()
    if not (math.isfinite(value) and bool(torch.isfinite(norm))):
        raise BadInputError(
            f"training: {where}: expected a finite loss and gradient, got {value} and {norm.item()}; use a lower "
            f"{rates}"
        )
    optimizer.step()
    return value


def _row(
    source: WindowSource,
    config: TrainConfig,
    losses: list[float],
    curve: LearningCurve,
    optimizer: torch.optim.Optimizer,
    seconds: float,
) -> dict[str, Any]:
    """The figures since the last row, which lasted ``seconds``."""
    first = curve.rows[-1]["step"] if curve.rows else 0
    n_frames = config.batch * config.window
    figures = source.take_figures()
    waited_s = figures.pop("waited_s")
    return {
        "part": DRIVING,
        "step": len(losses),
        "frames": len(losses) * n_frames,
        "loss": float(np.mean(losses[first:])),
        "lr_encoder": optimizer.param_groups[0]["lr"],
        "lr_core": optimizer.param_groups[1]["lr"],
        "frames_per_s": round((len(losses) - first) * n_frames / seconds, 1),
        "waiting_share": round(waited_s / seconds, 4),
        **figures,
    }


def _validated(policy: Policy, closed_loop: Validation, curve: LearningCurve, out: Path) -> dict[str, Any]:
    """Drive the policy; keep its weights if they are the best so far."""
    figures = dict(closed_loop.drive(copy.deepcopy(policy).to(CPU)))
    earlier = [row["validation"] for row in curve.rows if "validation" in row]
    if all(badness(figures) < badness(other) for other in earlier):
        with new_file(out / BEST_NAME) as unfinished:
            checkpoint.save_tensors(policy.state_dict(), unfinished)
    return {
        "validation": figures,
        "validation_crashes": figures["crashes"],
        "validation_km": figures["km"],
        "validation_offset_m": figures["mean_abs_lateral_offset_m"],
    }
