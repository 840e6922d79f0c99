"""One contract for every registered core: a new core is tested by being registered."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch

from driving.models.baselines import GRUConfig, GRUCore, LSTMConfig, LSTMCore
from driving.models.policy import CORES, PolicyConfig
from sim.errors import BadInputError

N_FEATURES = 32
N_PARAMETERS = {
    "ltc": 1_065 + 66,  # the paper's; input map and readout on top
    "lstm": 24_897 + 256,  # the paper's; PyTorch's second bias on top
    "gru": 3 * 64 * (32 + 64) + 6 * 64 + 65,
    "ctrnn": 6_273,  # the paper's
    "cfc": 45_505,
    "wired_cfc": 4 * (252 + 17) + 4 * 19 + 2,  # 2 of 19 neurons have a synapse to themselves
    "feedforward": 8_871,
}
TITLES = {
    "ltc": "19 liquid neurons (LTC)", "lstm": "CNN-LSTM, 64 units", "cfc": "CfC, 64 units", "ctrnn": "CT-RNN, 64 units",
    "wired_cfc": "19 wired CfC neurons", "feedforward": "CNN without memory", "gru": "CNN-GRU, 64 units",
}  # fmt: skip


@pytest.fixture(params=sorted(CORES))
def name(request):
    return request.param


@pytest.fixture
def core(name):
    config_class, core_class = CORES[name]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return core_class(config_class())


def batch(n_batch=3, n_time=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(9)
    features = torch.rand(n_batch, n_time, N_FEATURES, generator=generator, dtype=dtype)
    dt_s = 0.02 + 0.1 * torch.rand(n_batch, n_time, generator=generator, dtype=dtype)
    return features, dt_s


def test_core_parameter_count(name, core):
    stored = sum(p.numel() for p in core.parameters())
    assert stored == N_PARAMETERS[name] == sum(v.numel() for v in core.state_dict().values())


def test_core_says_what_it_shows_of_itself(name, core):
    state = torch.arange(float(core.initial_state(1).numel())).reshape(core.initial_state(1).shape)
    states = torch.cat([state, -state]).numpy()
    assert (core.kind, core.title) == (name, TITLES[name])
    parts = core.parts(states)
    if name == "lstm":  # h before c; the readout sees h alone
        assert core.shown_state(state[0]).tolist() == list(range(64))
        assert list(parts) == ["h", "h_and_c"]
        assert np.array_equal(parts["h"], states[:, :64])
        assert np.array_equal(parts["h_and_c"], states)
    else:
        assert core.shown_state(state[0]).tolist() == state[0].tolist()
        assert list(parts) == ["state"]
        assert np.array_equal(parts["state"], states)
    assert (core.wiring is not None) == (name in ("ltc", "wired_cfc"))
    features = torch.zeros(2, N_FEATURES)
    if name == "ltc":
        assert torch.equal(core.synapse_strengths, core.w)
        assert core.synapse_trace(features, torch.zeros(2, 19)).recurrent_current.shape == (2, 60)
    else:
        assert core.synapse_strengths is None
        assert core.synapse_trace(features, torch.from_numpy(states)) is None


def test_core_shapes_and_zero_start(core):
    features, dt_s = batch()
    state = core.initial_state(3)
    assert state.shape[0] == 3
    assert not state.any()
    outputs, last = core.forward_sequence(features, state, dt_s)
    assert outputs.shape == (3, 5, 1)
    assert last.shape == state.shape
    output, last = core(features[:, 0], state, dt_s[:, 0])
    assert output.shape == (3, 1)
    assert last.shape == state.shape


def test_core_sequence_equals_steps(core):
    core = core.double()
    features, dt_s = batch(dtype=torch.float64)
    start = core.initial_state(3) + 0.1
    outputs, last = core.forward_sequence(features, start, dt_s)
    state = start
    for t in range(features.shape[1]):
        output, state = core(features[:, t], state, dt_s[:, t])
        torch.testing.assert_close(output, outputs[:, t], atol=1e-12, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-12, rtol=0)


def test_core_samples_do_not_mix_even_with_as_many_samples_as_state_numbers(core):
    core = core.double()
    n_batch = core.initial_state(1).shape[1]
    features, dt_s = batch(n_batch=n_batch, n_time=2, dtype=torch.float64)
    outputs, last = core.forward_sequence(features, core.initial_state(n_batch), dt_s)
    for b in (0, 1, n_batch - 1):
        one = slice(b, b + 1)
        alone, alone_last = core.forward_sequence(features[one], core.initial_state(1), dt_s[one])
        torch.testing.assert_close(outputs[one], alone, atol=1e-12, rtol=0)
        torch.testing.assert_close(last[one], alone_last, atol=1e-12, rtol=0)


def test_core_changes_neither_arguments_nor_itself(core):
    features, dt_s = batch()
    state = core.initial_state(3)
    given = [x.clone() for x in (features, state, dt_s)]
    weights = {k: v.clone() for k, v in core.state_dict().items()}
    first, _ = core.forward_sequence(features, state, dt_s)
    again, _ = core.forward_sequence(features, state, dt_s)
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip((features, state, dt_s), given, strict=True))
    assert all(torch.equal(v, weights[k]) for k, v in core.state_dict().items())


def test_core_every_parameter_gets_a_gradient(core):
    features, dt_s = batch()
    outputs, _ = core.forward_sequence(features, core.initial_state(3), dt_s)
    outputs.square().sum().backward()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_core_deepcopy_is_independent(core):
    features, dt_s = batch()
    before, _ = core.forward_sequence(features, core.initial_state(3), dt_s)
    twin = copy.deepcopy(core)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.5
    changed, _ = twin.forward_sequence(features, core.initial_state(3), dt_s)
    after, _ = core.forward_sequence(features, core.initial_state(3), dt_s)
    assert torch.equal(before, after)
    assert not torch.allclose(changed, before)


@pytest.mark.parametrize("how", ["load_assign", "functional_call"])
def test_core_replaced_weights_act(core, how):
    features, dt_s = batch(n_time=1)
    args = (features[:, 0], core.initial_state(3), dt_s[:, 0])
    before, _ = core(*args)
    weights = {k: v.detach() + 0.3 for k, v in core.state_dict().items()}
    if how == "load_assign":
        core.load_state_dict(weights, assign=True)
        after, _ = core(*args)
    else:
        after, _ = torch.func.functional_call(core, weights, args)
    assert not torch.allclose(before, after)


def test_core_config_round_trip(name):
    config = CORES[name][0]()
    plain = PolicyConfig(name, config).to_dict()
    assert PolicyConfig.from_dict(json.loads(json.dumps(plain))).core_config == config
    assert config.n_inputs == N_FEATURES
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)


def test_core_lstm_state_is_clipped():
    core = LSTMCore(LSTMConfig(state_limit=0.05))
    features, dt_s = batch()
    _, state = core.forward_sequence(30 * features, core.initial_state(3), dt_s)
    assert state.abs().max().item() == pytest.approx(0.05)


def test_core_lstm_agrees_with_torch_lstm_while_nothing_is_clipped():
    core = LSTMCore()
    reference = torch.nn.LSTM(32, 64, batch_first=True)
    reference.load_state_dict({f"{k}_l0": v for k, v in core.cell.state_dict().items()})
    features, dt_s = batch()
    outputs, state = core.forward_sequence(features, core.initial_state(3), dt_s)
    hidden, (h, c) = reference(features)
    torch.testing.assert_close(outputs, core.readout(hidden))
    torch.testing.assert_close(state, torch.cat([h[0], c[0]], dim=1))


def test_core_lstm_ignores_dt_s():
    core = LSTMCore()
    features, dt_s = batch()
    first, _ = core.forward_sequence(features, core.initial_state(3), dt_s)
    second, _ = core.forward_sequence(features, core.initial_state(3), 2 * dt_s)
    assert torch.equal(first, second)


def test_core_gru_agrees_with_torch_gru():
    core = GRUCore()
    reference = torch.nn.GRU(32, 64, batch_first=True)
    reference.load_state_dict({f"{k}_l0": v for k, v in core.cell.state_dict().items()})
    features, dt_s = batch()
    start = 0.1 * torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    outputs, state = core.forward_sequence(features, start, dt_s)
    hidden, last = reference(features, start[None])
    torch.testing.assert_close(outputs, core.readout(hidden))
    torch.testing.assert_close(state, last[0])


def test_core_gru_state_stays_within_one_whatever_comes():
    core, (features, dt_s) = GRUCore(), batch()
    _, state = core.forward_sequence(1e30 * (features - 0.5), core.initial_state(3), dt_s)
    assert state.abs().max() <= 1.0


@pytest.mark.parametrize("setting", [{"n_units": 0}, {"n_units": 10**6}, {"n_inputs": True}])
def test_core_gru_config_rejects_impossible_settings(setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        GRUConfig(**setting)


@pytest.mark.parametrize("setting", [{"n_units": 0}, {"n_inputs": 1.0}, {"state_limit": 0.0}])
def test_core_lstm_config_rejects_impossible_settings(setting):
    with pytest.raises(BadInputError, match=next(iter(setting))):
        LSTMConfig(**setting)
