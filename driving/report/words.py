"""Names and numbers as they stand on the page."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

Figures = Mapping[str, Any]
"""The dictionary of ``driving.report``, or a part of it."""


def policy_titles(figures: Figures) -> dict[str, str]:
    """Title of each policy, in the order of the figures."""
    return {entry["policy"]: entry["title"] for entry in figures["drive"]}


def number(value: float | None, form: str) -> str:
    """The formatted value, or a dash where it is not known."""
    return "–" if value is None or not isfinite(value) else form.format(value)
