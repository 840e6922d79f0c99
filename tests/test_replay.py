"""``lane/Replay-v0`` on a filmed road whose true picture is known at every pose, and on the real drive."""

import dataclasses
from functools import partial
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401  (registers the environments)
from sim import drive as drive_io
from sim.camera import Camera
from sim.disturbance import Disturbance
from sim.drive import Drive, DriveMeta, VehicleFacts
from sim.errors import BadInputError
from sim.importers import IMPORTERS, Asked
from sim.odometry import estimate_speed_mps, recorded_paths
from sim.record import record
from sim.replay_config import ReplayConfig
from sim.replay_env import ReplayEnv
from tests.ground_points import unproject

DRIVES = Path(__file__).parents[2] / "shared" / "drives"
META = DriveMeta("test", "CC0-1.0", VehicleFacts("test car", wheelbase_m=2.85))
CAMERA = Camera()
N_ROWS, SPEED = 160, 10.0
RNG = np.random.default_rng(7)
WAVES = [(RNG.uniform(-2.0, 2.0, 2), RNG.uniform(0, 6)) for _ in range(10)]


def picture(x_m, y_m, heading):
    """uint8 (78, 200, 3) of a plane of waves; the lens is 1.5 m ahead of the rear axle at (x, y)."""
    u, v = np.meshgrid(np.arange(200), np.arange(78))
    c, s = np.cos(heading), np.sin(heading)
    forward, left = unproject(CAMERA, u, np.maximum(v, 27))
    east = x_m + c * (1.5 + forward) - s * left
    north = y_m + s * (1.5 + forward) + c * left
    waves = sum(np.sin(k[0] * east + k[1] * north + phase) for k, phase in WAVES)
    grey = 128 + 22 * waves * np.exp(-((forward / 10) ** 2)) * (v > 26)
    return np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def drive():
    """8 s through a left and a right bend, every second mask known."""
    curvature = (0.02 * np.sin(np.arange(N_ROWS) / 25)).astype(np.float32)
    blank = Drive(
        np.zeros((N_ROWS, 78, 200, 3), np.uint8),
        100 + np.arange(N_ROWS) * 0.05,
        curvature,
        CAMERA,
        META,
        np.full(N_ROWS, SPEED, np.float32),
    )
    (path,) = recorded_paths(blank, blank.speed_mps)
    frames = np.stack([picture(*path.road.pose_at(s_m)) for s_m in path.s_m])
    known = np.arange(N_ROWS) % 2 == 0
    return dataclasses.replace(blank, frames=frames, road_masks=frames[..., 0] > 128, road_mask_known=known)


def on_path(drive, **options):
    return ReplayEnv(drive=drive, start_offset_m=0.0, start_heading_rad=0.0, **options)


def act(value):
    return np.array([value], np.float32)


def drive_out(env, command=None):
    """Infos of all steps, by the expert or a constant command, and how the episode ended."""
    infos, ended = [], (False, False)
    while not any(ended):
        action = env.expert_curvature_per_m() if command is None else command
        *_, terminated, truncated, info = env.step(act(action))
        infos.append(info)
        ended = terminated, truncated
    return infos, ended


def test_replay_without_deviation_shows_the_recorded_frames(drive):
    env = on_path(drive)
    frame, info = env.reset(seed=1, options={"row": 30})
    np.testing.assert_array_equal(frame, drive.frames[30])
    assert (info["row"], info["unseen_share"], info["setting"]) == (30, 0.0, {})
    assert info["recorded_curvature_per_m"] == pytest.approx(drive.curvature_per_m[30])
    assert info["curvature_per_m"] == pytest.approx(drive.curvature_per_m[30])


def test_replay_of_the_recorded_curvature_stays_on_the_recorded_path(drive):
    env = on_path(drive)
    _, info = env.reset(seed=1, options={"row": 0})
    for row in range(1, N_ROWS):
        frame, reward, terminated, truncated, info = env.step(act(drive.curvature_per_m[info["row"]]))
        assert info["row"] == row
        assert abs(info["lateral_offset_m"]) < 0.02
        assert reward > 0.99
        assert np.abs(frame.astype(int) - drive.frames[row]).mean() < 2
        assert not terminated
        assert truncated == (row == N_ROWS - 1)
    assert info["truncation"] == "end of recording"
    assert info["distance_m"] == pytest.approx((N_ROWS - 1) * 0.05 * SPEED)


