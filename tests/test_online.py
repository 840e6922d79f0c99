import dataclasses
import itertools

import numpy as np
import pytest
import torch

from driving import data, online
from driving.data import AugmentConfig, EpisodeAugmentation
from driving.models.policy import CORES
from driving.online import OnlineConfig, OnlineWindows
from driving.train import RESUME_NAME, EncodedWindows, TrainConfig, encode, train, weighted_squared_error
from sim.camera import Camera
from sim.disturbance import Disturbance
from sim.errors import BadInputError
from sim.lane_env import LaneConfig, LaneEnv
from sim.record import START_RANGE_M
from sim.vehicle import VehicleConfig
from tests.stand_in import STRAIGHT

PLAIN = AugmentConfig(light=0.0, shadow=0.0)
CALM = Disturbance(max_curvature_per_m=0.0)
TINY = TrainConfig(n_steps=6, batch=3, window=4, n_warmup=1, checkpoint_every=2)
LAST_PART = {"first_part": 0.0, "second_part": 0.0}
POLICY_ONLY = OnlineConfig(expert_share=0.0, disturbance=CALM, **LAST_PART)
SIZE = (16, 41)


class World(LaneEnv):
    """A car that moves sideways by 5 m times the command in 1/0.1 m; its picture gets brighter on the car's side.

    ``crash_at``: by place among all episodes of this world, the step that leaves the lane.
    """

    def __init__(self, crash_at=None, fail_at=10**9):
        super().__init__("world", LaneConfig(episode_seconds=3600.0), VehicleConfig(), Camera().resized(*SIZE))
        self.crash_at, self.fail_at = crash_at or {}, fail_at
        self.episodes, self.closed = [], False

    def _begin(self, options):
        self.offset_m, self.k, self.seed = options.get("lateral_offset_m", 0.0), 0, self._episode_seed
        self.episodes.append({"seed": self.seed, "options": dict(options), "actions": [], "labels": []})
        self.speed_mps = 8.0
        return 0.0

    def _put_car(self, along_m, offset_m, heading_error_rad):
        if along_m > 0:
            self.k, self.offset_m = round(1000 + along_m), offset_m

    def _road_here(self):
        return STRAIGHT, 0.0, 300.0

    def _expert_curvature_per_m(self):
        self.episodes[-1]["labels"].append(label := -0.02 * self.offset_m)
        return label

    def _advance(self, curvature_per_m):
        self.k += 1
        if self.k == self.fail_at:
            raise RuntimeError("the world broke")
        self.offset_m += 5.0 * curvature_per_m
        self.episodes[-1]["actions"].append(curvature_per_m)
        self.speed_mps = 8.0 + self.k

    def _lane_place(self):
        leaves = self.crash_at.get(len(self.episodes) - 1) == self.k
        return (2.0 if leaves else self.offset_m), 0.0, 1.75

    def _driven_curvature_per_m(self):
        return 0.0

    def _see(self):
        rng = np.random.default_rng([self.seed, self.k])
        ramp = 128 + 40 * self.offset_m * np.linspace(1, -1, SIZE[1])[None, :, None]
        frame = ramp + rng.normal(0, 5, (*SIZE, 3))
        return np.clip(frame, 0, 255).astype(np.uint8), {}

    def _pose(self):
        return 0.0, self.offset_m, 0.0

    def _map_lines(self):
        raise NotImplementedError

    def _camera_view(self):
        raise NotImplementedError

    def close(self):
        self.closed = True


def make(config=TINY, settings=POLICY_ONLY, **world):
    """Live windows, and the worlds that they run."""
    worlds = []

    def make_env():
        worlds.append(World(**world))
        return worlds[-1]

    return OnlineWindows(make_env, settings, config), worlds


def weights(policy):
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def assert_same_weights(one, other):
    for name in one:
        assert torch.equal(one[name], other[name]), name


# Settings --------------------------------------------------------------------------------------------------


