"""The first part of a training: single pictures of random places, and an encoder that learns to read them."""

import dataclasses

import numpy as np
import pytest
import torch

from driving.data import AugmentConfig
from driving.models.resume import PRETRAIN_RESUME_NAME
from driving.pretraining import PURSUIT_DISTANCES_M, Places, PretrainConfig, pretrain_encoder
from driving.train import TrainConfig
from sim.errors import BadInputError
from sim.procedural_env import ProceduralEnv

CONFIG = TrainConfig(batch=2, window=4, n_warmup=1, log_every=2, checkpoint_every=2, augment=AugmentConfig(light=0.0))
SMALL = PretrainConfig(n_pictures=48, pictures_a_step=8, places_a_road=3)
SEEDS = range(10_000, 500_000)


@pytest.fixture
def make_places(stand_in_env):
    made = []

    def make(pretrain=SMALL, config=CONFIG, make_env=stand_in_env):
        made.append(Places(make_env, pretrain, config, SEEDS))
        return made[-1]

    yield make
    for places in made:
        places.close()


def test_places_of_a_step_are_the_same_whenever_asked(make_places, stand_in_env):
    places, other = make_places(), make_places()
    in_order = [places.batch(step) for step in range(4)]
    for step in (3, 1):
        for a, b in zip(in_order[step], other.batch(step), strict=True):
            np.testing.assert_array_equal(a, b)
    frames, targets, speed_mps = in_order[0]
    assert frames.shape == (8, 16, 41, 3)
    assert frames.dtype == np.uint8
    assert targets.shape == (8, 1 + len(PURSUIT_DISTANCES_M))
    assert (targets[:, 0] == np.float32(-0.01)).all()
    assert (speed_mps == 10.0).all()
    assert not np.array_equal(frames, in_order[1][0])
    seeds = {seed for env in stand_in_env.made for seed in env.resets}
    assert seeds <= set(SEEDS)


def test_places_of_two_runs_are_on_other_roads(make_places, stand_in_env):
    roads = []
    for seed in (0, 1):
        places = make_places(config=dataclasses.replace(CONFIG, seed=seed))
        n_before = len(stand_in_env.made) - 8
        for step in range(SMALL.n_steps):
            places.batch(step)
        roads.append([r for env in stand_in_env.made[n_before:] for r in env.resets])
    assert len(roads[0]) == len(set(roads[0])) > 8
    assert not set(roads[0]) & set(roads[1])


def test_places_worlds_change_roads_one_after_another(make_places, stand_in_env):
    """A step that lays all roads anew would show but few of them, and take long."""
    places = make_places(PretrainConfig(n_pictures=640, pictures_a_step=8, places_a_road=8))
    counts = []
    for step in range(24):
        places.batch(step)
        counts.append(sum(len(env.resets) for env in stand_in_env.made))
    assert counts[0] == 8
    assert set(np.diff(counts)) == {1}


def test_places_label_is_what_the_expert_steers_there(make_places):
    def make_env():
        return ProceduralEnv(family="country", weather="clear", roadside=False, hills=False)

    places = make_places(PretrainConfig(pictures_a_step=2, places_a_road=4), make_env=make_env)
    frames, targets, _ = places.batch(0)
    env = places._envs[0]
    np.testing.assert_allclose(targets[0, 0], places._envs[0].expert_curvature_per_m(), atol=1e-7)
    np.testing.assert_array_equal(frames[0], env.place(env._s_m, *env._lane_place()[:2])[0])
    assert np.abs(targets[:, 1:]).max() > 0
    assert np.isfinite(targets).all()


def test_places_of_a_world_of_which_there_is_one(make_places, stand_in_env):
    lonely = type("Lonely", (stand_in_env,), {"MAX_PER_PROCESS": 1})
    places = make_places(make_env=lonely)
    assert places.batch(0)[0].shape[0] == 8
    assert len([env for env in stand_in_env.made if isinstance(env, lonely)]) == 1


def run(policy, places, out, resume=False, pretrain=SMALL, **more):
    return pretrain_encoder(policy, places, pretrain, CONFIG, out, {"world": "x"}, resume, **more)


def test_pretraining_makes_the_encoder_see(small_policy, make_places, stand_in_env, tmp_path):
    """In this world the brightness says how far the car is off its path, and the circles follow from it."""
    pretrain = PretrainConfig(n_pictures=3200, pictures_a_step=16, places_a_road=40, lr_pictures=3e-3)
    policy = small_policy("lstm", seed=1)
    core_before = [p.clone() for p in policy.core.parameters()]
    rows = run(policy, make_places(pretrain), tmp_path, pretrain=pretrain)
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert rows[-1]["frames"] == 3200
    assert {row["part"] for row in rows} == {"pictures"}
    assert all(torch.equal(a, b) for a, b in zip(core_before, policy.core.parameters(), strict=True))


def test_pretraining_goes_on_where_it_was_stopped(small_policy, make_places, tmp_path):
    whole, stopped = small_policy("lstm", seed=1), small_policy("lstm", seed=1)
    run(whole, make_places(), tmp_path / "whole")

    def kill(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stopped, make_places(), tmp_path / "stopped", on_row=kill)
    again = small_policy("lstm", seed=1)
    run(again, make_places(), tmp_path / "stopped", resume=True)
    for a, b in zip(whole.encoder.parameters(), again.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    finished = small_policy("lstm", seed=1)
    assert run(finished, make_places(), tmp_path / "whole", resume=True)  # done: only read
    for a, b in zip(whole.encoder.parameters(), finished.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "whole" / PRETRAIN_RESUME_NAME).is_file()
    with pytest.raises(BadInputError, match="settings"):
        run(again, make_places(), tmp_path / "whole", resume=True, pretrain=dataclasses.replace(SMALL, n_pictures=56))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"n_pictures": -1}, {"pictures_a_step": 0}, {"places_a_road": 0}, {"lr_pictures": 0.0}),
        *({"lr_pictures": float("nan")}, {"auxiliary_weight": -1.0}, {"place_offset_m": float("inf")}),
    ],
)
def test_pretraining_config_says_what_is_wrong(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        PretrainConfig(**wrong)