def test_replay_shows_what_is_seen_from_beside_the_path(drive):
    env = on_path(drive)
    options = {"along_road_m": 25.13, "lateral_offset_m": 0.6, "heading_error_rad": -0.08}
    frame, info = env.reset(seed=1, options=options)
    assert info["lateral_offset_m"] == pytest.approx(0.6, abs=1e-3)
    assert info["heading_error_rad"] == pytest.approx(-0.08, abs=1e-3)
    assert 0.02 < info["unseen_share"] < 0.25
    state = env.state
    true = picture(state.x_m, state.y_m, state.heading_rad)[:, 50:150]
    error, unmoved = (np.abs(a[:, 50:150].astype(int) - true).mean() for a in (frame, drive.frames[info["row"]]))
    assert error < 0.2 * unmoved


def test_replay_teacher_answers_the_recorded_curvature_on_the_path_and_steers_back_beside_it(drive):
    env = on_path(drive)
    for row in (5, 44, 90):
        env.reset(seed=1, options={"row": row})
        on = env.expert_curvature_per_m()
        assert on == pytest.approx(drive.curvature_per_m[row], abs=1e-6)
        env.reset(seed=1, options={"row": row, "lateral_offset_m": 0.5})
        assert env.expert_curvature_per_m() == pytest.approx(on - 2 * 0.5 / 15.0**2, abs=1e-5)
        env.reset(seed=1, options={"row": row, "heading_error_rad": 0.05})
        assert env.expert_curvature_per_m() == pytest.approx(on - 2 * 0.05 / 15.0, abs=1e-5)


def test_replay_teacher_comes_back_to_the_path(drive):
    env = on_path(drive)
    env.reset(seed=1, options={"row": 0, "lateral_offset_m": -0.8, "heading_error_rad": -0.05})
    infos, (crashed, _) = drive_out(env)
    assert not crashed
    assert max(abs(info["lateral_offset_m"]) for info in infos) > 0.8
    assert all(abs(info["lateral_offset_m"]) < 0.05 for info in infos[-40:])


def test_replay_car_that_cuts_a_bend_shows_the_rows_of_its_place(drive):
    rows = {}
    for side in (1.2, -1.2):  # the first 3.9 s bend to the left
        env = on_path(drive)
        env.reset(seed=1, options={"row": 10, "lateral_offset_m": side})
        for _ in range(50):  # parallel to the path: its curvature, corrected for the radius
            row = env.step(act(env._recorded_curvature() / (1 - env._recorded_curvature() * side)))[-1]["row"]
            share = abs(env._path.s_m[row] - env._s_m)
            assert share <= 0.5 * SPEED * 0.05 + 1e-6
        rows[side] = row
    assert rows[1.2] > 60 > rows[-1.2]


@pytest.mark.parametrize(
    ("options", "command", "reason"),
    [
        ({"episode_seconds": 1.0}, None, "end of time"),
        ({}, None, "end of recording"),
        ({"max_shift_m": 0.3, "max_yaw_rad": 0.6}, 0.03, "beyond support: lateral"),
        ({"max_yaw_rad": 0.1}, -0.03, "beyond support: heading"),
    ],
)
def test_replay_truncation_says_its_reason_and_is_no_crash(drive, options, command, reason):
    env = on_path(drive, **options)
    _, info = env.reset(seed=1, options={"row": 0})
    assert info["episode_seconds_available"] == pytest.approx(1.0 if reason == "end of time" else 159 * 0.05)
    infos, ended = drive_out(env, command)
    assert ended == (False, True)
    assert infos[-1]["truncation"] == reason
    assert not any("truncation" in info for info in infos[:-1])


def test_replay_leaving_the_lane_is_a_crash_before_it_is_anything_else(drive):
    env = on_path(drive, max_shift_m=0.5, max_yaw_rad=1.0, lane_width_m=1.0)
    env.reset(seed=1, options={"row": 0})
    infos, ended = drive_out(env, 0.05)
    assert ended == (True, False)
    assert infos[-1]["lateral_offset_m"] > 0.5 == infos[-1]["lane_half_width_m"]
    assert "truncation" not in infos[-1]


def test_replay_episode_never_spans_a_gap(drive):
    times = drive.timestamps_s + np.where(np.arange(N_ROWS) >= 70, 5.0, 0.0)
    env = on_path(dataclasses.replace(drive, timestamps_s=times))
    _, info = env.reset(seed=1, options={"row": 20})
    assert info["episode_seconds_available"] == pytest.approx(49 * 0.05)
    infos, _ = drive_out(env)
    assert (infos[-1]["truncation"], infos[-1]["row"]) == ("gap", 69)
    env.reset(seed=1, options={"row": 80})
    assert drive_out(env)[0][-1]["truncation"] == "end of recording"
    rows = {env.reset(seed=seed)[1]["row"] for seed in range(60)}
    assert not rows & {*range(31, 70), *range(121, N_ROWS)}  # too near to an end
    assert min(rows) < 31
    assert max(rows) > 70