def test_online_expert_share_falls_linearly_then_stays():
    settings = OnlineConfig(expert_share=0.2, first_part=0.25, second_part=0.5)
    shares = [settings.expert_probability(step, 40) for step in (0, 9, 10, 15, 20, 30, 39)]
    assert shares == pytest.approx([1.0, 1.0, 1.0, 0.8, 0.6, 0.2, 0.2])
    assert OnlineConfig(expert_share=0.3, **LAST_PART).expert_probability(0, 40) == pytest.approx(0.3)


def test_online_episodes_grow_as_the_policy_takes_over():
    settings = OnlineConfig(first_seconds=2.0, episode_seconds=10.0, first_part=0.25, second_part=0.5)
    assert [settings.seconds(step, 40) for step in (0, 10, 20, 30, 39)] == pytest.approx([2, 2, 6, 10, 10])
    assert OnlineConfig(first_seconds=2.0, episode_seconds=1.0).seconds(0, 40) == 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"episode_seconds": 0.0},
        {"episode_seconds": float("nan")},
        {"expert_share": 1.5},
        {"first_part": -0.1},
        {"second_part": 1.1},
        {"first_seconds": 0.0},
        {"first_seed": -1},
        {"start_offset_m": float("inf")},
        {"n_retries": -1},
    ],
)
def test_online_config_rejects_what_cannot_be(fields):
    with pytest.raises(BadInputError, match=next(iter(fields))):
        OnlineConfig(**fields)


@pytest.mark.parametrize("name", ["shift_m", "yaw_rad"])
def test_online_refuses_what_needs_recorded_windows(name):
    config = dataclasses.replace(TINY, augment=AugmentConfig(**{name: 0.5}))
    with pytest.raises(BadInputError, match=f"{name} is for recorded drives"):
        make(config)


def test_online_refuses_worlds_that_cannot_be_used():
    with pytest.raises(BadInputError, match="use longer ones"):
        make(settings=OnlineConfig(episode_seconds=0.05))
    lonely = type("Lonely", (World,), {"MAX_PER_PROCESS": 1})
    worlds = []
    with pytest.raises(BadInputError, match="use --batch 1"):
        OnlineWindows(lambda: worlds.append(lonely()) or worlds[-1], POLICY_ONLY, TINY)
    assert all(world.closed for world in worlds)


# Windows ---------------------------------------------------------------------------------------------------


def test_online_window_is_what_the_worlds_showed(small_policy, monkeypatch):
    source, worlds = make(dataclasses.replace(TINY, augment=PLAIN))
    shown = []
    monkeypatch.setattr(online, "encode", lambda p, x, b: shown.append(x.clone()) or encode(p, x, b))
    windows = source.windows(small_policy(), 0)
    assert isinstance(windows, EncodedWindows)
    assert windows.features.shape == (3, 4, 32)
    assert len(shown) == 4
    for b, world in enumerate(worlds):
        again = World()
        episode = world.episodes[0]
        frame, info = again.reset(seed=episode["seed"], options=episode["options"])
        for t in range(4):
            np.testing.assert_array_equal(shown[t][b].movedim(0, -1).numpy(), frame)
            assert windows.curvature_per_m[b, t].item() == pytest.approx(episode["labels"][t])
            assert windows.speed_mps[b, t] == info["speed_mps"]
            if t < 3:
                frame, *_, info = again.step(np.array([episode["actions"][t]], np.float32))
    assert windows.dt_s.flatten().tolist() == pytest.approx([0.05] * 12)
    assert windows.counts.tolist() == [[False, True, True, True]] * 3


