import copy
import json
import sys
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest
import torch

import sim  # noqa: F401  (registers the environments)
from driving import export as exporting
from driving.export import OPSET, TOLERANCE, PolicyStep, difference, export, onnx_step, torch_step
from driving.models import checkpoint
from driving.models.policy import CORES, PolicyConfig, build_policy
from driving.runtime import Driver
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.importers import Asked, read_recording

DRIVES = Path(__file__).parents[2] / "shared" / "drives"
SIZE = (16, 41)
STEPS = {"onnx": lambda folder: onnx_step(str(folder / "policy.onnx")),
         "torch": lambda folder: torch_step(str(folder / "policy.pt2"))}  # fmt: skip


SHOWN = ("ltc", "lstm")
"""The cores of the quick suite: each export takes some seconds."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(core, marks=[] if core in SHOWN else pytest.mark.slow) for core in sorted(CORES)],
)
def exported(request, tmp_path_factory):
    """A small policy of each core, and the folder of its export in both formats."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'liquid-lane[deploy]'")
    core = request.param
    policy = build_policy(PolicyConfig(core=core, height_px=SIZE[0], width_px=SIZE[1]), 3).eval()
    folder = tmp_path_factory.mktemp(core)
    for format_name in STEPS:
        paths, worst = export(policy, folder, f"my {core}", format_name)
        assert worst <= TOLERANCE
        assert all(path.is_file() for path in paths)
    return policy, folder


@pytest.fixture(scope="module")
def world_frames():
    """120 frames of the embedded world, driven with a wavering hand."""
    env = gymnasium.make("lane/Procedural-v0", episode_seconds=10.0)
    frames = [env.reset(seed=5)[0]]
    for k in range(119):
        frames.append(env.step(np.array([0.004 * np.sin(k / 9)], np.float32))[0])
    env.close()
    return np.stack(frames)


@pytest.mark.parametrize("format_name", STEPS)
def test_export_equals_pytorch_on_frames_of_the_world(exported, world_frames, format_name):
    policy, folder = exported
    frames = np.stack([cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA) for frame in world_frames])
    dt_s = np.random.default_rng(2).uniform(0.02, 0.2, len(frames))
    assert difference(policy, STEPS[format_name](folder), frames, dt_s) <= TOLERANCE


@pytest.mark.parametrize("format_name", STEPS)
def test_export_takes_any_batch(exported, format_name):
    policy, folder = exported
    step = STEPS[format_name](folder)
    for n_batch in (1, 5):
        rng = np.random.default_rng(n_batch)
        frame = rng.integers(0, 256, (n_batch, *SIZE, 3), dtype=np.uint8)
        state = policy.initial_state(n_batch) + 0.1 * torch.arange(n_batch)[:, None]
        dt_s = rng.uniform(0.02, 0.2, n_batch).astype(np.float32)
        with torch.no_grad():
            expected = PolicyStep(policy)(torch.from_numpy(frame), state, torch.from_numpy(dt_s))
        answers = step(frame, state.numpy(), dt_s)
        for answer, value in zip(answers, expected, strict=True):
            assert answer.shape == tuple(value.shape)
            np.testing.assert_allclose(answer, value.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_export_says_what_it_is(exported, tmp_path):
    import onnx

    policy, folder = exported
    core = policy.config.core
    meta = json.loads((folder / "policy.json").read_text())
    model = onnx.load(folder / "policy.onnx")
    onnx.checker.check_model(model)
    inside = {entry.key: entry.value for entry in model.metadata_props}
    plain = {key: value if isinstance(value, str) else json.dumps(value) for key, value in meta.items()}
    assert plain.items() <= inside.items()
    assert (meta["policy"], meta["core"], meta["opset"]) == (f"my {core}", core, OPSET)
    assert (meta["height_px"], meta["width_px"], meta["dt_s"]) == (*SIZE, 1 / FRAME_RATE_HZ)
    assert meta["max_curvature_per_m"] == policy.config.max_curvature_per_m
    assert model.opset_import[0].version == OPSET
    assert [i.name for i in model.graph.input] == ["frame", "state", "dt_s"]
    assert [o.name for o in model.graph.output] == ["curvature_per_m", "new_state"]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        assert value.doc_string
    content = (folder / "policy.onnx").read_bytes()
    for place in (Path(exporting.__file__).parents[1], Path(torch.__file__).parent, Path.home(), tmp_path):
        assert str(place).encode() not in content  # nothing of the machine that made it
    assert (model.producer_name, model.producer_version) == ("liquid-lane", meta["liquid_lane"])
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_export_leaves_the_policy_as_it_was(exported):
    policy, _ = exported
    frame = torch.rand(2, 3, *SIZE)
    answer, _ = policy.step(frame, policy.initial_state(2), 0.05)
    assert answer.requires_grad
    assert {p.device.type for p in policy.parameters()} == {"cpu"}
    assert not policy.training


def test_export_drives_as_the_policy_does(exported, world_frames):
    policy, folder = exported
    driver, state = Driver(folder), policy.initial_state(1)
    for k, frame in enumerate(world_frames[:30]):
        small = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA)
        dt_s = 0.05 + 0.01 * (k % 3)
        with torch.no_grad():
            tensor = torch.from_numpy(small).movedim(-1, 0)[None]
            curvature, state = policy.step(tensor, state, 0.05 if k == 0 else dt_s)
        assert driver.step(small, dt_s=dt_s) == pytest.approx(float(curvature[0]), abs=TOLERANCE)
    assert driver.latency.n == 30