def test_replay_time_is_the_recordings_own(drive):
    steps_s = np.where(np.arange(N_ROWS) % 3 == 0, 0.04, 0.06)
    env = on_path(dataclasses.replace(drive, timestamps_s=np.cumsum(steps_s)))
    env.reset(seed=1, options={"row": 0})
    infos, _ = drive_out(env)
    np.testing.assert_allclose([info["dt_s"] for info in infos], steps_s[1:], atol=1e-9)
    assert env.dt_s == pytest.approx(0.06)


def test_replay_goes_on_where_the_recorded_car_stood(drive):
    speed = np.where((np.arange(N_ROWS) > 40) & (np.arange(N_ROWS) < 70), 0.0, SPEED).astype(np.float32)
    env = on_path(dataclasses.replace(drive, speed_mps=speed))
    env.reset(seed=1, options={"row": 30})
    infos, (crashed, _) = drive_out(env)
    assert not crashed
    assert infos[-1]["truncation"] == "end of recording"
    rows = np.array([info["row"] for info in infos])
    assert set(range(42, 69)) <= set(rows.tolist())
    assert (np.diff(rows) >= 0).all()


def test_replay_start_options_stay_inside_the_support_and_wrap(drive):
    env = on_path(drive, max_shift_m=0.5, max_yaw_rad=0.1)
    far = {"lateral_offset_m": 3.0, "heading_error_rad": -1.0}
    info = env.reset(seed=1, options={"row": 3, **far})[1]
    assert info["lateral_offset_m"] == pytest.approx(0.475, abs=1e-3)
    assert info["heading_error_rad"] == pytest.approx(-0.095, abs=1e-3)
    usable_m = (N_ROWS - 1 - 40) * 0.05 * SPEED
    near, wrapped = (env.reset(seed=1, options={"along_road_m": s})[0] for s in (20.0, 20.0 + usable_m))
    np.testing.assert_array_equal(near, wrapped)
    assert max(abs(env.reset(seed=s)[1]["lateral_offset_m"]) for s in range(5)) < 1e-3


def test_replay_start_every_seconds_covers_the_recording(drive):
    env = on_path(drive, start_every_s=1.5)
    rows = [env.reset(seed=seed)[1]["row"] for seed in range(6)]
    assert rows == [0, 30, 60, 90, 0, 30]


def test_replay_place_and_start_have_streams_of_their_own(drive):
    near, far = (ReplayEnv(drive=drive, start_offset_m=a, start_heading_rad=b) for a, b in ((0.1, 0.01), (0.4, 0.05)))
    for seed in range(5):
        a, b = near.reset(seed=seed)[1], far.reset(seed=seed)[1]
        assert a["row"] == b["row"]
        assert b["lateral_offset_m"] == pytest.approx(4 * a["lateral_offset_m"], abs=1e-3)
        assert b["heading_error_rad"] == pytest.approx(5 * a["heading_error_rad"], abs=1e-3)


def test_replay_road_mask_where_known_moves_with_the_picture(drive):
    env = on_path(drive)
    frame, info = env.reset(seed=1, options={"row": 20, "lateral_offset_m": 0.5})
    assert (info["road_mask"].shape, info["road_mask"].dtype) == ((78, 200), np.bool_)
    assert (info["road_mask"] != (frame[..., 0] > 128)).mean() < 0.05
    assert (info["road_mask"] != drive.road_masks[20]).mean() > 0.05
    assert "road_mask" not in env.reset(seed=1, options={"row": 21})[1]


def test_replay_records_recoveries(drive):
    whole = dataclasses.replace(drive, road_mask_known=None)
    recorded = record(partial(ReplayEnv, drive=whole), range(6), 3.0, disturbance=Disturbance())
    assert recorded.camera == CAMERA
    assert len(recorded) > 6 * 40
    assert len(recorded.segments()) == 6
    assert np.ptp(recorded.curvature_per_m) > np.ptp(drive.curvature_per_m)


def test_replay_frames_of_any_size_come_out_at_the_size_of_a_policy(drive):
    large = np.stack([cv2.resize(frame, (400, 156)) for frame in drive.frames[:60]])
    part = dataclasses.replace(drive.rows(0, 60), road_masks=None, road_mask_known=None)
    env = on_path(dataclasses.replace(part, frames=large, camera=CAMERA.resized(156, 400)), render_mode="rgb_array")
    frame, _ = env.reset(seed=1, options={"row": 5, "lateral_offset_m": 0.3})
    small, _ = on_path(part).reset(seed=1, options={"row": 5, "lateral_offset_m": 0.3})
    assert np.abs(frame.astype(int) - small).mean() < 3
    assert env.camera.focal_u_px == pytest.approx(CAMERA.focal_u_px)
    view = env.render()
    assert (view.shape, view.dtype) == ((234, 600, 3), np.uint8)
    assert np.abs(view[1::3, 1::3].astype(int) - frame).mean() < 3


