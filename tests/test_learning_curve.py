"""What a run tells while it learns: the log, its picture, and the best policy of a run that is validated."""

import csv
import dataclasses
import sys

import pytest
import torch

from driving.data import AugmentConfig
from driving.learning_curve import COLUMNS, LearningCurve, Validation, badness, tensorboard_writer
from driving.models import checkpoint
from driving.train import TrainConfig, train
from sim.errors import BadInputError

TINY = TrainConfig(
    n_steps=6, batch=3, window=4, n_warmup=1, checkpoint_every=2, log_every=4, augment=AugmentConfig(light=0.3)
)


def rows_of(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def fixed(answers):
    """A validation that answers what it is told, and keeps the weights that it was shown."""
    shown, left = [], list(answers)

    def drive(policy):
        shown.append({name: value.clone() for name, value in policy.state_dict().items()})
        crashes, offset_m = left.pop(0)
        return {"crashes": crashes, "km": 2.0, "mean_abs_lateral_offset_m": offset_m}

    return Validation(2, drive), shown


def test_learning_curve_has_a_row_every_few_steps_and_at_the_end(small_policy, make_drive, tmp_path):
    losses = []
    train(small_policy(), [make_drive()], TINY, tmp_path, on_step=lambda step, loss: losses.append(loss))
    rows = rows_of(tmp_path)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["step"], row["frames"]) for row in rows] == [("4", "48"), ("6", "72")]
    assert float(rows[0]["loss"]) == pytest.approx(sum(losses[:4]) / 4, rel=1e-4)
    assert float(rows[1]["loss"]) == pytest.approx(sum(losses[4:]) / 2, rel=1e-4)
    assert 0 < float(rows[0]["waiting_share"]) < 1
    assert float(rows[0]["frames_per_s"]) > 0
    assert rows[0]["policy_km"] == rows[0]["validation_km"] == ""
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_learning_curve_of_a_resumed_run_is_that_of_one_never_stopped(small_policy, make_drive, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(step, loss):
        if step == 4:
            raise StoppedError

    config = dataclasses.replace(TINY, log_every=1)
    train(small_policy(), [make_drive()], config, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(small_policy(), [make_drive()], config, tmp_path / "part", on_step=stop)
    train(small_policy("ltc", 5), [make_drive()], config, tmp_path / "part", resume=True)
    whole, part = (
        [(row["step"], row["loss"], row["lr_core"]) for row in rows_of(tmp_path / name)] for name in ("whole", "part")
    )
    assert whole == part


def test_learning_curve_best_policy_is_kept_also_over_a_stop(small_policy, make_drive, tmp_path):
    validation, shown = fixed([(1, 0.3), (0, 0.2), (0, 0.4)])
    metrics = train(small_policy(), [make_drive()], TINY, tmp_path / "a", closed_loop=validation)
    assert metrics["best_step"] == 4
    assert metrics["closed_loop_validation"]["crashes"] == 0
    saved = checkpoint.load(tmp_path / "a").state_dict()
    assert all(torch.equal(saved[name], shown[1][name]) for name in saved)
    assert [row["validation_crashes"] for row in rows_of(tmp_path / "a")] == ["1", "0", "0"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "config.json", "curve.png", "log.csv", "metrics.json", "weights.safetensors",
    ]  # fmt: skip

    class StoppedError(Exception):
        pass

    def stop(step, loss):
        if step == 5:
            raise StoppedError

    validation, _ = fixed([(1, 0.3), (0, 0.2)])
    with pytest.raises(StoppedError):
        train(small_policy(), [make_drive()], TINY, tmp_path / "b", on_step=stop, closed_loop=validation)
    validation, _ = fixed([(0, 0.4)])
    train(small_policy("ltc", 5), [make_drive()], TINY, tmp_path / "b", resume=True, closed_loop=validation)
    again = checkpoint.load(tmp_path / "b").state_dict()
    assert all(torch.equal(again[name], saved[name]) for name in saved)


def test_learning_curve_best_is_fewest_crashes_then_nearest_to_the_middle():
    def figures(crashes, km, offset_m):
        return {"crashes": crashes, "km": km, "mean_abs_lateral_offset_m": offset_m}

    assert badness(figures(1, 10.0, 0.4)) < badness(figures(1, 5.0, 0.1))
    assert badness(figures(0, 5.0, 0.1)) < badness(figures(0, 9.0, 0.2))
    assert badness(figures(9, 1.0, 0.1)) < badness(figures(1, 0.0, 0.1))


def test_learning_curve_picture_of_few_rows(tmp_path):
    curve = LearningCurve(tmp_path)
    curve.add({"part": "driving", "step": 1, "frames": 12, "loss": 0.5, "policy_crashes_per_km": None})
    curve.draw()
    validated = {"policy_crashes_per_km": 3.0, "validation_km": 1.0, "validation_crashes": 2}
    curve.add({"part": "driving", "step": 2, "frames": 24, "loss": 0.4, **validated})
    curve.draw()
    curve = LearningCurve(tmp_path, before=[{"part": "pictures", "step": 1, "frames": 64, "loss": 0.9}])
    curve.add({"part": "driving", "step": 1, "frames": 12, "loss": 0.5})
    curve.draw()
    assert [(row["part"], row["frames"]) for row in rows_of(tmp_path)] == [("pictures", "64"), ("driving", "12")]
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_learning_curve_without_tensorboard_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInputError, match=r"pip install .liquid-lane\[tensorboard\]"):
        tensorboard_writer(tmp_path)


def test_learning_curve_rows_are_shown_by_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason='needs pip install "liquid-lane[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write = tensorboard_writer(tmp_path)
    for step in (1, 2):
        write(
            {"part": "driving", "step": step, "frames": 100 * step, "loss": 0.5 / step, "policy_crashes_per_km": None}
        )
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["driving/loss"]
    assert [(e.step, e.value) for e in events.Scalars("driving/loss")] == [(100, 0.5), (200, 0.25)]
