import dataclasses
import math

import numpy as np
import pytest
import torch

from driving import open_loop
from driving.models.policy import to_tensor
from driving.open_loop import evaluate, predict
from sim.errors import BadInputError


@pytest.mark.parametrize("core", ["ltc", "lstm"])
@pytest.mark.parametrize("chunk", [3, 64])
def test_open_loop_predict_carries_the_state_and_resets_at_gaps(make_drive, small_policy, core, chunk):
    drive, policy = make_drive(17, gaps=(7,)), small_policy(core, seed=2)
    expected, dt_s = [], drive.dt_s()
    with torch.no_grad():
        for row in range(17):
            if row in (0, 7):
                state = policy.initial_state(1)
            curvature, state = policy.step(to_tensor(drive.frames[row : row + 1]), state, float(dt_s[row]))
            expected.append(float(curvature[0]))
    np.testing.assert_allclose(predict(policy, drive, chunk), expected, atol=1e-6)
    # The state matters here: without the reset the rows after the gap come out otherwise.
    unbroken = dataclasses.replace(drive, timestamps_s=0.05 * np.arange(17))
    assert np.abs(predict(policy, unbroken)[7] - expected[7]) > 1e-6


class Answers:
    """A stand-in for ``predict`` with chosen answers, one array a drive."""

    def __init__(self, monkeypatch, *answers):
        answers = [np.array(a, np.float32) for a in answers]
        monkeypatch.setattr(open_loop, "predict", lambda policy, drive: answers.pop(0))


def with_labels(drive, labels, **changes):
    drive = drive.rows(0, len(labels))
    return dataclasses.replace(drive, curvature_per_m=np.array(labels, np.float32), **changes)


def test_open_loop_evaluate_by_hand(make_drive, monkeypatch):
    one = with_labels(make_drive(9), [0.01, 0.03, 0.0])
    two = with_labels(make_drive(9), [-0.02])
    Answers(monkeypatch, [0.02, 0.03, 0.01], [0.0])
    figures = evaluate(None, [one, two])
    assert set(figures) == {
        "rmse_curvature_per_m", "zero_rmse_curvature_per_m", "correlation", "n_frames"
    }  # fmt: skip
    assert figures["n_frames"] == 4
    assert figures["rmse_curvature_per_m"] == pytest.approx(0.01 * math.sqrt((1 + 0 + 1 + 4) / 4), rel=1e-5)
    assert figures["zero_rmse_curvature_per_m"] == pytest.approx(0.01 * math.sqrt((1 + 9 + 0 + 4) / 4), rel=1e-5)
    expected = np.corrcoef([2, 3, 1, 0], [1, 3, 0, -2])[0, 1]
    assert figures["correlation"] == pytest.approx(expected, abs=1e-5)
    assert all(type(value) in (float, int) for value in figures.values())


def test_open_loop_evaluate_knows_the_steering_wheel_of_each_vehicle(make_drive, monkeypatch):
    one = with_labels(make_drive(9, steering_ratio=15.0), [0.04, 0.0])
    two = with_labels(make_drive(9, steering_ratio=10.0), [0.02])
    Answers(monkeypatch, [0.0, 0.0], [0.02])
    figures = evaluate(None, [one, two])
    wheel = [15.0 * math.atan(0.04 * 2.5), 10.0 * math.atan(0.02 * 2.5)]
    assert figures["rmse_steering_wheel_rad"] == pytest.approx(math.sqrt(wheel[0] ** 2 / 3), rel=1e-5)
    assert figures["zero_rmse_steering_wheel_rad"] == pytest.approx(
        math.sqrt((wheel[0] ** 2 + wheel[1] ** 2) / 3), rel=1e-5
    )
    # One drive of a vehicle without a known ratio: the figure is left out, not made up.
    Answers(monkeypatch, [0.0, 0.0], [0.02])
    figures = evaluate(None, [one, with_labels(make_drive(9), [0.02])])
    assert not any("steering" in key for key in figures)


def test_open_loop_evaluate_without_variation_has_no_correlation(make_drive, monkeypatch):
    Answers(monkeypatch, [0.01, 0.01, 0.01])
    assert evaluate(None, [with_labels(make_drive(9), [0.01, 0.02, 0.0])])["correlation"] is None
    with pytest.raises(BadInputError, match="at least one drive"):
        evaluate(None, [])
