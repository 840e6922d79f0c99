"""One contract for every registered environment, then what is particular to the embedded world."""

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim  # noqa: F401  (registers the environments)
from sim.camera import Camera
from sim.conventions import FRAME_RATE_HZ, MAX_CURVATURE_PER_M
from sim.errors import BadInputError
from sim.procedural_env import ProceduralConfig, ProceduralEnv
from sim.render import CAMERA_FORWARD_M

ENVIRONMENTS = sorted(name for name in gymnasium.registry if name.startswith("lane/"))
NUMBERS = ("lateral_offset_m", "heading_error_rad", "speed_mps", "dt_s", "distance_m")
every_env = pytest.mark.parametrize("env_id", ENVIRONMENTS)


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


def centred(**options) -> ProceduralEnv:
    """The embedded world, started in the middle of the lane on the straight that every road begins with."""
    env = ProceduralEnv(start_offset_m=0.0, start_heading_rad=0.0, **options)
    env.reset(seed=4)
    return env


def test_env_registry_holds_the_embedded_world():
    assert "lane/Procedural-v0" in ENVIRONMENTS


@every_env
def test_env_passes_the_gymnasium_checker(env_id):
    check_env(gymnasium.make(env_id, render_mode="rgb_array").unwrapped)


@every_env
def test_env_is_made_by_name_in_a_fresh_interpreter_without_warnings(env_id):
    code = (
        f"import gymnasium; env = gymnasium.make('sim:{env_id}')\n"
        "env.reset(seed=1); env.step(env.action_space.sample()); env.close()"
    )
    root = Path(__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@every_env
def test_env_spaces_are_a_picture_and_a_curvature_in_1_per_m(env_id):
    env = gymnasium.make(env_id)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (78, 200, 3), np.uint8)
    assert (env.action_space.shape, env.action_space.dtype) == ((1,), np.float32)
    assert 0 < env.action_space.high[0] <= np.float32(MAX_CURVATURE_PER_M)
    assert env.action_space.low[0] == -env.action_space.high[0]


@every_env
def test_env_info_holds_the_contract(env_id):
    env = gymnasium.make(env_id)
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
def test_env_distance_grows_by_speed_times_dt(env_id):
    env = gymnasium.make(env_id)
    distance_m = env.reset(seed=2)[1]["distance_m"]
    assert distance_m == 0.0
    for *_, info in roll(env, 0.0, 5):
        distance_m += info["speed_mps"] * info["dt_s"]
        assert info["distance_m"] == pytest.approx(distance_m)


