"""A steering that does not do what it is told."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from driving.noise.kind import Kind
from sim.injection import Injection

FULL_LOCK_PER_M = 0.1
"""What a rate of turning is measured against."""


class Delay(Injection):
    """Commands are executed ``severity`` seconds later."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._delay_s, self._now_s = severity, 0.0
        self._given: deque[tuple[float, float]] = deque()

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        if self._delay_s == 0:
            return curvature_per_m
        self._given.append((self._now_s, curvature_per_m))
        while len(self._given) > 1 and self._given[1][0] <= self._now_s - self._delay_s + 1e-9:
            self._given.popleft()
        due_s, curvature = self._given[0]
        is_due = due_s <= self._now_s - self._delay_s + 1e-9
        self._now_s += dt_s
        return curvature if is_due else 0.0


class Gain(Injection):
    """The wheels turn ``severity`` of the command too far or, as often, too little by the same factor."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._factor = 1 + severity if rng.random() < 0.5 else 1 / (1 + severity)

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        return self._factor * curvature_per_m


class Bias(Injection):
    """The steering pulls to one side by ``severity`` 1/m."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._bias_per_m = severity if rng.random() < 0.5 else -severity

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        return curvature_per_m + self._bias_per_m


class Backlash(Injection):
    """Play of ``severity`` 1/m in all: the wheels follow only when the play is used up."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._half_per_m, self._wheels_per_m = severity / 2, 0.0

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        low, high = curvature_per_m - self._half_per_m, curvature_per_m + self._half_per_m
        self._wheels_per_m = min(max(self._wheels_per_m, low), high)
        return self._wheels_per_m


class DeadBand(Injection):
    """Commands of up to ``severity`` 1/m do nothing, larger ones lose as much."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._band_per_m = severity

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        return math.copysign(max(abs(curvature_per_m) - self._band_per_m, 0.0), curvature_per_m)


class RateLimit(Injection):
    """The wheels take ``severity`` seconds to turn by 0.1 1/m."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._seconds = severity
        self._wheels_per_m: float | None = None

    def execute(self, curvature_per_m: float, dt_s: float) -> float:
        if self._seconds == 0 or self._wheels_per_m is None:
            self._wheels_per_m = curvature_per_m
        else:
            step = FULL_LOCK_PER_M * dt_s / self._seconds
            self._wheels_per_m += min(max(curvature_per_m - self._wheels_per_m, -step), step)
        return self._wheels_per_m


KINDS = (
    Kind("delay", "actuator", Delay, "seconds", (0.05, 0.15, 0.3), 10.0),
    Kind("gain", "actuator", Gain, "share of the command", (0.2, 0.5, 1.0), 20.0),
    Kind("bias", "actuator", Bias, "1/m", (0.001, 0.003, 0.008), 0.1),
    Kind("backlash", "actuator", Backlash, "1/m", (0.002, 0.006, 0.015), 0.2),
    Kind("dead_band", "actuator", DeadBand, "1/m", (0.001, 0.003, 0.008), 0.1),
    Kind("rate_limit", "actuator", RateLimit, "seconds for 0.1 1/m", (1.0, 4.0, 10.0), 1000.0),
)
