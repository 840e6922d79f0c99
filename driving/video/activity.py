"""What goes on inside a network: the states of its neurons as colours."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite

import numpy as np

from driving.video.canvas import CARD, MUTED, Colour, Rectangle, box, card, disc, line, mixed, write

N_MOTOR, N_COMMAND, N_INTER = 1, 6, 12
"""Neurons of the liquid circuit, in the order of its state: motor, command, inter."""

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


def liquid_circuit(
    canvas: np.ndarray, rectangle: Rectangle, neurons: np.ndarray, synapses: np.ndarray
) -> None:
    """The 19 neurons in their three layers, coloured by state; a synapse lights up as its source rises.

    Args:
        neurons: states (19,): motor, 6 command, 12 inter.
        synapses: (R, 3) of source, target, polarity; a lit line is orange (excites) or blue (inhibits).
    """
    left, top, width, height = card(canvas, rectangle, "Its 19 neurons, now")
    bottom = top + height - 18
    places: list[tuple[float, float]] = []
    columns = ((width - 14, N_MOTOR), (width * 0.56, N_COMMAND), (10, N_INTER))
    for x, n in columns:
        places += [(left + x, top + 4 + (bottom - top - 8) * (i + 0.5) / n) for i in range(n)]
    lit = np.clip(np.nan_to_num(neurons), 0, 1)
    for source, target, polarity in sorted(synapses.tolist(), key=lambda synapse: lit[synapse[0]]):
        colour = mixed((44, 51, 65), ABOVE if polarity > 0 else BELOW, 0.75 * float(lit[source]))
        if source == target:
            x, y = places[source]
            disc(canvas, (x + 6, y - 9), 7, colour, 1)
        else:
            line(canvas, places[source], places[target], colour)
    for i, place in enumerate(places):
        radius_px = 13 if i < N_MOTOR else 9 if i < N_MOTOR + N_COMMAND else 6.5
        disc(canvas, place, radius_px + 2, CARD)
        disc(canvas, place, radius_px, state_colour(float(neurons[i])))
    for (x, _), name in zip(columns, ("steer", "6 command", "12 inter"), strict=True):
        anchor = {"steer": "right", "6 command": "centre", "12 inter": "left"}[name]
        edge = {"steer": width, "6 command": x, "12 inter": 0}[name]
        write(canvas, name, left + edge, top + height - 2, 12, MUTED, anchor=anchor)


def hidden_units(canvas: np.ndarray, rectangle: Rectangle, hidden: np.ndarray) -> None:
    """The hidden units of a recurrent network as a grid of cells, coloured by state."""
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
            canvas,
            x0 + column * pitch,
            y0 + row * pitch,
            pitch - 3,
            pitch - 3,
            state_colour(float(state)),
            radius_px=4,
        )
    write(
        canvas,
        "each wired to every other",
        left + width / 2,
        top + height - 2,
        12,
        MUTED,
        anchor="centre",
        max_width_px=width,
    )
