"""One contract for every registered environment."""

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim  # noqa: F401  (registers the environments)
from sim import drive as drive_io
from sim.conventions import MAX_CURVATURE_PER_M
from sim.episodes import EpisodePlan, ExpertActor, Run, drive
from sim.errors import BadInputError
from sim.procedural_env import ProceduralEnv
from sim.record import record
from sim.surface_class import SurfaceClass

ENVIRONMENTS = sorted(name for name in gymnasium.registry if name.startswith("lane/"))
NUMBERS = ("lateral_offset_m", "heading_error_rad", "speed_mps", "dt_s", "distance_m", "lane_half_width_m")
NEEDS = {"lane/MetaDrive-v0": ("metadrive", 'needs pip install "liquid-lane[metadrive]"')}
"""Environments that stand on an extra: the module that has to be there, and the reason of the skip."""
every_env = pytest.mark.parametrize("env_id", ENVIRONMENTS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Folder of a drive of the embedded world, for what replays one."""
    world = partial(ProceduralEnv, family="country", weather="overcast", roadside=False)
    folder = tmp_path_factory.mktemp("recordings") / "world"
    drive_io.save(record(world, [3], 8.0), folder)
    return folder


@pytest.fixture
def options(env_id, recording):
    """What an environment cannot be made without."""
    module, reason = NEEDS.get(env_id, ("numpy", ""))
    if importlib.util.find_spec(module) is None:
        pytest.skip(reason)
    # A narrow lane, so that leaving it comes before the recording has nothing more to show.
    return {"drive": str(recording), "lane_width_m": 1.6} if env_id == "lane/Replay-v0" else {}


@pytest.fixture
def make(env_id, options):
    """Maker of environments of one id; only one is open at a time where a process cannot hold more."""
    made = []

    def make_env(**more):
        for env in made:
            env.close()
        made.append(gymnasium.make(env_id, **options, **more))
        return made[-1]

    yield make_env
    for env in made:
        env.close()


def curvature(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def roll(env: gymnasium.Env, command: float, n_steps: int) -> list[tuple]:
    """Answers of the steps of one constant command, up to the end of the episode."""
    answers = []
    for _ in range(n_steps):
        answers.append(env.step(curvature(command)))
        if answers[-1][2] or answers[-1][3]:
            break
    return answers


def test_env_registry_holds_the_three_worlds():
    assert ENVIRONMENTS == ["lane/MetaDrive-v0", "lane/Procedural-v0", "lane/Replay-v0"]


@every_env
def test_env_passes_the_gymnasium_checker(make):
    check_env(make(render_mode="rgb_array").unwrapped, skip_render_check=True)


@every_env
def test_env_is_made_by_name_in_a_fresh_interpreter_without_warnings(env_id, options):
    code = (
        f"import gymnasium; env = gymnasium.make('sim:{env_id}', **{options})\n"
        "env.reset(seed=1); env.step(env.action_space.sample()); env.close()"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@every_env
def test_env_spaces_are_a_picture_and_a_curvature_in_1_per_m(make):
    env = make()
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (78, 200, 3), np.uint8)
    assert (env.action_space.shape, env.action_space.dtype) == ((1,), np.float32)
    assert 0 < env.action_space.high[0] <= np.float32(MAX_CURVATURE_PER_M)
    assert env.action_space.low[0] == -env.action_space.high[0]


@every_env
def test_env_info_holds_the_contract(make):
    env = make()
    observation, info = env.reset(seed=2)
    for _ in range(3):
        assert (observation.shape, observation.dtype) == ((78, 200, 3), np.uint8)
        for name in NUMBERS:
            assert isinstance(info[name], float), name
            assert np.isfinite(info[name]), name
        assert info["dt_s"] > 0
        if "road_mask" in info:
            assert (info["road_mask"].shape, info["road_mask"].dtype) == ((78, 200), np.bool_)
        observation, _, _, _, info = env.step(curvature(0.0))


@every_env
def test_env_distance_grows_by_speed_times_dt(make):
    env = make()
    distance_m = env.reset(seed=2)[1]["distance_m"]
    assert distance_m == 0.0
    for *_, info in roll(env, 0.0, 5):
        distance_m += info["speed_mps"] * info["dt_s"]
        assert info["distance_m"] == pytest.approx(distance_m)


@every_env
def test_env_same_seed_gives_the_same_pixels_and_another_seed_does_not(make):
    def episode(seed):
        env = make()
        first = env.reset(seed=seed)
        return [first[0], *(answer[0] for answer in roll(env, 0.01, 4))]

    here, again, other = episode(3), episode(3), episode(8)
    for a, b in zip(here, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (here[0] != other[0]).any()


@every_env
def test_env_reset_without_a_seed_goes_on_from_the_first_seed(make):
    def two_episodes():
        env = make()
        return env.reset(seed=6)[0], env.reset()[0]

    (first, second), (_, again) = two_episodes(), two_episodes()
    np.testing.assert_array_equal(second, again)
    assert (first != second).any()


@every_env
def test_env_positive_action_moves_the_car_to_the_left(make):
    infos = {}
    for command in (0.02, -0.02):
        env = make()
        env.reset(seed=4)
        infos[command] = roll(env, command, 12)[-1][-1]
    assert infos[0.02]["lateral_offset_m"] > infos[-0.02]["lateral_offset_m"] + 0.1
    assert infos[0.02]["heading_error_rad"] > infos[-0.02]["heading_error_rad"] + 0.03


@every_env
def test_env_keeps_given_pictures_masks_actions_and_options(make):
    env = make().unwrapped
    options = {}
    observation, info = env.reset(seed=2, options=options)
    kept, kept_mask = observation.copy(), np.copy(info["road_mask"])
    action = curvature(0.5)  # beyond the limit: clipped inside, not in the caller's array
    env.step(action)
    assert options == {}
    assert action[0] == np.float32(0.5)
    np.testing.assert_array_equal(observation, kept)
    np.testing.assert_array_equal(info["road_mask"], kept_mask)


@every_env
@pytest.mark.parametrize("action", [np.nan, np.inf, -np.inf])
def test_env_rejects_an_action_that_is_no_number(make, action):
    env = make().unwrapped
    env.reset(seed=2)
    with pytest.raises(BadInputError, match="finite curvature"):
        env.step(curvature(action))


@every_env
def test_env_rejects_an_unknown_option(make):
    with pytest.raises(BadInputError, match="no_such_option"):
        make(no_such_option=1)


@every_env
def test_env_leaving_the_lane_terminates_and_is_no_truncation(make):
    env = make()
    env.reset(seed=4)
    answers = roll(env, 0.05, 400)
    *_, terminated, truncated, info = answers[-1]
    assert terminated
    assert not truncated
    assert abs(info["lateral_offset_m"]) > info["lane_half_width_m"]
    for *_, info in answers[:-1]:
        assert abs(info["lateral_offset_m"]) <= info["lane_half_width_m"]


@every_env
def test_env_end_of_time_truncates_with_a_reason_and_is_no_crash(make):
    env = make(episode_seconds=0.5).unwrapped
    env.reset(seed=4)
    answers = []
    while not (answers and answers[-1][3]):
        answers.append(env.step(curvature(env.expert_curvature_per_m())))
        assert not answers[-1][2]
    assert answers[-1][4]["truncation"] == "end of time"
    assert sum(info["dt_s"] for *_, info in answers) == pytest.approx(0.5, abs=0.051)


@every_env
def test_env_expert_keeps_its_lane(make):
    env = make(episode_seconds=5.0).unwrapped
    _, info = env.reset(seed=5)
    offsets_m, ended = [], False
    while not ended:
        *_, terminated, ended, info = env.step(curvature(env.expert_curvature_per_m()))
        assert not terminated
        offsets_m.append(abs(info["lateral_offset_m"]))
    assert np.mean(offsets_m[len(offsets_m) // 2 :]) < 0.15


@every_env
def test_env_can_be_recorded_with_recoveries(make):
    drive = record(lambda: make().unwrapped, [1], 1.0, disturbance=None)
    assert len(drive.frames) >= 10
    assert drive.camera == make().unwrapped.camera
    assert np.isfinite(drive.curvature_per_m).all()


@every_env
def test_env_renders_a_larger_picture_for_people(make):
    env = make(render_mode="rgb_array")
    env.reset(seed=4)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= 234
    assert picture.shape[1] >= 600
    assert picture.std() > 5


@every_env
def test_env_setting_and_masks_agree_with_their_kinds(make):
    env = make()
    _, info = env.reset(seed=4)
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in info["setting"].items())
    if "class_map" in info:
        paved = (info["class_map"] >= SurfaceClass.ROAD) & (info["class_map"] <= SurfaceClass.MARKING)
        np.testing.assert_array_equal(info["road_mask"], paved)


@every_env
def test_envs_car_put_elsewhere_sees_the_same_world_from_there(make):
    env = make()
    env.reset(seed=4)
    env.step(curvature(0.0))
    lane_env = env.unwrapped
    along_m = 0.5 * lane_env.road_m
    frame, info = lane_env.place(along_m, 0.25, -0.01)
    assert env.observation_space.contains(frame)
    assert info["lateral_offset_m"] == pytest.approx(0.25, abs=0.02)
    assert info["heading_error_rad"] == pytest.approx(-0.01, abs=2e-3)
    expert = lane_env.expert_curvature_per_m()
    elsewhere, _ = lane_env.place(0.3 * lane_env.road_m)
    assert not np.array_equal(frame, elsewhere)
    again, _ = lane_env.place(along_m, 0.25, -0.01)
    np.testing.assert_array_equal(frame, again)
    assert lane_env.expert_curvature_per_m() == pytest.approx(expert, abs=1e-6)
    for wrong in ((-1.0, 0.0, 0.0), (lane_env.road_m + 1.0, 0.0, 0.0), (10.0, float("nan"), 0.0)):
        with pytest.raises(BadInputError, match="place: expected"):
            lane_env.place(*wrong)


@every_env
def test_envs_circles_to_the_lane_ahead_bend_towards_its_middle(make):
    env = make()
    env.reset(seed=4)
    lane_env = env.unwrapped
    on_the_left, in_the_middle, on_the_right = (
        (lane_env.place(0.5 * lane_env.road_m, offset_m), lane_env.pursuit_curvatures_per_m([8.0, 16.0]))[1]
        for offset_m in (0.3, 0.0, -0.3)
    )
    np.testing.assert_allclose(on_the_left - in_the_middle, [-2 * 0.3 / 8**2, -2 * 0.3 / 16**2], rtol=0.2)
    np.testing.assert_allclose(on_the_right - in_the_middle, [2 * 0.3 / 8**2, 2 * 0.3 / 16**2], rtol=0.2)


def test_envs_normalized_action_is_a_share_of_the_limit():
    plain, normalized = (gymnasium.make("lane/Procedural-v0", action=a).unwrapped for a in ("curvature", "normalized"))
    assert normalized.action_space.low == [-1]
    assert normalized.action_space.high == [1]
    limit = plain.vehicle.max_curvature_per_m
    for env in (plain, normalized):
        env.reset(seed=3)
    for share in (0.1, -0.3, 0.0):
        ours = plain.step(np.array([share * limit], np.float32))
        theirs = normalized.step(np.array([share], np.float32))
        assert (ours[0] == theirs[0]).all()
        assert ours[4]["lateral_offset_m"] == pytest.approx(theirs[4]["lateral_offset_m"], abs=1e-6)
    with pytest.raises(BadInputError, match="action must be one of curvature, normalized, got 'torque'"):
        gymnasium.make("lane/Procedural-v0", action="torque")


def test_envs_normalized_action_is_nothing_to_who_drives_in_curvatures():
    logs = []
    for action in ("curvature", "normalized"):
        run = Run(gymnasium.make("lane/Procedural-v0", action=action).unwrapped, EpisodePlan(4, 2.0), asks_expert=True)
        drive([run], ExpertActor())
        logs.append(run.log)
    np.testing.assert_allclose(logs[0].lateral_offset_m, logs[1].lateral_offset_m, atol=1e-5)
