"""The trained policies that come with the project."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import gymnasium
import pytest
import torch

import sim  # noqa: F401  (registers the environments)
from driving.learning_curve import badness
from driving.models import checkpoint
from driving.rollout import rollout

ROOT = Path(__file__).parents[1]
NAMES = ("ltc19", "lstm64", "ltc19-stages", "lstm64-stages", "ltc19-udacity", "lstm64-udacity")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_policy_loads_and_says_how_it_was_made(name):
    policy = checkpoint.load(name)
    assert policy.config.core == name.split("-")[0].rstrip("0123456789")
    metrics = json.loads((ROOT / "checkpoints" / name / "metrics.json").read_text())
    assert metrics["train_config"]["n_steps"] > 0
    assert name in (ROOT / "checkpoints" / "README.md").read_text()


@pytest.mark.parametrize("name", ["ltc19@0", "lstm64@0"])
def test_shipped_seed_has_its_card_log_and_validation(name):
    policy = checkpoint.load(name)
    base, _, seed = name.partition("@")
    folder = ROOT / "checkpoints" / base / seed
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["train_config"]["seed"] == int(seed)
    assert metrics["closed_loop_validation"]["crashes"] == 0
    assert 0.5 < metrics["response"]["gain"] < 1.5
    assert f"# {name}\n" in (folder / "README.md").read_text()
    assert (folder / "log.csv").read_text().startswith("part,step,frames")
    assert policy.config.core == base.rstrip("0123456789")
    assert name in checkpoint.expand([f"{base}@all"])


@pytest.mark.parametrize(("base", "n"), [("ltc19", 5), ("lstm64", 5), ("cnn", 3), ("wired_cfc", 3), ("ctrnn64", 3)])
def test_shipped_name_is_the_seed_in_the_middle_by_validation(base, n):
    names = checkpoint.expand([f"{base}@all"])
    folder = ROOT / "checkpoints" / base
    figures = [json.loads((folder / name.partition("@")[2] / "metrics.json").read_text()) for name in names]
    order = sorted(range(len(names)), key=lambda i: badness(figures[i]["closed_loop_validation"]))
    middle = checkpoint.load(names[order[(len(order) - 1) // 2]]).state_dict()
    assert len(names) == n
    assert all(torch.equal(tensor, middle[name]) for name, tensor in checkpoint.load(base).state_dict().items())


@pytest.mark.parametrize("base", ["ltc19-udacity", "lstm64-udacity"])
def test_shipped_name_of_a_real_drive_is_the_one_in_the_middle_by_its_error(base):
    names = checkpoint.expand([f"{base}@all"])
    folder = ROOT / "checkpoints" / base
    figures = [json.loads((folder / name.partition("@")[2] / "metrics.json").read_text()) for name in names]
    errors = [row["validation"]["rmse_steering_wheel_rad"] for row in figures]
    middle = checkpoint.load(names[errors.index(sorted(errors)[1])]).state_dict()
    assert len(names) == 3
    assert [row["train_config"]["seed"] for row in figures] == [0, 1, 2]
    assert all(torch.equal(tensor, middle[name]) for name, tensor in checkpoint.load(base).state_dict().items())


@pytest.mark.parametrize("name", ["ltc19", "lstm64", "ltc19@0", "lstm64@4", "ltc19-stages", "lstm64-stages"])
def test_shipped_policy_keeps_its_lane_on_an_unseen_road(name):
    logs = rollout(
        checkpoint.load(name),
        lambda: gymnasium.make("lane/Procedural-v0", disable_env_checker=True).unwrapped,
        seeds=[2001, 2002],
        seconds=8.0,
    )
    assert not any(log.crashed for log in logs)
    assert max(log.mean_abs_offset_m for log in logs) < 0.4


@pytest.mark.slow
def test_shipped_policies_are_found_in_an_installed_wheel(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = "import driving; from driving.models import checkpoint; print(driving.__file__); checkpoint.load('ltc19')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(site)
