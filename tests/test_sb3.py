"""Stable-Baselines3's vectorised environment around ours, held against its own around single worlds."""

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import vector

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from driving.sb3 import LaneVecEnv
from sim.errors import BadInputError
from sim.vector import LaneVectorEnv

OPTIONS = {"action": "normalized", "episode_seconds": 0.2, "family": "country", "weather": "clear", "roadside": False}


def many(n, mode="Disabled", **options):
    return LaneVectorEnv("sim:lane/Procedural-v0", n, n_workers=1, autoreset_mode=mode, **OPTIONS | options)


@pytest.fixture
def pair():
    """Ours and theirs, the same two worlds."""
    ours = LaneVecEnv(many(2))
    theirs = DummyVecEnv([lambda: gymnasium.make("sim:lane/Procedural-v0", **OPTIONS)] * 2)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_sb3_worlds_are_those_of_its_own(pair):
    ours, theirs = pair
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    for env in pair:
        env.seed(7)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    n_ends = 0
    for k in range(7):
        actions = np.full((2, 1), 0.02 * k, np.float32)
        mine, other = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_allclose(mine[1], other[1])
        np.testing.assert_array_equal(mine[2], other[2])
        for own, info in zip(mine[3], other[3], strict=True):
            plain = {key: value for key, value in info.items() if np.ndim(value) == 0 and key != "setting"}
            assert {key: own[key] for key in plain} == plain
            assert own["setting"] == info["setting"]
            if "terminal_observation" in info:
                np.testing.assert_array_equal(own["terminal_observation"], info["terminal_observation"])
                n_ends += 1
    assert n_ends == 2  # after four steps of 0.05 s


def test_sb3_takes_vector_wrappers_and_its_own():
    env = VecMonitor(LaneVecEnv(vector.ResizeObservation(many(3), (39, 100))))
    assert env.reset().shape == (3, 39, 100, 3)
    for _ in range(4):
        _, _, over, infos = env.step(np.zeros((3, 1), np.float32))
    assert over.all()
    assert infos[0]["terminal_observation"].shape == (39, 100, 3)
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"]["l"] == 4
    assert env.env_method("expert_curvature_per_m", indices=[1])[0] == pytest.approx(0.0, abs=0.2)
    assert env.get_attr("dt_s") == [0.05] * 3
    with pytest.raises(BadInputError, match="cannot be set"):
        env.set_attr("dt_s", 0.1)
    env.close()


def test_sb3_worlds_of_another_autoreset_mode_are_refused():
    worlds = many(1, "NextStep")
    with pytest.raises(BadInputError, match="expected autoreset_mode 'Disabled', got 'NextStep'"):
        LaneVecEnv(worlds)
    worlds.close()
