"""What theory says of the cores: bounds, fixed points, time, gradients, precision, function transforms."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driving.models.baselines import GRUConfig, LSTMConfig
from driving.models.cfc import CfCConfig, WiredCfCConfig
from driving.models.ctrnn import CTRNNConfig
from driving.models.feedforward import FeedforwardConfig
from driving.models.ltc import LTCConfig
from driving.models.policy import CORES
from driving.models.wiring import WiringConfig

CIRCUIT = WiringConfig("ncp", n_inputs=3, n_inter=4, n_command=3, n_motor=1, sensory_fanout=2, inter_fanout=2,
                       n_recurrent=3, motor_fanin=2, seed=1)  # fmt: skip
SMALL = {
    "ltc": LTCConfig(wiring=CIRCUIT),
    "lstm": LSTMConfig(3, 4),
    "gru": GRUConfig(3, 4),
    "ctrnn": CTRNNConfig(3, 4),
    "cfc": CfCConfig(3, 4, backbone_units=5),
    "wired_cfc": WiredCfCConfig(wiring=CIRCUIT),
    "feedforward": FeedforwardConfig(3, "5-4"),
}
CONTINUOUS = ("ctrnn", "ltc")
"""Cores that solve a differential equation."""


def make(name, seed=0, config=None, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CORES[name][1](config or SMALL[name]).to(dtype)


def stream(n_batch, n_time, n_inputs=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(n_batch, n_time, n_inputs, generator=generator, dtype=torch.float64)
    return features, 0.02 + 0.1 * torch.rand(n_batch, n_time, generator=generator, dtype=torch.float64)


class Sequence(torch.nn.Module):
    """A core as a module whose call is ``forward_sequence`` from zeros, outputs only."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, features, dt_s):
        return self.core.forward_sequence(features, self.core.initial_state(len(features)), dt_s)[0]


def bound_of(name, core):
    if name == "ltc":
        e_rev = torch.cat([core.e_rev, core.sensory_e_rev, core.v_leak]).abs()
        return max(1e-30, e_rev.max().item())
    return {"lstm": core.config.state_limit if name == "lstm" else 0, "feedforward": float("inf")}.get(name, 1.0)


@pytest.mark.parametrize("name", sorted(CORES))
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e30]),
    spread=st.floats(0.0, 10.0),
    dt_s=st.floats(1e-4, 0.4),  # CT-RNN: h up to the time constant, where its mean of state and tanh holds
)
def test_numerics_state_stays_within_its_bound_for_any_input(name, seed, scale, spread, dt_s):
    core, generator = make(name, seed, dtype=torch.float32), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator)
    features = scale * torch.randn(3, 5, 3, generator=generator)
    outputs, state = core.forward_sequence(features, core.initial_state(3), torch.full((3, 5), dt_s))
    assert not torch.isnan(state).any()
    assert state.abs().max().item() <= bound_of(name, core) * (1 + 1e-5)
    assert name == "feedforward" or torch.isfinite(outputs).all()


def test_numerics_no_gate_state_stays_within_two():
    core = make("cfc", config=CfCConfig(3, 4, "no_gate"))
    features, dt_s = stream(3, 9)
    _, state = core.forward_sequence(1e6 * (features - 0.5), core.initial_state(3), dt_s)
    assert 1.0 < state.abs().max().item() <= 2.0


def ltc_slope(core, features, state):
    """dv/dt in 1/s of the paper's equation, neuron by neuron."""
    v, x = state[0].tolist(), (features * core.input_weight + core.input_bias)[0].tolist()
    current = [g * (leak - vi) for g, leak, vi in zip(core.g_leak.tolist(), core.v_leak.tolist(), v, strict=True)]
    for prefix, table, values in (("sensory_", core.wiring.sensory, x), ("", core.wiring.synapses, v)):
        w, sigma, mu, e_rev = (getattr(core, prefix + name).tolist() for name in ("w", "sigma", "mu", "e_rev"))
        for r, (j, i, _) in enumerate(table):
            current[i] += w[r] / (1 + np.exp(-sigma[r] * (values[j] - mu[r]))) * (e_rev[r] - v[i])
    return np.array(current) / np.array(core.c_m.tolist())


def ctrnn_slope(core, features, state):
    target = torch.tanh(core.input_map(features) + core.recurrent_map(state))
    return ((target - state) / core.config.tau_s)[0].detach().numpy()


