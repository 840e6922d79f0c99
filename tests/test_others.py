import csv
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from driving.attention import occlusion
from driving.cli import main
from driving.compare import attend
from driving.data import load_drive
from driving.export import export
from driving.models import checkpoint
from driving.models.policy import Policy
from driving.noise import KINDS
from driving.open_loop import evaluate
from driving.others import ExportedNetwork, NetworkActor, PythonNetwork, find_driver, find_network
from driving.rollout import rollout
from driving.settings import env_maker
from sim.drive import save
from sim.errors import BadInputError
from sim.record import record

MODULE = """
import numpy as np
from sim.episodes import ExpertActor
class Mine:
    frame_shape, asks_expert = (78, 200, 3), False
    def begin(self, n): self.n = n
    def act(self, instants):
        for instant in instants:
            assert instant.frame.shape == self.frame_shape and 0 <= instant.i_run < self.n
            instant.curvature_per_m = {value}
class Shown(Mine):
    def begin(self, n):
        self.n, self.state = n, np.zeros((n, 1))
    def act(self, instants):
        runs = [instant.i_run for instant in instants]
        for i, instant in zip(runs, instants):
            self.state[i] = 0.5 * self.state[i] + instant.frame[40:, 80:120].mean() / 255
            instant.curvature_per_m = 0.02 * float(self.state[i, 0])
class Wrong(Mine):
    state = "none"
class Half: frame_shape = None
def broken(): raise RuntimeError("no camera")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    def make(value="0.0"):
        (tmp_path / "mine_here.py").write_text(MODULE.format(value=value))
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop("mine_here", None)

    return make


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnxscript", reason="needs the extra deploy")
    folder = tmp_path_factory.mktemp("exported") / "p"
    export(checkpoint.load("ltc19"), folder, "ltc19")
    return folder


def test_others_an_exported_model_drives_as_its_policy(exported):
    world = env_maker("lane/Procedural-v0", {}, 3.0)
    theirs, ours = find_driver(str(exported)), find_driver("ltc19")
    assert isinstance(theirs(), NetworkActor)
    assert isinstance(ours, Policy)
    for a, b in zip(rollout(theirs, world, [7, 8], 3.0), rollout(ours, world, [7, 8], 3.0), strict=True):
        assert a.lateral_offset_m == pytest.approx(b.lateral_offset_m, abs=2e-3)
    assert find_driver(str(exported / "policy.onnx"))().frame_shape == (78, 200, 3)


def test_others_ones_own_factory_drives_in_every_process(module, tmp_path, monkeypatch):
    module("0.001")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    world = env_maker("lane/Procedural-v0", {}, 1.0)
    (log,) = rollout(find_driver("mine_here:Mine"), world, [7], 1.0)
    assert set(log.curvature_per_m) == {0.001}


@pytest.mark.parametrize("value", [math.nan, math.inf, "'left'", "None"])
def test_others_answers_that_are_no_numbers_are_one_line(module, value):
    module(f"float('{value}')" if isinstance(value, float) else value)
    with pytest.raises(BadInputError, match="mine_here:Mine: expected a finite curvature_per_m"):
        rollout(find_driver("mine_here:Mine"), env_maker("lane/Procedural-v0", {}, 1.0), [7], 1.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine_here:Half", "its asks_expert, begin, act is missing"),
        ("mine_here:broken", r"cannot be made \(RuntimeError: no camera\)"),
        ("mine_here:nothing", "cannot be made"),
        ("no_such_module_here:x", "cannot be made"),
        ("nonesuch", "no policy 'nonesuch'"),
        ("nonesuch.onnx", "no such file"),
    ],
)
def test_others_what_cannot_drive_is_one_line(module, name, message):
    module()
    with pytest.raises(BadInputError, match=message):
        find_driver(name)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A drive of the expert on disk."""
    folder = tmp_path_factory.mktemp("drive") / "d"
    save(record(env_maker("lane/Procedural-v0", {}, 2.0), [10400], 2.0), folder)
    return folder


def test_others_are_tested_on_recordings_as_policies_are(exported, recording, module):
    module("0.001")
    drive = load_drive(str(recording))
    theirs, ours = (evaluate(find_driver(name), [drive]) for name in (str(exported), "ltc19"))
    assert theirs == pytest.approx(ours, rel=1e-3)
    alone = evaluate(find_driver("mine_here:Mine"), [drive])
    expected = float(np.sqrt(np.mean((drive.curvature_per_m - 0.001) ** 2)))
    assert alone["rmse_curvature_per_m"] == pytest.approx(expected, rel=1e-4)
    assert alone["correlation"] is None


