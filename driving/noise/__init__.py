"""The noise harness's injections: what goes wrong with a camera, its timing, a steering or a memory.

A noise is named ``NAME:SEVERITY``; ``mild``, ``middle`` and ``strong`` are severities of every kind. One file a group;
a new kind is one function or class, and its line in ``KINDS`` of its file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driving.noise import actuator, adversary, blur, digital, geometry, memory, occlusion, sensor, timing, weather
from driving.noise.kind import HENDRYCKS_UNIT, LEVELS, Corruption, Kind
from sim.errors import BadInputError
from sim.injection import Injection

_GROUPS = (sensor, blur, digital, weather, occlusion, geometry, timing, actuator, memory, adversary)
KINDS: dict[str, Kind] = {kind.name: kind for group in _GROUPS for kind in group.KINDS}
CLEAN = "none:0"
"""Name of the clean picture beside those of noises."""
ALL = "all"
"""All groups of noises together."""
STREAM = 7
"""Key of the noise's random stream beside the episode's seed."""


@dataclass(frozen=True)
class Noise:
    """A kind of noise at one severity; called with an episode's seed, it makes what is injected there.

    Attributes:
        name: in ``KINDS``.
        severity: 0, which changes nothing, to the kind's most.
    """

    name: str
    severity: float

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise BadInputError(f"noise: expected one of {', '.join(KINDS)}, got {self.name!r}")
        if not 0 <= self.severity <= self.kind.most:
            raise BadInputError(
                f"noise: expected a severity of {self.name} from 0 to {self.kind.most:g} ({self.kind.unit}), got "
                f"{self.severity}"
            )

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    def __call__(self, seed: int) -> Injection:
        """What is injected into the episode of ``seed``; the same every time."""
        rng = np.random.default_rng([seed, STREAM])
        make = self.kind.make
        return make(self.severity, rng) if isinstance(make, type) else _Pictures(make, self.severity, rng)

    def __str__(self) -> str:
        return f"{self.name}:{self.severity:g}"


class _Pictures(Injection):
    """A corruption of every picture of an episode."""

    def __init__(self, corrupt: Corruption, severity: float, rng: np.random.Generator) -> None:
        self._corrupt, self._severity, self._rng = corrupt, severity, rng

    def see(self, frame: np.ndarray) -> np.ndarray:
        return self._corrupt(frame, self._severity, self._rng)


def parse_noise(text: str | None) -> Noise | None:
    """``NAME:SEVERITY`` -> Noise; None or ``none`` -> None.

    >>> str(parse_noise("gaussian:0.1")), str(parse_noise("fog:strong"))
    ('gaussian:0.1', 'fog:5')
    """
    if text is None or text == "none":
        return None
    name, _, severity = text.partition(":")
    if severity in LEVELS and name in KINDS:
        return Noise(name, KINDS[name].levels[LEVELS.index(severity)])
    try:
        return Noise(name, float(severity))
    except ValueError as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(
            f"noise: expected NAME:SEVERITY such as gaussian:0.1 or gaussian:{LEVELS[0]}, got {text!r}"
        ) from None


def parse_noises(texts: list[str]) -> list[Noise | None]:
    """Noises in the order given, each once: ``none``, ``NAME:SEVERITY``, ``NAME`` for its three levels, a group's name
    for all of its kinds, or ``all``; of a group and of all one level alone as ``GROUP:LEVEL``.

    >>> [str(noise) for noise in parse_noises(["none", "blur", "geometry:middle"])][:5]
    ['None', 'blur:1', 'blur:2', 'blur:4', 'pitch:2']
    """
    noises: dict[Noise | None, None] = {}
    for text in texts:
        name, _, level = text.partition(":")
        kinds = [kind for kind in KINDS.values() if name in (ALL, kind.name)]
        kinds = kinds or [kind for kind in KINDS.values() if kind.group == name]
        levels = LEVELS if text == name else [level] if level in LEVELS else []
        if kinds and levels:
            noises |= {Noise(kind.name, kind.levels[LEVELS.index(level)]): None for kind in kinds for level in levels}
        elif name not in KINDS and name != "none":
            groups = dict.fromkeys(kind.group for kind in KINDS.values())
            raise BadInputError(
                f"noise: expected NAME:SEVERITY, all, a group ({', '.join(groups)}), either with a level "
                f"({', '.join(LEVELS)}) or none, or one of {', '.join(KINDS)}; got {text!r}"
            )
        else:
            noises[parse_noise(text)] = None
    return list(noises)


def condition_of(noise: Noise | None) -> str:
    """``NAME:SEVERITY``, as sweeps name what an episode was driven under; ``CLEAN`` without noise."""
    return CLEAN if noise is None else str(noise)


def noise_title(noise: Noise | str | None) -> str:
    """Words for a noise, or for its name in figures.

    >>> noise_title(Noise("salt_pepper", 0.1)), noise_title("fog:3"), noise_title("none")
    ('Salt and pepper 0.1', 'Fog, severity 3', 'Clean picture')
    """
    name, _, severity = str(noise).partition(":")
    if noise is None or name == "none":
        return "Clean picture"
    if name not in KINDS:  # in figures of another version
        return f"{name.capitalize()} {severity}"
    kind = KINDS[name]
    return f"{kind.title}{', severity' if kind.unit == HENDRYCKS_UNIT else ''} {severity}"
