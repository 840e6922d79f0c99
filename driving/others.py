"""Drivers that are no policy of this project, for its harness: exported models, and anybody's own Python.

``--policy exported/mine`` takes what ``export`` wrote as ONNX; ``--policy module:factory`` calls ``factory()`` of an
importable module in every process that drives. It returns an actor (``sim.episodes.Actor``) with

``frame_shape``  (H, W, 3) of the frames that it takes; the worlds have 78 x 200
``asks_expert``  False
``begin(n)``     n episodes begin: forget everything
``act(instants)``  for each instant read ``frame`` (uint8 RGB), ``dt_s`` and ``i_run`` (which of the n episodes), and
                 set ``curvature_per_m``, left positive
``state``        may be left out: (n, S) floats, row i all that it remembers of episode i, read and set from outside.
                 With it, and answers that depend on it, the frame and ``dt_s`` alone, ``attend --method occlusion`` can
                 ask about pictures that never were; S may be 0
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from driving.models import checkpoint
from driving.models.policy import Policy
from driving.rollout import PolicyOrActor, shape_of
from driving.runtime.driver import MODEL_FILE, open_model
from sim.conventions import MAX_CURVATURE_PER_M
from sim.episodes import Actor, Instant, remembered
from sim.errors import BadInputError, one_line
from sim.files import short_digest

_PYTHON = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Other:
    """A driver that is no policy; called, it makes an actor.

    Attributes:
        make: of actors.
        digest: of the model's file, or of the module's source, 16 hexadecimal digits. What a module imports does not
            count.
        unseen: groups of noises that reach into a network where this driver hides it.
    """

    make: Callable[[], Actor]
    digest: str
    unseen: tuple[str, ...]

    def __call__(self) -> Actor:
        return self.make()


class OutsideNetwork(nn.Module, ABC):
    """A network that can be looked at from outside: ``step`` as ``Policy`` has it, no gradient.

    Attributes:
        title: what it is called over its panel.
        frame_shape: (H, W, 3).
        max_curvature_per_m: limit of its command.
    """

    title: str
    frame_shape: tuple[int, int, int]
    max_curvature_per_m: float

    def __deepcopy__(self, memo: Any) -> OutsideNetwork:
        return self  # nothing in it lasts from one answer to the next

    @abstractmethod
    def initial_state(self, batch: int) -> Tensor:
        """(B, S)."""

    @abstractmethod
    def answer(self, frames: np.ndarray, state: Tensor, dt_s: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """As ``run``, unchecked."""

    def run(self, frames: np.ndarray, state: Tensor, dt_s: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """uint8 (B, H, W, 3), (B, S), (B,) -> curvature (B,) in 1/m, finite and within the limit, and new state."""
        curvature, new_state = self.answer(frames, state, np.asarray(dt_s, np.float32))
        limit = self.max_curvature_per_m
        return np.clip(np.where(np.isfinite(curvature), curvature, 0.0), -limit, limit), new_state

    def step(self, frame: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, 3, H, W), uint8 or float in [0, 1]: floats are rounded to 256 levels."""
        if frame.dtype != torch.uint8:
            frame = (255 * frame).round().clamp(0, 255).to(torch.uint8)
        frames = np.ascontiguousarray(frame.movedim(-3, -1).numpy(force=True))
        curvature, new_state = self.run(frames, state.detach(), dt_s.numpy(force=True))
        return torch.from_numpy(curvature), new_state


class ExportedNetwork(OutsideNetwork):
    """An exported model.

    Raises:
        BadInputError: no such file, or no policy of this project's export format.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self._session, self.meta = open_model(path, 1)
        except (ValueError, ImportError) as error:
            raise BadInputError(str(error)) from None
        self.title = f"{self.meta['policy']} as ONNX"
        self.frame_shape = (int(self.meta["height_px"]), int(self.meta["width_px"]), 3)
        self.max_curvature_per_m = float(self.meta["max_curvature_per_m"])
        self._first_state = torch.tensor(json.loads(self.meta["initial_state"]), dtype=torch.float32)

    def initial_state(self, batch: int) -> Tensor:
        return self._first_state.expand(batch, -1).clone()

    def answer(self, frames: np.ndarray, state: Tensor, dt_s: np.ndarray) -> tuple[np.ndarray, Tensor]:
        inputs = {"frame": frames, "state": state.numpy(), "dt_s": dt_s}
        curvature, new_state = self._session.run(["curvature_per_m", "new_state"], inputs)
        return curvature.reshape(-1), torch.from_numpy(new_state)


class PythonNetwork(OutsideNetwork):
    """Somebody's own actor that shows its memory as ``state``.

    Raises:
        BadInputError: it shows none, or something else than a row of floats for every episode.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.title, self._driver = name, _make(name)
        self._shown: Any = self._driver.actor  # its `state` is no part of an actor's contract
        self.frame_shape = shape_of(self._driver)
        self.max_curvature_per_m = MAX_CURVATURE_PER_M
        self.initial_state(1)

    def initial_state(self, batch: int) -> Tensor:
        self._driver.begin(batch)
        return self._state(batch)

    def _state(self, batch: int) -> Tensor:
        if not hasattr(self._shown, "state"):
            raise BadInputError(
                f"{self.title}: shows its command, not its memory, so nobody can say where it looks; "
                "its `state` is missing, see driving/others.py"
            )
        try:
            state = torch.as_tensor(self._shown.state).detach().to(torch.float32, copy=True)
        except (TypeError, ValueError, RuntimeError):
            state = torch.empty(())
        if state.ndim != 2 or len(state) != batch:
            raise BadInputError(
                f"{self.title}: expected a state (n, S) with a row for each of {batch} episodes, "
                f"got {one_line(repr(self._shown.state), 40)}"
            )
        return state

    def answer(self, frames: np.ndarray, state: Tensor, dt_s: np.ndarray) -> tuple[np.ndarray, Tensor]:
        instants = [
            Instant(frame, frame, 0.0, float(dt), info={"dt_s": float(dt)}, i_run=k)  # type: ignore[typeddict-item]
            for k, (frame, dt) in enumerate(zip(frames, dt_s, strict=True))
        ]
        self._driver.begin(len(instants))
        first = self._shown.state
        self._shown.state = (
            state.to(first) if isinstance(first, Tensor) else state.numpy().astype(np.asarray(first).dtype)
        )
        self._driver.act(instants)
        curvature = np.array([instant.curvature_per_m for instant in instants], np.float32)
        return curvature, self._state(len(instants))


