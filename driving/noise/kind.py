"""What every kind of noise is made of: a function of one frame, or an injection into an episode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.injection import Injection

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""``f(frame, severity, rng) -> frame``: uint8 (H, W, 3), the argument is left as it was, severity 0 is the identity.

The ``rng`` belongs to the sweep, never to the world; what stays the same through an episode comes from its seed.
"""
HENDRYCKS_UNIT = "severity 1 to 5"
LEVELS = ("mild", "middle", "strong")


@dataclass(frozen=True)
class Kind:
    """One kind of noise.

    Attributes:
        name: as it is asked for.
        group: which part of the car is disturbed.
        make: a ``Corruption``, or a class of ``Injection`` that takes ``(severity, rng)``.
        unit: of the severity, in words.
        levels: severities that are mild, middle and strong.
        most: largest severity that is accepted.
        words: its name in words, where that is another one.
    """

    name: str
    group: str
    make: Corruption | type[Injection]
    unit: str
    levels: tuple[float, float, float]
    most: float
    words: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether it changes pictures one by one."""
        return not isinstance(self.make, type)

    @property
    def text(self) -> str:
        """What it is, in a sentence."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @property
    def title(self) -> str:
        """Its name in words.

        >>> Kind("dead_rows", "sensor", lambda f, s, r: f, "share", (0.1, 0.2, 0.3), 1.0).title
        'Dead rows'
        """
        return self.words or self.name.replace("_", " ").capitalize()


def hendrycks(name: str, group: str, make: Corruption) -> Kind:
    """One of the fifteen of Hendrycks and Dietterich 2019, severities 1 to 5; 0 is the identity, and between the
    whole ones the parameters run linearly."""
    return Kind(name, group, make, HENDRYCKS_UNIT, (1.0, 3.0, 5.0), 5.0)


HENDRYCKS_PX = 224.0
"""Height of their pictures: lengths in pixels are scaled by a picture's height, so that the same share is changed."""
