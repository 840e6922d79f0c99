"""Kicks: what pushes a car off its path now and then, so that a recording is full of recoveries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disturbance:
    """Kicks: now and then a random curvature is added to the executed action, never to the label.

    Attributes:
        max_curvature_per_m: largest kick.
        max_lateral_acceleration_mps2: a kick is never harder than this at the car's speed.
        mean_interval_s: average time between two kicks (exponential).
        min_duration_s, max_duration_s: how long one lasts.
    """

    max_curvature_per_m: float = 0.03
    max_lateral_acceleration_mps2: float = 4.0
    mean_interval_s: float = 2.0
    min_duration_s: float = 0.3
    max_duration_s: float = 1.0


GENTLE_KICKS = Disturbance(max_lateral_acceleration_mps2=2.5, mean_interval_s=3.0)
"""For drives that are to show more than a perfect one, and still keep the lane."""


class Kicks:
    """The disturbance of one episode; ``step`` is asked once a step, with a random stream of its own."""

    def __init__(self, config: Disturbance, rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        self.wait_s, self.left_s, self.size = rng.exponential(config.mean_interval_s), 0.0, 0.0

    def step(self, dt_s: float, speed_mps: float) -> float:
        """The curvature (1/m) to add during the next step."""
        if self.left_s > 0:
            self.left_s -= dt_s
            hardest = self.config.max_lateral_acceleration_mps2 / max(speed_mps, 1.0) ** 2
            return min(max(self.size, -hardest), hardest)
        self.wait_s -= dt_s
        if self.wait_s <= 0:
            config = self.config
            self.wait_s = self.rng.exponential(config.mean_interval_s)
            self.left_s = self.rng.uniform(config.min_duration_s, config.max_duration_s)
            self.size = self.rng.uniform(-config.max_curvature_per_m, config.max_curvature_per_m)
        return 0.0
