"""What goes on inside a network: the states of its neurons as colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

import cv2
import numpy as np

from driving.models.wiring import Wiring
from driving.video.canvas import (
    CARD,
    INK,
    MUTED,
    SUBPIXEL_BITS,
    Colour,
    Rectangle,
    arc,
    box,
    card,
    disc,
    mixed,
    text_width_px,
    write,
)

COLUMNS = {"inter": (0.0, 8.0), "command": (0.53, 10.0), "motor": (1.0, 14.0)}
"""By role: place across the card as a share of its width, and largest radius in pixels."""

RING_S = (0.005, 1.0)
"""Time constants at which a ring begins and is closed."""
WIRE = (44, 51, 65)
BELOW, REST, ABOVE = (74, 156, 255), (58, 66, 82), (255, 150, 64)
"""Colours of a state of -1, 0 and +1."""


def state_colour(state: float) -> Colour:
    """Blue below zero, grey at rest, orange above; full colour at +-1."""
    state = min(max(state, -1.0), 1.0) if isfinite(state) else 0.0
    return mixed(REST, ABOVE if state > 0 else BELOW, abs(state))


@lru_cache(maxsize=2)
def _state_strip(width_px: int) -> np.ndarray:
    return np.array([state_colour(2 * x / (width_px - 1) - 1) for x in range(width_px)], dtype=np.uint8)


def state_scale(canvas: np.ndarray, left: int, middle: int, width_px: int) -> None:
    """The colours of the states from -1 to +1."""
    canvas[middle - 5 : middle + 5, left : left + width_px] = _state_strip(width_px)


@dataclass(frozen=True)
class _Layout:
    """Where a circuit's parts lie in a card: ``curves`` of points (n, 2) in cv2's fixed-point pixels."""

    places: list[tuple[float, float]]
    radii_px: list[float]
    curves: list[np.ndarray]
    columns: list[tuple[str, float, int]]


@lru_cache(maxsize=8)
def _layout(width_px: int, height_px: int, wiring: Wiring) -> _Layout:
    """The parts of a circuit; made once, as they never move."""
    places, radii_px = [(0.0, 0.0)] * wiring.n_neurons, [0.0] * wiring.n_neurons
    columns = []
    for role, members in wiring.layers().items():
        if not members:
            continue
        x_share, largest_px = COLUMNS[role]
        pitch = height_px / len(members)
        radius_px = min(largest_px, 0.42 * pitch)
        x = min(max(x_share * width_px, radius_px + 3), width_px - radius_px - 3)
        columns.append((role, x, len(members)))
        for k, i in enumerate(members):
            places[i], radii_px[i] = (x, pitch * (k + 0.5)), radius_px
    curves = [_wire(places[s], places[t], radii_px[t]) for s, t, _ in wiring.synapses.tolist()]
    return _Layout(places, radii_px, curves, columns)


def _wire(start: tuple[float, float], end: tuple[float, float], radius_px: float) -> np.ndarray:
    """A curve from left to right; inside a layer an arc on its right, onto the neuron itself a small loop."""
    (x0, y0), (x1, y1) = start, end
    if start == end:
        reach = radius_px + 9
        corners = [(x0, y0), (x0 + 2 * reach, y0 - 1.6 * reach), (x0 - 0.6 * reach, y0 - 1.9 * reach), (x1, y1)]
    elif x1 > x0:
        bend = 0.4 * (x1 - x0)
        corners = [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)]
    else:
        out = max(x0, x1) + radius_px + 6 + 0.13 * abs(y1 - y0)
        corners = [(x0, y0), (out, y0), (out, y1), (x1, y1)]
    t = np.linspace(0, 1, 17)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return weights @ np.array(corners)


def liquid_circuit(
    canvas: np.ndarray,
    rectangle: Rectangle,
    neurons: np.ndarray,
    wiring: Wiring,
    strengths: np.ndarray | None = None,
    time_constants_s: np.ndarray | None = None,
) -> None:
    """The neurons in their layers, coloured by state; a synapse lights up as its source rises.

    Args:
        neurons: states (K,).
        wiring: of the circuit; a lit line is orange (excites) or blue (inhibits).
        strengths: of the synapses (R,); the stronger ones shine brighter and wider.
        time_constants_s: of the neurons (K,): how far the ring around each goes, on a scale of logarithms.
    """
    caption = f"Its {wiring.n_neurons} neurons, now"
    if time_constants_s is not None:
        low, high = (1000 * float(f(time_constants_s)) for f in (np.min, np.max))
        caption = f"{wiring.n_neurons} neurons, τ {low:.0f} to {high:.0f} ms"
    left, top, width, height = card(canvas, rectangle, caption)
    layout, synapses = _layout(width, height - 20, wiring), wiring.synapses
    lit = np.clip(np.nan_to_num(neurons), 0, 1)[synapses[:, 0]]
    share = np.ones(len(synapses))
    if strengths is not None and len(strengths):
        share = 0.25 + 0.75 * np.sqrt(strengths / max(float(np.max(strengths)), 1e-12))
    glow = lit * share
    for r in np.argsort(glow, kind="stable"):
        colour = mixed(WIRE, ABOVE if synapses[r, 2] > 0 else BELOW, 0.9 * float(glow[r]))
        points = np.round((layout.curves[r] + (left, top)) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        wide = 2 if glow[r] > 0.5 else 1
        cv2.polylines(canvas, [points], False, colour, wide, cv2.LINE_AA, SUBPIXEL_BITS)
    for state, (x, y), radius_px in zip(neurons, layout.places, layout.radii_px, strict=True):
        disc(canvas, (left + x, top + y), radius_px + 2, CARD)
        disc(canvas, (left + x, top + y), radius_px, state_colour(float(state)))
    if time_constants_s is not None:
        first, last = (float(np.log(end_s)) for end_s in RING_S)
        for tau_s, (x, y), radius_px in zip(time_constants_s, layout.places, layout.radii_px, strict=True):
            closed = float(np.clip((np.log(max(tau_s, 1e-6)) - first) / (last - first), 0, 1))
            arc(canvas, (left + x, top + y), radius_px + 2, 0.0, -2 * np.pi * closed, INK, 1)
    for role, x, n in layout.columns:
        name = "steer" if role == "motor" else f"{n} {role}"
        half = text_width_px(name, 12) / 2
        middle = min(max(x, half), width - half)
        write(canvas, name, left + middle, top + height - 2, 12, MUTED, anchor="centre")


def hidden_units(canvas: np.ndarray, rectangle: Rectangle, hidden: np.ndarray, note: str) -> None:
    """The hidden units of a network that is no circuit as a grid of cells, coloured by state; ``note`` below them."""
    n = len(hidden)
    left, top, width, height = card(canvas, rectangle, f"Its {n} hidden units, now")
    n_columns = int(np.ceil(np.sqrt(n)))
    n_rows = int(np.ceil(n / n_columns))
    area = height - 18
    pitch = min(width / n_columns, area / n_rows)
    x0, y0 = left + (width - pitch * n_columns) / 2, top + (area - pitch * n_rows) / 2
    for i, state in enumerate(hidden):
        row, column = divmod(i, n_columns)
        box(
            canvas, x0 + column * pitch, y0 + row * pitch, pitch - 3, pitch - 3, state_colour(float(state)), radius_px=4
        )
    write(canvas, note, left + width / 2, top + height - 2, 12, MUTED, anchor="centre", max_width_px=width)
