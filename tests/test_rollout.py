import json

import gymnasium
import numpy as np
import pytest
import torch

import sim  # noqa: F401  (registers the environments)
from driving.noise import Noise
from driving.rollout import PolicyActor, rollout, summarise, timed_rollout, totals, wilson_interval
from sim import episode_workers
from sim.episodes import EpisodeLog, EpisodePlan, Run, advance, drive
from sim.errors import BadInputError


@pytest.fixture
def straight_policy(small_policy):
    """Always commands exactly zero."""
    policy = small_policy("lstm")
    with torch.no_grad():
        policy.core.readout.weight.zero_()
        policy.core.readout.bias.zero_()
    return policy


@pytest.fixture
def one_group(monkeypatch):
    """Few episodes are driven in one batch, not in several."""
    monkeypatch.setattr(episode_workers, "N_GROUPS", 1)


# Episodes by hand ------------------------------------------------------------------------------------------


def test_rollout_counts_crashes_distances_and_offsets(straight_policy, stand_in_env):
    logs = rollout(straight_policy, lambda: stand_in_env({3: 4}), [5, 3, 2], seconds=0.3)
    assert [log.seed for log in logs] == [5, 3, 2]
    assert [log.crashed for log in logs] == [False, True, False]
    assert [len(log.time_s) for log in logs] == [6, 4, 6]
    assert [log.distance_m for log in logs] == [3.0, 2.0, 3.0]
    assert [log.seconds for log in logs] == pytest.approx([0.3, 0.2, 0.3])
    np.testing.assert_allclose(logs[1].time_s, [0.05, 0.1, 0.15, 0.2])
    np.testing.assert_allclose(logs[1].lateral_offset_m, [0.13, 0.23, 0.33, 0.43])
    assert logs[1].curvature_per_m == [0.0] * 4
    assert logs[1].mean_abs_offset_m == pytest.approx(0.28)
    assert logs[0].lane_half_width_m == 1000.0
    assert logs[1].summary() == {
        "seed": 3,
        "setting": {},
        "crashed": True,
        "truncation": None,
        "distance_m": 2.0,
        "mean_abs_offset_m": 0.28,
    }


def test_rollout_truncation_is_no_crash(straight_policy, stand_in_env):
    (log,) = rollout(straight_policy, lambda: stand_in_env(truncate_at=3), [1], seconds=9.0)
    assert not log.crashed
    assert len(log.time_s) == 3
    (log,) = rollout(straight_policy, lambda: stand_in_env({1: 3}, truncate_at=3), [1], seconds=9.0)
    assert log.crashed


def test_rollout_summary_by_hand():
    one = EpisodeLog(4, crashed=True, distance_m=300.0, lateral_offset_m=[1.0, -2.0], time_s=[0.05, 0.1])
    two = EpisodeLog(
        5,
        distance_m=700.0,
        lateral_offset_m=[0.5, 0.0, -0.5],
        time_s=[0.05, 0.1, 0.15],
        truncation="end of time",
        setting={"season": "winter"},
    )
    one.planned_s = two.planned_s = 0.2
    figures = summarise([one, two], wall_seconds=0.5)
    assert figures == {
        "episodes": [
            {"seed": 4, "setting": {}, "crashed": True, "truncation": None, "distance_m": 300.0,
             "mean_abs_offset_m": 1.5},
            {"seed": 5, "setting": {"season": "winter"}, "crashed": False, "truncation": "end of time",
             "distance_m": 700.0, "mean_abs_offset_m": 0.33333},
        ],
        "crashes": 1,
        "km": 1.0,
        "crashes_per_km": 1.0,
        "mean_abs_lateral_offset_m": 0.8,
        "kept_share": round(1000 / 1300, 5),  # the lost car would have driven as far again
        "n_seeds": 2,
        "crashed_seeds": 1,
        "crashed_seeds_95": [0.0945, 0.9055],
        "frames_per_s": 10.0,
    }  # fmt: skip
    assert totals([two]).keys() == figures.keys() - {"episodes", "frames_per_s"} | {"n_episodes"}
    assert totals([one])["kept_share"] == 0.5
    assert totals([two])["kept_share"] == 1.0


def test_rollout_seeds_with_a_crash_count_once():
    logs = [EpisodeLog(seed, lateral_offset_m=[0.0], crashed=seed < 2) for seed in (0, 1, 2) for _ in range(4)]
    figures = totals(logs)
    assert (figures["crashes"], figures["crashed_seeds"], figures["n_seeds"]) == (8, 2, 3)
    assert figures["crashed_seeds_95"] == [round(bound, 4) for bound in wilson_interval(2, 3)]


