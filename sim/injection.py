"""What may come between a world and who drives in it: pictures, time, commands, memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Injection:
    """Injected into one episode; this one changes nothing. A kind of noise overrides what it disturbs.

    The methods are called in this order at every instant, ``arrives`` first.
    """

    def arrives(self, dt_s: float) -> bool:
        """Whether this instant's picture comes through: if not, the last command stays, and nobody is asked."""
        return True

    def see(self, frame: np.ndarray) -> np.ndarray:
        """The picture uint8 (H, W, 3) as the driver gets it; the argument is left as it was."""
        return frame

    def told_dt_s(self, dt_s: float, since_last_s: float) -> float:
        """What the driver is told of the time step.

        Args:
            dt_s: of the world.
            since_last_s: time since the last picture that came through.
        """
        return since_last_s

    def remember(self, state: Any, dt_s: float) -> Any:
        """The memory (S,) that the driver goes on from."""
        return state

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        """The curvature that the car gets in the place of the command, in 1/m."""
        return curvature_per_m


MakeInjection = Callable[[int], Injection]
"""Makes what is injected into the episode of a seed."""
