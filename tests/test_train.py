import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from driving import train as train_module
from driving.data import AugmentConfig
from driving.models import checkpoint
from driving.models.policy import to_tensor
from driving.open_loop import evaluate
from driving.train import (
    LR_CORE,
    LR_ENCODER,
    RESUME_NAME,
    RecordedWindows,
    TrainConfig,
    learning_rate_factor,
    train,
    weighted_squared_error,
)
from sim.errors import BadInputError

PLAIN = AugmentConfig(light=0.0, shadow=0.0)
TINY = TrainConfig(
    n_steps=6, batch=3, window=4, n_warmup=1, checkpoint_every=2, augment=AugmentConfig(light=0.3, shadow=0.5)
)


class StoppedError(Exception):
    pass


def weights(policy):
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def stop_after(step):
    def on_step(done, loss):
        if done == step:
            raise StoppedError

    return on_step


# Loss and rates --------------------------------------------------------------------------------------------


def test_train_loss_beyond_the_outlier_limit_goes_on_as_the_tangent_of_the_square():
    target, speed = torch.zeros(1, 3), torch.full((1, 3), 10.0)
    predicted = torch.tensor([[0.01, 0.02, 0.06]], requires_grad=True)  # 0.5, 1 and 3 units; the limit is 1
    loss = weighted_squared_error(predicted, target, speed, 0.02, 0.0, outlier_per_m=0.02)
    assert loss.item() == pytest.approx((0.25 + 1.0 + (2 * 3.0 - 1.0)) / 3)
    loss.backward()
    slopes = torch.tensor([[2 * 0.5, 2 * 1.0, 2 * 1.0]]) / 0.02 / 3
    torch.testing.assert_close(predicted.grad, slopes)
    same = weighted_squared_error(predicted, target, speed, 0.02, 0.0, outlier_per_m=1.0)
    assert same.item() == weighted_squared_error(predicted, target, speed, 0.02, 0.0).item()


def test_train_loss_by_hand():
    predicted = torch.tensor([[0.9, 0.01, 0.03], [0.9, 0.00, -0.02]])
    target = torch.tensor([[0.0, 0.00, 0.01], [0.0, 0.02, -0.02]])
    w = [math.exp(0.1 * y) for y in (0, 10, 20, 20)]
    squares = [0.5**2, 1.0**2, 1.0**2, 0.0]  # in units of 0.02 /m
    speed_mps = torch.tensor([[9.0, 10.0, 20.0], [9.0, 0.5, 30.0]])
    fast = [a * b for a, b in zip(w, (1.0, 4.0, 0.01, 9.0), strict=True)]  # no frame weighs less than at 1 m/s

    def loss_of(weight_exponent, speed_exponent):
        return weighted_squared_error(predicted, target, speed_mps, 0.02, weight_exponent, speed_exponent, 1)

    for weights_, speed_exponent in ((w, 0.0), (fast, 2.0)):
        expected = sum(a * b for a, b in zip(weights_, squares, strict=True)) / sum(weights_)
        assert loss_of(0.1, speed_exponent).item() == pytest.approx(expected, rel=1e-5)
    flat = loss_of(0.0, 0.0)
    assert flat.item() == pytest.approx(np.mean(squares), rel=1e-5)


def test_train_learning_rate_rises_then_falls_as_a_half_cosine():
    config = TrainConfig(n_steps=50, lr_rise=0.1)
    rates = [learning_rate_factor(step, config.n_steps, config.lr_rise) for step in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert (np.diff(rates[5:]) < 0).all()
    assert rates[5 + 15] == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))
    assert learning_rate_factor(50, config.n_steps, config.lr_rise) == pytest.approx(0.0, abs=1e-12)
    assert 0 < rates[-1] < 0.01
    one = TrainConfig(n_steps=1)
    assert learning_rate_factor(0, one.n_steps, one.lr_rise) == 1.0


def test_train_encoder_and_core_have_rates_of_their_own(make_drive, small_policy, tmp_path, monkeypatch):
    config = dataclasses.replace(TINY, lr_encoder=1e-3, lr_core=4e-3)
    policy, rates, original = small_policy(), [], torch.optim.Adam.step

    def step(self, *args, **kwargs):
        rates.append([group["lr"] for group in self.param_groups])
        encoder, core = ({id(p) for p in group["params"]} for group in self.param_groups)
        assert encoder == {id(p) for p in policy.encoder.parameters()}
        assert core == {id(p) for p in policy.core.parameters()}
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    train(policy, [make_drive()], config, tmp_path / "out")
    factors = [learning_rate_factor(step, config.n_steps, config.lr_rise) for step in range(config.n_steps)]
    np.testing.assert_allclose(rates, [[1e-3 * f, 4e-3 * f] for f in factors])


