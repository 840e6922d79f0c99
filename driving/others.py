"""Drivers that are no policy of this project, for its closed loop: exported models, and anybody's own Python.

``drive --policy exported/mine`` takes what ``export`` wrote as ONNX; ``drive --policy module:factory`` calls
``factory()`` of an importable module in every process that drives. It returns an actor (``sim.episodes.Actor``) with

``frame_shape``  (H, W, 3) of the frames that it takes; the worlds have 78 x 200
``asks_expert``  False
``begin(n)``     n episodes begin: forget everything
``act(instants)``  for each instant read ``frame`` (uint8 RGB), ``dt_s`` and ``i_run`` (which of the n episodes), and
                 set ``curvature_per_m``, left positive
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from driving.models import checkpoint
from driving.models.policy import Policy
from driving.runtime.driver import MODEL_FILE, open_model
from sim.episodes import Actor, Instant
from sim.errors import BadInputError, one_line

MakeActor = Callable[[], Actor]


class OnnxActor:
    """An exported model drives; its memory of each episode is a row of ``state``."""

    asks_expert = False

    def __init__(self, path: Path) -> None:
        try:
            self._session, meta = open_model(path, 1)
        except (ValueError, ImportError) as error:
            raise BadInputError(str(error)) from None
        self.frame_shape = (int(meta["height_px"]), int(meta["width_px"]), 3)
        self._limit_per_m = float(meta["max_curvature_per_m"])
        self._initial = np.asarray(json.loads(meta["initial_state"]), np.float32)
        self.state = self._initial[None]

    def begin(self, n_runs: int) -> None:
        self.state = np.repeat(self._initial[None], n_runs, axis=0)

    def act(self, instants: Sequence[Instant]) -> None:
        runs = [instant.i_run for instant in instants]
        state = self.state[runs]
        for k, instant in enumerate(instants):
            if instant.injection is not None:
                state[k] = instant.injection.remember(state[k], instant.info["dt_s"])
        inputs = {
            "frame": np.stack([instant.frame for instant in instants]),
            "state": state,
            "dt_s": np.array([instant.dt_s for instant in instants], np.float32),
        }
        commands, self.state[runs] = self._session.run(["curvature_per_m", "new_state"], inputs)
        for instant, command in zip(instants, commands.reshape(-1), strict=True):
            instant.curvature_per_m = _safe(float(command), self._limit_per_m)


class _Checked:
    """Somebody's own actor; what it answers is checked."""

    def __init__(self, name: str, actor: Actor) -> None:
        self._name, self._actor = name, actor
        self.frame_shape, self.asks_expert = actor.frame_shape, actor.asks_expert

    def begin(self, n_runs: int) -> None:
        self._actor.begin(n_runs)

    def act(self, instants: Sequence[Instant]) -> None:
        self._actor.act(instants)
        for instant in instants:
            value = instant.curvature_per_m
            if not (isinstance(value, int | float | np.floating) and math.isfinite(value)):
                raise BadInputError(f"{self._name}: expected a finite curvature_per_m, got {one_line(repr(value), 40)}")


def _safe(command: float, limit: float) -> float:
    return min(max(command, -limit), limit) if math.isfinite(command) else 0.0


def _make(name: str) -> Actor:
    module, _, factory = name.partition(":")
    try:
        actor = getattr(importlib.import_module(module), factory)()
    except Exception as error:  # whatever somebody's module raises while it is imported or called
        raise BadInputError(f"{name}: cannot be made ({type(error).__name__}: {one_line(error)})") from error
    missing = [part for part in ("frame_shape", "asks_expert", "begin", "act") if not hasattr(actor, part)]
    if missing:
        raise BadInputError(f"{name}: expected an actor, its {', '.join(missing)} is missing; see driving/others.py")
    return _Checked(name, actor)


def unseen_noises(driver: Policy | MakeActor) -> tuple[str, ...]:
    """Groups of noises that need to look into a network where this driver hides it."""
    if isinstance(driver, Policy):
        return ()
    is_exported = isinstance(driver, partial) and driver.func is OnnxActor
    return ("adversary",) if is_exported else ("adversary", "state")


def find_driver(name: str) -> Policy | MakeActor:
    """Who drives by name: a policy, an exported model (a folder or file), or ``module:factory``.

    Raises:
        BadInputError: nothing of these, or it cannot be made; it is made once to see.
    """
    path = Path(name)
    is_model = path.suffix == ".onnx" or ((path / MODEL_FILE).is_file() and not (path / checkpoint.CONFIG).is_file())
    if is_model:
        make: MakeActor = partial(OnnxActor, path)
    elif re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name) and not path.exists():
        make = partial(_make, name)
    else:
        return checkpoint.load(name)
    make()
    return make
