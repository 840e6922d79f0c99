import copy
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driving.attention import visual_backprop
from driving.models.baselines import LSTMConfig
from driving.models.cfc import CfCConfig, WiredCfCConfig
from driving.models.ltc import LTCConfig
from driving.models.policy import CORES, ENCODERS, PolicyConfig, build_policy
from driving.models.wiring import WiringConfig
from sim.errors import BadInputError

SMALL = {"height_px": 18, "width_px": 30}


def small(core="ltc", seed=0, **settings):
    return build_policy(PolicyConfig(core=core, **SMALL, **settings), seed)


def pictures(n_batch, n_time, seed=0):
    return torch.rand(n_batch, n_time, 3, 18, 30, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("core", sorted(CORES))
def test_policy_forward_equals_steps(core):
    policy = small(core).double()
    frames, dt_s = pictures(2, 4).double(), 0.03 + 0.02 * torch.arange(8).reshape(2, 4).double()
    start = policy.initial_state(2) + 0.05
    curvatures, last = policy(frames, start, dt_s)
    assert curvatures.shape == (2, 4)
    state = start
    for t in range(4):
        curvature, state = policy.step(frames[:, t], state, dt_s[:, t])
        assert curvature.shape == (2,)
        torch.testing.assert_close(curvature, curvatures[:, t], atol=1e-12, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-12, rtol=0)


def test_policy_defaults_are_zero_state_and_20_hz():
    policy, frames = small(), pictures(2, 3)
    expected, _ = policy(frames, policy.initial_state(2), torch.full((2, 3), 0.05))
    torch.testing.assert_close(policy(frames)[0], expected)
    torch.testing.assert_close(policy(frames, dt_s=0.05)[0], expected)
    assert not torch.allclose(policy(frames, dt_s=0.2)[0], expected, rtol=1e-3)


def test_policy_decode_of_encode_is_forward():
    policy, frames = small(), pictures(2, 3)
    features = policy.encode(frames.flatten(0, 1)).unflatten(0, (2, 3))
    assert features.shape == (2, 3, 32)
    assert torch.equal(policy.decode(features)[0], policy(frames)[0])


@pytest.mark.parametrize("core", sorted(CORES))
def test_policy_encode_may_run_in_bfloat16_before_a_core_in_float32(core):
    policy, frames = small(core), pictures(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        features = policy.encode(frames.flatten(0, 1)).unflatten(0, (2, 3))
    assert features.dtype == torch.float32
    torch.testing.assert_close(policy.decode(features)[0], policy(frames)[0], atol=3e-4, rtol=0.1)


def test_policy_takes_bytes_as_floats():
    policy = small()
    frames = (pictures(1, 2) * 255).to(torch.uint8)
    torch.testing.assert_close(policy(frames)[0], policy(frames.float() / 255)[0])


def test_policy_curvature_is_the_squashed_output_of_the_core():
    policy = small(max_curvature_per_m=0.2, curvature_unit_per_m=0.03).double()
    frame, state = pictures(2, 1)[:, 0].double(), policy.initial_state(2)
    output, _ = policy.core(policy.encode(frame), state, torch.full((2,), 0.05).double())
    curvature, _ = policy.step(frame, state, 0.05)
    torch.testing.assert_close(curvature, 0.2 * torch.tanh(output[:, 0] * 0.03 / 0.2), atol=1e-8, rtol=0)


@pytest.mark.parametrize("core", sorted(CORES))
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    values=st.lists(st.floats(width=32), min_size=1, max_size=5),
    share=st.sampled_from([0.001, 0.1, 1.0]),
)
def test_policy_command_is_finite_and_within_limits_whatever_the_frame_holds(core, seed, values, share):
    policy = small(core)
    with torch.no_grad():
        for parameter in policy.core.parameters():
            parameter *= 20.0  # a command that would leave the limits without them
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(2, 3, 3, 18, 30, generator=generator)
    bad = torch.rand(frames.shape, generator=generator) < share
    pick = torch.randint(len(values), frames.shape, generator=generator)
    frames = torch.where(bad, torch.tensor(values)[pick], frames)
    curvature, state = policy(frames)
    assert torch.isfinite(curvature).all()
    assert torch.isfinite(state).all()
    assert max(abs(x) for x in curvature.flatten().tolist()) <= policy.config.max_curvature_per_m


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, 1e300])
def test_policy_stands_a_frame_full_of_one_bad_value(value):
    policy = small()
    frame = torch.full((1, 3, 18, 30), value, dtype=torch.float64)
    curvature, _ = policy.step(frame, policy.initial_state(1), 0.05)
    assert torch.isfinite(curvature).all()


