"""Rules for the values of settings."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from sim.checks import FINITE, NOT_NEGATIVE, POSITIVE, SHARE, Number, check_choice, check_number, check_numbers, whole
from sim.errors import BadInputError

RULES = [
    (FINITE, "a finite number", [-1e300, 0, 10**400 * 0], [math.inf, -math.inf, math.nan]),
    (POSITIVE, "a number above 0", [1e-9, 3, np.float32(0.5)], [0, -1, math.nan, math.inf]),
    (NOT_NEGATIVE, "a number of at least 0", [0, 0.5, np.int64(3)], [-1e-9, math.nan, math.inf]),
    (SHARE, "a number from 0 to 1", [0, 0.5, 1], [-0.1, 1.1, math.nan]),
    (Number(0, 3600, is_above=True), "a number above 0 up to 3600", [0.1, 3600], [0, 3600.1]),
    (Number(0, 1, is_below=True), "a number from 0 to below 1", [0, 0.99], [1, -0.1]),
    (Number(0, 1, is_above=True, is_below=True), "a number above 0 and below 1", [1e-9, 0.99], [0, 1]),
    (Number(2.4, 5.0), "a number from 2.4 to 5", [2.4, 5], [2.3, 5.1]),
    (whole(1), "a whole number of at least 1", [1, np.int64(7)], [0, 1.0, -3]),
    (whole(0, 2**63 - 1), "a whole number from 0 to 9223372036854775807", [0, 2**63 - 1], [2**63, 10**400]),
]


@pytest.mark.parametrize(("rule", "words", "good", "bad"), RULES, ids=[row[1] for row in RULES])
def test_checks_tell_what_is_allowed(rule, words, good, bad):
    assert str(rule) == words
    for value in good:
        check_number("training", "rate", value, rule)
    for value in (*bad, True, "1", None, [1], 1 + 0j):
        with pytest.raises(BadInputError, match=f"^training: rate must be {words}, got "):
            check_number("training", "rate", value, rule)


def test_checks_of_fields_allow_none_by_their_type():
    @dataclass
    class Settings:
        height_m: "float" = 1.0
        limit_m: "float | None" = 2.0
        reach_m: "float | None" = None

    check_numbers("car", Settings(limit_m=None), POSITIVE, "height_m", "limit_m", "reach_m")
    with pytest.raises(BadInputError, match=r"^car: height_m must be a number above 0, got None$"):
        check_numbers("car", Settings(height_m=None), POSITIVE, "limit_m", "height_m")
    with pytest.raises(BadInputError, match=r"^car: reach_m must be a number above 0, got -1$"):
        check_numbers("car", Settings(reach_m=-1), POSITIVE, "limit_m", "reach_m")


@pytest.mark.parametrize("value", ["c", None, 1, ["a"], "a\nb"])
def test_checks_of_names_list_them(value):
    check_choice("policy", "core", "b", {"a": 1, "b": 2})
    with pytest.raises(BadInputError, match=r"^policy: core must be one of a, b, got ") as caught:
        check_choice("policy", "core", value, {"a": 1, "b": 2})
    assert "\n" not in str(caught.value)


def test_checks_shorten_what_is_too_long_to_show():
    with pytest.raises(BadInputError, match="got a number too large to be shown"):
        check_number("training", "seed", 10**5000, whole(0, 9))
