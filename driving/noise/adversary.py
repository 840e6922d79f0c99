"""Pictures changed against a network that is known, as an upper bound of what noise of that size can do.

What is changed is worked out by who holds the network (``driving.attack``); here stands how much and which way.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from driving.noise.kind import Kind
from sim.injection import Injection


class Adversary(Injection):
    """Pushes the steering to one side all episode, each grey value changed by at most ``severity`` of 255.

    Attributes:
        n_steps: of the search, for each picture.
        limit: largest change of a value, of 255.
        direction: 1 to the left, -1 to the right.
    """

    n_steps: ClassVar[int]

    def __init__(self, severity: float, rng: np.random.Generator) -> None:
        self.limit, self.direction = severity, 1.0 if rng.random() < 0.5 else -1.0


class FGSM(Adversary):
    """One step along the sign of the gradient of the steering, to one side all episode (Goodfellow et al. 2015)."""

    n_steps = 1


class PGD(Adversary):
    """Five smaller steps, each brought back within the limit, to one side all episode (Madry et al. 2018)."""

    n_steps = 5


KINDS = (
    Kind("fgsm", "adversary", FGSM, "largest change of a value, of 255", (1.0, 2.0, 4.0), 255.0, "FGSM"),
    Kind("pgd", "adversary", PGD, "largest change of a value, of 255", (1.0, 2.0, 4.0), 255.0, "PGD"),
)
