import dataclasses
import json

import ncps.torch
import numpy as np
import pytest
import torch
from ncps.torch import LTCCell
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random

from driving.models import checkpoint
from driving.models.ltc import LTC, LTCConfig
from driving.models.policy import PolicyConfig, build_policy
from driving.models.wiring import Wiring, WiringConfig, paper_wiring
from sim.errors import BadInputError

CIRCUITS = {
    "ncp": lambda: NCP(12, 6, 1, 6, 4, 6, 6),
    "auto": lambda: AutoNCP(19, 1),
    "full": lambda: FullyConnected(8, 1),
    "random": lambda: Random(11, 2, sparsity_level=0.5),
}


def cell_of(name, n_inputs=32, **settings):
    torch.manual_seed(1)
    return LTCCell(CIRCUITS[name](), in_features=n_inputs, **settings)


def run_theirs(cell, features, dt):
    state, outputs = torch.zeros(1, cell.state_size), []
    for t in range(features.shape[1]):
        output, state = cell(features[:, t], state, dt)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def run_ours(core, features, dt_s):
    dt_s = torch.full(features.shape[:2], dt_s)
    with torch.no_grad():
        return core.forward_sequence(features, core.initial_state(len(features)), dt_s)[0]


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(("maps", "unit_s"), [("affine", 1.0), ("linear", 0.05), (None, 1.0)])
def test_ncps_cell_and_core_answer_alike(name, implicit, maps, unit_s):
    cell = cell_of(name, implicit_param_constraints=implicit, input_mapping=maps, output_mapping=maps, ode_unfolds=4)
    core = LTC.from_ncps(cell, unit_s)
    features = torch.rand(1, 25, 32)
    with torch.no_grad():
        expected = run_theirs(cell, features, 1.0)
    torch.testing.assert_close(run_ours(core, features, unit_s), expected, atol=2e-5, rtol=1e-4)
    assert core.n_substeps == 4


def test_ncps_sequence_module_is_taken_by_its_cell():
    torch.manual_seed(0)
    module = ncps.torch.LTC(32, AutoNCP(19, 1))
    core, features = LTC.from_ncps(module), torch.rand(1, 9, 32)
    with torch.no_grad():
        torch.testing.assert_close(run_ours(core, features, 1.0), module(features)[0], atol=2e-5, rtol=1e-4)


def test_ncps_and_back_changes_nothing():
    core = LTC()
    back = LTC.from_ncps(core.to_ncps(0.05), 0.05)
    assert back.wiring == core.wiring
    assert core.wiring == Wiring.from_ncps(paper_wiring().to_ncps())
    for (name, ours), theirs in zip(core.named_parameters(), back.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-5, msg=name)


def test_ncps_trained_without_clipping_and_unbuilt_are_refused():
    cell = cell_of("full")
    with torch.no_grad():
        cell._params["w"][0, 1] = -0.5
    with pytest.raises(BadInputError, match=r"no negative w, got -0\.5; clip the cell first"):
        LTC.from_ncps(cell)
    with pytest.raises(BadInputError, match=r"call its build\(n_inputs\) first"):
        Wiring.from_ncps(NCP(12, 6, 1, 6, 4, 6, 6))
    swapped = dataclasses.replace(paper_wiring(), role=(*paper_wiring().role[1:], "motor"))
    with pytest.raises(BadInputError, match="wants the motor neurons first"):
        swapped.to_ncps()


@pytest.mark.parametrize("core", ["ltc", "wired_cfc"])
def test_checkpoint_keeps_the_table_of_a_circuit_of_ones_own(tmp_path, core):
    wiring = Wiring.from_ncps(cell_of("auto")._wiring)
    base = build_policy(PolicyConfig(core=core)).config.core_config
    policy = build_policy(PolicyConfig(core=core, core_config=dataclasses.replace(base, wiring=wiring)), 3)
    checkpoint.save(policy, tmp_path / "p")
    back = checkpoint.load(tmp_path / "p")
    assert back.config == policy.config
    assert back.core.wiring == wiring
    for name, tensor in policy.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], tensor, rtol=0, atol=0)


def test_checkpoint_of_a_converted_cell_drives_alike(tmp_path):
    core = LTC.from_ncps(cell_of("auto"), unit_s=0.05)
    policy = build_policy(PolicyConfig(core_config=core.config))
    policy.core.load_state_dict(core.state_dict())
    checkpoint.save(policy, tmp_path / "p")
    back, features = checkpoint.load(tmp_path / "p"), torch.rand(2, 7, 32)
    torch.testing.assert_close(run_ours(back.core, features, 0.05), run_ours(core, features, 0.05))


@pytest.mark.parametrize(
    "table",
    [None, {}, {"n_inputs": 32}, "x", {"n_inputs": 10**9, "role": ["motor"], "sensory": [], "synapses": []},
     {"n_inputs": 32, "role": ["motor"] * 10**6, "sensory": [], "synapses": []},
     {"n_inputs": 32, "role": ["motor"], "sensory": [[0, 5, 1]], "synapses": []},
     {"n_inputs": 32, "role": [["motor"]], "sensory": [[0, "a", 1]], "synapses": {}}],
)  # fmt: skip
def test_checkpoint_a_table_that_is_none_is_one_line(tmp_path, table):
    wiring = Wiring.from_ncps(cell_of("auto")._wiring)
    checkpoint.save(build_policy(PolicyConfig(core_config=LTCConfig(wiring=wiring))), tmp_path / "p")
    path = tmp_path / "p" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"core_wiring": table}))
    with pytest.raises(BadInputError, match=r"config\.json"):
        checkpoint.load(tmp_path / "p")
    path.write_text(
        json.dumps(build_policy(PolicyConfig(core="lstm")).config.to_dict() | {"format": 2, "core_wiring": table})
    )
    with pytest.raises(BadInputError, match="core lstm has no wiring"):
        checkpoint.load(tmp_path / "p")


def test_checkpoint_save_refuses_what_load_would(tmp_path):
    policy = build_policy(PolicyConfig())
    with torch.no_grad():
        policy.core.mu[3] = np.nan
    with pytest.raises(BadInputError, match=r"core.mu holds values that are not finite"):
        checkpoint.save(policy, tmp_path / "p")
    with pytest.raises(BadInputError, match=r"must be .* torch.float32"):
        checkpoint.save(build_policy(PolicyConfig()).double(), tmp_path / "p")
    policy = build_policy(PolicyConfig())
    policy.core = LTC(LTCConfig(wiring=WiringConfig("ncp", seed=2)))  # another circuit than its settings say
    with pytest.raises(BadInputError, match="must be"):
        checkpoint.save(policy, tmp_path / "p")
    assert not (tmp_path / "p").exists()
