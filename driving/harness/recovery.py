"""How long a command shows a burst of noise in the state: against a shadow that was spared it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from driving.models.policy import Policy
from driving.models.stepper import Stepper
from driving.noise.memory import StateBurst
from sim.episodes import Instant

RECOVERED = 0.05
"""Share of its largest difference below which a command has recovered."""


@dataclass
class _Course:
    """Of one episode.

    Attributes:
        driver, shadow: memory (1, S) of who drives and of the shadow, as the last instant left it.
        gap_per_m, time_s: difference of the commands since the last burst began, and when; None before the first.
        end_s: time of the last burst's last instant.
        found_s: recovery after each burst that another one followed.
    """

    driver: Any
    shadow: Any = None
    is_burst: bool = False
    gap_per_m: list[float] | None = None
    time_s: list[float] = field(default_factory=list)
    end_s: float = 0.0
    found_s: list[float] = field(default_factory=list)

    def begin_burst(self) -> None:
        """What the last burst left is complete; the shadow sets out from where the driver is."""
        recovered_s = None if self.gap_per_m is None else recovery_s(self.time_s, self.gap_per_m, self.end_s)
        if recovered_s is not None:
            self.found_s.append(recovered_s)
        self.gap_per_m, self.time_s, self.shadow = [], [], self.driver

    def note(self, gap_per_m: float, time_s: float) -> None:
        """The commands of an instant differ by so much."""
        assert self.gap_per_m is not None
        self.gap_per_m.append(gap_per_m)
        self.time_s.append(time_s)
        if self.is_burst:
            self.end_s = time_s


class Recovery:
    """Watches a policy under ``state_burst`` (``sim.episode_workers.Watcher``); mean recovery of each episode, in s.

    Beside every episode runs a shadow: the same network on the same pictures, whose memory is that of the driver when
    a burst begins and has no burst. The two commands differ by the burst alone, whatever the road does.
    """

    def __init__(self, policy: Policy) -> None:
        self._stepper = Stepper(policy)
        self._initial = self._stepper.policy.initial_state(1)
        self._courses: dict[int, _Course] = {}

    def watch(self, instants: Sequence[Instant]) -> None:
        compared = []
        for instant in instants:
            course = self._courses.setdefault(instant.i_run, _Course(self._initial))
            was_burst = course.is_burst
            course.is_burst = isinstance(instant.injection, StateBurst) and instant.injection.is_burst
            if course.is_burst and not was_burst:
                course.begin_burst()
            course.driver = instant.state.unsqueeze(0)
            if course.gap_per_m is not None:
                compared.append((instant, course))
        if not compared:
            return
        commands, after = self._stepper.step(
            np.stack([instant.frame for instant, _ in compared]),
            torch.cat([course.shadow for _, course in compared]),
            np.array([instant.dt_s for instant, _ in compared], np.float32),
        )
        for k, (instant, course) in enumerate(compared):
            course.shadow = after[k : k + 1]
            course.note(abs(instant.curvature_per_m - float(commands[k])), instant.time_s)

    def latest(self, i_run: int = 0) -> tuple[bool, float] | None:
        """Whether an episode's command still shows the last burst, and how many seconds after its end it did.

        None before the first burst, and where it has not reached the command.
        """
        course = self._courses.get(i_run)
        if course is None or course.gap_per_m is None:
            return None
        so_far_s = recovery_s(course.time_s, course.gap_per_m, course.end_s)
        if so_far_s is None:
            return None
        return course.is_burst or course.gap_per_m[-1] > RECOVERED * max(course.gap_per_m), so_far_s

    def mean_s(self, i_run: int = 0) -> float | None:
        """Of all bursts of an episode that are over and recovered from, the last one too."""
        latest, course = self.latest(i_run), self._courses.get(i_run)
        found_s = [*(course.found_s if course else ()), *([latest[1]] if latest and not latest[0] else ())]
        return float(np.mean(found_s)) if found_s else None

    def result(self) -> list[float | None]:
        """Of each episode; None where no burst was followed by another, or none reached the command."""
        if not self._courses:
            return []
        courses = [self._courses.get(i_run) for i_run in range(max(self._courses) + 1)]
        return [round(float(np.mean(c.found_s)), 4) if c is not None and c.found_s else None for c in courses]


def recovery_s(time_s: Sequence[float], gap_per_m: Sequence[float], end_s: float) -> float | None:
    """Time from ``end_s`` until the gap stays within ``RECOVERED`` of its largest value; None if it is always 0.

    >>> recovery_s([0.0, 0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 0.5, 0.04, 0.03], end_s=0.1)
    0.2
    """
    gap = np.asarray(gap_per_m)
    if not len(gap) or not gap.max() > 0:
        return None
    last_s = float(np.asarray(time_s)[gap > RECOVERED * gap.max()][-1])
    step_s = (time_s[-1] - time_s[0]) / (len(time_s) - 1) if len(time_s) > 1 else 0.0
    return round(max(last_s + step_s - end_s, 0.0), 6)
