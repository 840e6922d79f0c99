"""Every registered core against an independent witness, in both precisions; -s prints the table.

A witness is another package with the same weights, or the definition written again in numpy.
"""

import numpy as np
import pytest
import torch
from ncps.torch import CfCCell, LTCCell
from ncps.wirings import Wiring as NcpsWiring

from driving.models.policy import CORES

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
N_BATCH, N_TIME, N_FEATURES = 4, 40, 32


def numpy_of(core, *names):
    return [core.get_parameter(name).detach().numpy() for name in names]


def ltc_of_ncps(core, features, dt_s):
    """``ncps.torch.LTCCell``; it takes one time step for all samples, so each sample runs alone."""
    ours, wiring = core.wiring, NcpsWiring(core.wiring.n_neurons)  # not by ``to_ncps``, which this is a witness of
    wiring.set_output_dim(ours.n_motor)
    wiring.set_input_dim(ours.n_inputs)
    places = {}
    for prefix, table, matrix in (
        ("", ours.synapses, wiring.adjacency_matrix),
        ("sensory_", ours.sensory, wiring.sensory_adjacency_matrix),
    ):
        source, target, polarity = table.T
        matrix[source, target] = polarity
        places[prefix] = (torch.tensor(source), torch.tensor(target))
    cell = LTCCell(wiring, in_features=ours.n_inputs, ode_unfolds=core.config.n_substeps).to(features.dtype)
    for name in ("w", "sigma", "mu", "e_rev"):
        for prefix, place in places.items():
            theirs = cell._params[prefix + name.replace("_", "")]
            theirs.data[place] = getattr(core, prefix + name).detach()
    for theirs, name in (("gleak", "g_leak"), ("vleak", "v_leak"), ("cm", "c_m"), ("input_w", "input_weight"),
                         ("input_b", "input_bias"), ("output_w", "readout_weight"),
                         ("output_b", "readout_bias")):  # fmt: skip
        cell._params[theirs].data.copy_(getattr(core, name).detach())
    outputs = torch.empty(*features.shape[:2], 1, dtype=features.dtype)
    for b in range(len(features)):
        state = torch.zeros(1, ours.n_neurons, dtype=features.dtype)
        for t in range(features.shape[1]):
            outputs[b, t], state = cell(features[b : b + 1, t], state, dt_s[b, t])
    return outputs


def torch_recurrent(kind):
    def witness(core, features, dt_s):
        module = kind(core.config.n_inputs, core.config.n_units, batch_first=True).to(features.dtype)
        module.load_state_dict({f"{k}_l0": v for k, v in core.cell.state_dict().items()})
        return core.readout(module(features)[0])

    return witness


def ctrnn_of_numpy(core, features, dt_s):
    names = ("input_map.weight", "input_map.bias", "recurrent_map.weight", "readout.weight", "readout.bias")
    w_in, b, w, out, out_bias = numpy_of(core, *names)
    x, config, outputs = np.zeros((len(features), len(b)), dtype=w.dtype), core.config, []
    for t in range(features.shape[1]):
        h = dt_s[:, t, None].numpy() / config.n_substeps
        for _ in range(config.n_substeps):
            slope = (np.tanh(features[:, t].numpy() @ w_in.T + x @ w.T + b) - x) / config.tau_s
            x = np.clip(x + h * slope, -config.state_limit, config.state_limit)
        outputs.append(x @ out.T + out_bias)
    return torch.tensor(np.stack(outputs, axis=1))


def cfc_of_ncps(core, features, dt_s):
    config = core.config
    cell = CfCCell(config.n_inputs, config.n_units, config.mode, config.activation, config.backbone_units,
                   config.backbone_layers).to(features.dtype)  # fmt: skip
    cell.backbone[0].load_state_dict(core.backbone[0].state_dict())
    for i, head in enumerate((cell.ff1, cell.ff2, cell.time_a, cell.time_b)):
        head.weight.data.copy_(core.heads.weight.detach().chunk(4)[i])
        head.bias.data.copy_(core.heads.bias.detach().chunk(4)[i])
    state, states = core.initial_state(len(features)), []
    for t in range(features.shape[1]):
        _, state = cell(features[:, t], state, dt_s[:, t : t + 1] / config.reference_dt_s)
        states.append(state)
    return core.readout(torch.stack(states, dim=1))


