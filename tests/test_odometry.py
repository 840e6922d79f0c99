"""Paths against closed forms; estimated speed against worlds whose speed is known."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import sim  # noqa: F401  (registers the environments)
from sim.camera import Camera
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.importers import IMPORTERS, Asked
from sim.odometry import TAIL_M, estimate_speed_mps, recorded_paths, speed_of
from sim.procedural_env import ProceduralEnv
from sim.record import record
from tests.ground_points import unproject

META = DriveMeta("test", "CC0-1.0", VehicleFacts("none"))
SMALL = Camera(39, 100, 75.0, 75.0, 49.5, 12.5, 1.4)
DRIVES = Path(__file__).parents[2] / "shared" / "drives"


def table(curvature, speed, dt_s=0.05, times=None):
    """A drive whose pictures are black."""
    n = len(curvature)
    times = np.arange(n) * dt_s if times is None else np.asarray(times, float)
    frames = np.zeros((n, 39, 100, 3), np.uint8)
    speed = np.broadcast_to(np.float32(speed), n).copy()
    return Drive(frames, times, np.asarray(curvature, np.float32), SMALL, META, speed)


def filmed(speed_mps, camera, dt_s=0.05):
    """Drive straight at speeds (T,) over ground of random grains, two solid lines and a fleck on the lens."""
    rng = np.random.default_rng(2)
    grains = rng.integers(70, 160, (4000, 120)).astype(np.float32)  # 0.2 m along the road, 0.1 m across
    grains[:, 20:22] = grains[:, 95:97] = 240
    u, v = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    forward, left = unproject(camera, u, np.maximum(v, camera.horizon_v_px + 1))
    across = np.clip((left + 6.0) / 0.1, 0, 119).astype(int)
    way_m = np.concatenate([[0.0], np.cumsum(0.5 * (speed_mps[1:] + speed_mps[:-1]) * dt_s)])
    frames = []
    for x_m in way_m:
        grey = grains[np.clip((x_m + forward) / 0.2, 0, 3999).astype(int), across]
        grey = 115 + (grey - 115) * np.exp(-((forward / 18) ** 2))
        grey[v <= camera.horizon_v_px] = 200
        grey[60:64, 90:110] = 20
        frames.append(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
    n = len(frames)
    return Drive(np.stack(frames), np.arange(n) * dt_s, np.zeros(n, np.float32), camera, META)


def test_odometry_constant_curvature_is_a_circle():
    curvature, speed = 0.02, 9.0
    drive = table(np.full(201, curvature), speed)
    (path,) = recorded_paths(drive, drive.speed_mps)
    assert path.s_m[-1] == pytest.approx(200 * 9.0 * 0.05)
    for s_m in (0.0, 13.2, 71.9, path.s_m[-1]):
        x_m, y_m, heading = path.road.pose_at(s_m)
        assert heading == pytest.approx(curvature * s_m, abs=1e-6)
        assert x_m == pytest.approx(np.sin(heading) / curvature, abs=2e-3)
        assert y_m == pytest.approx((1 - np.cos(heading)) / curvature, abs=2e-3)
    assert path.road.length_m >= path.s_m[-1] + TAIL_M - 0.5
    assert path.road.curvature_at(path.s_m[-1] + 5) == 0.0


def test_odometry_curvature_of_a_row_holds_until_the_next_and_speed_is_the_mean():
    drive = table([0.01, 0.03, -0.02], [4.0, 8.0, 10.0], 0.5)
    (path,) = recorded_paths(drive, drive.speed_mps)
    np.testing.assert_allclose(path.step_mps, [6.0, 9.0])
    np.testing.assert_allclose(path.s_m, [0.0, 3.0, 7.5])
    headings = [path.road.pose_at(s_m)[2] for s_m in path.s_m]
    np.testing.assert_allclose(headings, [0.0, 0.01 * 3.0, 0.01 * 3.0 + 0.03 * 4.5], atol=1e-6)


def test_odometry_each_stretch_without_a_gap_is_a_path():
    drive = table(np.zeros(12), 5.0, times=[*np.arange(5) * 0.1, 3.0, *(4 + np.arange(6) * 0.1)])
    paths = recorded_paths(drive, drive.speed_mps)
    assert [(path.start_row, len(path)) for path in paths] == [(0, 5), (6, 6)]  # row 5 stands alone
    assert all(path.s_m[0] == path.time_s[0] == 0.0 for path in paths)


def test_odometry_nearest_row_where_the_car_stood_is_the_first():
    drive = table(np.zeros(8), [4, 4, 0, 0, 0, 0, 4, 4], 1.0)
    (path,) = recorded_paths(drive, drive.speed_mps)
    np.testing.assert_allclose(path.s_m, [0, 4, 6, 6, 6, 6, 8, 12])
    assert [path.nearest(s_m) for s_m in (-1.0, 1.9, 2.1, 6.0, 6.4, 9.0, 99.0)] == [0, 0, 1, 2, 5, 6, 7]


def test_odometry_curvature_beyond_the_steering_stop_is_taken_as_the_stop():
    drive = table([0.3, -0.3, 0.05], 5.0)
    (path,) = recorded_paths(drive, drive.speed_mps)
    np.testing.assert_allclose(path.curvature_per_m, [0.1, -0.1, 0.05])


@pytest.mark.parametrize(("camera", "speed"), [(Camera(), 7.0), (Camera(), 13.0), (Camera().resized(156, 400), 21.0)])
def test_odometry_speed_of_a_filmed_road_is_known(camera, speed):
    estimate = estimate_speed_mps(filmed(np.full(60, speed), camera))
    assert (estimate.shape, estimate.dtype) == ((60,), np.float32)
    assert np.median(estimate) == pytest.approx(speed, rel=0.04)
    assert np.abs(estimate / speed - 1).max() < 0.1


def test_odometry_speed_follows_a_car_that_accelerates():
    speed = np.linspace(8.0, 16.0, 120)
    estimate = estimate_speed_mps(filmed(speed, Camera()))
    assert np.abs(estimate / speed - 1).mean() < 0.05
    assert np.corrcoef(estimate, speed)[0, 1] > 0.97


def test_odometry_speed_is_proportional_to_the_height_of_the_camera():
    drive = filmed(np.full(50, 10.0), Camera())
    higher = dataclasses.replace(drive, camera=dataclasses.replace(drive.camera, height_m=1.4 * 1.2))
    ratio = np.median(estimate_speed_mps(higher)) / np.median(estimate_speed_mps(drive))
    assert ratio == pytest.approx(1.2, rel=0.05)


def test_odometry_speed_bridges_black_frames():
    drive = filmed(np.full(80, 11.0), Camera())
    drive.frames[30:45] = 0
    assert np.abs(estimate_speed_mps(drive) / 11.0 - 1).max() < 0.12


def test_odometry_speed_cannot_be_seen_without_motion_or_ground():
    with pytest.raises(BadInputError, match="give speed_mps") as caught:
        estimate_speed_mps(table(np.zeros(9), 0.0))
    assert "\n" not in str(caught.value)
    sky = dataclasses.replace(table(np.zeros(9), 0.0), camera=dataclasses.replace(SMALL, horizon_v_px=60.0))
    with pytest.raises(BadInputError, match="no ground"):
        estimate_speed_mps(sky)


def test_odometry_speed_recorded_is_kept_and_estimated_only_once():
    recorded = table(np.zeros(9), 6.5)
    assert speed_of(recorded) is recorded.speed_mps
    drive = filmed(np.full(30, 9.0), Camera())
    assert speed_of(drive) is speed_of(drive)


def test_odometry_speed_in_our_own_world_within_a_twelfth():
    world = partial(ProceduralEnv, weather="overcast", roadside=False, hills=False)
    for seed in (1, 2):
        drive = record(world, [seed], 6.0)
        estimate = estimate_speed_mps(dataclasses.replace(drive, speed_mps=None))
        assert np.median(np.abs(estimate / drive.speed_mps - 1)) < 1 / 12


@pytest.mark.external
def test_odometry_speed_of_the_real_drive_is_plausible():
    if not (DRIVES / "udacity-ch2").is_dir():
        pytest.skip(f"the recorded drive {DRIVES / 'udacity-ch2'} is not there")
    drive = IMPORTERS["udacity-ch2"](DRIVES / "udacity-ch2" / "c", Asked()).drive().rows(0, 500)
    speed = estimate_speed_mps(drive)
    assert 12.0 < np.median(speed) < 18.0  # about 16 m/s by optical flow
    assert speed.min() > 5.0
    assert speed.max() < 25.0
