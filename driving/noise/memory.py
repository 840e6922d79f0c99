"""Noise in the state of the recurrent core."""

from __future__ import annotations

from typing import Any

import numpy as np

from driving.noise.draws import normal
from driving.noise.kind import Kind
from sim.injection import Injection

STATE_BURST = "state_burst"
BURST_S, EVERY_S = 0.5, 5.0


class StateBurst(Injection):
    """White noise of standard deviation ``severity`` on every number of the state, for 0.5 s out of every 5 s."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._sigma, self._rng, self._now_s = severity, rng, 0.0

    @property
    def is_burst(self) -> bool:
        """Whether the last memory was disturbed."""
        return self._now_s % EVERY_S > EVERY_S - BURST_S

    def remember(self, state: Any, dt_s: float) -> Any:
        self._now_s += dt_s
        if self._sigma == 0 or not self.is_burst:
            return state
        noise = self._sigma * normal(self._rng, tuple(state.shape))
        return state + (noise if isinstance(state, np.ndarray) else state.new_tensor(noise))


KINDS = (Kind(STATE_BURST, "state", StateBurst, "standard deviation of the state's numbers", (0.1, 0.3, 1.0), 100.0),)
