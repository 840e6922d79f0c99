"""MetaDrive behind our contract: what can be known of its camera, its car and its roads, against the closed form."""

import ctypes.util
import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sim.adapters import metadrive_assets, metadrive_route
from sim.adapters.metadrive import CAMERA_FORWARD_M, END_MARGIN_M, MetaDriveEnv
from sim.adapters.metadrive_config import MetaDriveConfig
from sim.errors import BadInputError

HAS_METADRIVE = importlib.util.find_spec("metadrive") is not None
HAS_EGL = ctypes.util.find_library("EGL") is not None
needs_metadrive = pytest.mark.skipif(
    not (HAS_METADRIVE and HAS_EGL),
    reason='needs pip install "liquid-lane[metadrive]" and apt install libegl1 libgl1-mesa-dri',
)
CENTRED = {"lateral_offset_m": 0.0, "heading_error_rad": 0.0}
LEFT_EDGE_M, RIGHT_EDGE_M = 1.75 + 3.5 + 0.43, -1.75 - 0.43
"""Edges of the asphalt from the middle of our lane: the lanes, half a line and the shoulder."""


@pytest.fixture(scope="module")
def assets_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("assets")


@pytest.fixture(scope="module")
def shared_env(assets_dir):
    env = MetaDriveEnv(render_mode="rgb_array", assets_dir=assets_dir)
    yield env
    env.close()


@pytest.fixture
def env(shared_env):
    """The environment of the module, whose engine a test may have freed."""
    yield shared_env
    shared_env.config = MetaDriveConfig(assets_dir=shared_env.config.assets_dir)


def set_options(env, **options):
    """Other options without another engine."""
    env.config = dataclasses.replace(env.config, **options)


def curvature(value):
    return np.array([value], np.float32)


def drive(env, n_steps, command=None):
    """Answers of the expert's steps, or of a constant command's, up to the end of the episode."""
    answers = []
    for _ in range(n_steps):
        answers.append(env.step(curvature(env.expert_curvature_per_m() if command is None else command)))
        if command is None and (answers[-1][2] or answers[-1][3]):
            break
    return answers


@needs_metadrive
@pytest.mark.parametrize("offset_m", [0.0, 0.9, -0.7])
def test_metadrive_mask_shows_the_asphalt_where_the_camera_says(env, offset_m):
    camera, seen = env.camera, 0
    for seed, place_m in ((1, 40.0), (2, 120.0), (3, 200.0)):
        options = {"along_road_m": place_m, "lateral_offset_m": offset_m, "heading_error_rad": 0.02}
        _, info = env.reset(seed=seed, options=options)
        x_m, y_m, heading = env._pose()
        cos, sin = np.cos(heading), np.sin(heading)
        for ahead_m in np.arange(5.0, 30.0, 0.5):
            x, y, lane_heading = env.road.pose_at(place_m + ahead_m)
            for edge_m in (LEFT_EDGE_M, RIGHT_EDGE_M):
                dx = x - edge_m * np.sin(lane_heading) - x_m
                dy = y + edge_m * np.cos(lane_heading) - y_m
                forward_m, left_m = dx * cos + dy * sin - CAMERA_FORWARD_M, dy * cos - dx * sin
                u, v = camera.project(forward_m, left_m)
                inward = 1 if edge_m > 0 else -1
                # Half a row is this many columns, along an edge that runs away from us.
                margin = inward * (2.0 + 0.5 * abs(left_m) / camera.height_m)
                if not (4 < forward_m < 20 and 6 < u < 193) or abs(lane_heading - heading) > 0.25:
                    continue
                seen += 1
                assert info["road_mask"][round(v), round(u + margin)]
                assert not info["road_mask"][round(v), round(u - margin)]
    assert seen > 60


@needs_metadrive
def test_metadrive_mask_is_grey_and_the_verge_is_grass(env):
    for seed in range(4):
        picture, info = env.reset(seed=seed)
        road, verge = picture[40:][info["road_mask"][40:]], picture[40:][~info["road_mask"][40:]]
        assert np.ptp(np.median(road, 0)) < 25
        assert np.median(verge, 0)[:2].min() > np.median(verge, 0)[2] + 15  # green or dry, never grey
        assert not info["road_mask"][:26].any()