@pytest.mark.parametrize("expert_share", [0.0, 1.0])
def test_online_policy_sees_and_steers_a_mirrored_world(small_policy, monkeypatch, expert_share):
    settings = dataclasses.replace(POLICY_ONLY, expert_share=expert_share, start_offset_m=0.5)
    source, worlds = make(dataclasses.replace(TINY, augment=dataclasses.replace(PLAIN, mirror=1.0)), settings)
    policy, shown = small_policy(seed=1), []
    monkeypatch.setattr(online, "encode", lambda p, x, b: shown.append(x.clone()) or encode(p, x, b))
    windows = source.windows(policy, 0)
    with torch.no_grad():
        predicted, _ = policy.decode(windows.features, windows.state, windows.dt_s)
    for b, world in enumerate(worlds):
        episode = world.episodes[0]
        frame, _ = World().reset(seed=episode["seed"], options=episode["options"])
        np.testing.assert_array_equal(shown[0][b].movedim(0, -1).numpy(), frame[:, ::-1])
        labels = [-label for label in episode["labels"]]
        assert windows.curvature_per_m[b].tolist() == pytest.approx(labels)
        answers = labels if expert_share else predicted[b].tolist()
        assert episode["actions"] == pytest.approx([-answer for answer in answers[:4]], abs=1e-6)


def test_online_mirrors_a_share_of_the_roads_and_a_road_always_alike(small_policy):
    config = dataclasses.replace(TINY, batch=40, augment=dataclasses.replace(PLAIN, mirror=0.3))
    crashing = dict.fromkeys(range(9), 2)
    source, _ = make(config, dataclasses.replace(POLICY_ONLY, n_retries=1), crash_at=crashing)
    policy, sides = small_policy(seed=1), []
    for _ in range(2):
        source.windows(policy, 0)
        sides.append([(episode.plan.seed, episode.side) for episode in source._episodes])
    assert sides[0] == sides[1]  # the second time are retries
    assert 4 <= sum(side == -1 for _, side in sides[0]) <= 20


@pytest.mark.parametrize("core", list(CORES))
def test_online_state_is_carried_as_in_one_long_sequence(small_policy, core):
    config = dataclasses.replace(TINY, checkpoint_every=9, n_steps=9)
    source, worlds = make(config, OnlineConfig(expert_share=0.5, disturbance=CALM, start_offset_m=0.1))
    policy, seen, predicted = small_policy(core, seed=3), [], []
    with torch.no_grad():
        for step in range(3):
            windows = source.windows(policy, step)
            predicted.append(policy.decode(windows.features, windows.state, windows.dt_s)[0])
            seen.append(windows.features)
        b = next(b for b, world in enumerate(worlds) if len(world.episodes) == 1)  # no end in 12 frames
        whole, _ = policy.decode(torch.cat(seen, dim=1)[b : b + 1], None, 0.05)
    torch.testing.assert_close(torch.cat(predicted, dim=1)[b], whole[0], atol=1e-6, rtol=1e-5)


def test_online_policy_drives_with_what_it_is_trained_on(small_policy):
    source, worlds = make()
    policy = small_policy(seed=1)
    windows = source.windows(policy, 0)
    with torch.no_grad():
        predicted, _ = policy.decode(windows.features, windows.state, windows.dt_s)
    for b, world in enumerate(worlds):
        actions = world.episodes[0]["actions"]
        assert actions == pytest.approx(predicted[b, : len(actions)].tolist(), abs=1e-6)
        assert actions != pytest.approx(world.episodes[0]["labels"][: len(actions)], abs=1e-6)


def test_online_expert_drives_and_kicks_are_not_labelled(small_policy):
    kicks = Disturbance(mean_interval_s=0.01)
    for disturbance in (CALM, kicks):
        source, worlds = make(settings=OnlineConfig(expert_share=1.0, disturbance=disturbance))
        windows = source.windows(small_policy(), 0)
        for b, world in enumerate(worlds):
            episode = world.episodes[0]
            assert windows.curvature_per_m[b].tolist() == pytest.approx(episode["labels"][:4])
            executed = episode["actions"] == pytest.approx(episode["labels"][: len(episode["actions"])])
            assert executed == (disturbance is CALM)


