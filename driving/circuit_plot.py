"""The circuit of a policy as a picture: neurons in layers, synapses by sign and strength."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, PathPatch
from matplotlib.path import Path as Curve

from driving.models.wiring import Wiring
from sim.errors import BadInputError
from sim.files import new_file

EXCITES, INHIBITS = "#D55E00", "#0072B2"
"""Vermillion and blue of Okabe and Ito, told apart by all kinds of colour vision; inhibition is dashed as well."""
INK, MUTED, BODY = "#1b1f27", "#5d6675", "#f1f3f6"
STATE_COLOURS = LinearSegmentedColormap.from_list("state", [INHIBITS, "#f4f4f4", EXCITES])
DASHES = (0, (4, 1.6))
LAYERS = ("sensory", "inter", "command", "motor")
LAYER_X = (0.0, 5.0, 9.6, 13.6)
RADIUS = {"sensory": 0.16, "inter": 0.3, "command": 0.37, "motor": 0.5}
HEIGHT = 12.0
SUFFIXES = (".svg", ".png", ".pdf")


def layer_places(wiring: Wiring) -> dict[str, np.ndarray]:
    """Place (x, y) of each input and, by role, of each neuron, in the order of the state; y grows upwards."""
    places = np.zeros((wiring.n_neurons, 2))
    inputs = np.column_stack([np.zeros(wiring.n_inputs), _spread(wiring.n_inputs)])
    for (_, members), x in zip(wiring.layers().items(), LAYER_X[1:], strict=True):
        places[members] = np.column_stack([np.full(len(members), x), _spread(len(members))])
    return {"inputs": inputs, "neurons": places}


def _spread(n: int) -> np.ndarray:
    """Heights of n places, top to bottom, evenly."""
    return HEIGHT / 2 - HEIGHT * (np.arange(n) + 0.5) / max(n, 1)


def draw_circuit(
    wiring: Wiring,
    sensory_strength: np.ndarray | None = None,
    strength: np.ndarray | None = None,
    states: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """The circuit, inputs to the left and motor neurons to the right.

    Args:
        wiring: who listens to whom.
        sensory_strength, strength: w of each synapse, (S,) and (R,), as the width of its line; default: all alike.
        states: of the neurons (K,), as their colour.
        title: over the picture.

    Raises:
        BadInputError: an array of another length.
    """
    for what, values, n in (
        ("sensory_strength", sensory_strength, len(wiring.sensory)),
        ("strength", strength, len(wiring.synapses)),
        ("states", states, wiring.n_neurons),
    ):
        if values is not None and np.shape(values) != (n,):
            raise BadInputError(f"circuit: {what} must have the shape ({n},), got {np.shape(values)}")
    figure = Figure(figsize=(12, 10), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.07, 0.96, 0.86))
    axes.set_xlim(-0.9, 14.4)
    axes.set_ylim(-HEIGHT / 2 - 0.1, HEIGHT / 2 + 0.75)
    axes.set_aspect("equal")
    axes.axis("off")
    places = layer_places(wiring)
    for table, sources, weights, alpha in (
        (wiring.sensory, places["inputs"], sensory_strength, 0.45),
        (wiring.synapses, places["neurons"], strength, 0.85),
    ):
        _synapses(axes, table, sources, places["neurons"], wiring.role, weights, alpha)
    _neurons(axes, wiring, places, states)
    _words(figure, axes, wiring, title, states is not None, strength is not None)
    return figure


def _widths(n: int, strength: np.ndarray | None) -> np.ndarray:
    """Line widths in points, 0.3 to 3, by strength against the strongest synapse of the table."""
    if strength is None or not n:
        return np.ones(n)
    return 0.3 + 2.7 * np.asarray(strength) / max(float(np.max(strength)), 1e-12)


def _synapses(
    axes: Axes,
    table: np.ndarray,
    sources: np.ndarray,
    targets: np.ndarray,
    role: tuple[str, ...],
    strength: np.ndarray | None,
    alpha: float,
) -> None:
    widths = _widths(len(table), strength)
    for r in np.argsort(widths):  # the strong ones on top
        source, target, polarity = table[r]
        start, end = sources[source], targets[target]
        style: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": EXCITES if polarity > 0 else INHIBITS,
            "linewidth": float(widths[r]),
            "linestyle": "-" if polarity > 0 else DASHES,
            "alpha": alpha,
            "zorder": 1,
        }
        if end[0] > start[0]:
            bend = np.array([0.45 * (end[0] - start[0]), 0.0])
            axes.add_patch(PathPatch(_curve(start, start + bend, end - bend, end), **style))
        else:
            path = _way_back(start, end, RADIUS[role[source]], RADIUS[role[target]])
            head = f"-|>,head_length={3 + widths[r]},head_width={1.5 + 0.5 * widths[r]}"
            style["facecolor"] = style["edgecolor"]
            axes.add_patch(FancyArrowPatch(path=path, arrowstyle=head, mutation_scale=1, **style))


def _curve(*corners: np.ndarray) -> Curve:
    return Curve([tuple(corner) for corner in corners], [Curve.MOVETO] + 3 * [Curve.CURVE4])


def _way_back(start: np.ndarray, end: np.ndarray, r_start: float, r_end: float) -> Curve:
    """An arc on the right of a layer, rim to rim; onto the neuron itself a loop above it."""
    if np.allclose(start, end):
        feet = [end + r_end * np.array([side * 0.6, 0.8]) for side in (1, -1)]
        far = [end + r_end * np.array([side * 1.6, 2.6]) for side in (1, -1)]
        return _curve(feet[0], far[0], far[1], feet[1])
    above = 1.0 if start[1] > end[1] else -1.0
    out = max(start[0], end[0]) + 0.75 + 0.17 * abs(start[1] - end[1])
    foot = end + r_end * np.array([0.85, 0.53 * above])
    rim = start + np.array([r_start, 0.0])
    return _curve(rim, np.array([out, start[1]]), np.array([out, foot[1]]), foot)


def _neurons(axes: Axes, wiring: Wiring, places: dict[str, np.ndarray], states: np.ndarray | None) -> None:
    norm = Normalize(-1, 1, clip=True)
    for i, (x, y) in enumerate(places["inputs"]):
        radius = min(RADIUS["sensory"], 0.42 * HEIGHT / wiring.n_inputs)
        axes.add_patch(Circle((x, y), radius, facecolor=BODY, edgecolor=MUTED, linewidth=0.7, zorder=2))
        if wiring.n_inputs <= 40:
            axes.text(x - 0.3, y, str(i), ha="right", va="center", fontsize=7, color=MUTED)
    for i, (x, y) in enumerate(places["neurons"]):
        n_layer = wiring.role.count(wiring.role[i])
        radius = min(RADIUS[wiring.role[i]], 0.42 * HEIGHT / n_layer)
        colour = BODY if states is None else STATE_COLOURS(norm(float(np.nan_to_num(states[i]))))
        axes.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor=INK, linewidth=1.0, zorder=2))
        dark = states is not None and abs(float(np.nan_to_num(states[i]))) > 0.6
        if n_layer <= 32:
            ink = "white" if dark else INK
            axes.text(x, y, str(i), ha="center", va="center", fontsize=8, color=ink, zorder=3)


def _words(figure: Figure, axes: Axes, wiring: Wiring, title: str, has_states: bool, has_strength: bool) -> None:
    counts = (wiring.n_inputs, *(wiring.role.count(layer) for layer in LAYERS[1:]))
    for layer, x, n in zip(LAYERS, LAYER_X, counts, strict=True):
        if n:
            axes.text(x, HEIGHT / 2 + 0.3, f"{n} {layer}", ha="center", fontsize=11, color=INK, weight="bold")
    figure.text(0.5, 0.965, title, ha="center", va="center", fontsize=13, color=INK)
    handles = [
        Line2D([], [], color=EXCITES, label="excites"),
        Line2D([], [], color=INHIBITS, linestyle=DASHES, label="inhibits"),
    ]
    if has_strength:
        # The sensory synapses and the others have a scale each: one side would vanish beside the other.
        handles.append(Line2D([], [], color=MUTED, linewidth=3, label="strong (w)"))
        handles.append(Line2D([], [], color=MUTED, linewidth=0.5, label="weak"))
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.03, 0.01), ncols=4, frameon=False, fontsize=9)
    if has_states:
        bar = figure.add_axes((0.74, 0.035, 0.2, 0.014))
        mappable = ScalarMappable(Normalize(-1, 1), STATE_COLOURS)
        figure.colorbar(mappable, cax=bar, orientation="horizontal", ticks=[-1, 0, 1])
        bar.set_title("state of the neuron", fontsize=8, color=MUTED, pad=3)
        bar.tick_params(labelsize=7)


def _strength(core: object, name: str) -> np.ndarray | None:
    w = getattr(core, name, None)
    return w.detach().cpu().numpy() if isinstance(w, torch.Tensor) else None


def save_circuit(core: object, path: Path, states: np.ndarray | None = None, title: str = "") -> None:
    """Draw the circuit of a core that has a ``wiring`` into a file, .svg, .png or .pdf.

    Args:
        core: of a policy; where it has ``w`` and ``sensory_w`` (the liquid circuit) they are the widths.
        states: of the neurons (K,).

    Raises:
        BadInputError: a core without a wiring, another suffix, or a place that cannot be written.
    """
    wiring = getattr(core, "wiring", None)
    if not isinstance(wiring, Wiring):
        raise BadInputError(f"circuit: expected a policy with a wiring, got the core {type(core).__name__}")
    if path.suffix not in SUFFIXES:
        raise BadInputError(f"circuit: expected a name ending in {', '.join(SUFFIXES)}, got {path.name!r}")
    figure = draw_circuit(wiring, _strength(core, "sensory_w"), _strength(core, "w"), states, title)
    with new_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130)
