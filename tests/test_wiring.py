import json

import numpy as np
import pytest

from driving.models.wiring import Wiring, paper_wiring
from sim.errors import BadInputError

TINY = {
    "n_inputs": 2,
    "role": ["motor", "command", "inter"],
    "sensory": [[0, 2, 1], [1, 2, -1]],
    "synapses": [[2, 1, 1], [1, 1, -1], [1, 0, 1]],
}


def test_wiring_paper_circuit_has_the_counts_of_the_paper():
    wiring = paper_wiring()
    assert (wiring.n_inputs, wiring.n_neurons, wiring.n_motor, wiring.n_synapses) == (32, 19, 1, 252)
    assert {role: wiring.role.count(role) for role in wiring.role} == {"motor": 1, "command": 6, "inter": 12}
    role = np.array(wiring.role)
    pairs = list(zip(role[wiring.synapses[:, 0]], role[wiring.synapses[:, 1]], strict=True))
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    assert counts == {("inter", "command"): 48, ("command", "command"): 6, ("command", "motor"): 6}
    assert len(wiring.sensory) == 192
    assert set(role[wiring.sensory[:, 1]]) == {"inter"}


def test_wiring_paper_circuit_has_the_fan_out_of_its_generator():
    wiring = paper_wiring()
    assert (np.bincount(wiring.sensory[:, 0], minlength=32) == 6).all()
    from_inter = wiring.synapses[wiring.synapses[:, 0] >= 7]
    assert (np.bincount(from_inter[:, 0], minlength=19)[7:] == 4).all()


def test_wiring_dict_round_trip_through_json():
    for wiring in (paper_wiring(), Wiring.from_dict(TINY)):
        again = Wiring.from_dict(json.loads(json.dumps(wiring.to_dict())))
        assert again.to_dict() == wiring.to_dict()
    assert Wiring.from_dict(TINY).to_dict() == TINY


def test_wiring_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        paper_wiring().synapses[0, 0] = 5


def test_wiring_may_have_no_synapse_between_neurons():
    assert Wiring(1, ("motor",), [[0, 0, 1]], []).n_synapses == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": ["motor", "boss", "inter"]}, "got boss"),
        ({"role": ["command", "command", "inter"]}, "motor"),
        ({"sensory": [[2, 2, 1]]}, r"source in sensory must be in 0\.\.1"),
        ({"sensory": [[0, 3, 1]]}, r"target in sensory must be in 0\.\.2"),
        ({"synapses": [[-1, 0, 1]]}, "source in synapses"),
        ({"synapses": [[1, 0, 2]]}, "polarity"),
        ({"synapses": [[1, 0, 0]]}, "polarity"),
        ({"synapses": [[1, 0, 1], [1, 0, -1]]}, "twice"),
        ({"synapses": [[1, 0]]}, "table"),
        ({"synapses": [[1.5, 0, 1]]}, "whole numbers"),
        ({"synapses": [[1, 0, 1], [1, 0]]}, "rows"),
        ({"more": 1}, "keys"),
    ],
)
def test_wiring_rejects_what_is_no_circuit(change, message):
    with pytest.raises(BadInputError, match=message):
        Wiring.from_dict(TINY | change)