SLOPES = {"ltc": ltc_slope, "ctrnn": ctrnn_slope}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numerics_constant_input_leads_to_a_fixed_point_of_the_equation(name):
    # A fixed point of the step is one of the equation, so it does not depend on the time step.
    core, features = make(name, seed=4, config=CORES[name][0]()), stream(1, 1, 32)[0]
    ends = []
    for dt_s in (0.05, 0.02):
        constant = features.expand(1, 400, 32)
        _, state = core.forward_sequence(
            constant, core.initial_state(1), torch.full((1, 400), dt_s, dtype=torch.float64)
        )
        assert np.abs(SLOPES[name](core, features[0], state.detach())).max() < 1e-5
        ends.append(state)
    torch.testing.assert_close(*ends, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numerics_short_step_moves_along_the_equation(name):
    core, features = make(name, seed=4, config=CORES[name][0]()), stream(1, 1, 32)[0][0]
    state, dt_s = 0.3 * torch.ones_like(core.initial_state(1)), 1e-7
    _, after = core(features, state, torch.tensor([dt_s], dtype=torch.float64))
    slope = SLOPES[name](core, features, state)
    np.testing.assert_allclose(((after - state) / dt_s)[0].detach().numpy(), slope, rtol=1e-3, atol=1e-3)


def test_numerics_liquid_time_constant_is_the_decay_of_a_small_push():
    # -1 / tau_i is the slope of dv_i/dt in v_i, for neurons without a synapse to themselves.
    core, features = make("ltc", seed=2, config=LTCConfig()), stream(1, 1, 32)[0][0]
    state, dt_s = torch.full((1, 19), 0.4, dtype=torch.float64), 1e-6
    jacobian = torch.autograd.functional.jacobian(
        lambda v: core(features, v, torch.tensor([dt_s], dtype=torch.float64))[1][0], state
    )[:, 0]
    own = {j for j, i, _ in core.wiring.synapses.tolist() if i == j}
    tau_s = core.synapse_trace(features, state).time_constant_s[0]
    for i in set(range(19)) - own:
        assert (dt_s / (1 - jacobian[i, i])).item() == pytest.approx(tau_s[i].item(), rel=1e-3)


@pytest.mark.parametrize("name", sorted(CORES))
def test_numerics_gradients_agree_with_finite_differences(name):
    core = make(name, seed=6)
    names = [parameter_name for parameter_name, _ in core.named_parameters()]
    features, dt_s = stream(2, 3)
    inputs = [features.requires_grad_(), *(p.detach().clone().requires_grad_() for p in core.parameters())]

    def run(features, *parameters):
        weights = {f"core.{n}": p for n, p in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Sequence(core), weights, (features, dt_s))

    assert torch.autograd.gradcheck(run, inputs)


def state_after(core, times_s):
    """State at the end of a smooth signal that is seen at these times; each frame holds for its step."""
    steps_s = torch.diff(times_s, prepend=times_s.new_zeros(1))[None]
    phases = torch.arange(32, dtype=torch.float64)
    features = 0.5 + 0.4 * torch.sin(3.0 * times_s[:, None] + phases)
    with torch.no_grad():
        return core.forward_sequence(features[None], core.initial_state(1), steps_s)[1]


def times_at(rate_hz, seconds=2.0):
    return torch.arange(1, round(rate_hz * seconds) + 1, dtype=torch.float64) / rate_hz


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numerics_streams_of_one_signal_agree_to_first_order_in_the_frame_time(name):
    core = make(name, seed=5, config=CORES[name][0]())
    finest = state_after(core, times_at(1920))
    error = {
        rate_hz: (state_after(core, times_at(rate_hz)) - finest).abs().max().item() for rate_hz in (10, 20, 30, 60, 120)
    }
    # First order: halved by twice the rate once the frames are short beside the time constants ...
    assert error[60] / error[120] == pytest.approx(2.0, rel=0.15)
    # ... and at the rates of cameras no larger than that order says (the implicit step levels off before).
    assert error[10] > error[20] > error[30] > error[60]
    for rate_hz in (10, 20, 30):
        assert error[rate_hz] < 1.1 * error[120] * 120 / rate_hz
    assert error[20] < 0.05


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numerics_irregular_frames_agree_with_regular_ones(name):
    core = make(name, seed=5, config=CORES[name][0]())
    finest = state_after(core, times_at(1920))
    rng = np.random.default_rng(3)
    times_s = times_at(30).numpy().copy()
    times_s[:-1] += rng.uniform(-0.4, 0.4, len(times_s) - 1) / 30
    keep = rng.random(len(times_s)) > 0.2  # and a fifth of the frames is missing
    keep[-1] = True
    irregular = (state_after(core, torch.tensor(times_s[keep])) - finest).abs().max().item()
    slow = (state_after(core, times_at(10)) - finest).abs().max().item()
    assert irregular < slow  # the longest gap is 0.11 s, the mean 0.04 s


@pytest.mark.parametrize("name", sorted(CORES))
def test_numerics_vanishing_time_step_keeps_the_state_of_a_differential_equation_only(name):
    # CfC gives a state at a time, not a flow, so its rates do not converge; the others do not know time.
    core, features = make(name), stream(2, 1)[0][:, 0]
    state = 0.2 * torch.ones_like(core.initial_state(2))
    moved = [core(features, state, torch.full((2,), dt_s, dtype=torch.float64))[1] - state for dt_s in (1e-9, 0.05)]
    if name in CONTINUOUS:
        assert moved[0].abs().max() < 1e-6 < moved[1].abs().max()
    else:
        assert moved[0].abs().max() > 0.02
        assert torch.equal(*moved) == ("cfc" not in name)


@pytest.mark.parametrize("name", sorted(CORES))
@pytest.mark.parametrize("n_batch", [3, 4, 8])  # 4 and 8: as many samples as neurons
def test_numerics_every_sample_has_its_own_time_step(name, n_batch):
    core, (features, dt_s) = make(name), stream(n_batch, 3)
    together = Sequence(core)(features, dt_s)
    for b in range(n_batch):
        alone = Sequence(core)(features[b : b + 1], dt_s[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-13, rtol=0)


@pytest.mark.parametrize("name", sorted(CORES))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_numerics_lower_precision_stays_near_double(name, dtype, tolerance):
    core = make(name, config=CORES[name][0]())
    features, dt_s = stream(3, 20, 32)
    expected = Sequence(core)(features, dt_s)
    outputs = Sequence(core.to(dtype))(features.to(dtype), dt_s.to(dtype))
    assert outputs.dtype == dtype
    scale = expected.abs().max().item() + 0.2
    assert (outputs.double() - expected).abs().max().item() < tolerance * scale


@pytest.mark.parametrize("name", sorted(CORES.keys() - {"lstm", "gru"}))  # PyTorch's cells have no batching rule
def test_numerics_vmap_over_weights_is_an_ensemble(name):
    members = [Sequence(make(name, seed)) for seed in range(3)]
    features, dt_s = stream(2, 4)
    weights = {key: torch.stack([member.state_dict()[key] for member in members]) for key in members[0].state_dict()}

    def run(weights):
        return torch.func.functional_call(members[0], weights, (features, dt_s))

    together = torch.func.vmap(run)(weights)
    for outputs, member in zip(together, members, strict=True):
        torch.testing.assert_close(outputs, member(features, dt_s), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", sorted(CORES))
def test_numerics_func_grad_is_the_gradient_of_autograd(name):
    model, (features, dt_s) = Sequence(make(name)), stream(2, 4)
    weights = dict(model.named_parameters())
    expected = torch.autograd.grad(model(features, dt_s).square().sum(), list(weights.values()))

    def loss(weights):
        return torch.func.functional_call(model, weights, (features, dt_s)).square().sum()

    gradient = torch.func.grad(loss)(weights)
    for (key, value), want in zip(gradient.items(), expected, strict=True):
        torch.testing.assert_close(value, want, atol=1e-12, rtol=1e-9, msg=key)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", sorted(CORES))
def test_numerics_compiled_core_equals_eager(name):
    config = SMALL[name]
    if name in CONTINUOUS:
        config = dataclasses.replace(config, n_substeps=2)  # the compiler unrolls them, and is slow
    model, (features, dt_s) = Sequence(make(name, config=config, dtype=torch.float32)), stream(2, 2)
    features, dt_s = features.float(), dt_s.float()
    expected = model(features, dt_s)
    compiled = torch.compile(model)
    torch.testing.assert_close(compiled(features, dt_s), expected, atol=1e-5, rtol=1e-4)
    gradient = torch.autograd.grad(compiled(features, dt_s).sum(), list(model.parameters()))
    wanted = torch.autograd.grad(expected.sum(), list(model.parameters()))
    for value, want in zip(gradient, wanted, strict=True):
        torch.testing.assert_close(value, want, atol=1e-4, rtol=1e-3)