def test_replay_speed_can_be_given_where_none_was_recorded(drive):
    silent = dataclasses.replace(drive, speed_mps=None)
    assert on_path(silent, speed_mps=7.0).reset(seed=1)[1]["speed_mps"] == 7.0
    assert on_path(drive, speed_mps=7.0).reset(seed=1)[1]["speed_mps"] == SPEED  # what was recorded counts
    info = on_path(silent).reset(seed=1)[1]
    estimate = estimate_speed_mps(silent)[info["row"] : info["row"] + 2]
    assert info["speed_mps"] == pytest.approx(estimate.mean())


def test_replay_reads_a_folder_or_some_rows_of_it_once(drive, tmp_path):
    folder = tmp_path / "drive"
    drive_io.save(drive, folder)
    spec = f"{folder}@20:140"
    one, two = (gymnasium.make("lane/Replay-v0", drive=spec).unwrapped for _ in range(2))
    assert len(one.drive) == 120
    assert one.drive.frames is two.drive.frames
    assert np.abs(one.reset(seed=1, options={"row": 0})[0].astype(int) - drive.frames[20]).mean() < 12
    made = gymnasium.make("lane/Replay-v0", drive=drive).unwrapped
    assert np.shares_memory(made.drive.frames, drive.frames)


def test_replay_without_a_drive_says_how_to_name_one():
    with pytest.raises(BadInputError, match=r"--env-option drive=FOLDER or gymnasium.make") as caught:
        gymnasium.make("lane/Replay-v0")
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError, match="no such folder"):
        ReplayEnv(drive="nowhere")


@pytest.mark.parametrize(
    "options",
    [
        {"episode_seconds": 0.0},
        {"lane_width_m": 0.0},
        {"start_offset_m": -0.1},
        {"start_every_s": float("nan")},
        {"max_unseen_share": 1.0},
        {"max_shift_m": 0.0},
        {"max_yaw_rad": 2.0},
        {"speed_mps": "fast"},
        {"steering_lag_s": -1.0},
        {"render_mode": "depth"},
        {"no_such_option": 1},
    ],
)
def test_replay_rejects_an_option_out_of_range_by_its_name(drive, options):
    with pytest.raises(BadInputError, match=next(iter(options))) as caught:
        ReplayEnv(drive=drive, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"row": 130}, {"row": -1}, {"along_road_m": -1.0}, {"lateral_offset_m": float("nan")}, {"x": 1}]
)
def test_replay_rejects_a_start_that_cannot_be(drive, options):
    env = on_path(drive)
    with pytest.raises(BadInputError):
        env.reset(seed=1, options=options)


def test_replay_rejects_a_drive_too_short_or_of_another_shape(drive):
    with pytest.raises(BadInputError, match="at least 2 s"):
        ReplayEnv(drive=drive.rows(0, 20))
    square = dataclasses.replace(
        drive,
        frames=np.zeros((N_ROWS, 80, 80, 3), np.uint8),
        camera=Camera(80, 80),
        road_masks=None,
        road_mask_known=None,
    )
    with pytest.raises(BadInputError, match="200:78"):
        ReplayEnv(drive=square)


def test_replay_options_are_the_fields_of_its_configuration(drive):
    chosen = {field.name: field.default for field in dataclasses.fields(ReplayConfig)}
    assert ReplayEnv(**{**chosen, "drive": drive}).config == ReplayConfig(drive=drive)


@pytest.mark.external
def test_replay_of_the_real_drive_keeps_a_teacher_and_loses_a_car_that_does_not_steer():
    if not (DRIVES / "udacity-ch2").is_dir():
        pytest.skip(f"the recorded drive {DRIVES / 'udacity-ch2'} is not there")
    drive = IMPORTERS["udacity-ch2"](DRIVES / "udacity-ch2" / "c", Asked()).drive().rows(0, 400)
    env = on_path(drive)
    env.reset(seed=1, options={"row": 0, "lateral_offset_m": 0.5})
    infos, ended = drive_out(env)
    assert ended == (False, True)
    assert infos[-1]["truncation"] == "end of recording"
    assert abs(infos[-1]["lateral_offset_m"]) < 0.1
    env.reset(seed=1, options={"row": 0})
    infos, (crashed, _) = drive_out(env, 0.01)
    assert crashed or infos[-1]["truncation"].startswith("beyond support")
