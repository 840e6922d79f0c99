"""Policies on disk, no pickle: a folder of ``weights.safetensors``, ``config.json``, ``metrics.json``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from driving.models.policy import Policy, PolicyConfig, build_policy
from sim.errors import BadInputError
from sim.files import new_file

CHECKPOINT_FORMAT = 2
"""Of the three files; no other one is read."""
WEIGHTS, CONFIG, METRICS = "weights.safetensors", "config.json", "metrics.json"


def shipped_folder() -> Path:
    """The folder of the policies that come with the project: in an installed package, or in a clone."""
    package = Path(__file__).resolve().parents[1]
    clone = package.parent / "checkpoints"
    inside = package / "checkpoints"
    return inside if any(inside.glob(f"*/{CONFIG}")) else clone


def shipped_names() -> list[str]:
    """Names of the shipped policies, sorted."""
    return sorted(config.parent.name for config in shipped_folder().glob(f"*/{CONFIG}"))


def save(policy: Policy, folder: str | os.PathLike[str], metrics: dict[str, Any] | None = None) -> None:
    """Write ``policy`` and what was measured of it into ``folder``; ``load`` undoes it.

    All three files are finished before the first takes its name, so an error or a full disk
    leaves an older checkpoint as it was. Other files in the folder stay.

    Raises:
        BadInputError: the folder cannot be written, ``metrics`` is not plain json (NaN included), or ``load`` would
            refuse the policy: weights that are not finite, not float32, or not those of its settings.
    """
    folder = Path(folder)
    fresh = build_policy(policy.config)
    _check_weights(folder / WEIGHTS, policy.state_dict(), fresh.state_dict())
    if policy.core.wiring != fresh.core.wiring:
        raise BadInputError(
            f"checkpoint: {folder}: the core's circuit must be that of the policy's config; put it there"
        )
    texts = {
        CONFIG: _json({"format": CHECKPOINT_FORMAT} | policy.config.to_dict(), "config"),
        METRICS: _json(metrics or {}, "metrics"),
    }
    with contextlib.ExitStack() as stack:
        # Renamed in the opposite order: a new folder is a checkpoint only with its config.
        paths = {name: stack.enter_context(new_file(folder / name)) for name in (CONFIG, METRICS, WEIGHTS)}
        save_tensors(policy.state_dict(), paths[WEIGHTS])
        for name, text in texts.items():
            paths[name].write_text(text, encoding="utf-8")


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors of any device as safetensors.

    Raises:
        OSError: the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata)
    except SafetensorError as error:
        raise OSError(_one_line(error)) from None


def load(name_or_path: str | os.PathLike[str]) -> Policy:
    """The policy of a shipped name or of a folder, in eval mode, on the CPU.

    ``NAME`` is the median seed, ``NAME@3`` the one of seed 3; ``expand`` knows ``NAME@all``.

    Raises:
        BadInputError: no such policy, or a file that is missing, damaged or does not fit: unknown or missing
            settings; a missing, extra, wrongly shaped or typed, or non-finite tensor.
    """
    folder = _find(name_or_path)
    policy = build_policy(_read_config(folder / CONFIG))
    weights = _read_weights(folder / WEIGHTS)
    _check_weights(folder / WEIGHTS, weights, policy.state_dict())
    policy.load_state_dict(weights)
    return policy.eval()


def expand(names: Sequence[str]) -> list[str]:
    """The names, with every seed's in the place of ``NAME@all``."""
    expanded = []
    for name in names:
        base, _, which = name.rpartition("@")
        if base and which == "all":
            seeds = _seeds(_find(base))
            if not seeds:
                raise BadInputError(f"checkpoint: {base} has one policy, not one for each seed; leave out @all")
            expanded += [f"{base}@{seed}" for seed in seeds]
        else:
            expanded.append(name)
    return expanded


def load_all(names: Sequence[str]) -> dict[str, Policy]:
    """``load`` by name; ``NAME@all`` is all seeds of ``NAME``."""
    return {name: load(name) for name in expand(names)}


def has_seeds(name: str) -> bool:
    """Does a shipped name or a folder hold a policy for each of several seeds?"""
    return bool(_seeds(_find(name)))


def _seeds(folder: Path) -> list[int]:
    """Of the policies in folders of their own below one that was trained with several."""
    return sorted(int(path.parent.name) for path in folder.glob(f"*/{CONFIG}") if path.parent.name.isdecimal())


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    text = os.fspath(name_or_path)
    if text in shipped_names():
        return shipped_folder() / text
    if text and Path(text).is_dir():
        return Path(text)
    base, _, seed = text.rpartition("@")
    if base and seed.isdecimal():
        folder = _find(base)
        if int(seed) in _seeds(folder):
            return folder / str(int(seed))
        found = ", ".join(map(str, _seeds(folder))) or "none"
        raise BadInputError(f"checkpoint: {base} has no policy of seed {seed}; seeds there: {found}")
    known = ", ".join(shipped_names()) or "none"
    raise BadInputError(f"checkpoint: no policy {text!r}; give a folder or a shipped policy: {known}")


def _read_config(path: Path) -> PolicyConfig:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"checkpoint: cannot read {path}: {_one_line(error)}") from error
    if not isinstance(plain, dict) or plain.get("format") != CHECKPOINT_FORMAT:
        got = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise BadInputError(f"checkpoint: {path} must have format {CHECKPOINT_FORMAT}, got {got!r}")
    try:
        return PolicyConfig.from_dict({key: value for key, value in plain.items() if key != "format"})
    except BadInputError as error:
        raise BadInputError(f"checkpoint: {path}: {error}") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BadInputError(f"checkpoint: expected the weights in {path}, got no such file")
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInputError(f"checkpoint: {path} is damaged or cut short: {_one_line(error)}") from error


def _check_weights(path: Path, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or extra:
        raise BadInputError(
            f"checkpoint: {path} does not fit its config: missing {_list(missing)}, extra {_list(extra)}"
        )
    for name, tensor in weights.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise BadInputError(
                f"checkpoint: {path}: {name} must be {tuple(want.shape)} {want.dtype}, "
                f"got {tuple(tensor.shape)} {tensor.dtype}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BadInputError(f"checkpoint: {path}: {name} holds values that are not finite; train it anew")


def _json(plain: dict[str, Any], what: str) -> str:
    try:
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise BadInputError(f"checkpoint: {what} must be plain json with finite numbers: {error}") from error


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