@needs_metadrive
def test_metadrive_offset_and_heading_are_those_of_its_own_lane_with_left_positive(env):
    lanes_seen = set()
    env.reset(seed=2, options={"along_road_m": 30.0, "lateral_offset_m": 0.6, "heading_error_rad": 0.0})
    for _ in range(500):
        info = drive(env, 1)[0][4]
        x_m, y_m, heading = env._rear_axle
        lane = env._engine.agent.navigation.current_ref_lanes[0]
        along_m, right_m = lane.local_coordinates((x_m, y_m))
        if not 1 < along_m < lane.length - 1:
            continue  # MetaDrive goes by the middle of the car, we by its rear axle
        lanes_seen.add(lane.index)
        assert info["lateral_offset_m"] == pytest.approx(-right_m, abs=0.02)
        error = (heading - lane.heading_theta_at(along_m) + np.pi) % (2 * np.pi) - np.pi
        assert info["heading_error_rad"] == pytest.approx(error, abs=0.02)
        assert info["lane_half_width_m"] == lane.width / 2
    assert len(lanes_seen) >= 3


@needs_metadrive
@pytest.mark.parametrize("command", [0.005, 0.02, -0.05])
def test_metadrive_constant_command_traces_its_circle(env, command):
    set_options(env, speed_mps=6.0)
    env.reset(seed=1, options=CENTRED)
    answers, places = drive(env, 20, command), []
    for _ in range(60):
        answers += drive(env, 1, command)
        places.append(env._rear_axle[:2])
    x, y = np.array(places).T
    (cx, cy, rest), *_ = np.linalg.lstsq(np.column_stack([2 * x, 2 * y, np.ones_like(x)]), x * x + y * y, rcond=None)
    path = np.sign(command) / np.sqrt(rest + cx * cx + cy * cy)
    # Geometry alone; the tyres understeer by a little, more with speed.
    assert 0.97 < path / command < 1.0
    assert answers[-1][4]["curvature_per_m"] == pytest.approx(path, rel=0.01)


@needs_metadrive
def test_metadrive_distance_is_the_way_of_the_rear_axle_and_the_speed_is_held(env):
    env.reset(seed=1, options=CENTRED)
    before = env._rear_axle
    answers = drive(env, 40)
    after, info = env._rear_axle, answers[-1][4]
    assert np.hypot(after[0] - before[0], after[1] - before[1]) == pytest.approx(info["distance_m"], rel=1e-3)
    assert info["distance_m"] == pytest.approx(40 * info["dt_s"] * 10.0, rel=0.01)


@needs_metadrive
def test_metadrive_brakes_before_a_curve_to_its_lateral_acceleration(env):
    set_options(env, map="CC", min_radius_m=30.0, max_radius_m=30.0, max_lateral_acceleration_mps2=2.0)
    env.reset(seed=1, options=CENTRED)
    infos = [answer[4] for answer in drive(env, 400)]
    assert max(info["speed_mps"] for info in infos) > 9.0
    in_curves = [info["speed_mps"] for info in infos if abs(info["road_curvature_per_m"]) > 0.03]
    assert len(in_curves) > 30
    assert np.mean(in_curves) < 1.04 * np.sqrt(2.0 * 30.0)


@needs_metadrive
def test_metadrive_expert_keeps_its_lane(env):
    for seed in (4, 5):
        env.reset(seed=seed)
        answers = drive(env, 600)
        assert len(answers) == 600
        assert np.mean([abs(answer[4]["lateral_offset_m"]) for answer in answers]) < 0.05


@needs_metadrive
def test_metadrive_starts_where_the_options_say_and_inside_the_map(env):
    for place_m in (30.0, 155.0):
        _, info = env.reset(
            seed=4, options={"along_road_m": place_m, "lateral_offset_m": 0.7, "heading_error_rad": -0.05}
        )
        x_m, y_m, _ = env._pose()
        assert env.road.locate(x_m, y_m, place_m)[0] == pytest.approx(place_m, abs=0.02)
        assert info["lateral_offset_m"] == pytest.approx(0.7, abs=0.01)
        assert info["heading_error_rad"] == pytest.approx(-0.05, abs=1e-3)
        assert info["distance_m"] == 0.0
    env.reset(seed=4, options={"along_road_m": 1e5})
    assert not drive(env, 10)[-1][3]
    with pytest.raises(BadInputError, match="finite along_road_m"):
        env.reset(seed=4, options={"along_road_m": float("nan")})
    with pytest.raises(BadInputError, match="lateral_ofset_m"):
        env.reset(seed=4, options={"lateral_ofset_m": 0.5})


