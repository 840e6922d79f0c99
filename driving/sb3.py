"""Many worlds for Stable-Baselines3 (``pip install stable-baselines3``): its vectorised environment around ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from sim.errors import BadInputError


class LaneVecEnv(VecEnv):
    """Worlds of a ``gymnasium.vector.VectorEnv`` as Stable-Baselines3 wants them.

    ``worlds`` may have Gymnasium's vector wrappers around it. It leaves the beginning of new episodes to this class
    (``autoreset_mode="Disabled"``), which begins one in the step that ends the last: ``terminal_observation`` in its
    info is what was seen at the end. Numbers and texts of ``info`` come along, pictures of masks and classes do not.

    Raises:
        BadInputError: worlds of another autoreset mode.
    """

    def __init__(self, worlds: VectorEnv[Any, Any, Any]) -> None:
        mode = worlds.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise BadInputError(f"sb3: expected autoreset_mode 'Disabled', got {getattr(mode, 'value', mode)!r}")
        self.worlds = worlds
        self.render_mode = worlds.render_mode
        super().__init__(worlds.num_envs, worlds.single_observation_space, worlds.single_action_space)
        self._actions = np.zeros(worlds.action_space.shape or (), np.float32)

    def reset(self) -> np.ndarray:
        """Observations (n, ...); the seeds of ``seed`` are used once."""
        seeds: Any = list(self._seeds)
        frames, info = self.worlds.reset(seed=seeds)
        self._reset_seeds()
        self.reset_infos = self._of_each(info)
        return np.asarray(frames)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions, np.float32).reshape(self._actions.shape)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        frames, rewards, terminated, truncated, info = self.worlds.step(self._actions)
        infos = self._of_each(info)
        over = terminated | truncated
        for i, own in enumerate(infos):
            own["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        if over.any():
            last = frames
            frames, begun = self.worlds.reset(options={"reset_mask": over.copy()})
            first = self._of_each(begun)
            for i in np.flatnonzero(over).tolist():
                infos[i]["terminal_observation"], self.reset_infos[i] = last[i], first[i]
        return np.asarray(frames), rewards.astype(np.float32), over, infos

    def close(self) -> None:
        self.worlds.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        pictures: Any = self.worlds.render()
        return list(pictures or ())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "render_mode":
            return [self.render_mode] * len(list(self._get_indices(indices)))
        return self.env_method(attr_name, indices=indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Options of a world are given when it is made.

        Raises:
            BadInputError: always.
        """
        raise BadInputError(f"sb3: {attr_name} of a running world cannot be set; make the worlds with it")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        worlds: Any = self.worlds.unwrapped
        answers = worlds.call(method_name, *method_args, **method_kwargs)
        return [answers[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None) -> list[bool]:
        """The worlds have no wrappers of their own; those around all of them are Gymnasium's vector wrappers."""
        return [False for _ in self._get_indices(indices)]

    def _of_each(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        """A dict of arrays with their masks -> a dict for each world, without pictures."""
        each: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for key, values in info.items():
            known = info.get(f"_{key}")
            if known is None:
                continue
            if isinstance(values, dict):
                values = self._of_each(values)
            elif getattr(values, "ndim", 1) > 1:
                continue
            for i in np.flatnonzero(known):
                each[i][key] = values[i]
        return each
