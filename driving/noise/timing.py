"""Pictures that come late, twice, irregularly or never."""

from __future__ import annotations

from collections import deque

import numpy as np

from driving.noise.kind import Kind
from sim.injection import Injection

MAX_FRAMES_LOST = 200
"""In a row; then one comes through."""


class DroppedFrames(Injection):
    """A share ``severity`` of the pictures is lost: the last command stays, and the driver is told how long it was."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._share, self._rng, self._is_first, self._n_lost = severity, rng, True, 0

    def arrives(self, dt_s: float) -> bool:
        is_lost = self._rng.random() < self._share and not self._is_first and self._n_lost < MAX_FRAMES_LOST
        self._is_first, self._n_lost = False, self._n_lost + 1 if is_lost else 0
        return not is_lost


class FrozenFrames(Injection):
    """A share ``severity`` of the pictures is the one before, shown again."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._share, self._rng = severity, rng
        self._last: np.ndarray | None = None

    def see(self, frame: np.ndarray) -> np.ndarray:
        if self._rng.random() >= self._share or self._last is None:
            self._last = frame
        return self._last.copy()


class LateFrames(Injection):
    """Every picture is seen ``severity`` seconds later."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._late_s, self._now_s = severity, 0.0
        self._seen: deque[tuple[float, np.ndarray]] = deque()

    def arrives(self, dt_s: float) -> bool:
        self._now_s += dt_s
        return True

    def see(self, frame: np.ndarray) -> np.ndarray:
        self._seen.append((self._now_s, frame))
        while len(self._seen) > 1 and self._seen[1][0] <= self._now_s - self._late_s + 1e-9:
            self._seen.popleft()
        return self._seen[0][1].copy()


class JitteredRate(Injection):
    """Pictures come at irregular times: after each, a Poisson number of mean ``severity`` of them is left out; the
    driver is told the true time step."""

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self._mean, self._rng, self._to_skip = severity, rng, 0

    def arrives(self, dt_s: float) -> bool:
        if self._to_skip > 0:
            self._to_skip -= 1
            return False
        self._to_skip = min(int(self._rng.poisson(self._mean)), MAX_FRAMES_LOST)
        return True


class JitteredRateUntold(JitteredRate):
    """As with jitter, and the driver is told the world's regular time step all the same."""

    def told_dt_s(self, dt_s: float, since_last_s: float) -> float:
        return dt_s


KINDS = (
    Kind("dropped", "time", DroppedFrames, "share of the pictures", (0.3, 0.6, 0.8), 1.0),
    Kind("frozen", "time", FrozenFrames, "share of the pictures", (0.3, 0.6, 0.8), 1.0),
    Kind("late", "time", LateFrames, "seconds", (0.05, 0.15, 0.3), 10.0),
    Kind("jitter", "time", JitteredRate, "pictures left out, on average", (0.5, 1.5, 3.0), 100.0),
    Kind("jitter_untold", "time", JitteredRateUntold, "pictures left out, on average", (0.5, 1.5, 3.0), 100.0),
)
