import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ncps.wirings import NCP

from driving.models.wiring import KINDS, Wiring, WiringConfig, build_wiring, paper_wiring
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


ODD = {"n_inputs": 7, "n_inter": 5, "n_command": 4, "n_motor": 3}


def pairs(table):
    return {tuple(row) for row in table[:, :2].tolist()}


def test_wiring_config_without_settings_is_the_paper_circuit():
    assert build_wiring(WiringConfig()).to_dict() == paper_wiring().to_dict()


@pytest.mark.parametrize("kind", ["ncp", "full", "random"])
def test_wiring_depends_on_its_seed_alone(kind):
    first, again, other = (build_wiring(WiringConfig(kind, seed=seed)) for seed in (5, 5, 6))
    assert first.to_dict() == again.to_dict()
    assert first.to_dict() != other.to_dict()


@pytest.mark.parametrize("seed", range(5))
def test_wiring_ncp_with_the_numbers_of_the_paper_has_its_counts(seed):
    wiring, paper = build_wiring(WiringConfig("ncp", seed=seed)), paper_wiring()
    assert wiring.role == paper.role
    assert (len(wiring.sensory), len(wiring.synapses)) == (len(paper.sensory), len(paper.synapses))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**40))
def test_wiring_ncp_is_layered_and_leaves_no_neuron_out(data, seed):
    n_inputs, n_inter, n_command, n_motor = (data.draw(st.integers(1, 9)) for _ in range(4))
    config = WiringConfig(
        "ncp", n_inputs, n_inter, n_command, n_motor,
        sensory_fanout=data.draw(st.integers(1, n_inter)),
        inter_fanout=data.draw(st.integers(1, n_command)),
        n_recurrent=data.draw(st.integers(0, n_command**2)),
        motor_fanin=data.draw(st.integers(1, n_command)),
        seed=seed,
    )  # fmt: skip
    wiring = build_wiring(config)
    role = np.array(wiring.role)
    assert set(wiring.sensory[:, 1]) == set(np.flatnonzero(role == "inter"))  # each inter neuron is reached
    assert (np.bincount(wiring.sensory[:, 0], minlength=n_inputs) >= config.sensory_fanout).all()
    kinds = list(zip(role[wiring.synapses[:, 0]], role[wiring.synapses[:, 1]], strict=True))
    assert set(kinds) <= {("inter", "command"), ("command", "command"), ("command", "motor")}
    assert kinds.count(("command", "command")) == config.n_recurrent
    for source, target in (("inter", "command"), ("command", "motor")):
        between = wiring.synapses[[kind == (source, target) for kind in kinds]]
        assert set(between[:, 0]) == set(np.flatnonzero(role == source))
        assert set(between[:, 1]) == set(np.flatnonzero(role == target))
    to_motor = wiring.synapses[[kind[1] == "motor" for kind in kinds]]
    assert (np.bincount(to_motor[:, 1], minlength=n_motor) >= config.motor_fanin).all()


@pytest.mark.parametrize("sizes", [(9, 12, 6, 1, 3, 2, 4, 5), (3, 7, 5, 2, 1, 1, 0, 2)])
def test_wiring_ncp_has_the_layer_counts_of_ncps(sizes):
    # Fan-outs are fixed by both; the draws differ, and ncps may draw a recurrent synapse twice.
    n_inputs, n_inter, n_command, n_motor, sensory_fanout, inter_fanout, n_recurrent, motor_fanin = sizes
    theirs = NCP(n_inter, n_command, n_motor, sensory_fanout, inter_fanout, n_recurrent, motor_fanin)
    theirs.build(n_inputs)
    wiring = build_wiring(
        WiringConfig("ncp", n_inputs, n_inter, n_command, n_motor, sensory_fanout, inter_fanout, n_recurrent,
                     motor_fanin)
    )  # fmt: skip
    assert [wiring.role[i] for i in range(wiring.n_neurons)] == [
        theirs.get_type_of_neuron(i) for i in range(theirs.units)
    ]
    command = slice(n_motor, n_motor + n_command)
    recurrent = int(np.abs(theirs.adjacency_matrix[command, command]).sum())
    left_out_at_most = n_inputs + n_inter + n_command  # who is reached by chance decides a few more
    ours = wiring.n_synapses - n_recurrent
    reference = int(theirs.synapse_count + theirs.sensory_synapse_count) - recurrent
    assert abs(ours - reference) <= left_out_at_most
    fixed = n_inputs * sensory_fanout + n_inter * inter_fanout + n_motor * motor_fanin
    assert min(ours, reference) >= fixed


def test_wiring_full_and_random_have_the_counts_of_their_density():
    full, random = build_wiring(WiringConfig("full", **ODD)), WiringConfig("random", sparsity=0.3, **ODD)
    assert (len(full.sensory), len(full.synapses)) == (7 * 12, 12 * 12)
    drawn = build_wiring(random)
    assert (len(drawn.sensory), len(drawn.synapses)) == (round(0.7 * 7 * 12), round(0.7 * 12 * 12))
    assert pairs(drawn.sensory) < pairs(full.sensory)
    assert len(build_wiring(WiringConfig("random", sparsity=0.0)).synapses) == 19 * 19
    assert set(full.role) == {"motor", "command", "inter"}


def test_wiring_polarities_are_even_in_a_policy_circuit_and_two_to_one_in_the_others():
    share = {}
    for kind in ("ncp", "full", "random"):
        wirings = [build_wiring(WiringConfig(kind, seed=seed)) for seed in range(20)]
        share[kind] = np.mean(np.concatenate([np.r_[w.sensory, w.synapses][:, 2] for w in wirings]) > 0)
    assert share["ncp"] == pytest.approx(1 / 2, abs=0.03)
    assert share["full"] == pytest.approx(2 / 3, abs=0.03)
    assert share["random"] == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "ring"}, "kind must be one of paper, ncp, full, random, got 'ring'"),
        ({"n_inter": 4}, "kind paper does not use n_inter"),
        ({"kind": "full", "sparsity": 0.1}, "kind full does not use sparsity"),
        ({"kind": "random", "motor_fanin": 2}, "kind random does not use motor_fanin"),
        ({"kind": "ncp", "sensory_fanout": 13}, "sensory_fanout must be a whole number from 1 to 12"),
        ({"kind": "ncp", "n_recurrent": 37}, "n_recurrent must be a whole number from 0 to 36"),
        ({"kind": "ncp", "motor_fanin": 0}, "motor_fanin"),
        ({"kind": "full", "n_motor": 0}, "n_motor"),
        ({"kind": "full", "n_inter": 10**9}, "n_inter"),
        ({"kind": "full", "n_inter": 3.0}, "n_inter"),
        ({"kind": "random", "sparsity": 1.0}, "sparsity"),
        ({"kind": "random", "sparsity": float("nan")}, "sparsity"),
        ({"kind": "random", "seed": -1}, "seed"),
    ],
)
def test_wiring_config_rejects_impossible_settings(setting, message):
    with pytest.raises(BadInputError, match=message):
        WiringConfig(**setting)


def test_wiring_config_uses_only_settings_that_exist():
    names = set(WiringConfig.__dataclass_fields__)
    assert all(used <= names for used in KINDS.values())
    assert set.union(*map(set, KINDS.values())) == names - {"kind"}
