"""Resume points: where a stopped training goes on, weights, optimiser and losses in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from driving.models.checkpoint import save_tensors
from driving.models.policy import Policy
from sim.errors import BadInputError
from sim.files import new_file

RESUME_NAME = "resume.safetensors"


def save_resume(
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
    with new_file(out / RESUME_NAME) as unfinished:
        save_tensors(tensors, unfinished, {"state": state})


def load_resume(
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
