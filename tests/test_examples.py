"""The scripts and notebooks in driving/examples, as their readers run them."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from driving import examples
from driving.models import checkpoint

FOLDER = Path(examples.__file__).parent


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a script's ``main`` with words of the command line, in a folder of its own; what it printed."""
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")

    def call(module, *words):
        monkeypatch.setattr("sys.argv", ["x", *map(str, words)])
        module.main()
        return capsys.readouterr().out

    return call


def test_examples_a_circuit_of_ncps_becomes_a_policy(run):
    from driving.examples import liquid_from_ncps

    assert "Policy(ltc" in run(liquid_from_ncps, "--neurons", "15", "--out", "p")
    assert checkpoint.load("p").core.wiring.n_neurons == 15


@pytest.mark.slow
def test_examples_ppo_trains_and_drives(run, monkeypatch):
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    from driving.examples import ppo

    monkeypatch.setattr(ppo, "TEST_SEEDS", range(2000, 2001))
    assert "of 1 drives left the lane" in run(ppo, "--steps", "64", "--out", "ppo.zip")
    assert Path("ppo.zip").is_file()


@pytest.mark.slow
def test_examples_ppo_in_one_file_trains_a_policy_that_loads(run, monkeypatch):
    from driving.examples import ppo_one_file

    small = ppo_one_file.Settings(num_envs=2, num_steps=8, update_epochs=2)
    monkeypatch.setattr(ppo_one_file, "Settings", lambda: small)
    assert "reward a step" in run(ppo_one_file, "--steps", "32", "--out", "p")
    trained = checkpoint.load("p")
    untrained = ppo_one_file.Agent("ltc").policy
    moved = [not np.array_equal(a.detach(), b.detach())
             for a, b in zip(trained.parameters(), untrained.parameters(), strict=True)]  # fmt: skip
    assert any(moved)
    assert len(json.loads(Path("p/metrics.json").read_text())["reward_a_step"]) == 2


def test_examples_a_photo_is_looked_at_by_several_methods(run):
    from driving.examples import look_at_a_photo

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)).save("photo.jpg")
    assert "looks.png: steers" in run(look_at_a_photo, "photo.jpg")
    with Image.open("looks.png") as looks:
        assert looks.height > 500


def cells(notebook):
    """Its code, cell by cell, with the tags of each."""
    content = json.loads((FOLDER / notebook).read_text())
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "smaller"),
    [
        ("drive_and_look.ipynb", {"SECONDS": 1.0}),
        ("train_and_disturb.ipynb", {"SECONDS": 1.0, "N_ROADS": 2, "N_STEPS": 2, "TEST_ROADS": range(1000, 1001)}),
    ],
)
def test_examples_notebook_runs_from_top_to_bottom(run, notebook, smaller):
    names = {}
    found = cells(notebook)
    assert [tags for _, tags in found].count(["parameters"]) == 1
    for code, tags in found:
        exec(compile(code, notebook, "exec"), names)
        if "parameters" in tags:
            assert smaller.keys() <= names.keys()
            names |= smaller
    for shown in (value for name, value in names.items() if name in ("driven", "drive", "policy")):
        assert "\n" not in repr(shown)


@pytest.mark.parametrize("notebook", sorted(path.name for path in FOLDER.glob("*.ipynb")))
def test_examples_notebook_is_kept_without_output(notebook):
    content = json.loads((FOLDER / notebook).read_text())
    assert content["nbformat"] == 4
    assert all(not cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code")
