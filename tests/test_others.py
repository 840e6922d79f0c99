import math
import sys

import pytest

from driving.export import export
from driving.models import checkpoint
from driving.models.policy import Policy
from driving.noise import KINDS
from driving.others import OnnxActor, find_driver
from driving.rollout import rollout
from driving.settings import env_maker
from sim.errors import BadInputError

MODULE = """
from sim.episodes import ExpertActor
class Mine:
    frame_shape, asks_expert = (78, 200, 3), False
    def begin(self, n): self.n = n
    def act(self, instants):
        for instant in instants:
            assert instant.frame.shape == self.frame_shape and 0 <= instant.i_run < self.n
            instant.curvature_per_m = {value}
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
    assert isinstance(theirs(), OnnxActor)
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


def test_others_noise_that_reaches_into_a_network_needs_one(module, capsys):
    from driving.cli import main

    module()
    for group in ("adversary", "state"):
        kind = next(kind for kind in KINDS.values() if kind.group == group)
        words = f"drive --policy mine_here:Mine --seeds 1:2 --seconds 0.2 --noise {kind.name}:mild"
        assert main(words.split()) == 2
        assert "reaches into the network" in capsys.readouterr().err