@every_env
def test_env_same_seed_gives_the_same_pixels_and_another_seed_does_not(env_id):
    def episode(seed):
        env = gymnasium.make(env_id)
        first = env.reset(seed=seed)
        return [first[0], *(answer[0] for answer in roll(env, 0.01, 4))]

    here, again, other = episode(3), episode(3), episode(8)
    for a, b in zip(here, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (here[0] != other[0]).any()


@every_env
def test_env_reset_without_a_seed_goes_on_from_the_first_seed(env_id):
    one, two = gymnasium.make(env_id), gymnasium.make(env_id)
    first, _ = one.reset(seed=6)
    two.reset(seed=6)
    second, _ = one.reset()
    np.testing.assert_array_equal(second, two.reset()[0])
    assert (first != second).any()


@every_env
def test_env_positive_action_moves_the_car_to_the_left(env_id):
    infos = {}
    for command in (0.03, -0.03):
        env = gymnasium.make(env_id)
        env.reset(seed=4)
        infos[command] = roll(env, command, 12)[-1][-1]
    assert infos[0.03]["lateral_offset_m"] > infos[-0.03]["lateral_offset_m"] + 0.1
    assert infos[0.03]["heading_error_rad"] > infos[-0.03]["heading_error_rad"] + 0.05


@every_env
def test_env_keeps_given_pictures_masks_actions_and_options(env_id):
    env = gymnasium.make(env_id).unwrapped
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
def test_env_rejects_an_action_that_is_no_number(env_id, action):
    env = gymnasium.make(env_id).unwrapped
    env.reset(seed=2)
    with pytest.raises(BadInputError, match="finite curvature"):
        env.step(curvature(action))


@every_env
def test_env_rejects_an_unknown_option(env_id):
    with pytest.raises(BadInputError, match="no_such_option"):
        gymnasium.make(env_id, no_such_option=1)


@every_env
def test_env_leaving_the_lane_terminates_and_is_no_truncation(env_id):
    env = gymnasium.make(env_id)
    env.reset(seed=4)
    *_, terminated, truncated, info = roll(env, 0.05, 400)[-1]
    assert terminated
    assert not truncated
    assert abs(info["lateral_offset_m"]) > 1.0


def test_procedural_terminates_only_beyond_half_the_lane_width():
    env = centred()
    for _, reward, terminated, _, info in roll(env, -0.02, 400):
        share = abs(info["lateral_offset_m"]) / info["lane_half_width_m"]
        assert terminated == (share > 1)
        assert reward == pytest.approx(max(0.0, 1 - share**2))
    assert terminated
    assert info["lane_half_width_m"] == env.scene.section.lane_width_m / 2
    assert info["lateral_offset_m"] < 0


@pytest.mark.parametrize("seconds", [0.5, 1.25])
def test_procedural_truncates_at_episode_seconds(seconds):
    answers = roll(centred(episode_seconds=seconds), 0.0, 100)
    assert len(answers) == round(seconds * FRAME_RATE_HZ)
    assert [answer[3] for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert not any(answer[2] for answer in answers)
    assert answers[-1][4]["dt_s"] == 1 / FRAME_RATE_HZ


def test_procedural_car_takes_the_commanded_curvature():
    env = centred()
    answers = roll(env, 0.01, 20)
    assert answers[0][4]["curvature_per_m"] < 0.006  # the steering lags
    assert answers[-1][4]["curvature_per_m"] == pytest.approx(0.01, rel=0.01)
    before = env.state.heading_rad
    info = env.step(curvature(0.01))[4]
    assert env.state.heading_rad - before == pytest.approx(0.01 * info["speed_mps"] * info["dt_s"], rel=0.01)


def test_procedural_starts_where_the_options_say():
    env = ProceduralEnv()
    for place_m in (3.0, 130.0, 333.0):
        options = {"along_road_m": place_m, "lateral_offset_m": 0.7, "heading_error_rad": -0.05}
        _, info = env.reset(seed=4, options=options)
        assert env.road.locate(env.state.x_m, env.state.y_m, place_m)[0] == pytest.approx(place_m, abs=0.01)
        assert info["lateral_offset_m"] == pytest.approx(0.7, abs=1e-3)
        assert info["heading_error_rad"] == pytest.approx(-0.05, abs=1e-3)
        assert info["distance_m"] == 0.0
        assert info["curvature_per_m"] == pytest.approx(env.road.curvature_at(place_m), abs=1e-9)


def test_procedural_place_on_the_road_changes_nothing_else():
    near, far = ProceduralEnv(episode_seconds=5.0), ProceduralEnv(episode_seconds=5.0)
    info, far_info = near.reset(seed=4)[1], far.reset(seed=4, options={"along_road_m": 150.0})[1]
    n = len(near.road.s_m)
    assert far.road.length_m > 150.0 + info["speed_mps"] * 5.0 + 100.0  # road enough for the whole episode
    np.testing.assert_allclose(far.road.x_m[:n], near.road.x_m, atol=1e-9)
    for name in ("speed_mps", "lateral_offset_m", "heading_error_rad"):
        assert far_info[name] == pytest.approx(info[name], abs=1e-3)


@pytest.mark.parametrize("name", ["lateral_offset_m", "heading_error_rad"])
def test_procedural_rejects_a_start_that_is_no_number(name):
    with pytest.raises(BadInputError, match="finite"):
        ProceduralEnv().reset(seed=4, options={name: float("nan")})


@pytest.mark.parametrize("place_m", [-1.0, 1e6, float("nan")])
def test_procedural_rejects_a_place_off_the_road(place_m):
    with pytest.raises(BadInputError, match="along_road_m"):
        ProceduralEnv().reset(seed=4, options={"along_road_m": place_m})


def test_procedural_mask_shows_the_road_edge_where_offset_and_section_put_it():
    env = ProceduralEnv()
    camera, rows = Camera(), np.arange(55, 78)
    columns = np.arange(camera.width_px)
    for offset_m in (0.0, 0.9):
        picture, info = env.reset(seed=4, options={"lateral_offset_m": offset_m, "heading_error_rad": 0.0})
        forward_m, _ = camera.unproject(0.0, rows)
        assert env.state.x_m + CAMERA_FORWARD_M + forward_m.max() < 20.0  # still on the first straight
        edge_px, _ = camera.project(forward_m, env.scene.section.right_edge_m - offset_m)
        for v, edge in zip(rows, edge_px, strict=True):
            assert info["road_mask"][v, (columns > 100) & (columns < edge - 1)].all()
            assert not info["road_mask"][v, columns > edge + 1].any()
        # What is under the mask is one surface: its grey differs from the verge's colour.
        verge = ~info["road_mask"][55:] & (columns > 100)
        colours = [picture[55:][where].mean(0) for where in (verge, info["road_mask"][55:])]
        assert np.abs(colours[0] - colours[1]).max() > 10


def test_procedural_renders_three_times_the_size_for_people():
    env = ProceduralEnv(render_mode="rgb_array")
    env.reset(seed=4)
    large = env.render()
    assert (large.shape, large.dtype) == ((234, 600, 3), np.uint8)
    for seed in (4, 9):  # a new episode is shown in its own looks
        observation, _ = env.reset(seed=seed)
        blocks = env.render().reshape(78, 3, 200, 3, 3).mean((1, 3))
        assert np.abs(blocks - observation)[30:].mean() < 6
    assert ProceduralEnv().render() is None


def test_procedural_each_cause_has_its_own_random_stream():
    def episode(**options):
        env = ProceduralEnv(**options)
        return env, env.reset(seed=5)[1]

    (env, info), (winding, winding_info) = episode(), episode(max_radius_m=60.0)
    (fast, fast_info), (astray, _) = (
        episode(min_speed_mps=9.0, max_speed_mps=9.5),
        episode(start_offset_m=1.0),
    )
    assert not np.array_equal(env.road.heading_rad[:200], winding.road.heading_rad[:200])
    for name in ("speed_mps", "lateral_offset_m", "heading_error_rad"):
        assert info[name] == pytest.approx(winding_info[name], rel=1e-9)
    assert 9.0 <= fast_info["speed_mps"] <= 9.5
    for other in (fast, astray):
        n = min(len(env.road.s_m), len(other.road.s_m))
        np.testing.assert_array_equal(env.road.curvature_per_m[:n], other.road.curvature_per_m[:n])
    for other in (winding, fast, astray):
        np.testing.assert_array_equal(env.scene.ground, other.scene.ground)
        assert env.scene.section == other.scene.section


def test_procedural_streams_are_not_copies_of_one_another():
    # The first draw of each cause, as a share of its range: one stream used twice would draw the same share.
    env = ProceduralEnv()
    _, info = env.reset(seed=5)
    straight_m = env.road.s_m[np.flatnonzero(env.road.curvature_per_m)[0]]
    shares = [
        (straight_m - 20.0) / 20.0,
        (env.scene.section.lane_width_m - 3.0) / 0.9,
        (info["speed_mps"] - 8.0) / 6.0,
        (info["lateral_offset_m"] + 0.2) / 0.4,
    ]
    assert np.diff(np.sort(shares)).min() > 0.03


def test_procedural_speed_stays_within_the_grip_of_the_tightest_curve():
    for seed in range(3):
        env = ProceduralEnv(
            min_radius_m=25.0, min_speed_mps=13.0, max_speed_mps=15.0, max_lateral_acceleration_mps2=3.0
        )
        speed_mps = env.reset(seed=seed)[1]["speed_mps"]
        assert speed_mps**2 / 25.0 <= 3.0 + 1e-9


def test_procedural_expert_answers_within_the_limits_and_drives():
    env = ProceduralEnv(episode_seconds=20.0)
    env.reset(seed=5, options={"lateral_offset_m": 50.0, "heading_error_rad": 1.0})
    assert abs(env.expert_curvature_per_m()) <= MAX_CURVATURE_PER_M
    env.reset(seed=5)
    offsets_m, ended = [], False
    while not ended:
        _, _, terminated, ended, info = env.step(curvature(env.expert_curvature_per_m()))
        assert not terminated
        offsets_m.append(abs(info["lateral_offset_m"]))
    assert np.mean(offsets_m) < 0.05


def test_procedural_copy_goes_on_as_the_original():
    env = centred()
    twin = copy.deepcopy(env)
    np.testing.assert_array_equal(env.step(curvature(0.02))[0], twin.step(curvature(0.02))[0])


@pytest.mark.parametrize(
    "options",
    [
        {"episode_seconds": 0.0},
        {"episode_seconds": float("nan")},
        {"episode_seconds": "long"},
        {"min_radius_m": 10.0},
        {"min_radius_m": 90.0, "max_radius_m": 80.0},
        {"min_speed_mps": 0.0},
        {"max_speed_mps": float("inf")},
        {"max_lateral_acceleration_mps2": -1.0},
        {"start_offset_m": -0.5},
        {"render_mode": "human"},
    ],
)
def test_procedural_rejects_an_option_out_of_range_by_its_name(options):
    with pytest.raises(BadInputError, match=next(iter(options))) as caught:
        ProceduralEnv(**options)
    assert "\n" not in str(caught.value)


def test_procedural_rejects_an_unknown_start_option_and_an_action_of_another_size():
    env = ProceduralEnv()
    with pytest.raises(BadInputError, match=r"lateral_ofset_m.*lateral_offset_m"):
        env.reset(seed=1, options={"lateral_ofset_m": 0.5})
    env.reset(seed=1)
    for action in (np.zeros(2, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(BadInputError, match="one finite curvature"):
            env.step(action)


def test_procedural_options_are_the_fields_of_its_configuration():
    chosen = {field.name: field.default for field in dataclasses.fields(ProceduralConfig)}
    assert ProceduralEnv(**chosen).config == ProceduralConfig()
