import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from driving.models import checkpoint
from driving.models.policy import CORES, PolicyConfig, build_policy
from sim.errors import BadInputError


def make(core="ltc", seed=1):
    return build_policy(PolicyConfig(core=core, height_px=18, width_px=30), seed)


@pytest.fixture
def saved(tmp_path):
    checkpoint.save(make(), tmp_path / "mine", {"loss": 0.5})
    return tmp_path / "mine"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def rejected(path):
    """The message of the error, one line."""
    with pytest.raises(BadInputError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("core", sorted(CORES))
def test_checkpoint_load_undoes_save(tmp_path, core):
    policy = make(core)
    checkpoint.save(policy, tmp_path / "deep" / "mine")
    loaded = checkpoint.load(tmp_path / "deep" / "mine")
    assert loaded.config == policy.config
    assert not loaded.training
    expected = policy.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    frames = torch.rand(1, 2, 3, 18, 30)
    assert torch.equal(loaded(frames)[0], policy(frames)[0])


def test_checkpoint_holds_three_files_without_pickle(saved):
    assert names(saved) == ["config.json", "metrics.json", "weights.safetensors"]
    config = json.loads((saved / "config.json").read_text())
    assert config["format"] == 2
    assert config["core"] == "ltc"
    assert json.loads((saved / "metrics.json").read_text()) == {"loss": 0.5}
    assert names(saved.parent) == ["mine"]


def test_checkpoint_save_replaces_an_older_one_and_keeps_other_files(saved):
    (saved / "notes.txt").write_text("mine")
    checkpoint.save(make("lstm"), saved)
    assert checkpoint.load(saved).config.core == "lstm"
    assert json.loads((saved / "metrics.json").read_text()) == {}
    assert (saved / "notes.txt").read_text() == "mine"
    assert names(saved.parent) == ["mine"]


def test_checkpoint_failed_save_leaves_the_older_one_and_no_trace(saved, monkeypatch):
    def full_disk(*_args, **_kwargs):
        raise OSError("No space left on device")

    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(BadInputError, match="No space left"):
        checkpoint.save(make("lstm"), saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert names(saved.parent) == ["mine"]
    with pytest.raises(BadInputError, match="No space left"):
        checkpoint.save(make(), saved.parent / "new")
    assert names(saved.parent) == ["mine"]


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": torch.ones(1)}])
def test_checkpoint_save_rejects_metrics_that_are_no_json(tmp_path, metrics):
    with pytest.raises(BadInputError, match="metrics"):
        checkpoint.save(make(), tmp_path / "mine", metrics)
    assert not (tmp_path / "mine").exists()


def test_checkpoint_save_into_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInputError, match="cannot be written"):
            checkpoint.save(make(), target)
    assert names(tmp_path) == ["file"]


def change_missing(weights):
    del weights["core.sigma"]


def change_extra(weights):
    weights["core.more"] = torch.ones(2)


def change_shape(weights):
    weights["core.sigma"] = weights["core.sigma"][:-1].clone()


def change_dtype(weights):
    weights["core.sigma"] = weights["core.sigma"].double()


def change_nan(weights):
    weights["core.sigma"][3] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_missing, "missing core.sigma, extra none"),
        (change_extra, "missing none, extra core.more"),
        (change_shape, r"core.sigma must be (60,) torch.float32, got (59,)"),
        (change_dtype, "got (60,) torch.float64"),
        (change_nan, "core.sigma holds values that are not finite"),
    ],
)
def test_checkpoint_load_rejects_weights_that_do_not_fit(saved, change, message):
    weights = load_file(saved / "weights.safetensors")
    change(weights)
    save_file(weights, saved / "weights.safetensors")
    assert message in rejected(saved)


@pytest.mark.parametrize("n_bytes", [0, 5, 100, -1])
def test_checkpoint_load_rejects_truncated_weights(saved, n_bytes):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert "damaged or cut short" in rejected(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("[1]", "format 2, got 'list'"),
        ("{}", "format 2, got None"),
        ('{"format": 3}', "format 2, got 3"),
        ('{"format": [1]}', "format 2, got [1]"),
        ('{"format": 2}', "core must be one of"),
        ('{"format": 2, "core": ["ltc"]}', "core must be one of"),
        ('{"format": 2, "core": "ltc"}', "missing core_initial_c"),
        ("[" * 100_000, "cannot read"),
        ("\udcff", "cannot read"),
    ],
)
def test_checkpoint_load_rejects_a_bad_config(saved, text, message):
    (saved / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert message in rejected(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_checkpoint_load_rejects_a_missing_file(saved, name):
    (saved / name).unlink()
    assert name in rejected(saved)


def test_checkpoint_load_finds_a_shipped_name_and_lists_the_known(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "shipped_folder", lambda: saved.parent)
    assert checkpoint.load("mine").config.core == "ltc"
    (saved.parent / "no-policy").mkdir()
    assert rejected("ltc20").endswith("'ltc20'; give a folder or a shipped policy: mine")
    assert "mine" in rejected("")


def test_checkpoint_shipped_folder_of_a_clone_lies_beside_the_package():
    folder = checkpoint.shipped_folder()
    assert folder.name == "checkpoints"
    assert (folder.parent / "driving").is_dir() or folder.parent.name == "driving"


def test_checkpoint_of_one_seed_and_of_all(tmp_path):
    folder = tmp_path / "several"
    for place, seed in ((folder, 1), (folder / "0", 0), (folder / "1", 1), (folder / "10", 10)):
        checkpoint.save(make("lstm", seed), place)
    checkpoint.save(make("lstm", 5), folder / "notes")
    names = checkpoint.expand(["ltc19", f"{folder}@all", f"{folder}@10"])
    assert names == ["ltc19", *(f"{folder}@{seed}" for seed in (0, 1, 10, 10))]
    one = checkpoint.load(f"{folder}@10").state_dict()
    assert all(torch.equal(value, one[name]) for name, value in make("lstm", 10).state_dict().items())
    with pytest.raises(BadInputError, match="no policy of seed 3; seeds there: 0, 1, 10"):
        checkpoint.load(f"{folder}@3")
    with pytest.raises(BadInputError, match="leave out @all"):
        checkpoint.expand([f"{folder / 'notes'}@all"])
    with pytest.raises(BadInputError, match="no policy 'ltc20'"):
        checkpoint.load("ltc20@3")
