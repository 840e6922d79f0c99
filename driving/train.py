"""Train a policy on windows of recorded drives: one readable loop, resumable and reproducible."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from driving.data import AugmentConfig, Windows, policy_frames
from driving.models import checkpoint
from driving.models.policy import Policy
from sim.conventions import steering_wheel_angle_from_curvature
from sim.drive import Drive
from sim.errors import BadInputError

RESUME_NAME = "resume.safetensors"


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run; together with the drives and the first weights they decide its result.

    Attributes:
        seed: of the order of windows and the augmentation.
        n_steps: optimiser steps.
        batch, window: windows a step and frames a window (Lechner et al. 2020: 20 and 16).
        n_warmup: first frames of a window whose error does not count: the state starts at zero.
        lr_encoder, lr_core: peak rates of Adam for the convolutional head and for the recurrent core.
        lr_rise: share of the steps in which the rates rise linearly; they fall as a half cosine afterwards.
        clip_norm: largest norm of the gradient.
        weight_exponent: weight of a frame's error is exp(a |curvature x 1000|); the paper's a, 0.1 for open
            loop and 0 for closed loop.
        speed_exponent: and (speed / 10 m/s) to this power: what a wrong curvature does to the place on the
            road grows with the square of the speed.
        bfloat16: run the convolutions in bfloat16 (faster where the processor has it).
        checkpoint_every: steps between two resume points.
        augment: what is done to the windows.
    """

    seed: int = 0
    n_steps: int = 1800
    batch: int = 20
    window: int = 16
    n_warmup: int = 4
    lr_encoder: float = 1e-3
    lr_core: float = 1e-2
    lr_rise: float = 0.05
    clip_norm: float = 10.0
    weight_exponent: float = 0.02
    speed_exponent: float = 2.0
    bfloat16: bool = False
    checkpoint_every: int = 250
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch", "window", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BadInputError(f"training: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.n_warmup < self.window:
            raise BadInputError(
                f"training: n_warmup must be below window = {self.window}, got {self.n_warmup}"
            )
        for name in ("lr_encoder", "lr_core", "clip_norm"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise BadInputError(f"training: {name} must be a positive number, got {getattr(self, name)}")
        if not 0 <= self.lr_rise <= 1:
            raise BadInputError(f"training: lr_rise must be from 0 to 1, got {self.lr_rise}")
        for name in ("weight_exponent", "speed_exponent"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise BadInputError(f"training: {name} must be at least 0, got {getattr(self, name)}")


def weighted_squared_error(
    predicted: Tensor,
    target: Tensor,
    speed_mps: Tensor,
    unit_per_m: float,
    weight_exponent: float,
    speed_exponent: float = 0.0,
    n_warmup: int = 0,
) -> Tensor:
    """sum(w (yhat - y)^2) / sum(w) with w = exp(a |y|) (speed / 10 m/s)^b, y = 1000 x curvature, of (B, T) in 1/m.

    Lechner et al. 2020, who have no speed term. The squared error is in the policy's unit; the first ``n_warmup``
    frames are left out.
    """
    predicted, target = predicted[:, n_warmup:], target[:, n_warmup:]
    weight = torch.exp(weight_exponent * 1000.0 * target.abs())
    moving_mps = speed_mps[:, n_warmup:].clamp(min=1.0)  # frames of a standing car count as well
    weight = weight * (moving_mps / 10.0) ** speed_exponent
    return (weight * ((predicted - target) / unit_per_m) ** 2).sum() / weight.sum()


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 (..., H, W, 3) -> uint8 (..., 3, H, W), a view whose memory stays channels-last."""
    return torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, -3)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear rise, then half a cosine to zero, in [0, 1]."""
    n_rise = max(1, round(config.lr_rise * config.n_steps))
    if step < n_rise:
        return (step + 1) / n_rise
    return 0.5 * (1 + math.cos(math.pi * (step - n_rise) / max(1, config.n_steps - n_rise)))


def train(
    policy: Policy,
    drives: Sequence[Drive],
    config: TrainConfig,
    out: Path,
    validation: Sequence[Drive] = (),
    resume: bool = False,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> dict[str, Any]:
    """Train ``policy`` in place, save it to the folder ``out`` and return its metrics.

    A resume point (weights, optimiser, step) is kept as ``out/resume.safetensors`` until the end; with
    ``resume`` the run goes on there and ends in the same weights as one that was never stopped.

    Raises:
        BadInputError: no usable window, a loss or gradient that is not finite, or ``resume`` where there is
            no resume point or one of another run.
    """
    size = {"height_px": policy.config.height_px, "width_px": policy.config.width_px}
    windows = Windows(drives, config.window, **size)
    policy.train()
    policy.encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        [
            {"params": policy.encoder.parameters(), "lr": config.lr_encoder},
            {"params": policy.core.parameters(), "lr": config.lr_core},
        ]
    )
    peaks = [config.lr_encoder, config.lr_core]
    # What must be the same for a run to go on where another stopped.
    run = {"config": dataclasses.asdict(config), "policy": policy.config.to_dict(), "n_windows": len(windows)}
    losses, earlier_s = _load_resume(policy, optimizer, run, out) if resume else ([], 0.0)
    started_s = time.monotonic() - earlier_s
    for step in range(len(losses), config.n_steps):
        batch = windows.sample(config.batch, (config.seed, step), config.augment)
        frames, target = to_tensor(batch.frames), torch.from_numpy(batch.curvature_per_m)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            features = policy.encode(frames.flatten(0, 1))
        features = features.float().unflatten(0, target.shape)  # (B, T, N)
        predicted, _ = policy.decode(features, None, torch.from_numpy(batch.dt_s))
        loss = weighted_squared_error(
            predicted,
            target,
            torch.from_numpy(batch.speed_mps),
            policy.config.curvature_unit_per_m,
            config.weight_exponent,
            config.speed_exponent,
            config.n_warmup,
        )
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.clip_norm)
        losses.append(loss.item())
        if not (math.isfinite(losses[-1]) and bool(torch.isfinite(norm))):
            raise BadInputError(
                f"training: step {step}: expected a finite loss and gradient, got {losses[-1]} and "
                f"{norm.item()}; use a lower --lr-core or --lr-encoder"
            )
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * learning_rate_factor(step, config)
        optimizer.step()
        on_step(step, losses[-1])
        if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.n_steps:
            _save_resume(policy, optimizer, run, out, losses, time.monotonic() - started_s)
    policy.eval()
    policy.encoder.to(memory_format=torch.contiguous_format)
    metrics: dict[str, Any] = {
        "n_windows": len(windows),
        "n_frames": sum(len(drive) for drive in drives),
        "train_loss_last_100": float(np.mean(losses[-100:])),
        "train_seconds": round(time.monotonic() - started_s, 1),
        "train_config": dataclasses.asdict(config),
    }
    if validation:
        metrics["validation"] = evaluate(policy, validation)
    checkpoint.save(policy, out, metrics)
    (out / RESUME_NAME).unlink(missing_ok=True)
    return metrics


def _save_resume(
    policy: Policy,
    optimizer: torch.optim.Adam,
    run: dict[str, Any],
    out: Path,
    losses: list[float],
    seconds: float,
) -> None:
    """Weights, optimiser and, as metadata, the rest: one file, so nothing in it is of two steps."""
    tensors = {f"policy.{k}": v.contiguous() for k, v in policy.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v.contiguous() for k, v in state.items()}
    state = json.dumps({"run": run, "losses": losses, "seconds": seconds})
    unfinished = out / f".{RESUME_NAME}.{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_file(tensors, unfinished, metadata={"state": state})
        unfinished.replace(out / RESUME_NAME)
    except (OSError, SafetensorError) as error:
        raise BadInputError(
            f"{out}: the resume point cannot be written ({error}); choose another folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _load_resume(
    policy: Policy, optimizer: torch.optim.Adam, run: dict[str, Any], out: Path
) -> tuple[list[float], float]:
    """Put the resume point of ``out`` into policy and optimiser; the losses so far and their seconds."""
    path = out / RESUME_NAME
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInputError(f"{path}: no usable resume point ({error}); start without --resume") from None
    if state["run"] != run:
        raise BadInputError(
            f"{path}: expected the settings and drives of the stopped run, got others; repeat its command"
        )
    policy.load_state_dict(
        {k.removeprefix("policy."): v for k, v in tensors.items() if k.startswith("policy.")}
    )
    plain = optimizer.state_dict()
    plain["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            plain["state"].setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict(plain)
    return state["losses"], state["seconds"]


@torch.no_grad()
def predict(policy: Policy, drive: Drive, chunk: int = 64) -> np.ndarray:
    """Open loop: the curvature (T,) on a drive's frames, the state carried along and reset at gaps."""
    policy.eval()
    frames, dt_s = policy_frames(drive, policy.config.height_px, policy.config.width_px), drive.dt_s()
    predicted = np.empty(len(drive), np.float32)
    for segment in drive.segments():
        state = policy.initial_state(1)
        for start in range(segment.start, segment.stop, chunk):
            rows = slice(start, min(start + chunk, segment.stop))
            times = torch.from_numpy(dt_s[rows].astype(np.float32))[None]
            curvature, state = policy(to_tensor(frames[rows])[None], state, times)
            predicted[rows] = curvature[0].numpy()
    return predicted


def evaluate(policy: Policy, drives: Sequence[Drive]) -> dict[str, Any]:
    """Open-loop errors over all frames of the drives; keys as ``liquid-lane test`` writes them.

    ``rmse_steering_wheel_rad`` is there only where every drive's vehicle has a known steering ratio.
    """
    if not drives:
        raise BadInputError("test: expected at least one drive, got none; name them with --data")
    predicted, recorded = [predict(policy, drive) for drive in drives], [d.curvature_per_m for d in drives]
    guess, truth = np.concatenate(predicted), np.concatenate(recorded)
    errors = {"curvature_per_m": (guess, truth)}
    known = [
        (vehicle.wheelbase_m, vehicle.steering_ratio)
        for vehicle in (drive.meta.vehicle for drive in drives)
        if vehicle.wheelbase_m is not None and vehicle.steering_ratio is not None
    ]
    if len(known) == len(drives):
        wheel = [
            np.concatenate(
                [steering_wheel_angle_from_curvature(k, *car) for k, car in zip(curves, known, strict=True)]
            )
            for curves in (predicted, recorded)
        ]
        errors["steering_wheel_rad"] = (wheel[0], wheel[1])
    figures: dict[str, Any] = {}
    for unit, (given, wanted) in errors.items():
        figures[f"rmse_{unit}"] = float(np.sqrt(np.mean((given - wanted) ** 2)))
        figures[f"zero_rmse_{unit}"] = float(np.sqrt(np.mean(wanted**2)))
    both_vary = guess.std() > 0 and truth.std() > 0
    figures["correlation"] = float(np.corrcoef(guess, truth)[0, 1]) if both_vary else None
    figures["n_frames"] = len(truth)
    return figures