class NetworkActor:
    """A network that is known from outside drives; its memory of each episode is a row of ``state``."""

    asks_expert = False

    def __init__(self, network: OutsideNetwork) -> None:
        self._network = network
        self.frame_shape = self._network.frame_shape
        self.state = self._network.initial_state(0)

    def begin(self, n_runs: int) -> None:
        self.state = self._network.initial_state(n_runs)

    def act(self, instants: Sequence[Instant]) -> None:
        runs = [instant.i_run for instant in instants]
        before = remembered(instants, self.state[runs])
        frames, dt_s = np.stack([instant.frame for instant in instants]), [instant.dt_s for instant in instants]
        commands, after = self._network.run(frames, before, np.array(dt_s))
        self.state[runs] = after
        for k, instant in enumerate(instants):
            instant.curvature_per_m = float(commands[k])
            instant.state_before, instant.state = before[k], after[k]


def _onnx_actor(path: Path) -> Actor:
    return NetworkActor(ExportedNetwork(path))


class _Checked:
    """Somebody's own actor; what it answers is checked."""

    def __init__(self, name: str, actor: Actor) -> None:
        self._name, self.actor = name, actor
        self.frame_shape, self.asks_expert = actor.frame_shape, actor.asks_expert

    def begin(self, n_runs: int) -> None:
        self.actor.begin(n_runs)

    def act(self, instants: Sequence[Instant]) -> None:
        self.actor.act(instants)
        for instant in instants:
            value = instant.curvature_per_m
            if not (isinstance(value, int | float | np.floating) and math.isfinite(value)):
                raise BadInputError(f"{self._name}: expected a finite curvature_per_m, got {one_line(repr(value), 40)}")


def _make(name: str) -> _Checked:
    module, _, factory = name.partition(":")
    try:
        actor = getattr(importlib.import_module(module), factory)()
    except Exception as error:  # whatever somebody's module raises while it is imported or called
        raise BadInputError(f"{name}: cannot be made ({type(error).__name__}: {one_line(error)})") from error
    missing = [part for part in ("frame_shape", "asks_expert", "begin", "act") if not hasattr(actor, part)]
    if missing:
        raise BadInputError(f"{name}: expected an actor, its {', '.join(missing)} is missing; see driving/others.py")
    return _Checked(name, actor)


def _source(name: str) -> bytes:
    """Of a module that has been imported; nothing of one that was not written in Python."""
    try:
        return inspect.getsource(sys.modules[name.partition(":")[0]]).encode()
    except (OSError, TypeError):
        return b""


def is_exported(name: str) -> bool:
    """Is it the name of an exported model, a file or the folder of one?"""
    path = Path(name)
    return path.suffix == ".onnx" or ((path / MODEL_FILE).is_file() and not (path / checkpoint.CONFIG).is_file())


def _is_python(name: str) -> bool:
    """Is it ``module:factory``?"""
    return bool(_PYTHON.fullmatch(name)) and not Path(name).exists()


def find_driver(name: str) -> Policy | Other:
    """Who drives by name: a policy, an exported model (a folder or file), or ``module:factory``.

    Raises:
        BadInputError: nothing of these, or it cannot be made; it is made once to see.
    """
    path = Path(name)
    if is_exported(name):
        make = partial(_onnx_actor, path)
        make()
        file = path / MODEL_FILE if path.is_dir() else path
        return Other(make, short_digest([file.read_bytes()]), ("adversary",))
    if _is_python(name):
        _make(name)
        return Other(partial(_make, name), short_digest([name.encode(), _source(name)]), ("adversary", "state"))
    return checkpoint.load(name)


def find_drivers(names: Iterable[str]) -> dict[str, Policy | Other]:
    """``find_driver`` by name; ``NAME@all`` is all seeds of ``NAME``."""
    return {name: find_driver(name) for name in checkpoint.expand(list(names))}


def find_network(name: str) -> Policy | OutsideNetwork:
    """A network that can be looked at: a policy; or, from outside, an exported model or somebody's own Python.

    Raises:
        BadInputError: as ``find_driver``, or somebody's own Python that does not show its memory.
    """
    if is_exported(name):
        return ExportedNetwork(Path(name))
    if _is_python(name):
        return PythonNetwork(name)
    return checkpoint.load(name)


def driver_of(network: Policy | OutsideNetwork) -> PolicyOrActor:
    """Who drives with a network."""
    return network if isinstance(network, Policy) else partial(NetworkActor, network)


def check_seen(drivers: Mapping[str, Policy | Other], groups: Iterable[str]) -> None:
    """``BadInputError`` if a noise of one of these groups reaches into a network that a driver hides."""
    wanted = set(groups)
    for name, driver in drivers.items():
        if isinstance(driver, Other) and (hidden := wanted.intersection(driver.unseen)):
            raise BadInputError(f"noise: {', '.join(sorted(hidden))} reaches into the network, which {name} hides")
