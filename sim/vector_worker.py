"""A worker process of ``sim.vector``: several worlds, whose numbers it writes into shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from sim.errors import BadInputError
from sim.lane_env import Info, LaneEnv
from sim.processes import begin_work, portable

ALIGNMENT = 64
"""Bytes at whose multiples a column begins."""

Layout = dict[str, tuple[tuple[int, ...], str]]
"""Name of a column -> shape of one world's entry, dtype."""


def make_env(env: str | EnvSpec, options: Mapping[str, Any]) -> LaneEnv:
    """A world without Gymnasium's checks at every step, which the tests do once for all; it checks what it is given."""
    return cast(LaneEnv, gymnasium.make(env, disable_env_checker=True, **options).unwrapped)


# Shared memory: one column for each kind of number, its rows are the worlds --------------------------------


def is_numeric(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.number, np.bool_, np.ndarray))


def row_layout(observations: gymnasium.Space, actions: gymnasium.Space, numbers: Mapping[str, Any]) -> Layout:
    layout: Layout = {
        "observation": (observations.shape or (), str(observations.dtype)),
        "action": (actions.shape or (), str(actions.dtype)),
        "reward": ((), "float64"),
        "terminated": ((), "bool"),
        "truncated": ((), "bool"),
    }
    for key, number in numbers.items():
        value = np.asarray(number)
        layout[f"info {key}"], layout[f"_{key}"] = (value.shape, value.dtype.str), ((), "bool")
    return layout


def _column_bytes(shape: tuple[int, ...], dtype: str, num_envs: int) -> int:
    n_bytes = num_envs * math.prod(shape) * np.dtype(dtype).itemsize
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def size_bytes(layout: Layout, num_envs: int) -> int:
    return sum(_column_bytes(shape, dtype, num_envs) for shape, dtype in layout.values())


def shared_columns(memory: Any, layout: Layout, num_envs: int) -> dict[str, np.ndarray]:
    """Arrays (num_envs, ...) that lie one behind the other in the shared memory."""
    columns, offset = {}, 0
    for name, (shape, dtype) in layout.items():
        n = num_envs * math.prod(shape)
        columns[name] = np.frombuffer(memory, dtype, n, offset).reshape(num_envs, *shape)
        offset += _column_bytes(shape, dtype, num_envs)
    return columns


# The worker ------------------------------------------------------------------------------------------------


def work(
    pipe: Connection,
    memory: Any,
    layout: Layout,
    num_envs: int,
    places: list[int],
    env_id: str,
    options: dict[str, Any],
    mode: AutoresetMode = AutoresetMode.NEXT_STEP,
) -> None:
    """Main function of a worker: make its worlds, then answer until the other end of the pipe is closed."""
    begin_work()
    worlds: list[_World] = []
    try:
        columns = shared_columns(memory, layout, num_envs)
        worlds += [_World(make_env(env_id, options), i, columns, mode) for i in places]
        answer: tuple[bool, Any] = True, []
    except Exception as error:
        answer = False, portable(error)
    while True:
        try:
            pipe.send(answer)
            what, *arguments = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            answer = True, [getattr(world, what)(*arguments) for world in worlds]
        except Exception as error:
            answer = False, portable(error)
    for world in worlds:
        world.env.close()


class _World:
    """One environment and its row of the shared memory."""

    def __init__(self, env: LaneEnv, place: int, columns: dict[str, np.ndarray], mode: AutoresetMode) -> None:
        self.env, self.place, self.columns, self.mode = env, place, columns, mode
        keys = [name.removeprefix("info ") for name in columns if name.startswith("info ")]
        self.info_columns = {key: (columns[f"info {key}"], columns[f"_{key}"]) for key in keys}
        self.over = False

    def reset(self, seeds: Sequence[int | None], options: dict[str, Any] | None, mask: np.ndarray) -> dict[str, Any]:
        if not mask[self.place]:
            for values, known in self.info_columns.values():
                values[self.place], known[self.place] = 0, False
            return {}
        return self._start(*self.env.reset(seed=seeds[self.place], options=options))

    def step(self) -> dict[str, Any]:
        if self.over and self.mode == AutoresetMode.DISABLED:
            raise BadInputError(
                f"step: world {self.place} has ended; reset it with options={{'reset_mask': ...}} first"
            )
        if self.over and self.mode == AutoresetMode.NEXT_STEP:
            return self._start(*self.env.reset())
        action = self.columns["action"][self.place].copy()
        observation, reward, terminated, truncated, info = self.env.step(action)
        last: dict[str, Any] = {}
        if self.mode == AutoresetMode.SAME_STEP and (terminated or truncated):
            last = {"final_obs": observation, "final_info": info}
            observation, info = self.env.reset()
        return last | self._note(observation, reward, terminated, truncated, info)

    def call(self, name: str, arguments: Sequence[Any]) -> Any:
        found = getattr(self.env, name)
        return found(*arguments) if callable(found) else found

    def _start(self, observation: np.ndarray, info: Info) -> dict[str, Any]:
        return self._note(observation, 0.0, False, False, info)

    def _note(
        self, observation: np.ndarray, reward: float, terminated: bool, truncated: bool, info: Info
    ) -> dict[str, Any]:
        """Write the row; what has no column is returned."""
        columns, i = self.columns, self.place
        columns["observation"][i] = observation
        columns["reward"][i], columns["terminated"][i], columns["truncated"][i] = (reward, terminated, truncated)
        self.over = terminated or truncated
        for key, (values, known) in self.info_columns.items():
            known[i] = key in info
            values[i] = info.get(key, 0)
        return {key: value for key, value in info.items() if key not in self.info_columns}
