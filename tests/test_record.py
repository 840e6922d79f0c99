from functools import partial

import numpy as np
import pytest

from driving.settings import World
from sim import drive as drive_io
from sim.disturbance import Disturbance
from sim.errors import BadInputError
from sim.procedural_env import ProceduralEnv
from sim.record import EPISODE_GAP_S, START_RANGE_M, record

SEEDS, SECONDS, N_STEPS = [3, 14, 15], 1.5, 30
RESTLESS = Disturbance(max_curvature_per_m=0.05, mean_interval_s=0.2, min_duration_s=0.2, max_duration_s=0.4)


class Watched(ProceduralEnv):
    """The embedded world, remembering how every episode was started and what was executed in it."""

    MAX_PER_PROCESS = 1

    def __init__(self) -> None:
        super().__init__()
        self.episodes: list[tuple] = []

    def reset(self, *, seed=None, options=None):
        self.episodes.append((seed, dict(options or {}), []))
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.episodes[-1][2].append(float(action[0]))
        return super().step(action)


@pytest.fixture(scope="module")
def calm():
    env = Watched()
    return env, record(lambda: env, SEEDS, SECONDS)


@pytest.fixture(scope="module")
def restless():
    env = Watched()
    return env, record(lambda: env, SEEDS, SECONDS, disturbance=RESTLESS)


def executed(env: Watched) -> np.ndarray:
    return np.concatenate([actions for *_, actions in env.episodes]).astype(np.float32)


def test_record_rows_are_frames_with_the_experts_answers_to_them(restless):
    env, drive = restless
    world, row = ProceduralEnv(), 0
    for seed, options, actions in env.episodes:  # drive what was driven once more
        frame, info = world.reset(seed=seed, options=options)
        for action in actions:
            np.testing.assert_array_equal(drive.frames[row], frame)
            np.testing.assert_array_equal(drive.road_masks[row], info["road_mask"])
            assert drive.curvature_per_m[row] == np.float32(world.expert_curvature_per_m())
            assert drive.speed_mps[row] == np.float32(info["speed_mps"])
            frame, *_, info = world.step(np.array([action], np.float32))
            row += 1
    assert row == len(drive) == len(SEEDS) * N_STEPS


def test_record_executes_the_label_where_nothing_disturbs(calm):
    env, drive = calm
    np.testing.assert_array_equal(executed(env), drive.curvature_per_m)


def test_record_kicks_are_executed_and_never_labelled(calm, restless):
    env, drive = restless
    kicks = np.abs(executed(env) - drive.curvature_per_m)
    assert 0.2 < np.mean(kicks > 1e-6) < 0.95
    assert kicks.max() <= RESTLESS.max_curvature_per_m + 1e-6
    # From the kicked places the expert steers back: its answers are no longer those of the calm drive.
    assert not np.array_equal(drive.curvature_per_m, calm[1].curvature_per_m)


def test_record_disturbance_moves_neither_the_road_nor_the_looks(calm, restless):
    for i, ((seed, options, _), (other_seed, other_options, _)) in enumerate(
        zip(calm[0].episodes, restless[0].episodes, strict=True)
    ):
        assert seed == other_seed == SEEDS[i]
        assert options["along_road_m"] == other_options["along_road_m"]
        same = np.array_equal(calm[1].frames[i * N_STEPS], restless[1].frames[i * N_STEPS])
        assert same == (i % 2 == 0)  # every second disturbed episode starts off the middle of the lane
    np.testing.assert_array_equal(calm[1].speed_mps, restless[1].speed_mps)


def test_record_seed_of_the_disturbance_is_its_own(restless):
    env = Watched()
    other = record(lambda: env, SEEDS[:1], SECONDS, seed=1, disturbance=RESTLESS)
    assert env.episodes[0][0] == SEEDS[0]
    assert other.speed_mps[0] == restless[1].speed_mps[0]  # the episode's car is still the same
    kicks, other_kicks = (
        executed(watched)[:N_STEPS] - drive.curvature_per_m[:N_STEPS] for watched, drive in (restless, (env, other))
    )
    assert not np.allclose(kicks, other_kicks, atol=1e-6)


def test_record_is_reproducible(restless):
    again = record(ProceduralEnv, SEEDS[:2], SECONDS, disturbance=RESTLESS)
    np.testing.assert_array_equal(again.frames, restless[1].frames[: 2 * N_STEPS])
    np.testing.assert_array_equal(again.curvature_per_m, restless[1].curvature_per_m[: 2 * N_STEPS])


def test_record_has_a_segment_for_every_seed(restless):
    drive = restless[1]
    assert drive.segments() == [slice(i * N_STEPS, (i + 1) * N_STEPS) for i in range(len(SEEDS))]
    steps_s = np.diff(drive.timestamps_s)
    gaps = np.arange(1, len(SEEDS)) * N_STEPS - 1
    np.testing.assert_allclose(steps_s[gaps], EPISODE_GAP_S + 0.05)
    np.testing.assert_allclose(np.delete(steps_s, gaps), 0.05)