def test_policy_limit_holds_when_the_output_saturates():
    policy = small(max_curvature_per_m=0.1)  # the nearest float32 of 0.1 lies above 0.1
    with torch.no_grad():
        policy.core.readout_bias.fill_(1e9)
    curvature, _ = policy.step(pictures(1, 1)[:, 0], policy.initial_state(1), 0.05)
    assert 0.0999 < curvature.item() <= 0.1


def test_policy_nan_pixel_is_mid_grey():
    policy, frame = small(), pictures(1, 1)[:, 0]
    grey, broken = frame.clone(), frame.clone()
    grey[0, 1, 2, 3], broken[0, 1, 2, 3] = 0.5, math.nan
    assert torch.equal(policy.encode(grey), policy.encode(broken))


@pytest.mark.parametrize(("value", "counts_as"), [(1e30, 4.0), (math.inf, 4.0), (-50.0, -3.0), (-math.inf, -3.0)])
def test_policy_one_wild_pixel_does_not_blank_the_picture(value, counts_as):
    policy, frame = small(), pictures(1, 1)[:, 0]
    near, wild = frame.clone(), frame.clone()
    near[0, 1, 2, 3], wild[0, 1, 2, 3] = counts_as, value
    assert torch.equal(policy.encode(near), policy.encode(wild))


def test_policy_is_the_same_for_the_same_seed_and_leaves_the_global_stream_alone():
    torch.manual_seed(77)
    expected = torch.rand(3)
    torch.manual_seed(77)
    first, second, other = small(seed=5), small(seed=5), small(seed=6)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.encoder.dense_weight, other.encoder.dense_weight)


def test_policy_encoder_begins_the_same_for_every_core():
    encoders = [small(core, seed=4).encoder.state_dict() for core in sorted(CORES)]
    for other in encoders[1:]:
        assert all(torch.equal(other[name], value) for name, value in encoders[0].items())


def test_policy_deepcopy_and_replaced_weights_act():
    policy, frames = small(), pictures(1, 2)
    before = policy(frames)[0]
    weights = {name: value + 0.1 for name, value in policy.state_dict().items()}
    twin = copy.deepcopy(policy)
    twin.load_state_dict(weights, assign=True)
    assert torch.equal(policy(frames)[0], before)
    assert not torch.allclose(twin(frames)[0], before)
    torch.testing.assert_close(torch.func.functional_call(policy, weights, (frames,))[0], twin(frames)[0])


def test_policy_gradient_reaches_the_frame_and_every_part():
    policy, frames = small(), pictures(2, 3).requires_grad_()
    policy(frames)[0].sum().backward()
    assert frames.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in policy.parameters())