def test_online_gradient_is_that_of_one_batch(small_policy, monkeypatch):
    config = dataclasses.replace(TINY, augment=AugmentConfig(light=0.5, shadow=0.5, noise=0.1))
    source, _ = make(config)
    policy, shown = small_policy(), []
    monkeypatch.setattr(online, "encode", lambda p, x, b: shown.append(x.clone()) or encode(p, x, b))

    def gradient(features, windows):
        policy.zero_grad()
        predicted, _ = policy.decode(features, windows.state, windows.dt_s)
        weighted_squared_error(
            predicted, windows.curvature_per_m, windows.speed_mps, 0.02, 0.1, 2.0, 0, windows.counts
        ).backward()
        return [parameter.grad.clone() for parameter in policy.parameters()]

    windows = source.windows(policy, 0)
    lived = gradient(windows.features, windows)
    frames = torch.stack(shown, dim=1)
    batch = encode(policy, frames.flatten(0, 1), False).unflatten(0, (3, 4))
    torch.testing.assert_close(windows.features, batch)
    assert any(g.abs().max() > 0 for g in lived)
    for one, other in zip(lived, gradient(batch, windows), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def policy_crashes(source):
    figures = source.take_figures()
    return round(figures["policy_crashes_per_km"] * figures["policy_km"])


def test_online_frames_after_the_end_have_no_weight(small_policy, monkeypatch):
    config = dataclasses.replace(TINY, checkpoint_every=9, n_steps=9, augment=PLAIN)
    source, worlds = make(config, crash_at={0: 2, 1: 6})
    policy, shown = small_policy(), []
    monkeypatch.setattr(online, "encode", lambda p, x, b: shown.append(x.clone()) or encode(p, x, b))
    first = source.windows(policy, 0)
    assert first.counts.tolist() == [[False, True, False, False]] * 3
    assert all(torch.equal(shown[1], frames) for frames in shown[2:])  # shown again, not driven on
    assert all(len(world.episodes[0]["actions"]) == 2 for world in worlds)
    assert policy_crashes(source) == 3
    second = source.windows(policy, 1)  # the next episode: warm-up and state zero
    assert torch.equal(second.state, policy.initial_state(3))
    assert (second.counts == torch.tensor([False, True, True, True])).all()
    third = source.windows(policy, 2)
    # They go on: no warm-up, the state carried, until step 6.
    assert third.counts.tolist() == [[True, True, False, False]] * 3
    assert not (third.state == policy.initial_state(3)).all(dim=1).any()
    assert all(len(world.episodes[1]["actions"]) == 6 for world in worlds)
    assert policy_crashes(source) == 3
    assert source.take_figures()["policy_crashes_per_km"] is None  # counted once


def test_online_episodes_have_their_length_and_end_out_of_phase(small_policy):
    config = dataclasses.replace(TINY, batch=8, checkpoint_every=50, n_steps=50)
    settings = OnlineConfig(expert_share=1.0, episode_seconds=1.6, start_offset_m=0.1)
    source, worlds = make(config, settings)
    policy = small_policy()
    with torch.no_grad():
        for step in range(24):
            source.windows(policy, step)
    first = [len(world.episodes[0]["labels"]) for world in worlds]
    assert len(set(first)) > 3
    assert all(n % 4 == 0 and 4 <= n <= 32 for n in first)
    assert all(len(world.episodes[1]["labels"]) == 32 for world in worlds)


def test_online_seeds_starts_and_streams(small_policy):
    policy, seen = small_policy(), []
    for seed in (0, 1, 2):
        config = dataclasses.replace(TINY, seed=seed)
        source, worlds = make(
            config, dataclasses.replace(POLICY_ONLY, start_offset_m=0.5, n_retries=0), crash_at={0: 1}
        )
        for step in range(6):
            source.windows(policy, step)
        # Three rounds of two steps, in which a stream begins one episode or two.
        assert all(4 <= len(world.episodes) <= 6 for world in worlds)
        seen += [episode for world in worlds for episode in world.episodes]
    seeds = [episode["seed"] for episode in seen]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= OnlineConfig().first_seed
    starts = [episode["options"] for episode in seen]
    assert all(START_RANGE_M[0] <= start["along_road_m"] <= START_RANGE_M[1] for start in starts)
    assert len({start["along_road_m"] for start in starts}) == len(starts)
    off = [start["lateral_offset_m"] for start in starts if "lateral_offset_m" in start]
    assert 0.3 < len(off) / len(starts) < 0.7
    assert max(map(abs, off)) <= 0.5


def test_online_streams_do_not_depend_on_one_another(small_policy):
    """Whoever else crashes, an episode is the same."""
    config = dataclasses.replace(TINY, checkpoint_every=9, n_steps=9)
    episodes = []
    for crash_at in ({}, {0: 1, 1: 1}):
        worlds = [World(), World(crash_at=crash_at), World()]
        made = iter(worlds)
        source = OnlineWindows(lambda made=made: next(made), POLICY_ONLY, config)
        for step in range(3):
            source.windows(small_policy(), step)
        episodes.append(worlds[2].episodes)
    for one, other in zip(*episodes, strict=True):
        assert (one["seed"], one["options"]) == (other["seed"], other["options"])
        assert one["actions"] == pytest.approx(other["actions"], abs=1e-6)


def test_online_crashed_stretch_is_driven_again(small_policy):
    """Up to the given number of times, until survived: the same place, other kicks, never the expert."""
    config = dataclasses.replace(TINY, batch=2, checkpoint_every=9, n_steps=9)
    settings = dataclasses.replace(
        POLICY_ONLY, n_retries=2, disturbance=Disturbance(mean_interval_s=0.01), start_offset_m=0.1
    )
    for crash_at, n_drives in (({0: 1, 1: 1, 2: 1, 3: 1}, [3, 2]), ({0: 1}, [2]), ({}, [1])):
        source, worlds = make(config, settings, crash_at=crash_at)
        for step in range(6):
            source.windows(small_policy(), step)
        for world in worlds:
            roads = [(e["seed"], e["options"]["along_road_m"]) for e in world.episodes]
            runs = [len(list(run)) for _, run in itertools.groupby(roads)]
            assert runs[: len(n_drives)] == n_drives
            assert len(set(roads)) == len(runs)
            if n_drives[0] == 3:
                assert len({episode["actions"][0] for episode in world.episodes[:3]}) == 3


def test_online_what_the_expert_crashed_is_not_driven_again(small_policy):
    settings = OnlineConfig(n_retries=2, expert_share=1.0, disturbance=CALM)
    source, worlds = make(settings=settings, crash_at={0: 1})
    for step in range(2):
        source.windows(small_policy(), step)
    assert all(len({episode["seed"] for episode in world.episodes}) == 2 for world in worlds)


# Looks -----------------------------------------------------------------------------------------------------


def test_online_look_is_that_of_recorded_windows():
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 11, 3), dtype=np.uint8)  # 2 windows of 5
    strong = AugmentConfig(light=0.7, shadow=1.0)
    look, rngs = (EpisodeAugmentation(strong, (4, 9), 5), [np.random.default_rng([4, 9, key]) for key in range(2)])
    table, out = data._light_table(rngs[0], 0.7), np.empty((7, 11, 3), np.uint8)
    for window in frames:
        look.begin_window(7, 11)
        rngs[1].random()
        lit = np.stack([table[0][window[..., c], c] for c in range(3)], axis=-1)
        expected = data._shadowed(lit, rngs[1])
        for t in range(5):
            before = window[t].copy()
            look.apply(window[t], t, out)
            np.testing.assert_array_equal(out, expected[t])
            np.testing.assert_array_equal(window[t], before)