@pytest.mark.parametrize(
    "fields",
    [
        {"n_steps": 0},
        {"batch": 0},
        {"window": 4, "n_warmup": 4},
        {"n_warmup": -1},
        {"lr_core": 0.0},
        {"lr_encoder": float("inf")},
        {"lr_rise": 1.5},
        {"lr_rise": float("nan")},
        {"weight_exponent": -1.0},
        {"speed_exponent": float("nan")},
        {"checkpoint_every": 0},
        {"clip_norm": float("nan")},
    ],
)
def test_train_config_rejects_what_cannot_be(fields):
    with pytest.raises(BadInputError, match=list(fields)[-1]):
        TrainConfig(**fields)


# Training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_train_learns_an_easy_drive(make_drive, small_policy, tmp_path, core):
    config = TrainConfig(
        n_steps=60, batch=4, window=4, n_warmup=2, lr_encoder=2e-3, lr_core=1e-2, outlier_per_m=None, augment=PLAIN
    )
    losses = []
    policy = small_policy(core)
    before = evaluate(policy, [make_drive(60, seed=3)])["rmse_curvature_per_m"]
    metrics = train(
        policy, [make_drive(60), make_drive(60, seed=1)], config, tmp_path / "out", [make_drive(60, seed=3)],
        on_step=lambda step, loss: losses.append(loss),
    )  # fmt: skip
    assert len(losses) == 60
    assert np.mean(losses[-15:]) < 0.5 * np.mean(losses[:15])
    figures = metrics["validation"]
    assert figures["rmse_curvature_per_m"] < min(before, figures["zero_rmse_curvature_per_m"])
    assert figures["correlation"] > 0.5
    assert metrics["train_loss_last_100"] == pytest.approx(np.mean(losses))
    assert metrics["n_windows"] == 2 * 57
    assert metrics["n_frames"] == 120
    assert not policy.training


def test_train_saves_what_it_returns(make_drive, small_policy, tmp_path):
    policy = small_policy()
    metrics = train(policy, [make_drive()], TINY, tmp_path / "a" / "out")
    out = tmp_path / "a" / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "curve.png",
        "log.csv",
        "metrics.json",
        "weights.safetensors",
    ]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["train_config"] == dataclasses.asdict(TINY) | {"lr_core": LR_CORE["ltc"], "lr_encoder": LR_ENCODER}
    assert_same_weights(weights(checkpoint.load(out)), weights(policy))
    assert all(tensor.is_contiguous() for tensor in policy.state_dict().values())


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_train_same_seed_gives_the_same_weights(make_drive, small_policy, tmp_path, core):
    results = []
    for i, seed in enumerate([0, 0, 1]):
        policy = small_policy(core)
        torch.rand(i)  # the global stream has no say
        np.random.default_rng().random()
        train(policy, [make_drive()], dataclasses.replace(TINY, seed=seed), tmp_path / str(i))
        results.append(weights(policy))
    assert_same_weights(results[0], results[1])
    assert any(not torch.equal(results[0][name], results[2][name]) for name in results[0])