@pytest.mark.parametrize(
    "config",
    [
        PolicyConfig(),
        PolicyConfig("ltc", LTCConfig(n_substeps=3, initial_c=4.5), 40, 60, 0.3, 0.02),
        PolicyConfig("lstm", LSTMConfig(n_units=11), width_px=64),
        PolicyConfig("ltc", LTCConfig(wiring=WiringConfig("random", n_inter=8, sparsity=0.3, seed=4))),
        PolicyConfig("wired_cfc", WiredCfCConfig("pure", wiring=WiringConfig("ncp", seed=2))),
        PolicyConfig("cfc", CfCConfig(mode="no_gate", backbone_layers=2)),
        PolicyConfig("feedforward", encoder="cnn"),
        PolicyConfig("gru", encoder="pilotnet", height_px=66),
    ],
)
def test_policy_config_round_trip_through_json(config):
    plain = config.to_dict()
    assert not any(isinstance(value, dict) for value in plain.values())
    assert PolicyConfig.from_dict(json.loads(json.dumps(plain))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"core": "rnn"}, "one of ltc, lstm, .*, got 'rnn'"),
        ({"encoder": "big"}, "encoder must be one of shared, cnn, pilotnet, got 'big'"),
        ({"encoder": "pilotnet"}, "gives 3456 features, but the settings of core ltc expect 32"),
        ({"core_wiring_kind": "ring"}, "kind must be one of paper"),
        ({"core_wiring_kind": 3}, "core_wiring_kind must be a str"),
        ({"core_wiring_n_inter": 9}, "kind paper does not use n_inter"),
        ({"core_wiring_kind": "ncp", "core_wiring_n_motor": 2}, "1 motor neuron"),
        ({"core": ["ltc"]}, "one of ltc"),
        ({"colour": 1}, "unknown colour"),
        ({"core_n_units": 3}, "unknown core_n_units"),
        ({"core_config": 3}, "unknown core_config"),
        ({"height_px": "78"}, "height_px must be a int, got '78'"),
        ({"height_px": True}, "height_px"),
        ({"core_initial_c": None}, "core_initial_c"),
        ({"core_initial_c": -1.0}, "initial_c"),
        ({"max_curvature_per_m": 0}, "max_curvature_per_m"),
    ],
)
def test_policy_config_rejects_what_does_not_fit(change, message):
    with pytest.raises(BadInputError, match=message):
        PolicyConfig.from_dict(PolicyConfig().to_dict() | change)


def test_policy_config_names_a_missing_setting():
    plain = PolicyConfig().to_dict()
    del plain["width_px"], plain["core_n_substeps"]
    with pytest.raises(BadInputError, match="missing core_n_substeps, width_px"):
        PolicyConfig.from_dict(plain)


def test_policy_config_rejects_the_settings_of_another_core():
    with pytest.raises(BadInputError, match="LTCConfig"):
        PolicyConfig("ltc", LSTMConfig())


def test_policy_rejects_wrong_frames_and_time_steps():
    policy = small()
    state = policy.initial_state(1)
    with pytest.raises(BadInputError, match=r"\(B, 3, 18, 30\)"):
        policy.step(torch.rand(1, 3, 20, 30), state, 0.05)
    with pytest.raises(BadInputError, match=r"\(B, T, 3, H, W\)"):
        policy(torch.rand(1, 3, 18, 30))
    with pytest.raises(BadInputError, match="uint8 or float"):
        policy.step(torch.ones(1, 3, 18, 30, dtype=torch.int64), state, 0.05)
    for dt_s in (0.0, -0.05, math.nan, math.inf):
        with pytest.raises(BadInputError, match="dt_s must be positive"):
            policy.step(pictures(1, 1)[:, 0], state, dt_s)
    with pytest.raises(BadInputError, match="dt_s"):
        policy.step(pictures(1, 1)[:, 0], state, torch.full((2,), 0.05))


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
@pytest.mark.parametrize("core", ["feedforward", "lstm"])
def test_policy_of_every_encoder_keeps_the_contract(encoder, core):
    policy = build_policy(PolicyConfig(core, height_px=66, width_px=70, encoder=encoder), 3)
    frames = torch.rand(2, 3, 3, 66, 70, generator=torch.Generator().manual_seed(1))
    curvatures, last = policy(frames)
    assert policy.encode(frames[:, 0]).shape == (2, policy.core.config.n_inputs)
    state = policy.initial_state(2)
    for t in range(3):
        curvature, state = policy.step(frames[:, t], state, 0.05)
        torch.testing.assert_close(curvature, curvatures[:, t], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(state, last, atol=1e-4, rtol=1e-4)
    attention = visual_backprop(policy, frames[:, 0], state)
    assert attention.shape == (2, 66, 70)
    assert attention.amax(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0])


def test_policy_of_a_wiring_with_several_motor_neurons_is_rejected():
    with pytest.raises(BadInputError, match="1 motor neuron"):
        PolicyConfig("ltc", LTCConfig(wiring=WiringConfig("full", n_motor=2)))