def test_online_look_without_changes_is_the_identity_and_noise_is_not():
    frame, out = np.full((7, 11, 3), 100, np.uint8), np.empty((7, 11, 3), np.uint8)
    for augment in (PLAIN, dataclasses.replace(PLAIN, noise=0.1)):
        look = EpisodeAugmentation(augment, (1,), 3)
        look.begin_window(7, 11)
        look.apply(frame, 0, out)
        assert np.array_equal(out, frame) == (augment is PLAIN)
        assert abs(out.mean() - 100) < 10


# Loss ------------------------------------------------------------------------------------------------------


def test_online_loss_leaves_out_what_does_not_count():
    predicted, target = torch.tensor([[0.03, 0.01, 0.9], [0.02, 0.9, 0.9]]), torch.zeros(2, 3)
    counts = torch.tensor([[True, True, False], [True, False, False]])
    loss = weighted_squared_error(predicted, target, torch.full((2, 3), 10.0), 0.02, 0.0, 2.0, 0, counts)
    assert loss.item() == pytest.approx((1.5**2 + 0.5**2 + 1.0) / 3)
    predicted.requires_grad_()
    nothing = weighted_squared_error(predicted, target, torch.ones(2, 3), 0.02, 0.1, 2.0, 0, counts & False)
    nothing.backward()
    assert nothing.item() == 0.0
    assert torch.equal(predicted.grad, torch.zeros(2, 3))