@pytest.mark.parametrize("n", [1, 3, 20, 500])
def test_rollout_interval_is_where_the_normal_score_test_rejects(n):
    """Wilson's bounds p solve (p - hits / n)^2 = z^2 p (1 - p) / n."""
    for hits in {0, n // 3, n}:
        low, high = wilson_interval(hits, n)
        assert 0 <= low <= hits / n <= high <= 1
        for p in (low, high):
            assert (p - hits / n) ** 2 == pytest.approx(1.96**2 * p * (1 - p) / n, abs=1e-12)


@pytest.mark.parametrize(
    ("ended", "missing_m"),
    [
        ({"crashed": True}, 80.0),  # 8 s at 10 m/s
        ({"truncation": "beyond support: lateral"}, 80.0),
        ({"truncation": "end of recording"}, 0.0),
        ({"truncation": "end of time"}, 0.0),
        ({}, 0.0),
        ({"crashed": True, "planned_s": 2.0}, 0.0),
        ({"crashed": True, "planned_s": 1.9}, 0.0),
        ({"crashed": True, "planned_s": None}, 0.0),
        ({"crashed": True, "distance_m": 0.0}, 0.0),
        ({"crashed": True, "time_s": []}, 0.0),
    ],
)
def test_rollout_missing_distance_is_that_of_lost_cars_only(ended, missing_m):
    log = EpisodeLog(1, **({"distance_m": 20.0, "time_s": [1.0, 2.0], "planned_s": 10.0} | ended))
    assert log.missing_m == pytest.approx(missing_m)


def test_rollout_logs_setting_reason_and_planned_time(straight_policy, stand_in_env):
    class Recording(stand_in_env):
        """Its pictures end where the car is too far to the left, and its recording is short for seed 2."""

        def _early_end(self, info):
            return "beyond support: lateral" if super()._early_end(info) else None

        def _see(self):
            frame, known = super()._see()
            if self.seed == 2:
                known["episode_seconds_available"] = 0.3
            return frame, known | {"setting": {"season": f"season {self.seed}"}}

    logs = rollout(straight_policy, lambda: Recording({3: 2}, truncate_at=4), [1, 2, 3], seconds=0.5)
    assert [log.setting for log in logs] == [{"season": f"season {seed}"} for seed in (1, 2, 3)]
    assert [log.truncation for log in logs] == ["beyond support: lateral"] * 2 + [None]
    assert [log.crashed for log in logs] == [False, False, True]
    assert [log.planned_s for log in logs] == [0.5, 0.3, 0.5]
    # Ten metres a second: 0.3 s, 0.1 s and 0.4 s are missing.
    assert [log.missing_m for log in logs] == pytest.approx([3.0, 1.0, 4.0])


def test_rollout_summary_is_json_whatever_number_type_the_env_has(straight_policy, stand_in_env):
    logs, figures = timed_rollout(straight_policy, stand_in_env, [1, 2], 0.2)
    assert json.loads(json.dumps(figures)) == figures
    assert len(logs) == 2
    assert figures["frames_per_s"] > 0


def test_rollout_without_distance_has_no_rate():
    figures = summarise([EpisodeLog(1, lateral_offset_m=[0.0])], 1.0)
    assert figures["crashes_per_km"] is None
    assert figures["kept_share"] is None


# Many at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", ["ltc", "lstm"])
@pytest.mark.parametrize("noise", [None, Noise("gaussian", 0.05)])
def test_rollout_batch_equals_single_episodes(small_policy, stand_in_env, core, noise):
    policy, seeds, crash_at = small_policy(core, seed=3), [7, 1, 4], {1: 3}
    together = rollout(policy, lambda: stand_in_env(crash_at), seeds, 0.5, noise)
    for seed, log in zip(seeds, together, strict=True):
        (alone,) = rollout(policy, lambda: stand_in_env(crash_at), [seed], 0.5, noise)
        assert alone.crashed == log.crashed
        np.testing.assert_allclose(log.curvature_per_m, alone.curvature_per_m, atol=1e-6)
        np.testing.assert_allclose(log.lateral_offset_m, alone.lateral_offset_m, atol=1e-4)
    assert len(np.unique(together[0].curvature_per_m)) > 1


def test_rollout_state_is_carried_within_and_reset_between_episodes(small_policy, stand_in_env):
    policy = small_policy("ltc", seed=3)
    actor, state, seen = PolicyActor(policy), None, []
    runs = [Run(stand_in_env({seed: k}), EpisodePlan(seed, 1.0)) for seed, k in ((7, 4), (1, 2))]
    actor.begin(2)
    while not all(run.is_over for run in runs):
        instants = advance(runs, actor)
        instant = instants[0]
        if state is None:
            assert torch.equal(instant.state_before, policy.initial_state(1)[0])
        else:
            assert torch.equal(instant.state_before, state)
        frame = torch.from_numpy(instant.frame).movedim(-1, 0)[None]
        with torch.no_grad():
            curvature, expected = policy.step(frame, instant.state_before[None], 0.05)
        torch.testing.assert_close(instant.state, expected[0], atol=1e-5, rtol=0)
        assert instant.curvature_per_m == pytest.approx(float(curvature), abs=1e-6)
        assert instant.time_s == pytest.approx(0.05 * len(seen))
        state = instant.state
        seen.append([i.i_run for i in instants])
    assert seen == [[0, 1], [0, 1], [0], [0]]
    actor.begin(1)
    assert torch.equal(actor.state, policy.initial_state(1))


def test_rollout_reuses_its_environments_and_keeps_the_order(straight_policy, stand_in_env, monkeypatch):
    monkeypatch.setattr(episode_workers, "MAX_TOGETHER", 2)
    logs = rollout(straight_policy, lambda: stand_in_env({11: 1, 13: 2}), range(10, 15), 0.2)
    assert [log.seed for log in logs] == [10, 11, 12, 13, 14]
    assert len(stand_in_env.made) == 2
    assert stand_in_env.made[0].resets == [10, 12, 14]
    assert stand_in_env.made[1].resets == [11, 13]


def test_rollout_says_how_much_time_is_done(straight_policy, stand_in_env, monkeypatch):
    monkeypatch.setattr(episode_workers, "REPORT_EVERY_S", 0.0)
    done_s = []
    rollout(straight_policy, lambda: stand_in_env({1: 2}), [1, 2], 0.4, on_seconds=done_s.append)
    assert len(done_s) > 4
    assert min(done_s) >= 0
    assert sum(done_s) == pytest.approx(0.8)  # a crash is done with all of its time


def test_rollout_makes_no_more_environments_than_a_process_may_hold(straight_policy, stand_in_env):
    class Few(stand_in_env):
        MAX_PER_PROCESS = 1

        def __init__(self, *args):
            assert all(env.closed for env in self.made)
            super().__init__(*args)

    crash_at, seeds = {11: 1, 13: 2}, range(10, 15)
    many = rollout(straight_policy, lambda: stand_in_env(crash_at), seeds, 0.2)
    stand_in_env.made.clear()
    few = rollout(straight_policy, lambda: Few(crash_at), seeds, 0.2)
    assert few == many
    assert [env.resets for env in stand_in_env.made] == [[10, 11, 12, 13, 14]]
    rollout(straight_policy, lambda: Few(crash_at), seeds, 0.2)  # closed before others are made


def test_rollout_closes_every_environment(straight_policy, stand_in_env, one_group):
    rollout(straight_policy, stand_in_env, [1, 2, 3], 0.1)
    assert [env.closed for env in stand_in_env.made] == [True] * 3


def test_rollout_closes_every_environment_after_an_exception(straight_policy, stand_in_env, one_group):
    with pytest.raises(RuntimeError, match="the world broke"):
        rollout(straight_policy, lambda: stand_in_env(fail_at=2), [1, 2], 1.0)
    assert [env.closed for env in stand_in_env.made] == [True, True]


def test_rollout_closes_the_environments_made_before_one_that_cannot_be_made(straight_policy, stand_in_env, one_group):
    def make():
        if len(stand_in_env.made) == 2:
            raise BadInputError("no third one")
        return stand_in_env()

    with pytest.raises(BadInputError, match="no third one"):
        rollout(straight_policy, make, [1, 2, 3], 1.0)
    assert [env.closed for env in stand_in_env.made] == [True, True]


@pytest.mark.parametrize(("seeds", "seconds"), [([], 1.0), ([1], 0.0), ([1], -1.0), ([1], float("nan"))])
def test_rollout_needs_seeds_and_time(straight_policy, stand_in_env, seeds, seconds):
    with pytest.raises(BadInputError, match="at least one seed"):
        rollout(straight_policy, stand_in_env, seeds, seconds)


def test_rollout_frames_of_another_size_are_an_error(straight_policy, stand_in_env):
    with pytest.raises(BadInputError, match=r"\(16, 41, 3\).*\(12, 31, 3\)"):
        rollout(straight_policy, lambda: stand_in_env(size=(12, 31)), [1], 1.0)
    assert stand_in_env.made[0].closed


# Noise -----------------------------------------------------------------------------------------------------


def first_instants(policy, make_env, seeds, noise):
    envs, actor = [make_env() for _ in seeds], PolicyActor(policy)
    actor.begin(len(seeds))
    runs = [Run(env, EpisodePlan(seed, 1.0), noise) for env, seed in zip(envs, seeds, strict=True)]
    instants = advance(runs, actor)
    for env in envs:
        env.close()
    return instants


def test_rollout_noise_does_not_move_the_road(saved_policies):
    from driving.models import checkpoint

    policy = checkpoint.load(saved_policies["lstm"])

    def make():
        return gymnasium.make("lane/Procedural-v0", disable_env_checker=True, episode_seconds=2.0).unwrapped

    clean = first_instants(policy, make, [3, 8], None)
    for noise in (Noise("gaussian", 0.1), Noise("patch", 0.3)):
        for one, other in zip(clean, first_instants(policy, make, [3, 8], noise), strict=True):
            np.testing.assert_array_equal(one.clean_frame, other.clean_frame)
            assert not np.array_equal(other.frame, other.clean_frame)
            assert one.info.keys() == other.info.keys()
            for key in one.info:
                np.testing.assert_array_equal(one.info[key], other.info[key])


def test_rollout_noise_comes_from_the_seed_alone(small_policy, stand_in_env):
    policy, noise = small_policy(), Noise("gaussian", 0.1)
    together = first_instants(policy, stand_in_env, [3, 8], noise)
    (alone,) = first_instants(policy, stand_in_env, [8], noise)
    np.testing.assert_array_equal(together[1].frame, alone.frame)
    # One stream over all steps: the second frame's noise is not the first one's again.
    actor, run = PolicyActor(policy), Run(stand_in_env(), EpisodePlan(3, 0.1), noise)
    actor.begin(1)
    first, second = (advance([run], actor)[0] for _ in range(2))
    noises = [instant.frame.astype(int) - instant.clean_frame for instant in (first, second)]
    assert not np.array_equal(*noises)


def test_rollout_lost_frames_leave_the_command_and_are_told(small_policy, stand_in_env):
    """Pictures that do not come through ask nobody; the car goes on with the last command."""
    asked = []

    class Asked(PolicyActor):
        def act(self, instants):
            super().act(instants)
            asked.extend((instant.time_s, instant.dt_s) for instant in instants)

    actor, run = Asked(small_policy()), Run(stand_in_env(), EpisodePlan(3, 4.0), Noise("dropped", 0.5))
    drive([run], actor)
    log = run.log
    assert len(log.curvature_per_m) == 80
    assert 20 < len(asked) < 60
    times_s = [time_s for time_s, _ in asked]
    assert [dt_s for _, dt_s in asked[1:]] == pytest.approx(np.diff(times_s).tolist())
    for time_s, command in zip(log.time_s, log.curvature_per_m, strict=True):
        latest = max(t for t in times_s if t < time_s - 1e-9)
        assert command == log.curvature_per_m[round(latest / 0.05)]


def test_rollout_noise_in_the_steering_is_executed_not_recorded(small_policy, stand_in_env):
    policy = small_policy()
    (clean,) = rollout(policy, stand_in_env, [3], 0.1)
    (pulled,) = rollout(policy, stand_in_env, [3], 0.1, Noise("bias", 0.05))
    assert pulled.curvature_per_m[0] == clean.curvature_per_m[0]
    moved = [log.lateral_offset_m[0] for log in (clean, pulled)]
    assert abs(moved[1] - moved[0]) == pytest.approx(10 * 0.05)  # the stand-in moves by ten times the command


def test_rollout_noise_in_the_memory_changes_what_is_steered(small_policy, stand_in_env):
    policy = small_policy("lstm")
    (clean,) = rollout(policy, stand_in_env, [3], 6.0)
    (stirred,) = rollout(policy, stand_in_env, [3], 6.0, Noise("state_burst", 1.0))
    same = np.array(clean.curvature_per_m) == np.array(stirred.curvature_per_m)
    assert same[:89].all()  # the first burst begins after 4.5 s
    assert not same[92:100].any()