def test_record_episode_that_leaves_the_lane_ends_there():
    wild = Disturbance(max_curvature_per_m=0.1, mean_interval_s=0.01, min_duration_s=3.0, max_duration_s=3.0)
    seconds = 4.0
    drive = record(ProceduralEnv, [1, 2], seconds, disturbance=wild)
    lengths = [segment.stop - segment.start for segment in drive.segments()]
    assert len(lengths) == 2
    assert min(lengths) < seconds / 0.05


def test_record_episode_ends_with_the_environments_own_time():
    assert len(record(partial(ProceduralEnv, episode_seconds=0.4), [1], 2.0)) == 8


def test_record_starts_lie_in_their_ranges():
    env = Watched()
    record(lambda: env, range(8), 0.1, disturbance=Disturbance(), start_offset_m=0.5, start_heading_rad=0.03)
    starts = [options for _, options, _ in env.episodes]
    assert all(START_RANGE_M[0] <= start["along_road_m"] <= START_RANGE_M[1] for start in starts)
    assert len({start["along_road_m"] for start in starts}) == 8
    off = [start for start in starts if "lateral_offset_m" in start]
    assert off == starts[1::2]
    assert all(abs(start["lateral_offset_m"]) <= 0.5 and abs(start["heading_error_rad"]) <= 0.03 for start in off)


def test_record_kicks_have_the_given_lengths_and_intervals(stand_in_env):
    class Remembering(stand_in_env):
        """Remembers what was executed; its expert always steers the same."""

        MAX_PER_PROCESS = 1

        def _advance(self, curvature_per_m):
            self.actions = [*getattr(self, "actions", []), curvature_per_m]

    env, dt_s, seconds = Remembering(size=(2, 3)), 0.05, 600.0
    disturbance = Disturbance(max_curvature_per_m=0.02, mean_interval_s=1.5, min_duration_s=0.4, max_duration_s=0.8)
    drive = record(lambda: env, [5], seconds, disturbance=disturbance)
    assert set(drive.curvature_per_m) == {np.float32(-0.01)}
    kicks = np.array(env.actions) + 0.01
    assert np.abs(kicks).max() <= 0.02 + 1e-8
    active = np.concatenate([[False], np.abs(kicks) > 1e-8, [False]])
    starts, ends = (np.flatnonzero(np.diff(active.astype(int)) == sign) for sign in (1, -1))
    lengths_s = (ends - starts)[:-1] * dt_s
    assert 0.4 - 1e-9 <= lengths_s.min() <= lengths_s.max() <= 0.8 + dt_s + 1e-9
    # About 285 cycles of one interval and one kick: a mean within 20 % is more than three deviations wide.
    assert seconds / len(starts) == pytest.approx(1.5 + 0.6, rel=0.2)
    assert abs(kicks[active[1:-1]].mean()) < 0.003
    assert all(np.ptp(kicks[start:end]) < 1e-7 for start, end in zip(starts, ends, strict=True))


def test_record_drive_survives_being_saved_and_loaded(restless, tmp_path):
    drive = restless[1]
    drive_io.save(drive, tmp_path / "recorded")
    loaded = drive_io.load(tmp_path / "recorded")
    for name in ("timestamps_s", "curvature_per_m", "speed_mps", "road_masks"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(drive, name))
    assert (loaded.camera, loaded.meta) == (drive.camera, drive.meta)
    assert loaded.segments() == drive.segments()
    assert np.abs(loaded.frames.astype(int) - drive.frames).mean() < 3


def test_record_says_where_it_comes_from():
    world = World("lane/Procedural-v0", {})
    drive, env = record(world, [1], 0.1), world()
    assert "lane/Procedural-v0" in drive.meta.source
    assert drive.meta.vehicle.wheelbase_m == env.vehicle.wheelbase_m
    assert drive.camera == env.camera
    assert "seed 1" in drive.meta.notes


def test_record_is_the_same_from_several_processes(restless):
    world = World("lane/Procedural-v0", {})
    shared = record(world, SEEDS, SECONDS, disturbance=RESTLESS, n_workers=2)
    for name in ("frames", "timestamps_s", "curvature_per_m", "speed_mps", "road_masks"):
        np.testing.assert_array_equal(getattr(shared, name), getattr(restless[1], name))
    assert shared.road_mask_known is None


@pytest.mark.parametrize(("seeds", "seconds"), [([], 1.0), ([1], 0.0), ([1], -2.0), ([1], float("nan"))])
def test_record_rejects_nothing_to_record(stand_in_env, seeds, seconds):
    with pytest.raises(BadInputError, match="at least one seed"):
        record(stand_in_env, seeds, seconds)