# Training --------------------------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("core", ["ltc", "lstm", "feedforward"])
@pytest.mark.parametrize("stop", [2, 4])
def test_online_resumed_equals_uninterrupted(small_policy, tmp_path, core, stop):
    whole, part, again = (small_policy(core, seed) for seed in (0, 0, 5))
    reference = train(whole, make(settings=OnlineConfig())[0], TINY, tmp_path / "whole")

    def on_step(step, loss):
        if step == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(part, make(settings=OnlineConfig())[0], TINY, tmp_path / "part", on_step=on_step)
    assert [path.name for path in (tmp_path / "part").iterdir()] == [RESUME_NAME]
    with pytest.raises(BadInputError, match="of the stopped run"):
        train(again, make(settings=POLICY_ONLY)[0], TINY, tmp_path / "part", resume=True)
    metrics = train(again, make(settings=OnlineConfig())[0], TINY, tmp_path / "part", resume=True)
    assert_same_weights(weights(again), weights(whole))
    assert metrics["train_loss_last_100"] == reference["train_loss_last_100"]


def test_online_same_seed_gives_the_same_weights(small_policy, tmp_path):
    results = []
    for i, seed in enumerate([0, 0, 1]):
        policy, config = small_policy(), dataclasses.replace(TINY, seed=seed)
        train(policy, make(config)[0], config, tmp_path / str(i))
        results.append(weights(policy))
    assert_same_weights(results[0], results[1])
    assert any(not torch.equal(results[0][name], results[2][name]) for name in results[0])


def test_online_training_learns_to_keep_an_easy_lane(small_policy, tmp_path):
    config = TrainConfig(n_steps=120, batch=8, window=4, n_warmup=1, lr_encoder=2e-3, lr_core=1e-2, augment=PLAIN)
    settings = OnlineConfig(episode_seconds=1.0)
    source, _ = make(config, settings)
    losses = []
    metrics = train(small_policy(), source, config, tmp_path, on_step=lambda step, loss: losses.append(loss))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    assert metrics["n_frames"] == 120 * 8 * 4
    assert metrics["online"] == dataclasses.asdict(settings)
    assert 0 <= metrics["crashes_per_1000_frames_last_100"] < 50


def test_online_bfloat16_keeps_the_weights_float32(small_policy, tmp_path):
    policy, config = small_policy(), dataclasses.replace(TINY, bfloat16=True)
    train(policy, make(config)[0], config, tmp_path)
    assert {tensor.dtype for tensor in policy.state_dict().values()} == {torch.float32}


def test_online_weights_that_are_not_finite_are_the_same_error(small_policy, tmp_path):
    policy = small_policy()
    with torch.no_grad():
        policy.core.readout_bias.fill_(float("nan"))
    with pytest.raises(BadInputError, match=r"step 0: .* got nan .* lower --lr-core"):
        train(policy, make()[0], TINY, tmp_path / "out")


def test_online_close_ends_all_worlds():
    source, worlds = make()
    source.close()
    assert len(worlds) == 3
    assert all(world.closed for world in worlds)
