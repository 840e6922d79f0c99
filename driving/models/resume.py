"""Resume points: where a stopped training goes on, weights, optimiser and losses in one file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from driving.models.checkpoint import save_tensors
from sim.errors import BadInputError
from sim.files import new_file

RESUME_NAME, PRETRAIN_RESUME_NAME = "resume.safetensors", "pretraining.safetensors"
"""Of a training, and of its first part."""


@dataclass(frozen=True)
class Progress:
    """What a run has done: the loss of every step, the rows of its log, and the seconds it took."""

    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def save_resume(
    module: nn.Module, optimizer: torch.optim.Adam, run: dict[str, Any], path: Path, progress: Progress
) -> None:
    """Weights, optimiser and, as metadata, the rest: one file, so nothing in it is of two steps."""
    tensors = {f"policy.{k}": v.contiguous() for k, v in module.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v.contiguous() for k, v in state.items()}
    state = json.dumps({"run": run, "progress": dataclasses.asdict(progress)})
    with new_file(path) as unfinished:
        save_tensors(tensors, unfinished, {"state": state})


def load_resume(module: nn.Module, optimizer: torch.optim.Adam, run: dict[str, Any], path: Path) -> Progress:
    """Put a resume point into what is trained and its optimiser; what was done so far."""
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
    module.load_state_dict({k.removeprefix("policy."): v for k, v in tensors.items() if k.startswith("policy.")})
    plain = optimizer.state_dict()
    plain["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            plain["state"].setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict(plain)
    return Progress(**state["progress"])
