import json
import math
import os
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from driving import runtime
from driving.runtime import DonkeycarPilot, Driver
from driving.runtime.driver import HOLD_S, LATENCY_STEPS, MAX_DT_S, MIN_DT_S, RELEASE_S

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'liquid-lane[deploy]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'liquid-lane[deploy]'")

HEIGHT_PX, WIDTH_PX = 6, 15
GAIN, PER_SECOND, LIMIT = 0.4, 0.01, 0.1
META = {
    "format": "1",
    "height_px": str(HEIGHT_PX),
    "width_px": str(WIDTH_PX),
    "horizon": "0.25",
    "max_curvature_per_m": str(LIMIT),
    "dt_s": "0.05",
    "initial_state": "[0.0]",
}


def clock_model(meta=META, poisoned=False):
    """new_state = state + dt; curvature = GAIN (mean grey - 1/2) + PER_SECOND new_state: the network's clock.

    ``poisoned``: the curvature is divided by the first pixel, which is infinity where it is black.
    """
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, value):
        return numpy_helper.from_array(np.asarray(value), name)

    numbers = {
        "grey": np.array([GAIN / 255], np.float32), "half": np.array([GAIN / 2], np.float32),
        "rate": np.array([PER_SECOND], np.float32), "axes": np.array([1, 2, 3]), "last": np.array([1]),
        "zero": np.zeros(4, np.int64), "one": np.ones(4, np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "grey"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "half"], ["seen"]),
        helper.make_node("Unsqueeze", ["dt_s", "last"], ["step"]),
        helper.make_node("Add", ["state", "step"], ["new_state"]),
        helper.make_node("Squeeze", ["new_state", "last"], ["seconds"]),
        helper.make_node("Mul", ["seconds", "rate"], ["drift"]),
        helper.make_node("Add", ["seen", "drift"], ["clean"]),
        helper.make_node("Slice", ["pixels", "zero", "one"], ["corner"]),
        helper.make_node("Squeeze", ["corner", "axes"], ["first"]),
        helper.make_node("Div" if poisoned else "Add", ["clean", "first"], ["answer"]),
        helper.make_node("Identity", ["answer" if poisoned else "clean"], ["curvature_per_m"]),
    ]
    graph = helper.make_graph(
        nodes, "clock",
        [
            helper.make_tensor_value_info("frame", TensorProto.UINT8, ["B", HEIGHT_PX, WIDTH_PX, 3]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["B", 1]),
            helper.make_tensor_value_info("dt_s", TensorProto.FLOAT, ["B"]),
        ],
        [
            helper.make_tensor_value_info("curvature_per_m", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("new_state", TensorProto.FLOAT, ["B", 1]),
        ],
        [constant(name, value) for name, value in numbers.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, meta)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "policy.onnx"
    path.write_bytes(clock_model())
    return path


@pytest.fixture
def driver(model_path):
    return Driver(model_path)


def grey(level=127.5, height_px=HEIGHT_PX, width_px=WIDTH_PX):
    """A frame of a mean level: the upper half darker, the lower half brighter, by 10."""
    frame = np.full((height_px, width_px, 3), level - 10, np.float32)
    frame[height_px // 2 :] += 20
    return np.round(frame).astype(np.uint8)


def level_of(curvature, seconds):
    return round((curvature - PER_SECOND * seconds) / GAIN * 255 + 127.5, 3)


BAD_FRAMES = {
    "missing": None,
    "black": np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8),
    "white": np.full((HEIGHT_PX, WIDTH_PX, 3), 255, np.uint8),
    "dark noise": np.arange(HEIGHT_PX * WIDTH_PX * 3, dtype=np.uint8).reshape(HEIGHT_PX, WIDTH_PX, 3) % 7,
    "not a number": np.full((HEIGHT_PX, WIDTH_PX, 3), np.nan, np.float32),
    "float": np.random.default_rng(0).random((HEIGHT_PX, WIDTH_PX, 3)),
    "grey picture": grey()[..., 0],
    "four channels": np.concatenate([grey(), grey()[..., :1]], axis=2),
    "empty": np.zeros((0, WIDTH_PX, 3), np.uint8),
    "a list": [[1, 2, 3]],
    "objects": np.array([None, "x"], dtype=object),
}


# Time and state --------------------------------------------------------------------------------------------


def test_driver_carries_the_state_and_takes_the_given_steps(driver):
    seconds = 0.0
    for dt_s in (0.05, 0.02, 0.1):
        seconds += dt_s
        assert level_of(driver.step(grey(130), dt_s=dt_s), 0.0 if seconds == 0 else seconds) == 130
    driver.reset()
    assert level_of(driver.step(grey(130), dt_s=0.04), 0.05) == 130  # the first step is the usual one


def test_driver_takes_the_steps_between_timestamps(driver):
    curvature = [driver.step(grey(130), time_s=t) for t in (1000.0, 1000.1, 1000.13)]
    assert [level_of(c, s) for c, s in zip(curvature, (0.05, 0.15, 0.18), strict=True)] == [130] * 3


@pytest.mark.parametrize("time_s", [1000.0, 999.0, math.nan, math.inf])
def test_driver_counts_a_broken_clock_as_the_usual_step(driver, time_s):
    driver.step(grey(130), time_s=1000.0)
    assert level_of(driver.step(grey(130), time_s=time_s), 0.1) == 130


def test_driver_measures_the_time_itself(driver, monkeypatch):
    clock = iter((5.0, 5.2, 5.21))
    monkeypatch.setattr("driving.runtime.driver.time", types.SimpleNamespace(
        monotonic=lambda: next(clock), perf_counter=lambda: 0.0
    ))  # fmt: skip
    curvature = [driver.step(grey(130)) for _ in range(3)]
    assert [level_of(c, s) for c, s in zip(curvature, (0.05, 0.25, 0.26), strict=True)] == [130] * 3


def test_driver_clamps_the_step(driver):
    driver.step(grey(130), dt_s=1.0)
    assert level_of(driver.step(grey(130), dt_s=1e-4), 0.05 + MIN_DT_S) == 130
    slow = HOLD_S + RELEASE_S - 0.01
    assert level_of(driver.step(grey(130), dt_s=slow), 0.05 + MIN_DT_S + MAX_DT_S) == 130


def test_driver_begins_anew_after_a_long_gap(driver):
    driver.step(grey(130), time_s=0.0)
    driver.step(grey(130), time_s=0.1)
    assert level_of(driver.step(grey(130), time_s=0.2 + HOLD_S + RELEASE_S), 0.05) == 130


def test_driver_reset_forgets(driver):
    first = [driver.step(grey(140), time_s=t) for t in (3.0, 3.1)]
    driver.reset()
    assert not driver.healthy
    assert [driver.step(grey(140), time_s=t) for t in (0.0, 0.1)] == first


def test_driver_wants_one_time(driver):
    with pytest.raises(ValueError, match="not both"):
        driver.step(grey(), time_s=1.0, dt_s=0.05)


# Bad frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_driver_holds_then_goes_straight_without_a_frame(driver, bad):
    command = driver.step(grey(150), dt_s=0.05)
    assert command > 0.03
    assert driver.healthy
    assert driver.fault is None
    age_s, commands = 0.0, []
    for _ in range(12):
        age_s += 0.08
        got = driver.step(bad, dt_s=0.08)
        share = min(1.0, max(0.0, 1 - (age_s - HOLD_S) / RELEASE_S))
        assert got == pytest.approx(command * share, abs=1e-9)
        assert driver.healthy == (age_s <= HOLD_S)
        assert driver.fault
        commands.append(got)
    assert commands[0] == command
    assert commands[-1] == 0.0


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_driver_begins_straight_without_a_frame(driver, bad):
    assert driver.step(bad) == 0.0
    assert not driver.healthy
    assert level_of(driver.step(grey(130), dt_s=0.05), 0.05) == 130
    assert driver.healthy


def test_driver_gives_the_network_the_time_since_the_last_good_frame(driver):
    driver.step(grey(130), dt_s=0.05)
    for _ in range(3):
        driver.step(None, dt_s=0.05)
    assert level_of(driver.step(grey(130), dt_s=0.05), 0.05 + 4 * 0.05) == 130
    assert driver.fault is None


def test_driver_bounds_the_command(driver):
    assert driver.step(grey(245), dt_s=0.05) == LIMIT
    assert driver.step(grey(10), dt_s=0.05) == -LIMIT


def test_driver_never_answers_what_is_not_finite(tmp_path):
    (tmp_path / "policy.onnx").write_bytes(clock_model(poisoned=True))
    driver = Driver(tmp_path)
    good, bad = grey(20), grey(20)
    good[0, 0, 0], bad[0, 0, 0] = 1, 0
    command = driver.step(good, dt_s=0.05)
    assert command == -LIMIT
    assert driver.step(bad, dt_s=0.05) == command
    assert driver.fault == "the network's answer is not finite"
    assert driver.step(bad, dt_s=1.0) == 0.0
    assert not driver.healthy


# Size ------------------------------------------------------------------------------------------------------


def test_driver_resizes_a_frame_of_the_same_shape(driver):
    assert level_of(driver.step(grey(130, 4 * HEIGHT_PX, 4 * WIDTH_PX), dt_s=0.05), 0.05) == 130


def test_driver_cuts_a_wider_frame_in_the_middle(driver):
    frame = grey(130, HEIGHT_PX, WIDTH_PX + 8)
    frame[:, :4] = frame[:, -4:] = 255
    assert level_of(driver.step(frame, dt_s=0.05), 0.05) == 130


@pytest.mark.parametrize(("horizon", "top"), [(0.5, 11), (0.0, 0), (1.0, 19), (0.4, 8)])
def test_driver_cuts_a_taller_frame_at_the_horizon(model_path, horizon, top):
    # Of 25 rows 6 are kept, the horizon a quarter from their top: row 12.5 - 1.5 = 11 for a level camera.
    frame = np.full((25, WIDTH_PX, 3), 255, np.uint8)
    frame[top : top + HEIGHT_PX] = grey(130)
    driver = Driver(model_path, horizon=horizon)
    assert level_of(driver.step(frame, dt_s=0.05), 0.05) == 130


# Opening ---------------------------------------------------------------------------------------------------


def test_driver_refuses_what_is_no_policy(tmp_path, model_path):
    with pytest.raises(ValueError, match="no such file; make it with liquid-lane export"):
        Driver(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="cannot read it"):
        Driver(tmp_path / "broken.onnx")
    (tmp_path / "other.onnx").write_bytes(clock_model({}))
    with pytest.raises(ValueError, match="export format 1, got another model"):
        Driver(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="horizon"):
        Driver(model_path, horizon=1.5)


def test_driver_says_what_to_install(monkeypatch, model_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        Driver(model_path)


def test_driver_reports_the_latency_of_its_last_steps(driver, monkeypatch):
    assert driver.latency.n == 0
    assert math.isnan(driver.latency.median_ms)
    steps_s = iter([9.0] * 50 + [0.001] * 900 + [0.004] * 100)  # the first 50 fall out of the 1,000
    now = [0.0, True]

    def perf_counter():
        now[1] = not now[1]
        now[0] += next(steps_s) if now[1] else 0.0
        return now[0]

    monkeypatch.setattr("driving.runtime.driver.time", types.SimpleNamespace(perf_counter=perf_counter))
    frame = grey()
    for _ in range(1050):
        driver.step(frame, dt_s=0.05)
    n, median_ms, p99_ms = driver.latency
    assert n == LATENCY_STEPS
    assert (median_ms, p99_ms) == (pytest.approx(1.0), pytest.approx(4.0))


def test_runtime_folder_drives_alone_without_torch(model_path, tmp_path):
    """Copied beside nothing of the project, in an interpreter where PyTorch cannot be imported."""
    source = Path(__file__).parents[1] / "driving" / "runtime"
    shutil.copytree(source, tmp_path / "pilot", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys\n"
        "for name in ('torch', 'driving', 'sim'): sys.modules[name] = None\n"
        "import numpy as np, pilot\n"
        f"driver = pilot.Driver({str(model_path)!r})\n"
        "frame = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)\n"
        "print(driver.step(frame, dt_s=0.05), driver.healthy)\n"
        "known = {'pilot', 'numpy', 'cv2', 'onnxruntime'}\n"
        "new = {name.partition('.')[0] for name in sys.modules if sys.modules[name] is not None}\n"
        "print(sorted(new & {'torch', 'matplotlib', 'scipy', 'gymnasium', 'av', 'PIL', 'onnx'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    assert answer.endswith(" True")
    assert loaded == "[]"


# Donkeycar -------------------------------------------------------------------------------------------------


class FakeVehicle:
    """Donkeycar's loop: parts read and write channels of a memory, some only while a condition holds."""

    def __init__(self):
        self.parts, self.memory = [], {}

    def add(self, part, inputs=(), outputs=(), run_condition=None):
        self.parts.append((part, inputs, outputs, run_condition))

    def loop_once(self):
        for part, inputs, outputs, condition in self.parts:
            if condition is None or self.memory.get(condition):
                answer = part.run(*(self.memory.get(name) for name in inputs))
                answer = answer if len(outputs) > 1 else (answer,)
                self.memory.update(zip(outputs, answer, strict=True))

    def stop(self):
        for part, *_ in self.parts:
            getattr(part, "shutdown", lambda: None)()


def test_donkeycar_pilot_drives_a_vehicle_loop(model_path, capsys):
    vehicle = FakeVehicle()
    frames = iter([grey(110), grey(150), None, grey(150)])
    vehicle.add(types.SimpleNamespace(run=lambda: next(frames)), outputs=["cam/image_array"])
    pilot = DonkeycarPilot(model_path, throttle=0.3, wheelbase_m=0.2, scale=4.0)
    vehicle.add(pilot, inputs=["cam/image_array"], outputs=["pilot/angle", "pilot/throttle"], run_condition="run_pilot")
    vehicle.loop_once()  # the person drives
    assert "pilot/angle" not in vehicle.memory
    vehicle.memory["run_pilot"] = True
    vehicle.loop_once()
    curvature = pilot.driver._command_per_m
    assert curvature == pytest.approx(GAIN * (150 - 127.5) / 255 + PER_SECOND * 0.05)
    expected = -math.atan(4.0 * curvature * 0.2) / math.radians(25.0)
    assert vehicle.memory["pilot/angle"] == pytest.approx(expected)
    assert expected < 0  # to the left
    assert vehicle.memory["pilot/throttle"] == 0.3
    vehicle.loop_once()  # one missing picture: as before
    assert vehicle.memory["pilot/angle"] == pytest.approx(expected)
    assert vehicle.memory["pilot/throttle"] == 0.3
    vehicle.stop()
    assert capsys.readouterr().out.startswith("pilot: 1 steps, median ")


def test_donkeycar_pilot_stops_the_car_when_it_sees_nothing(model_path):
    pilot = DonkeycarPilot(model_path)
    assert pilot.run(None) == (0.0, 0.0)


@pytest.mark.parametrize(("level", "angle"), [(245, -1.0), (10, 1.0)])
def test_donkeycar_pilot_ends_at_full_lock(model_path, level, angle):
    # The limit of 0.1 /m is 2 /m on the small car; 0.25 m of wheelbase ask for 27 degrees of 25.
    assert DonkeycarPilot(model_path, scale=20.0).run(grey(level)) == (angle, 0.2)


@pytest.mark.parametrize(
    "bad", [{"throttle": 1.1}, {"wheelbase_m": 0.0}, {"scale": math.nan}, {"max_steering_angle_rad": 2.0}]
)
def test_donkeycar_pilot_refuses_impossible_cars(model_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        DonkeycarPilot(model_path, **bad)


def test_runtime_meta_of_the_tests_is_what_an_export_writes():
    from driving.export import metadata
    from driving.models.policy import build_policy

    meta = metadata(build_policy(), "new")
    assert META.keys() <= meta.keys()
    assert meta["format"] == META["format"]
    assert json.loads(json.dumps(meta)) == meta


@pytest.mark.slow
def test_runtime_is_a_distribution_of_its_own(tmp_path):
    """The wheel holds this folder alone and drives where nothing else of the project can be imported."""
    pytest.importorskip("hatchling", reason="needs the extra dev")
    folder = Path(runtime.__file__).parent
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", str(tmp_path), "."]
    subprocess.run(words, check=True, cwd=folder)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        code = {name for name in archive.namelist() if name.endswith(".py")}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
        archive.extractall(tmp_path / "site")
    assert code == {f"liquid_lane_runtime/{path.name}" for path in folder.glob("*.py")}
    assert metadata.count("Requires-Dist") == 3
    program = "import sys, liquid_lane_runtime as r; print(r.Driver.__name__, {'driving', 'torch'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path,
                           env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, check=True)  # fmt: skip
    assert found.stdout.split() == ["Driver", "set()"]
