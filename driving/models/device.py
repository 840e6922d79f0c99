"""The one place that picks the processor on which a policy is trained."""

from __future__ import annotations

import torch

from sim.errors import BadInputError

AUTO = "auto"


def pick_device(name: str) -> torch.device:
    """``auto`` (a GPU where PyTorch has one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        BadInputError: another name, or a GPU that PyTorch does not have.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or not (index.isdecimal() or name == kind):
        raise BadInputError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    n_gpus = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= n_gpus:
        raise BadInputError(f"device: PyTorch sees {n_gpus} GPUs, got {name!r}; use --device cpu")
    return torch.device(name)
