import math

import numpy as np
import pytest
import torch

from driving.insight import WARMUP_S, insight, principal_shares, trace
from driving.models.ltc import LTC, LTCConfig, softplus_inverse
from driving.models.policy import CORES, PolicyConfig, build_policy
from driving.models.wiring import Wiring
from sim.errors import BadInputError

SIZE = (16, 41)


@pytest.fixture
def tiny():
    """A policy whose circuit is one inter neuron 1 that excites the motor neuron 0, in float64, by hand."""
    policy = build_policy(PolicyConfig(height_px=SIZE[0], width_px=SIZE[1])).double().eval()
    core = LTC(LTCConfig(), Wiring(2, ("motor", "inter"), [[1, 1, -1]], [[1, 0, 1]])).double()
    with torch.no_grad():
        core.sensory_w_raw.copy_(softplus_inverse(torch.tensor([2.0], dtype=torch.float64)))
        core.w_raw.copy_(softplus_inverse(torch.tensor([3.0], dtype=torch.float64)))
        core.sensory_sigma.fill_(4.0)
        core.sensory_mu.fill_(0.5)
        core.sigma.fill_(5.0)
        core.mu.fill_(0.1)
        core.g_leak_raw.copy_(softplus_inverse(torch.tensor([0.5, 1.5], dtype=torch.float64)))
        core.c_m_raw.copy_(softplus_inverse(torch.tensor([0.1, 0.2], dtype=torch.float64)))
        core.v_leak.copy_(torch.tensor([0.05, -0.1]))
    policy.core = core
    return policy


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def frames_for(policy, n_batch, n_time, seed=0):
    size = (policy.config.height_px, policy.config.width_px)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_batch, n_time, 3, *size, generator=generator)


@pytest.mark.parametrize("core", CORES)
def test_trace_equals_the_forward_pass(small_policy, core):
    policy = small_policy(core)
    frames = frames_for(policy, 2, 7)
    dt_s = torch.linspace(0.03, 0.1, 14).reshape(2, 7)
    state = policy.initial_state(2) + 0.1
    with torch.no_grad():
        curvature, last = policy(frames, state, dt_s)
        _, middle = policy(frames[:, :4], state, dt_s[:, :4])
    seen = trace(policy, frames, state, dt_s)
    torch.testing.assert_close(seen.curvature_per_m, curvature, rtol=0, atol=1e-7)
    torch.testing.assert_close(seen.states[:, -1], last, rtol=0, atol=2e-6)
    torch.testing.assert_close(seen.states[:, 3], middle, rtol=0, atol=2e-6)
    assert (seen.time_constant_s is None) == (core != "ltc")
    from_features = trace(policy, policy.encode(frames.flatten(0, 1)).unflatten(0, (2, 7)), state, dt_s)
    torch.testing.assert_close(from_features.states, seen.states, rtol=0, atol=2e-6)


def test_trace_begins_as_forward_does(small_policy):
    policy = small_policy()
    frames = frames_for(policy, 2, 3)
    torch.testing.assert_close(trace(policy, frames).states[:, -1], policy(frames)[1].detach(), rtol=0, atol=2e-6)


def test_trace_of_a_tiny_circuit_is_what_the_equations_say(tiny):
    features = torch.tensor([[[9.0, 0.7]]], dtype=torch.float64)
    seen = trace(tiny, features, torch.tensor([[0.2, 0.4]], dtype=torch.float64), 0.05)
    motor, inter = seen.states[0, 0].tolist()
    x = 0.7 * tiny.core.input_weight[1].item() + tiny.core.input_bias[1].item()
    s_in, s = sigmoid(4.0 * (x - 0.5)), sigmoid(5.0 * (inter - 0.1))
    total_inter, total_motor = 1.5 + 2.0 * s_in, 0.5 + 3.0 * s
    expected = {
        "synaptic_current": [3.0 * s * (1 - motor), 2.0 * s_in * (-1 - inter)],
        "time_constant_s": [0.1 / total_motor, 0.2 / total_inter],
        "sensory_current": [2.0 * s_in * (-1 - inter)],
        "recurrent_current": [3.0 * s * (1 - motor)],
        "sensory_sensitivity": [2.0 * 4.0 * s_in * (1 - s_in) * (1 + inter) / total_inter],
        "recurrent_sensitivity": [3.0 * 5.0 * s * (1 - s) * (1 - motor) / total_motor],
    }
    for name, values in expected.items():
        assert getattr(seen, name)[0, 0].tolist() == pytest.approx(values, rel=1e-7), name