def wired_cfc_of_numpy(core, features, dt_s):
    wiring, (weight, bias) = core.wiring, numpy_of(core, "weight", "bias")
    dense = np.zeros((wiring.n_inputs + wiring.n_neurons) * bias.size, dtype=weight.dtype)
    dense[core.connection.numpy()] = weight
    dense = dense.reshape(-1, *bias.shape)
    role, motors = np.array(wiring.role), []
    state = np.zeros((len(features), wiring.n_neurons), dtype=weight.dtype)
    for t in range(features.shape[1]):
        time = dt_s[:, t, None].numpy() / core.config.reference_dt_s
        for layer in ("inter", "command", "motor"):
            heard = np.concatenate([features[:, t].numpy(), state], axis=1)
            f, g, a, b = np.einsum("bj,jhi->hbi", heard, dense) + bias[:, None]
            gate = 1 / (1 + np.exp(-(a * time + b)))
            moved = (1 - gate) * np.tanh(f) + gate * np.tanh(g)
            state = np.where(role == layer, moved, state)
        motors.append(state[:, role == "motor"])
    motor = torch.tensor(np.stack(motors, axis=1))
    return motor * core.readout_weight + core.readout_bias


def feedforward_of_numpy(core, features, dt_s):
    x = features.numpy()
    for i in range(len(core.hidden)):
        weight, bias = numpy_of(core, f"hidden.{i}.weight", f"hidden.{i}.bias")
        x = np.maximum(x @ weight.T + bias, 0)
    weight, bias = numpy_of(core, "readout.weight", "readout.bias")
    return torch.tensor(x @ weight.T + bias)


WITNESSES = {
    "ltc": ("ncps.torch.LTCCell", ltc_of_ncps),
    "lstm": ("torch.nn.LSTM", torch_recurrent(torch.nn.LSTM)),
    "gru": ("torch.nn.GRU", torch_recurrent(torch.nn.GRU)),
    "ctrnn": ("definition in numpy", ctrnn_of_numpy),
    "cfc": ("ncps.torch.CfCCell", cfc_of_ncps),
    "wired_cfc": ("definition in numpy", wired_cfc_of_numpy),
    "feedforward": ("definition in numpy", feedforward_of_numpy),
}


@pytest.mark.parametrize("dtype", sorted(TOLERANCE, key=str))
@pytest.mark.parametrize("name", sorted(CORES))
def test_agreement_of_every_core_with_its_witness(name, dtype):
    config_class, core_class = CORES[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        core = core_class(config_class())
    generator = torch.Generator().manual_seed(8)
    features = 2 * torch.rand(N_BATCH, N_TIME, N_FEATURES, generator=generator, dtype=torch.float64)
    dt_s = 0.02 + 0.1 * torch.rand(N_BATCH, N_TIME, generator=generator, dtype=torch.float64)
    core, features, dt_s = core.to(dtype), features.to(dtype), dt_s.to(dtype)
    witness, compute = WITNESSES[name]
    with torch.no_grad():
        outputs, _ = core.forward_sequence(features, core.initial_state(N_BATCH), dt_s)
        expected = compute(core, features, dt_s)
    assert outputs.shape == expected.shape == (N_BATCH, N_TIME, 1)
    assert outputs.dtype == expected.dtype == dtype
    assert expected.std() > 1e-3
    difference = (outputs - expected).abs().max().item()
    print(f"{name:12} {witness:22} {dtype!s:14} {difference:.1e} of {expected.abs().max():.2f}")
    assert difference < TOLERANCE[dtype]
