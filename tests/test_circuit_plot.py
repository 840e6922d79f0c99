import xml.etree.ElementTree as ElementTree

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.patches import Circle, FancyArrowPatch, PathPatch

from driving.circuit_plot import EXCITES, INHIBITS, LAYER_X, SUFFIXES, draw_circuit, layer_places, save_circuit
from driving.models.ltc import LTC
from driving.models.wiring import Wiring, WiringConfig, build_wiring, paper_wiring
from sim.errors import BadInputError

# Inputs 0 and 1; motor 0, command 1 and 2, inter 3 and 4. Input 0 (on top) goes to 4, so 4 comes to stand on top.
SMALL = Wiring(
    2,
    ("motor", "command", "command", "inter", "inter"),
    [[0, 4, 1], [1, 3, -1]],
    [[3, 1, 1], [4, 2, -1], [1, 0, 1], [2, 0, -1], [2, 1, 1], [1, 1, -1]],
)


def colour(patch):
    return matplotlib.colors.to_hex(patch.get_edgecolor(), keep_alpha=False).upper()


def lines_of(figure):
    return [p for p in figure.axes[0].patches if isinstance(p, (PathPatch, FancyArrowPatch))]


def test_circuit_places_are_layers_with_few_crossings():
    places = layer_places(SMALL)
    assert places["inputs"][:, 0].tolist() == [0, 0]
    assert places["neurons"][:, 0].tolist() == [LAYER_X[3], LAYER_X[2], LAYER_X[2], LAYER_X[1], LAYER_X[1]]
    y = places["neurons"][:, 1]
    assert y[4] > y[3]
    assert y[2] > y[1]  # neuron 2 hears 4 alone
    assert y[0] == 0


@pytest.mark.parametrize("wiring", [paper_wiring(), build_wiring(WiringConfig("full", n_inputs=3, n_inter=0))])
def test_circuit_places_are_all_different(wiring):
    places = layer_places(wiring)
    every = np.concatenate([places["inputs"], places["neurons"]])
    assert len(np.unique(every.round(6), axis=0)) == wiring.n_inputs + wiring.n_neurons


def test_circuit_draws_every_neuron_and_synapse():
    figure = draw_circuit(paper_wiring())
    circles = [p for p in figure.axes[0].patches if isinstance(p, Circle)]
    assert len(circles) == 32 + 19
    lines = lines_of(figure)
    assert len(lines) == 252
    wiring = paper_wiring()
    excites = np.concatenate([wiring.sensory[:, 2], wiring.synapses[:, 2]]) > 0
    assert [colour(line) for line in lines].count(EXCITES) == excites.sum()
    assert [colour(line) for line in lines].count(INHIBITS) == (~excites).sum()
    assert sum(isinstance(line, FancyArrowPatch) for line in lines) == 6  # command to command


def test_circuit_width_is_strength():
    figure = draw_circuit(SMALL, np.array([1.0, 3.0]), np.array([1.0, 2, 3, 4, 5, 6]))
    lines = lines_of(figure)
    # Weak ones first, each table on its own.
    assert [line.get_linewidth() for line in lines[:2]] == pytest.approx([1.2, 3.0])
    assert [line.get_linewidth() for line in lines[2:]] == pytest.approx([0.3 + 2.7 * k / 6 for k in range(1, 7)])
    assert [colour(line) == EXCITES for line in lines] == [True, False, True, False, True, False, True, False]


def test_circuit_colour_is_state():
    figure = draw_circuit(SMALL, states=np.array([1.0, -1.0, 0.0, 7.0, np.nan]))
    circles = [p for p in figure.axes[0].patches if isinstance(p, Circle)][2:]
    motor, low, rest, high, unknown = (matplotlib.colors.to_hex(circle.get_facecolor()).upper() for circle in circles)
    assert motor == high == EXCITES
    assert low == INHIBITS
    assert rest == unknown


def test_circuit_refuses_arrays_of_another_length():
    for arguments in ({"sensory_strength": [1.0]}, {"strength": np.ones(7)}, {"states": np.ones((1, 5))}):
        with pytest.raises(BadInputError, match=f"{next(iter(arguments))} must have the shape"):
            draw_circuit(SMALL, **arguments)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_circuit_file_is_written_whole(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    save_circuit(LTC(), path, np.linspace(-1, 1, 19), "a [title] & more")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size > 10_000
    if suffix == ".svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_circuit_needs_a_wiring_and_a_place(tmp_path):
    with pytest.raises(BadInputError, match="with a wiring"):
        save_circuit(object(), tmp_path / "c.svg")
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written"):
        save_circuit(LTC(), tmp_path / "file" / "c.svg")