@needs_metadrive
def test_metadrive_end_of_the_map_truncates_and_is_no_crash(env):
    set_options(env, map="S")
    env.reset(seed=4)
    *_, terminated, truncated, info = drive(env, 600)[-1]
    assert (terminated, truncated, info["truncation"]) == (False, True, "end of map")
    assert env._s_m == pytest.approx(env.road.length_m - END_MARGIN_M, abs=1.0)


@needs_metadrive
def test_metadrive_collision_truncates_and_is_no_crash(env, monkeypatch):
    env.reset(seed=4)
    monkeypatch.setattr(env._engine.agent, "crash_vehicle", True)
    monkeypatch.setattr(env._engine, "drive", lambda *_: None)
    *_, terminated, truncated, info = env.step(curvature(0.0))
    assert (terminated, truncated, info["truncation"]) == (False, True, "collision")


@needs_metadrive
def test_metadrive_same_seed_repeats_itself_after_other_episodes(env):
    def episode(seed):
        first = env.reset(seed=seed)[0]
        return [first, *(answer[0] for answer in drive(env, 60))], env._rear_axle

    (frames, pose), _, (again, pose_again) = episode(3), episode(8), episode(3)
    assert pose == pose_again
    for one, other in zip(frames, again, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_metadrive
def test_metadrive_fresh_process_repeats_the_episode_without_network_or_words(env, assets_dir):
    code = (
        "import sys, socket, json, numpy as np\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from sim.adapters.metadrive import MetaDriveEnv\n"
        "assert not any(name.split('.')[0] in ('metadrive', 'panda3d') for name in sys.modules)\n"
        "env = MetaDriveEnv(assets_dir=sys.argv[1])\n"
        "sums = [int(env.reset(seed=6)[0].sum())]\n"
        "for _ in range(30):\n"
        "    sums.append(int(env.step(np.array([env.expert_curvature_per_m()], np.float32))[0].sum()))\n"
        "env.close()\n"
        "print(json.dumps([sums, env._rear_axle]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(assets_dir)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    sums, pose = json.loads(done.stdout)
    here = [int(env.reset(seed=6)[0].sum()), *(int(answer[0].sum()) for answer in drive(env, 30))]
    assert here == sums
    assert list(env._rear_axle) == pose


@needs_metadrive
def test_metadrive_each_cause_has_its_own_random_stream(env):
    _, info = env.reset(seed=5)
    road, offset_m = env.road, info["lateral_offset_m"]
    set_options(env, start_offset_m=1.0)
    env.reset(seed=5)
    np.testing.assert_array_equal(env.road.x_m, road.x_m)
    set_options(env, start_offset_m=0.2, map="SSCC")
    _, info = env.reset(seed=5)
    assert not np.array_equal(env.road.y_m[:400], road.y_m[:400])
    assert info["lateral_offset_m"] == pytest.approx(offset_m, abs=0.01)


@needs_metadrive
def test_metadrive_renders_three_times_the_size_for_people(env):
    picture, _ = env.reset(seed=2)
    large = env.render()
    assert (large.shape, large.dtype) == ((234, 600, 3), np.uint8)
    small = cv2.resize(large, (200, 78), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - picture).mean() < 4
    after, _ = env.reset(seed=2)
    np.testing.assert_array_equal(after, picture)


@needs_metadrive
def test_metadrive_holds_one_environment_at_a_time(env, assets_dir):
    env.reset(seed=1)
    second = MetaDriveEnv(assets_dir=assets_dir)
    with pytest.raises(BadInputError, match="one environment at a time") as caught:
        second.reset(seed=1)
    assert "\n" not in str(caught.value)
    env.step(curvature(0.0))
    env.close()
    with pytest.raises(BadInputError, match="reset"):
        env.step(curvature(0.0))
    first, _ = second.reset(seed=1)
    second.close()
    second.close()
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)


@needs_metadrive
def test_metadrive_cars_of_others_drive_and_are_no_road(shared_env, assets_dir):
    shared_env.close()
    env = MetaDriveEnv(traffic_density=0.2, assets_dir=assets_dir)
    try:
        env.reset(seed=1)
        assert len(env._engine.other_cars()) > 5
        infos = [answer[4] for answer in drive(env, 200)]
        assert len(infos) == 200
        assert max(speed_mps for _, _, speed_mps in env._engine.other_cars()) > 2.0
        gaps_m = [gap_m for gap_m, _ in env._cars_ahead()]
        assert min(gaps_m, default=99.0) > 5.0
    finally:
        env.close()


@pytest.mark.parametrize(
    ("missing", "says"), [("metadrive", 'pip install "liquid-lane[metadrive]"'), ("EGL", "apt install libegl1")]
)
def test_metadrive_without_extra_or_egl_says_what_to_install(monkeypatch, missing, says):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None if name == missing else name)
    with pytest.raises(BadInputError) as caught:
        MetaDriveEnv()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"episode_seconds": 0.0},
        {"episode_seconds": "long"},
        {"map": 0},
        {"map": "CXC"},
        {"map": True},
        {"map": 2.5},
        {"min_radius_m": 10.0},
        {"max_radius_m": 30.0},
        {"traffic_density": -0.1},
        {"speed_mps": float("nan")},
        {"start_offset_m": 3.0},
        {"render_mode": "text"},
        {"no_such_option": 1},
    ],
)
def test_metadrive_rejects_an_option_out_of_range_by_its_name(options):
    with pytest.raises(BadInputError, match=next(iter(options))) as caught:
        MetaDriveEnv(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blocks", [3, 6, "CSC", "SSSS"])
def test_metadrive_routes_fit_their_square_and_keep_away_from_themselves(blocks):
    for seed in range(5):
        drawn, road = metadrive_route.draw_route(np.random.default_rng(seed), blocks, 40.0, 160.0, 460.0)
        assert max(np.ptp(road.x_m), np.ptp(road.y_m)) <= 460.0
        letters = "".join(block["id"] for block in drawn)
        assert letters == blocks if isinstance(blocks, str) else len(letters) == blocks
        curves = [block for block in drawn if block["id"] == "C"]
        assert all(40.0 <= block["radius"] <= 160.0 for block in curves)
        turned = sum(np.radians(block["angle"]) * (-1 if block["dir"] else 1) for block in curves)
        assert road.heading_rad[-1] == pytest.approx(turned, abs=1e-6)
    length_m = 50.0 + sum(
        block["length"] + (block["radius"] * np.radians(block["angle"]) if block["id"] == "C" else 0.0)
        for block in drawn
    )
    assert road.length_m == pytest.approx(length_m, abs=0.5)


def test_metadrive_route_that_crosses_itself_or_is_too_long_does_not_fit():
    circle = [{"id": "C", "dir": 0, "radius": 40.0, "angle": 400.0, "length": 5.0}]
    assert not metadrive_route.fits(metadrive_route.centre_line(circle), 460.0)
    straight = [{"id": "S", "length": 500.0}]
    assert not metadrive_route.fits(metadrive_route.centre_line(straight), 460.0)
    with pytest.raises(BadInputError, match="fewer blocks"):
        metadrive_route.draw_route(np.random.default_rng(0), "S" * 20, 40.0, 160.0, 460.0)


def test_metadrive_assets_are_made_once_and_whole(tmp_path):
    shaders = tmp_path / "shaders"
    shaders.mkdir()
    (shaders / "terrain.vert.glsl").write_text("// upstream")
    cache = tmp_path / "cache"
    folder = metadrive_assets.assets_folder(cache, shaders)
    assert [path.name for path in cache.iterdir()] == [f"v{metadrive_assets.ASSETS_VERSION}"]
    assert (folder / ".." / "shaders" / "terrain.vert.glsl").read_text() == "// upstream"
    heights = cv2.imread(str(folder / "textures" / "terrain" / "heightfield.png"), cv2.IMREAD_UNCHANGED)
    assert (heights.shape, heights.dtype) == ((2048, 2048), np.uint16)
    assert np.ptp(heights[768:1280, 768:1280]) == 0  # level where the roads are
    assert heights.max() < 32768  # panda3d reads it as signed
    for path in (folder / "models").rglob("*.gltf"):
        model = json.loads(path.read_text())
        assert all(part["count"] % 3 == 0 for part in model["accessors"])
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert metadrive_assets.assets_folder(cache, shaders) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == kept
    other = metadrive_assets.assets_folder(tmp_path / "other", shaders)
    for path in folder.rglob("*.png"):
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes()


def test_metadrive_assets_into_a_file_are_bad_input(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInputError, match="assets_dir"):
        metadrive_assets.assets_folder(tmp_path / "taken", tmp_path)