def test_trace_sensitivity_is_the_slope_of_the_rest(tiny):
    """Another way: let the circuit come to rest for a feature and for one a little larger."""
    core = tiny.core

    def rest(feature):
        features = torch.full((1, 400, 2), feature, dtype=torch.float64)
        return trace(tiny, features, None, 0.05)

    a, b = rest(0.7), rest(0.7 + 1e-5)
    v, moved = a.states[0, -1], b.states[0, -1] - a.states[0, -1]
    step = 1e-5 * core.input_weight[1].item()
    assert abs(float(moved[1])) / step == pytest.approx(float(a.sensory_sensitivity[0, -1, 0]), rel=1e-3)
    slope = float(moved[0] / moved[1])
    assert abs(slope) == pytest.approx(float(a.recurrent_sensitivity[0, -1, 0]), rel=1e-3)
    # At rest the leak and the synapses are in balance.
    leak = core.g_leak * (core.v_leak - v)
    torch.testing.assert_close(leak + a.synaptic_current[0, -1], torch.zeros_like(v), atol=1e-6, rtol=0)


def test_trace_currents_drive_the_state(small_policy):
    """C dv/dt = leak + synaptic current: a step of a microsecond moves the state by just that."""
    policy = small_policy().double()
    frames = frames_for(policy, 3, 1).double()
    state = 0.5 * torch.rand(3, 19, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen = trace(policy, frames, state, 1e-6)
    core = policy.core
    rate = (core.g_leak * (core.v_leak - state) + seen.synaptic_current[:, 0]) / core.c_m
    torch.testing.assert_close(seen.states[:, 0] - state, 1e-6 * rate.detach(), rtol=1e-3, atol=1e-11)
    features = policy.encode(frames[:, 0])
    expected = core.synapse_trace(features, seen.states[:, 0]).time_constant_s
    torch.testing.assert_close(seen.time_constant_s[:, 0], expected.detach())
    # The sums over the synapses onto a neuron are its current.
    summed = torch.zeros(3, 19, dtype=torch.float64)
    for table, current in (
        (core.wiring.sensory, seen.sensory_current), (core.wiring.synapses, seen.recurrent_current)
    ):  # fmt: skip
        for r, (_, target, _) in enumerate(table.tolist()):
            summed[:, target] += current[:, 0, r]
    torch.testing.assert_close(summed, seen.synaptic_current[:, 0])


def test_trace_refuses_other_shapes(small_policy):
    with pytest.raises(BadInputError, match=r"features \(B, T, N\), got \(3, 4\)"):
        trace(small_policy(), torch.zeros(3, 4))


# Principal components --------------------------------------------------------------------------------------


def test_principal_shares_are_the_eigenvalues_of_the_covariance():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + 7.0
    variance = np.sort(np.linalg.eigvalsh(np.cov(states.T)))[::-1]
    assert principal_shares(states) == pytest.approx((variance / variance.sum())[:3])
    assert sum(principal_shares(states, 5)) == pytest.approx(1.0)


def test_principal_shares_of_a_line_and_of_two_axes():
    t = np.linspace(-1, 1, 50)[:, None]
    assert principal_shares(5 + t * [1.0, -2.0, 0.5])[0] == pytest.approx(1.0)
    corners = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert principal_shares(corners) == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("states", [np.zeros((5, 3)), np.ones((1, 3)), np.zeros((5, 0)), np.zeros((0, 3))])
def test_principal_shares_need_states_that_differ(states):
    with pytest.raises(BadInputError, match="states that differ"):
        principal_shares(states)


# Driving ---------------------------------------------------------------------------------------------------


def test_insight_of_the_circuit_while_driving(small_policy, stand_in_env):
    policy = small_policy()
    done_s = []
    figures = insight(policy, lambda: stand_in_env({4: 25}), range(3, 6), 2.0, on_seconds=done_s.append)
    assert all(env.closed for env in stand_in_env.made)
    # 40 frames an episode, of which 20 warm up; the one that crashed has 25.
    assert figures["n_frames"] == 20 + 5 + 20
    assert figures["crashes"] == 1
    assert sum(done_s) == pytest.approx(6.0)
    assert list(figures["principal_shares"]) == ["state"]
    assert [row["role"] for row in figures["neurons"]] == list(policy.core.wiring.role)
    assert len(figures["synapses"]) == len(policy.core.wiring.synapses)
    incoming = sum(row["outgoing_sensitivity"] for row in figures["neurons"])
    assert incoming == pytest.approx(sum(row["sensitivity"] for row in figures["synapses"]), rel=1e-3)
    for row in figures["neurons"]:
        assert 0 < row["min_time_constant_s"] <= row["mean_time_constant_s"] <= row["max_time_constant_s"]
    motor = figures["neurons"][0]
    assert abs(motor["correlation_with_command"]) > 0.99  # the command is a map of the motor neuron alone


def test_insight_of_an_lstm_says_what_is_counted(small_policy, stand_in_env):
    figures = insight(small_policy("lstm"), stand_in_env, [1], 1.5)
    assert set(figures["principal_shares"]) == {"h", "h_and_c"}
    assert "neurons" not in figures


def test_insight_needs_time(small_policy, stand_in_env):
    with pytest.raises(BadInputError, match="drive for longer"):
        insight(small_policy(), stand_in_env, [1], WARMUP_S)
