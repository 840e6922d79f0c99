"""Noise around any Gymnasium environment that shows pictures, for programs of other people."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from driving.noise import Noise, parse_noise
from sim.errors import BadInputError
from sim.injection import Injection


class Noisy(gymnasium.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray], gymnasium.utils.RecordConstructorArgs):
    """An environment of uint8 (H, W, 3) pictures and one continuous action, disturbed by one kind of noise.

    Pictures that are lost are not shown: the action is held, the rewards of that time are summed, and the episode
    goes on to the next picture that comes through. ``info["dt_s"]`` is what a driver is told of the time.

    Noise in a network's memory and adversaries need the network, and cannot be had here.

    Args:
        env: to be disturbed.
        noise: ``NAME:SEVERITY``, or None for none.
        dt_s: time step, where ``info`` does not say it.

    Raises:
        BadInputError: another kind of environment, or a noise that cannot be had here.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], noise: str | Noise | None, dt_s: float = 0.05) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, noise=str(noise) if noise else None, dt_s=dt_s)
        super().__init__(env)
        self.noise = parse_noise(noise) if isinstance(noise, str) else noise
        space, action = env.observation_space, env.action_space
        is_picture = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8
        if not is_picture or space.shape is None or space.shape[2] != 3:
            raise BadInputError(f"noise: expected an environment of uint8 pictures (H, W, 3), got {space}")
        if not isinstance(action, gymnasium.spaces.Box) or action.shape != (1,):
            raise BadInputError(f"noise: expected an environment with one continuous action, got {action}")
        if self.noise is not None and self.noise.kind.group in ("state", "adversary"):
            raise BadInputError(f"noise: {self.noise.name} needs the network, which is not seen here")
        self._dt_s, self._limits = dt_s, (float(action.low[0]), float(action.high[0]))
        self._per_action = float(getattr(self.env.unwrapped, "curvature_per_action", 1.0))
        self._injection = Injection()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; the noise is that of ``seed``, or of the environment's own generator without one."""
        frame, info = self.env.reset(seed=seed, options=options)
        own = seed if seed is not None else int(self.env.unwrapped.np_random.integers(2**31))
        self._injection = self.noise(own) if self.noise else Injection()
        self._injection.arrives(self._step_s(info))  # the first picture is always seen
        return self._seen(frame, info, self._step_s(info))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Drive on until a picture comes through, or the episode ends."""
        reward, passed_s = 0.0, 0.0
        while True:
            commanded = float(np.asarray(action).reshape(-1)[0])
            executed = self._injection.execute(commanded * self._per_action, self._dt_s)
            given = np.clip(np.array([executed / self._per_action], np.float32), *self._limits)
            frame, gained, terminated, truncated, info = self.env.step(given)
            reward, passed_s = reward + float(gained), passed_s + self._step_s(info)
            if self._injection.arrives(self._step_s(info)) or terminated or truncated:
                frame, info = self._seen(frame, info, passed_s)
                return frame, reward, terminated, truncated, info

    def _step_s(self, info: dict[str, Any]) -> float:
        return float(info.get("dt_s", self._dt_s))

    def _seen(self, frame: np.ndarray, info: dict[str, Any], passed_s: float) -> tuple[np.ndarray, dict[str, Any]]:
        told_s = self._injection.told_dt_s(self._step_s(info), passed_s)
        return self._injection.see(frame), info | {"dt_s": told_s}