def test_export_refuses_a_model_that_differs(small_policy, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(BadInputError, match=r"differs from PyTorch by .* other releases"):
        export(small_policy(), tmp_path, "p", "torch")
    assert not any(tmp_path.iterdir())


def test_export_difference_is_the_largest(small_policy):
    policy = small_policy("lstm")
    step = PolicyStep(policy)

    def off(frame, state, dt_s):
        with torch.no_grad():
            curvature, state = step(*map(torch.from_numpy, (frame, state, dt_s)))
        off.n += 1
        return [curvature.numpy() + (0.25 if off.n == 3 else 0.0), state.numpy()]

    frames = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    off.n = 0
    assert difference(policy, off, frames, [0.05] * 4) == pytest.approx(0.25)
    assert difference(policy, lambda *a: [off(*a)[0] * np.nan, a[1]], frames, [0.05] * 4) == np.inf


@pytest.mark.parametrize("name", ["ltc19", "lstm64"])
def test_export_of_a_trained_policy_is_as_exact_as_pytorch(name, world_frames, tmp_path):
    """Against double precision, ONNX Runtime is not further off than a few times what PyTorch in float32 is."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    policy = checkpoint.load(name)
    _, worst = export(policy, tmp_path, name)
    assert worst <= TOLERANCE
    exact, single, dt_s = copy.deepcopy(policy).double(), PolicyStep(policy), [0.05] * len(world_frames)

    def float32_step(*arrays):
        with torch.no_grad():
            return [answer.numpy() for answer in single(*map(torch.from_numpy, arrays))]

    ours = difference(exact, float32_step, world_frames, dt_s)
    theirs = difference(exact, onnx_step(str(tmp_path / "policy.onnx")), world_frames, dt_s)
    assert 0 < theirs <= 4 * ours + 2e-6  # some rounding is there on any machine


def test_export_bad_input_is_an_error(small_policy, tmp_path, monkeypatch):
    with pytest.raises(BadInputError, match="expected one of onnx, torch, got 'tflite'"):
        export(small_policy(), tmp_path, "p", "tflite")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(BadInputError, match=r"onnxscript not installed; run: pip install 'liquid-lane\[dep"):
        export(small_policy(), tmp_path, "p")
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be written"):
        export(small_policy("lstm"), tmp_path / "file", "p", "torch")


@pytest.fixture(scope="module")
def real_frames():
    """A thousand frames of a real drive and their times."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if not DRIVES.is_dir():
        pytest.skip(f"the recorded drives {DRIVES} are not there")
    drive = read_recording("udacity-ch2", DRIVES / "udacity-ch2" / "a", Asked(78, 200)).drive()
    assert len(drive) >= 1000
    return drive.frames[:1000], drive.dt_s()[:1000]


@pytest.mark.external
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ltc19-udacity@0", "lstm64-udacity"])
def test_export_equals_pytorch_on_1000_real_frames(name, real_frames, tmp_path):
    policy = checkpoint.load(name)
    export(policy, tmp_path / "out", name)
    worst = difference(policy.double(), onnx_step(str(tmp_path / "out" / "policy.onnx")), *real_frames)
    print(f"{name}: largest difference over 1,000 frames {worst:.1e}")
    assert worst <= TOLERANCE


@pytest.mark.external
@pytest.mark.slow
def test_export_rounds_no_more_than_pytorch_in_float32(real_frames, tmp_path):
    """A steep circuit multiplies what float32 rounds off; then the measure is PyTorch's own float32."""
    name = "ltc19-udacity"
    own = PolicyStep(checkpoint.load(name))

    @torch.no_grad()
    def step(*arrays):
        return [answer.numpy() for answer in own(*map(torch.from_numpy, arrays))]

    exact = checkpoint.load(name).double()
    export(checkpoint.load(name), tmp_path / "out", name)
    worst = difference(exact, onnx_step(str(tmp_path / "out" / "policy.onnx")), *real_frames)
    assert worst <= max(TOLERANCE, difference(exact, step, *real_frames))
