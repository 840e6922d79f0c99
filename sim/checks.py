"""Rules for the values of settings, each with its words: one message for one kind of fault, whatever it is found in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import BadInputError, one_line


@dataclass(frozen=True)
class Number:
    """A number within limits, never infinite; its text says what is allowed.

    >>> str(Number(0, 1)), str(Number(0, is_above=True)), str(Number(1, is_whole=True))
    ('a number from 0 to 1', 'a number above 0', 'a whole number of at least 1')

    Attributes:
        least, most: limits; without ``least`` any finite number will do.
        is_above, is_below: the limit itself is not allowed.
        is_whole: it has no fraction.
    """

    least: float = -math.inf
    most: float = math.inf
    is_above: bool = False
    is_below: bool = False
    is_whole: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a value is such a number; True and False are none."""
        kinds: tuple[type, ...] = (int, np.integer) if self.is_whole else (int, float, np.integer, np.floating)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        number: Any = value
        if not (self.least <= number <= self.most and -math.inf < number < math.inf):
            return False
        return not (self.is_above and number == self.least) and not (self.is_below and number == self.most)

    def __str__(self) -> str:
        kind = "a whole number" if self.is_whole else "a number"
        least, most = (f"{limit:.15g}" if isinstance(limit, float) else str(limit) for limit in (self.least, self.most))
        if self.least == -math.inf:
            return "a finite number"
        if self.most == math.inf:
            return f"{kind} above {least}" if self.is_above else f"{kind} of at least {least}"
        first, to = (
            (f"above {least}", "and" if self.is_below else "up to") if self.is_above else (f"from {least}", "to")
        )
        return f"{kind} {first} {to} {'below ' * self.is_below}{most}"


FINITE = Number()
POSITIVE = Number(0, is_above=True)
NOT_NEGATIVE = Number(0)
SHARE = Number(0, 1)


def whole(least: int, most: float = math.inf) -> Number:
    """A whole number within limits."""
    return Number(least, most, is_whole=True)


def check_number(what: str, name: str, value: object, rule: Number) -> None:
    """``BadInputError`` for a value that a rule does not allow.

    Args:
        what: the settings that the value is of, the first word of the message.
    """
    if not rule.allows(value):
        got = one_line(value if isinstance(value, int) else repr(value))
        raise BadInputError(f"{what}: {name} must be {rule}, got {got}")


def check_numbers(what: str, config: Any, rule: Number, *names: str) -> None:
    """``check_number`` for fields of a dataclass; those of type ``... | None`` may be None."""
    types = {field.name: str(field.type) for field in dataclasses.fields(config)}
    for name in names:
        value = getattr(config, name)
        if value is not None or not types[name].endswith("None"):
            check_number(what, name, value, rule)


def check_choice(what: str, name: str, value: object, known: Iterable[str]) -> None:
    """``BadInputError`` for a value that is not among the names that are known."""
    known = tuple(known)
    if not (isinstance(value, str) and value in known):
        raise BadInputError(f"{what}: {name} must be one of {', '.join(known)}, got {one_line(repr(value))}")
