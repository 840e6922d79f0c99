"""A training from its settings: the same whichever way it is run, several seeds side by side, the median of them."""

import dataclasses
import json
import os
import signal

import pytest
from safetensors.torch import load_file

from driving.data import AugmentConfig
from driving.model_card import model_card
from driving.models import checkpoint
from driving.recipe import NewPolicy, Training, of_seeds, run_side_by_side, take_median
from driving.train import TrainConfig
from sim import drive as drive_io
from sim.errors import BadInputError, WorkerLostError
from sim.processes import start

TINY = TrainConfig(
    n_steps=4, batch=2, window=4, n_warmup=1, checkpoint_every=2, log_every=2, augment=AugmentConfig(light=0.0)
)


@pytest.fixture
def training(make_drive, tmp_path):
    drive_io.save(make_drive(12, size=(78, 200)), tmp_path / "drive")
    return Training(
        tmp_path / "out", TINY, NewPolicy("lstm"), (str(tmp_path / "drive"),), env_options={"roadside": False},
        validate_every=4, validation_seeds=range(3000, 3002), validation_seconds=0.5,
    )  # fmt: skip


def weights(folder):
    return {name: value.tolist() for name, value in load_file(folder / "weights.safetensors").items()}


@pytest.mark.slow
def test_recipe_seeds_side_by_side_are_those_run_alone(training, tmp_path):
    several = of_seeds(training, [0, 1])
    rows = []
    run_side_by_side(several, 2, on_row=lambda i, row: rows.append((i, row["step"])))
    assert sorted(rows) == [(0, 2), (0, 4), (1, 2), (1, 4)]
    alone = dataclasses.replace(several[1], out=tmp_path / "alone")
    alone.run()
    assert weights(several[1].out) == weights(alone.out)
    assert weights(several[0].out) != weights(alone.out)
    median = take_median(several, training.out)
    metrics = json.loads((training.out / "metrics.json").read_text())
    assert metrics["seed"] == median
    assert "# out\n" in (training.out / "README.md").read_text()
    assert weights(training.out) == weights(several[median].out)
    assert checkpoint.load(training.out).config.core == "lstm"
    before = (several[0].out / "metrics.json").read_bytes()
    run_side_by_side(several, 2, resume=True)  # all done: nothing is trained again
    assert (several[0].out / "metrics.json").read_bytes() == before


def _end(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_recipe_lost_process_is_one_line_and_the_rest_can_be_resumed(training, monkeypatch):
    (lost,) = of_seeds(training, [7])

    with monkeypatch.context() as patch:
        patch.setattr("driving.recipe.start", lambda target, *arguments: start(_end, *arguments))
        with pytest.raises(WorkerLostError, match=r"out/7 ended by itself.*--resume") as error:
            run_side_by_side([lost], 1)
    assert "\n" not in str(error.value)
    run_side_by_side([lost], 1, resume=True)
    assert lost.is_done
    assert not lost.is_begun


def test_recipe_error_of_a_process_is_raised_as_itself(training):
    wrong = dataclasses.replace(training, data=("nowhere",))
    with pytest.raises(BadInputError, match="nowhere"):
        run_side_by_side([wrong], 1)


def test_recipe_median_needs_validations_and_is_the_better_of_two_in_the_middle(tmp_path, small_policy):
    several = []
    for seed, (crashes, offset_m) in enumerate([(5, 0.1), (0, 0.3), (1, 0.2), (0, 0.1)]):
        folder = tmp_path / str(seed)
        figures = {"crashes": crashes, "km": 1.0, "mean_abs_lateral_offset_m": offset_m, "n_seeds": 2}
        config = dataclasses.asdict(TINY)
        metrics = {"train_config": config, "train_seconds": 60.0, "n_frames": 12, "closed_loop_validation": figures}
        checkpoint.save(small_policy("lstm", seed), folder, metrics)
        for name in ("log.csv", "curve.png"):
            (folder / name).write_text("x")
        several.append(Training(folder, dataclasses.replace(TINY, seed=seed)))
    assert take_median(several, tmp_path / "out") == 1  # in order: 3, 1, 2, 0
    assert weights(tmp_path / "out") == weights(tmp_path / "1")
    checkpoint.save(small_policy("lstm", 0), tmp_path / "0", {})
    with pytest.raises(BadInputError, match="--validate-every"):
        take_median(several, tmp_path / "out")


def test_recipe_card_says_what_was_measured_and_leaves_out_what_was_not(small_policy):
    metrics = {
        "train_config": dataclasses.asdict(TINY), "train_seconds": 90.0, "n_frames": 96, "env": "lane/Procedural-v0",
        "env_options": {"hills": False},
        "closed_loop_validation": {"n_seeds": 24, "crashes": 1, "km": 12.34, "mean_abs_lateral_offset_m": 0.1234},
    }  # fmt: skip
    policy = small_policy()
    card = model_card(policy, metrics, "mine", "liquid-lane train --out mine")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "tags: [lane-keeping, imitation-learning, ltc]" in card
    assert "19 liquid neurons (LTC)" in card
    assert f"{sum(p.numel() for p in policy.core.parameters()):,} parameters in the core" in card
    assert "`lane/Procedural-v0` with hills=False" in card
    assert "24 validation roads: crashes 1 in 12.3 km, 0.123 m off" in card
    assert "liquid-lane train --out mine\n" in card
    assert "recorded frames" not in card
    del metrics["closed_loop_validation"], metrics["env"]
    card = model_card(policy, metrics, "mine")
    assert "- not measured" in card
    assert "96 frames of recorded drives" in card
    assert "```" not in card
