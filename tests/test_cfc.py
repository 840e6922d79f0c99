import math

import numpy as np
import pytest
import torch
from ncps.torch import CfCCell, WiredCfCCell
from ncps.wirings import NCP

from driving.models.cfc import ACTIVATIONS, N_HEADS, CfC, CfCConfig, WiredCfC, WiredCfCConfig, closed_form
from driving.models.wiring import WiringConfig, build_wiring
from sim.errors import BadInputError

SMALL = WiringConfig("ncp", n_inputs=7, n_inter=5, n_command=4, n_motor=2, sensory_fanout=3, inter_fanout=2,
                     n_recurrent=5, motor_fanin=3, seed=3)  # fmt: skip
PRECISIONS = [(torch.float32, 2e-6), (torch.float64, 1e-13)]


def make(core_class, config, dtype=torch.float64, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        core = core_class(config).to(dtype)
        with torch.no_grad():
            for parameter in core.parameters():  # away from zeros and ones
                parameter += 0.1 * torch.randn_like(parameter)
        return core


def stream(n_batch, n_time, n_inputs, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(n_batch, n_time, n_inputs, generator=generator, dtype=torch.float64).to(dtype)
    dt_s = 0.02 + 0.1 * torch.rand(n_batch, n_time, generator=generator, dtype=torch.float64)
    return features, dt_s.to(dtype)


def witness_states(cell, features, state, dt_s):
    """Step by step, the elapsed time as (B, 1): batched as (B,), ncps would take it for one a neuron."""
    states = []
    for t in range(features.shape[1]):
        _, state = cell(features[:, t], state, dt_s[:, t : t + 1] / 0.05)
        states.append(state)
    return torch.stack(states, dim=1)


def names_of_heads(mode):
    return ["ff1"] if mode == "pure" else ["ff1", "ff2", "time_a", "time_b"]


def as_ncps(core, dtype):
    config = core.config
    cell = CfCCell(
        config.n_inputs, config.n_units, config.mode, config.activation, config.backbone_units,
        config.backbone_layers,
    ).to(dtype)  # fmt: skip
    if config.backbone_layers:
        for theirs, ours in zip([m for m in cell.backbone if isinstance(m, torch.nn.Linear)], core.backbone,
                                strict=True):  # fmt: skip
            theirs.load_state_dict(ours.state_dict())
    for i, name in enumerate(names_of_heads(config.mode)):
        rows = slice(i * config.n_units, (i + 1) * config.n_units)
        getattr(cell, name).load_state_dict(
            {"weight": core.heads.weight[rows].detach(), "bias": core.heads.bias[rows].detach()}
        )
    if config.mode == "pure":
        cell.w_tau.data[0], cell.A.data[0] = core.decay.detach()
    return cell


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("mode", sorted(N_HEADS))
@pytest.mark.parametrize(("n_layers", "activation"), [(0, "relu"), (1, "lecun_tanh"), (3, "gelu")])
def test_cfc_agrees_with_ncps(dtype, tolerance, mode, n_layers, activation):
    config = CfCConfig(6, 5, mode, backbone_units=9, backbone_layers=n_layers, activation=activation)
    core = make(CfC, config, dtype)
    cell = as_ncps(core, dtype)
    features, dt_s = stream(4, 6, 6, dtype)
    start = 0.3 * features[:, 0, :5]
    expected = witness_states(cell, features, start, dt_s)
    outputs, state = core.forward_sequence(features, start, dt_s)
    torch.testing.assert_close(state, expected[:, -1], atol=tolerance, rtol=0)
    torch.testing.assert_close(outputs, core.readout(expected), atol=tolerance, rtol=0)
    theirs = sum(p.numel() for p in cell.parameters())
    assert sum(p.numel() for p in core.parameters()) == theirs + 5 + 1  # and the readout


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_cfc_activations_are_those_of_ncps(activation):
    core = make(CfC, CfCConfig(6, 5, backbone_units=9, activation=activation))
    features, dt_s = stream(2, 1, 6, torch.float64)
    expected = witness_states(as_ncps(core, torch.float64), features, core.initial_state(2), dt_s)
    _, state = core.forward_sequence(features, core.initial_state(2), dt_s)
    torch.testing.assert_close(state, expected[:, 0], atol=1e-13, rtol=0)


class AsNcps(NCP):
    """Our policy circuit in the words of the independent package."""

    def __init__(self, wiring):
        counts = [wiring.role.count(role) for role in ("inter", "command", "motor")]
        super().__init__(*counts, 1, 1, 0, 1)
        self.ours = wiring
        for source, target, polarity in wiring.synapses:
            self.add_synapse(source, target, polarity)

    def build(self, input_dim):
        self.set_input_dim(input_dim)
        for source, target, polarity in self.ours.sensory:
            self.add_sensory_synapse(source, target, polarity)


def dense_weight(core):
    """Ours as (source N + K, head, target K)."""
    n_inputs, n_neurons = core.wiring.n_inputs, core.wiring.n_neurons
    n_heads = N_HEADS[core.config.mode]
    dense = torch.zeros((n_inputs + n_neurons) * n_heads * n_neurons, dtype=core.weight.dtype)
    dense[core.connection] = core.weight.detach()
    return dense.reshape(n_inputs + n_neurons, n_heads, n_neurons)


def as_wired_ncps(core, dtype):
    wiring = core.wiring
    cell = WiredCfCCell(wiring.n_inputs, AsNcps(wiring), core.config.mode).to(dtype)
    dense, n_inputs = dense_weight(core), wiring.n_inputs
    before = np.arange(n_inputs)
    for layer, role in zip(cell._layers, ("inter", "command", "motor"), strict=True):
        own = np.flatnonzero(np.array(wiring.role) == role)
        sources = np.r_[before, n_inputs + own]
        for i, name in enumerate(names_of_heads(core.config.mode)):
            head = getattr(layer, name)
            head.weight.data.copy_(dense[sources][:, i][:, own].T)
            head.bias.data.copy_(core.bias[i, own].detach())
        if core.config.mode == "pure":
            layer.w_tau.data[0], layer.A.data[0] = core.decay[:, own].detach()
        before = n_inputs + own
    return cell


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("mode", sorted(N_HEADS))
@pytest.mark.parametrize("wiring", [SMALL, WiringConfig()])
def test_wired_cfc_without_its_recurrence_agrees_with_ncps(dtype, tolerance, mode, wiring):
    core = make(WiredCfC, WiredCfCConfig(mode, wired_recurrence=False, wiring=wiring), dtype)
    cell = as_wired_ncps(core, dtype)
    features, dt_s = stream(3, 5, wiring.n_inputs, dtype)
    n_motor, n_command, n_inter = (core.wiring.role.count(r) for r in ("motor", "command", "inter"))
    start = 0.1 * torch.ones(3, core.wiring.n_neurons, dtype=dtype)
    theirs = witness_states(cell, features, start, dt_s)  # inter, command, motor
    inter, command, motor = theirs.split([n_inter, n_command, n_motor], dim=2)
    outputs, state = core.forward_sequence(features, start, dt_s)
    expected = torch.cat([motor, command, inter], dim=2)
    torch.testing.assert_close(state, expected[:, -1], atol=tolerance, rtol=0)
    torch.testing.assert_close(outputs, motor * core.readout_weight + core.readout_bias, atol=tolerance, rtol=0)
    masked = 0
    for layer in cell._layers:
        masked += (1 if mode == "pure" else 2) * int((layer.sparsity_mask == 0).sum())
    stored = sum(p.numel() for p in cell.parameters() if p.requires_grad)
    n_readout = core.readout_weight.numel() + core.readout_bias.numel()
    assert sum(p.numel() for p in core.parameters()) == stored - masked + n_readout


def test_wired_cfc_recurrence_is_what_ncps_drops():
    # Column by column: who changes the next state of a command neuron, in ours, in theirs, in the circuit.
    circuit = build_wiring(WiringConfig())
    recurrent = {(j, i) for j, i, _ in circuit.synapses.tolist() if 1 <= j <= 6 and 1 <= i <= 6}
    assert len(recurrent) == 6
    heard = {}
    for wired in (True, False):
        core = make(WiredCfC, WiredCfCConfig(wired_recurrence=wired))
        features, dt_s = torch.rand(1, 32).double(), torch.tensor([0.05]).double()
        jacobian = torch.autograd.functional.jacobian(
            lambda state, core=core, features=features, dt_s=dt_s: core(features, state, dt_s)[1][0],
            torch.full((1, 19), 0.1).double(),
        )[:, 0]
        heard[wired] = {(j, i) for i in range(1, 7) for j in range(1, 7) if jacobian[i, j].abs() > 1e-9}
        assert (core.wiring.to_dict()) == circuit.to_dict()
    assert heard[True] == recurrent | {(i, i) for i in range(1, 7)}
    assert heard[False] == {(j, i) for j in range(1, 7) for i in range(1, 7)}


def slow_wired_step(core, features, state, dt_s):
    """The definition neuron by neuron, in plain Python."""
    dense, wiring = dense_weight(core), core.wiring
    values = features.tolist() + state.tolist()
    n_heads = N_HEADS[core.config.mode]
    for role in ("inter", "command", "motor"):
        moved = {}
        for i in [i for i, r in enumerate(wiring.role) if r == role]:
            heads = [
                core.bias[k, i].item() + sum(dense[j, k, i].item() * values[j] for j in range(len(values)))
                for k in range(n_heads)
            ]
            time = dt_s / 0.05
            if core.config.mode == "pure":
                w, a = core.decay[:, i].tolist()
                moved[i] = a - a * math.exp(-time * (abs(w) + abs(heads[0]))) * heads[0]
                continue
            gate = 1 / (1 + math.exp(-(heads[2] * time + heads[3])))
            f, g = math.tanh(heads[0]), math.tanh(heads[1])
            moved[i] = f + gate * g if core.config.mode == "no_gate" else (1 - gate) * f + gate * g
        for i, value in moved.items():
            values[wiring.n_inputs + i] = value
    return torch.tensor(values[wiring.n_inputs :], dtype=torch.float64)


@pytest.mark.parametrize("mode", sorted(N_HEADS))
@pytest.mark.parametrize(
    "wiring",
    [SMALL, WiringConfig("random", n_inputs=4, n_inter=3, n_command=2, n_motor=2, sparsity=0.4),
     WiringConfig("full", n_inputs=3, n_inter=0, n_command=0, n_motor=4)],
)  # fmt: skip
def test_wired_cfc_agrees_with_its_definition_neuron_by_neuron(mode, wiring):
    core = make(WiredCfC, WiredCfCConfig(mode, wiring=wiring))
    features, dt_s = stream(2, 3, wiring.n_inputs, torch.float64)
    state = 0.2 * torch.ones(2, core.wiring.n_neurons, dtype=torch.float64)
    for t in range(3):
        expected = torch.stack([slow_wired_step(core, features[b, t], state[b], dt_s[b, t].item()) for b in (0, 1)])
        _, state = core(features[:, t], state, dt_s[:, t])
        torch.testing.assert_close(state, expected, atol=1e-13, rtol=0)


def test_wired_cfc_has_a_weight_for_each_synapse_and_each_neuron_itself():
    for wiring in (SMALL, WiringConfig(), WiringConfig("full", n_inputs=3)):
        core = WiredCfC(WiredCfCConfig(wiring=wiring))
        circuit = build_wiring(wiring)
        loops = int((circuit.synapses[:, 0] == circuit.synapses[:, 1]).sum())
        assert len(core.weight) == 4 * (circuit.n_synapses + circuit.n_neurons - loops)


@pytest.mark.parametrize("mode", ["default", "no_gate"])
def test_closed_form_at_the_ends_of_time(mode):
    # Far in the future the gate is open where a > 0 and shut where a < 0; now it is sigmoid(b).
    f, g, b = torch.tensor([0.3, -0.7]), torch.tensor([1.1, 0.4]), torch.tensor([0.2, -0.5])
    heads = torch.stack([f, g, torch.tensor([1.0, -1.0]), b])[None]
    late = closed_form(mode, heads, None, torch.tensor([[1e6]]))[0]
    now = closed_form(mode, heads, None, torch.tensor([[0.0]]))[0]
    f, g = torch.tanh(f), torch.tanh(g)
    both = f if mode == "no_gate" else torch.zeros(2)
    torch.testing.assert_close(late, torch.stack([both[0] + g[0], f[1]]))
    gate = torch.sigmoid(b)
    torch.testing.assert_close(now, (f if mode == "no_gate" else f * (1 - gate)) + gate * g)


def test_closed_form_pure_solves_its_linear_equation():
    # dx/dt = (|w| + |f|) (A - x) from A - A f: checked by its derivative and as t grows.
    f, w, a = torch.tensor([0.8, -0.3]), torch.tensor([0.5, -0.1]), torch.tensor([1.2, 0.7])
    heads, decay = f.double()[None, None], torch.stack([w, a]).double()
    time = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    x = closed_form("pure", heads, decay, time)[0]
    for i in range(2):
        (slope,) = torch.autograd.grad(x[i], time, retain_graph=True)
        rate = (w.abs() + f.abs())[i].double() * (a[i].double() - x[i])
        assert slope.item() == pytest.approx(rate.item(), rel=1e-6)
    torch.testing.assert_close(closed_form("pure", heads, decay, torch.tensor([[1e3]]).double())[0], a.double())


def test_closed_form_pure_state_stays_bounded():
    # |f| exp(-|f| t) <= 1 / (e t), whatever the input.
    heads = torch.linspace(-1e6, 1e6, 4001)[None, None].double()
    decay = torch.stack([torch.zeros(4001), torch.ones(4001)]).double()
    for time in (0.2, 1.0, 5.0):
        x = closed_form("pure", heads, decay, torch.tensor([[time]]).double())
        assert (x - 1).abs().max().item() <= 1 / (math.e * time) + 1e-12


@pytest.mark.parametrize(
    ("config_class", "setting"),
    [
        (CfCConfig, {"mode": "gated"}), (CfCConfig, {"n_units": 0}), (CfCConfig, {"backbone_layers": -1}),
        (CfCConfig, {"backbone_units": 1.5}), (CfCConfig, {"activation": "sine"}),
        (CfCConfig, {"reference_dt_s": 0.0}), (WiredCfCConfig, {"mode": "gated"}),
        (WiredCfCConfig, {"reference_dt_s": math.inf}), (WiredCfCConfig, {"wired_recurrence": 1}),
        (WiredCfCConfig, {"wired_recurrence": False, "wiring": WiringConfig("full")}),
    ],
)  # fmt: skip
def test_cfc_config_rejects_impossible_settings(config_class, setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        config_class(**setting)