def test_others_are_driven_by_the_sweep_beside_policies(exported, module, tmp_path, monkeypatch, capsys):
    module("0.001")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "sweep"
    words = ["stress", "--policies", "ltc19", str(exported), "mine_here:Mine", "--noises", "none", "gaussian:0.1"]
    words += ["--seeds", "7:9", "--seconds", "1", "--out", str(out), "--workers", "1"]
    assert main(words) == 0
    with (out / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    by_driver = {name: [float(r["distance_m"]) for r in rows if r["policy"] == name] for name in words[2:5]}
    assert [len(found) for found in by_driver.values()] == [4, 4, 4]
    assert by_driver[str(exported)] == pytest.approx(by_driver["ltc19"], abs=0.05)
    assert len({row["digest"] for row in rows}) == 3
    assert main([*words[:5], "--noises", "state_burst:mild", *words[8:]]) == 2
    assert "which mine_here:Mine hides" in capsys.readouterr().err


def test_others_answer_of_a_model_that_is_not_finite_goes_straight_on():
    network = ExportedNetwork.__new__(ExportedNetwork)
    torch.nn.Module.__init__(network)
    network.max_curvature_per_m = 0.1
    answer = np.array([math.nan, math.inf, -math.inf, 0.5, 0.02], np.float32), np.zeros((5, 2), np.float32)
    network._session = SimpleNamespace(run=lambda names, inputs: answer)
    found, _ = network.run(np.zeros((5, 2, 2, 3), np.uint8), torch.zeros(5, 2), np.ones(5))
    np.testing.assert_allclose(found, [0, 0, 0, 0.1, 0.02])


def test_others_digest_is_that_of_the_source(module):
    module("0.001")
    before = find_driver("mine_here:Mine").digest
    module("0.0025")
    assert find_driver("mine_here:Mine").digest != before


def test_others_exported_model_is_looked_at_from_outside(exported, recording, capsys):
    words = ["attend", "--policies", str(exported), "--source", str(recording), "--seconds", "0.3"]
    drive = load_drive(str(recording), masks=True)
    theirs, ours = (
        attend({"p": find_network(name)}, drive, occlusion, seconds=0.3) for name in (str(exported), "ltc19")
    )
    assert theirs["policies"]["p"]["on_road_share"] == pytest.approx(ours["policies"]["p"]["on_road_share"], abs=0.02)
    assert theirs["policies"]["p"]["untrained_on_road_share"] is None
    assert main(words) == 2
    assert "from outside only; use --method occlusion" in capsys.readouterr().err
    assert main([*words[:2], "mine_here:Mine", *words[3:]]) == 2
    assert "nobody can say where it looks" in capsys.readouterr().err


def test_others_python_that_shows_its_memory_is_looked_at_from_outside(module, recording, tmp_path, capsys):
    module()
    network = find_network("mine_here:Shown")
    frames = np.random.default_rng(0).integers(0, 255, (3, 78, 200, 3), np.uint8)
    pictures = torch.from_numpy(frames).movedim(-1, 1)
    state = torch.tensor([[0.0], [1.0], [0.0]])
    command, after = network.step(pictures, state, torch.full((3,), 0.05))
    expected = 0.5 * state[:, 0].numpy() + frames[:, 40:, 80:120].mean((1, 2, 3)) / 255
    np.testing.assert_allclose(after[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(command, 0.02 * expected, rtol=1e-5)

    found = occlusion(network, pictures, state)
    assert found.shape == (3, 78, 200)
    assert found[:, 45:, 85:115].mean() > 5 * found[:, :30].mean()
    assert float(found[:, :30, :70].max()) < 0.05

    words = ["attend", "--policies", "mine_here:Shown", "ltc19", "--source", "lane/Procedural-v0", "--seconds", "0.3"]
    assert main([*words, "--method", "occlusion", "--video", str(tmp_path / "a.mp4")]) == 0
    words[4:] = ["--source", str(recording), "--seconds", "0.3", "--method", "occlusion"]
    assert main(words) == 0
    words[2] = "mine_here:Wrong"
    assert main(words) == 2
    assert "expected a state (n, S) with a row for each of 1 episodes, got 'none'" in capsys.readouterr().err


def test_others_python_drives_the_same_through_its_shown_memory(module):
    module()
    world = env_maker("lane/Procedural-v0", {}, 1.0)
    network = find_network("mine_here:Shown")
    assert isinstance(network, PythonNetwork)
    ours, theirs = (
        rollout(driver, world, [3, 4], 1.0)
        for driver in (find_driver("mine_here:Shown"), lambda: NetworkActor(network))
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.curvature_per_m, b.curvature_per_m, rtol=1e-5)


def test_others_film_shows_an_exported_model_without_its_neurons(exported, tmp_path):
    world = env_maker("lane/Procedural-v0", {}, 0.3, render=True)
    networks = {"theirs": find_network(str(exported)), "ours": checkpoint.load("ltc19")}
    attend(networks, world, occlusion, seconds=0.3, seed=7, video_path=tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").stat().st_size > 1000


def test_others_noise_that_reaches_into_a_network_needs_one(module, capsys):
    module()
    for group in ("adversary", "state"):
        kind = next(kind for kind in KINDS.values() if kind.group == group)
        words = f"drive --policy mine_here:Mine --seeds 1:2 --seconds 0.2 --noise {kind.name}:mild"
        assert main(words.split()) == 2
        assert "reaches into the network" in capsys.readouterr().err
