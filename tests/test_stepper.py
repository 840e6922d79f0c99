"""The fast form of a policy against PyTorch, which is the definition: every core, every encoder."""

import pickle

import numpy as np
import pytest
import torch

from driving.models.policy import CORES, ENCODERS, PolicyConfig, build_policy
from driving.models.stepper import N_ROWS, Stepper
from sim.errors import BadInputError

SIZE = (66, 75)
N_BATCH = N_ROWS + 3
TOLERANCE = {"rtol": 1e-4, "atol": 5e-5}
"""Of features and states, which are around 1."""
CURVATURE_TOLERANCE_PER_M = 1e-6

EVERY = [(core, "shared") for core in sorted(CORES)] + [("feedforward", name) for name in sorted(ENCODERS)]


def small(core="ltc", encoder="shared", seed=3):
    return build_policy(PolicyConfig(core, height_px=SIZE[0], width_px=SIZE[1], encoder=encoder), seed).eval()


def given(policy, n=N_BATCH):
    """Frames of noise, one even, one dark, one without a middle; a state under way; times that differ."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (n, *SIZE, 3), dtype=np.uint8)
    frames[1 % n], frames[2 % n] = 255, frames[2 % n] // 100
    frames[-1] = 255 * (frames[-1] // 128)
    state = policy.initial_state(n)
    state = state + 0.1 * torch.rand(state.shape, generator=torch.Generator().manual_seed(2))
    return frames, state, rng.uniform(0.02, 0.2, n).astype(np.float32)


def assert_same(stepper, policy):
    frames, state, dt_s = given(policy)
    before = frames.copy(), state.clone(), dt_s.copy()
    pictures = torch.from_numpy(frames).movedim(-1, 1)
    with torch.no_grad():
        expected, expected_state = policy.step(pictures, state, torch.from_numpy(dt_s))
        torch.testing.assert_close(stepper.encode(frames), policy.encode(pictures), **TOLERANCE)
    curvature, new_state = stepper.step(frames, state, dt_s)
    assert curvature.dtype == np.float32
    np.testing.assert_allclose(curvature, expected, atol=CURVATURE_TOLERANCE_PER_M, rtol=0)
    torch.testing.assert_close(new_state, expected_state, **TOLERANCE)
    for now, then in zip((frames, state, dt_s), before, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize(("core", "encoder"), EVERY)
def test_stepper_agrees_with_pytorch(core, encoder):
    policy = small(core, encoder)
    stepper = Stepper(policy)
    assert stepper._session is not None
    assert_same(stepper, policy)


@pytest.mark.parametrize(("core", "encoder"), EVERY)
def test_stepper_answer_has_the_same_bits_in_every_batch(core, encoder):
    stepper = Stepper(small(core, encoder))
    frames, state, dt_s = given(stepper.policy)
    together, states = stepper.step(frames, state, dt_s)
    for some in ([0], [N_BATCH - 1], [7, 2, 0], list(range(N_ROWS))):
        found, last = stepper.step(frames[some], state[some], dt_s[some])
        assert np.array_equal(found, together[some])
        assert torch.equal(last, states[some])


def test_stepper_is_a_snapshot_of_the_weights():
    policy = small()
    stepper = Stepper(policy)
    before = stepper.step(*given(policy))
    features = policy.encode(torch.rand(4, 3, *SIZE, generator=torch.Generator().manual_seed(1)))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    policy.decode(features[None])[0].square().sum().backward()
    optimizer.step()
    after = stepper.step(*given(policy))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    trained = Stepper(policy)
    assert not np.array_equal(trained.step(*given(policy))[0], before[0])
    assert_same(trained, policy)


def test_stepper_leaves_the_policy_as_it_was():
    policy = small().train()
    Stepper(policy).step(*given(policy))
    assert policy.training
    assert all(p.requires_grad and p.grad is None for p in policy.parameters())


def test_stepper_of_a_pickled_policy_has_the_same_bits():
    policy = small("lstm")
    other = Stepper(pickle.loads(pickle.dumps(policy)))
    for a, b in zip(other.step(*given(policy)), Stepper(policy).step(*given(policy)), strict=True):
        assert np.array_equal(a, b)


def test_stepper_in_double_precision_is_pytorch_itself():
    policy = small().double()
    stepper = Stepper(policy)
    assert stepper._session is None
    frames, state, dt_s = given(policy, 2)
    curvature, _ = stepper.step(frames, state, dt_s)
    with torch.no_grad():
        expected, _ = policy.step(torch.from_numpy(frames).movedim(-1, 1), state, torch.from_numpy(dt_s))
    assert curvature.dtype == np.float32
    np.testing.assert_allclose(curvature, expected, rtol=1e-6)


def test_stepper_takes_frames_that_are_not_contiguous():
    policy = small()
    frames, state, dt_s = given(policy, 3)
    expected, _ = Stepper(policy).step(frames, state, dt_s)
    wide = np.repeat(frames, 2, axis=2)
    assert np.array_equal(Stepper(policy).step(wide[:, :, ::2], state, dt_s)[0], expected)


def test_stepper_command_is_within_the_limit_and_gives_no_graph():
    policy = small()
    with torch.no_grad():
        policy.core.readout_weight.fill_(1e30)
    frames, state, dt_s = given(policy)
    curvature, new_state = Stepper(policy).step(frames, state.requires_grad_(), dt_s)
    assert np.isfinite(curvature).all()
    assert np.abs(curvature).max() <= policy.config.max_curvature_per_m
    assert not new_state.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, s, t: (f.astype(np.float32), s, t), r"uint8, got \(3, 66, 75, 3\) of float32"),
        (lambda f, s, t: (f[:, 1:], s, t), r"frames \(B, 66, 75, 3\)"),
        (lambda f, s, t: (f[0], s, t), r"frames \(B, 66, 75, 3\)"),
        (lambda f, s, t: (f[:0], s[:0], t[:0]), r"got \(0, 66, 75, 3\)"),
        (lambda f, s, t: (f, s, t[:2]), r"dt_s of shape \(3,\), got \(2,\)"),
        (lambda f, s, t: (f, s, 0 * t), "positive seconds"),
    ],
)
def test_stepper_rejects_bad_input(change, message):
    policy = small()
    with pytest.raises(BadInputError, match=message):
        Stepper(policy).step(*change(*given(policy, 3)))