@pytest.mark.parametrize("core", ["ltc", "lstm"])
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_train_resumed_equals_uninterrupted(make_drive, small_policy, tmp_path, core, stop):
    drives, whole, part = [make_drive(gaps=(15,))], small_policy(core), small_policy(core)
    reference = train(whole, drives, TINY, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(part, drives, TINY, tmp_path / "part", on_step=stop_after(stop))
    assert [path.name for path in (tmp_path / "part").iterdir()] == [RESUME_NAME]
    steps = []
    again = small_policy(core, seed=5)  # first weights do not matter: those of the resume point count
    metrics = train(again, drives, TINY, tmp_path / "part", resume=True, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(stop // 2 * 2, 6))
    assert_same_weights(weights(again), weights(whole))
    for name in ("weights.safetensors", "config.json"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert metrics["train_loss_last_100"] == reference["train_loss_last_100"]
    assert not (tmp_path / "part" / RESUME_NAME).exists()


def test_train_resume_needs_the_same_run(make_drive, small_policy, tmp_path):
    drives, out = [make_drive()], tmp_path / "out"
    with pytest.raises(StoppedError):
        train(small_policy(), drives, TINY, out, on_step=stop_after(3))
    kept = (out / RESUME_NAME).read_bytes()
    other = [
        (small_policy(), drives, dataclasses.replace(TINY, seed=1)),
        (small_policy(), drives, dataclasses.replace(TINY, augment=PLAIN)),
        (small_policy("lstm"), drives, TINY),
        (small_policy(), [make_drive(33)], TINY),
    ]
    for policy, data, config in other:
        with pytest.raises(BadInputError, match="settings and drives of the stopped run"):
            train(policy, data, config, out, resume=True)
    assert (out / RESUME_NAME).read_bytes() == kept
    train(small_policy(), drives, TINY, out, resume=True)


def test_train_resume_without_a_usable_point_is_an_error(make_drive, small_policy, tmp_path):
    drives = [make_drive()]
    with pytest.raises(BadInputError, match="start without --resume"):
        train(small_policy(), drives, TINY, tmp_path / "none", resume=True)
    with pytest.raises(StoppedError):
        train(small_policy(), drives, TINY, tmp_path / "cut", on_step=stop_after(3))
    point = tmp_path / "cut" / RESUME_NAME
    whole = point.read_bytes()
    for data in (b"", whole[:100], whole[:-100]):
        point.write_bytes(data)
        with pytest.raises(BadInputError, match="no usable resume point"):
            train(small_policy(), drives, TINY, tmp_path / "cut", resume=True)


def test_train_loss_that_is_not_finite_is_a_clear_error(make_drive, small_policy, tmp_path):
    policy = small_policy()
    with torch.no_grad():
        policy.core.readout_bias.fill_(float("nan"))
    with pytest.raises(BadInputError, match=r"step 0: .* got nan .* lower --lr-core"):
        train(policy, [make_drive()], TINY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_train_gradient_that_is_not_finite_does_not_reach_the_weights(make_drive, small_policy, tmp_path, monkeypatch):
    policy = small_policy()
    before = weights(policy)
    original = train_module.weighted_squared_error
    # sqrt has an endless slope at 0: the value is finite, its gradient is not.
    monkeypatch.setattr(train_module, "weighted_squared_error", lambda *args: (0.0 * original(*args)).sqrt() + 1.0)
    with pytest.raises(BadInputError, match=r"finite loss and gradient, got 1\.0 and nan"):
        train(policy, [make_drive()], TINY, tmp_path / "out")
    assert_same_weights(weights(policy), before)


def test_train_failing_run_leaves_an_old_checkpoint(make_drive, small_policy, tmp_path):
    out = tmp_path / "out"
    train(small_policy(), [make_drive()], TINY, out)
    old = {path.name: path.read_bytes() for path in out.iterdir()}
    for error, on_step in ((StoppedError, stop_after(4)), (KeyboardInterrupt, None)):

        def interrupt(step, loss):
            raise KeyboardInterrupt

        with pytest.raises(error):
            train(small_policy(seed=2), [make_drive()], TINY, out, on_step=on_step or interrupt)
        assert {name: (out / name).read_bytes() for name in old} == old
    with pytest.raises(BadInputError):
        train(small_policy(seed=2), [make_drive(3)], TINY, out)
    assert {name: (out / name).read_bytes() for name in old} == old


def test_train_place_that_cannot_be_written_is_an_error(make_drive, small_policy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be written"):
        train(small_policy(), [make_drive()], TINY, tmp_path / "file" / "out")


def test_train_bfloat16_keeps_the_weights_float32(make_drive, small_policy, tmp_path):
    policy = small_policy("lstm")
    train(policy, [make_drive()], dataclasses.replace(TINY, bfloat16=True), tmp_path / "out")
    assert {tensor.dtype for tensor in policy.state_dict().values()} == {torch.float32}


def test_train_to_tensor_moves_the_channels():
    frames = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    tensor = to_tensor(frames)
    assert tensor.shape == (2, 3, 3, 4, 5)
    assert tensor[1, 2, 0, 3, 4] == frames[1, 2, 3, 4, 0]


def test_train_windows_are_read_one_step_ahead_and_depend_on_the_step_alone(make_drive, small_policy, monkeypatch):
    policy, asked = small_policy(), []
    source = RecordedWindows([make_drive(30)], TINY, 16, 41)
    sample = source._windows.sample
    monkeypatch.setattr(source._windows, "sample", lambda *given: asked.append(given[1]) or sample(*given))
    found = {step: source.windows(policy, step) for step in (0, 1, 2, 5, 4, 3)}
    source._reader.shutdown()
    assert asked == [(0, k) for k in (0, 1, 2, 3, 5, 4, 5, 3, 4)]  # of six steps; those that were asked for at random
    for step, windows in found.items():
        alone = sample(TINY.batch, (0, step), TINY.augment)
        np.testing.assert_array_equal(windows.curvature_per_m.numpy(), alone.curvature_per_m)
        np.testing.assert_array_equal(windows.dt_s.numpy(), alone.dt_s)
