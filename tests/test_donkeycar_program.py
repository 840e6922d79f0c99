"""The real Donkeycar program: tubs as it writes them come in, and its vehicle drives with an exported policy.

``pip install --no-deps donkeycar pyfiglet prettytable`` is enough of it.
"""

import math
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("donkeycar", reason="the program donkeycar is not installed")
pytest.importorskip("onnxscript", reason="needs the extra deploy")

from driving.cli import main
from driving.models import checkpoint
from driving.runtime import DonkeycarPilot
from sim.drive import load

N, RATE_HZ = 60, 50
INPUTS = ["cam/image_array", "user/angle", "user/throttle", "user/mode"]
TYPES = ["image_array", "float", "float", "str"]


class Camera:
    """A part: frames with a bright bar where the road goes, and the angle that somebody steers after it."""

    def __init__(self):
        self.k = 0

    def run(self):
        angle = math.sin(self.k / 7.0)
        frame = np.random.default_rng(self.k).integers(0, 60, (120, 160, 3), dtype=np.uint8)
        column = round(80 + 60 * angle)
        frame[60:, column - 10 : column + 10] = 230
        self.k += 1
        return frame, angle, 0.3, "user"


class Log:
    """A part: what the pilot answered."""

    def __init__(self):
        self.rows = []

    def run(self, *row):
        self.rows.append(row)


@pytest.fixture(scope="module")
def donkeycar():
    """The program; it sets Python's recursion limit while it is imported."""
    limit = sys.getrecursionlimit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import donkeycar
        import donkeycar.parts.tub_v2
    yield donkeycar
    sys.setrecursionlimit(limit)


@pytest.fixture(scope="module")
def tub(donkeycar, tmp_path_factory):
    """A tub that the program's own loop recorded."""
    folder = tmp_path_factory.mktemp("mycar") / "data"
    writer = donkeycar.parts.tub_v2.TubWriter(str(folder), inputs=INPUTS, types=TYPES)
    vehicle = donkeycar.Vehicle()
    vehicle.add(Camera(), outputs=INPUTS)
    vehicle.add(writer, inputs=INPUTS, outputs=["tub/num_records"])
    assert vehicle.start(rate_hz=RATE_HZ, max_loop_count=N)[0] == N
    return folder


@pytest.mark.slow
def test_donkeycar_tub_of_the_program_becomes_a_pilot_of_its_vehicle(donkeycar, tub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["import", "donkeycar", str(tub), "recordings/mycar"]) == 0
    drive = load("recordings/mycar")
    assert len(drive) == N
    wheel = np.arctan(drive.curvature_per_m * drive.meta.vehicle.wheelbase_m)
    np.testing.assert_allclose(wheel / np.abs(wheel).max(), -np.sin(np.arange(N) / 7.0), atol=0.02)  # left positive
    words = "train --data recordings/mycar --core ltc --out policies/mycar --steps 4 --batch 2 --window 6 --warmup 2"
    assert main(words.split()) == 0
    assert main(["export", "--policy", "policies/mycar", "--out", "exported/mycar"]) == 0
    pilot, log = DonkeycarPilot("exported/mycar", throttle=0.25), Log()
    pilot_tub = donkeycar.parts.tub_v2.TubWriter(
        "pilot", inputs=["cam/image_array", "pilot/angle", "pilot/throttle", "user/mode"], types=TYPES
    )
    vehicle = donkeycar.Vehicle()
    vehicle.add(Camera(), outputs=["cam/image_array", "user/angle", "user/throttle", "user/mode"])
    vehicle.add(pilot, inputs=["cam/image_array"], outputs=["pilot/angle", "pilot/throttle"])
    vehicle.add(log, inputs=["pilot/angle", "pilot/throttle"])
    vehicle.add(pilot_tub, inputs=["cam/image_array", "pilot/angle", "pilot/throttle", "user/mode"],
                outputs=["tub/num_records"])  # fmt: skip
    assert vehicle.start(rate_hz=RATE_HZ, max_loop_count=20)[0] == 20
    angles, throttles = np.array(log.rows).T
    assert len(angles) == 20
    assert np.isfinite(angles).all()
    assert np.abs(angles).max() <= 1
    assert set(throttles) == {0.25}
    policy = checkpoint.load("policies/mycar")
    limit = math.atan(policy.config.max_curvature_per_m * policy.config.wheelbase_m)
    assert limit == pytest.approx(policy.config.full_lock_rad, rel=0.3)  # the command reaches the lock
