import dataclasses

import av
import gymnasium
import numpy as np
import pytest
import torch

import sim  # noqa: F401  (registers the environments)
from driving import compare as compare_module
from driving.attention import ATTRIBUTIONS
from driving.attention.score import map_similarity
from driving.attention.soundness import UNTRAINED_SEEDS
from driving.compare import attend
from driving.harness.recovery import Recovery
from driving.instants import Driven, on_drive
from driving.models import checkpoint
from driving.noise import Noise
from driving.onlooker import Onlooker
from driving.open_loop import predict
from driving.rollout import rollout
from sim.errors import BadInputError

KEYS = {"on_road_share", "untrained_on_road_share", "ssim_clean_noisy", "n_frames"}


def left_half(policy, frame, state):
    """An attribution that looks at the left half, evenly."""
    assert frame.dtype == torch.float32
    assert 0 <= frame.min() <= frame.max() <= 1
    assert len(state) == len(frame)
    maps = torch.zeros(len(frame), *frame.shape[-2:])
    maps[:, :, : frame.shape[-1] // 2] = 1.0
    return maps


def brightness(policy, frame, state):
    """An attribution that looks at what is bright."""
    return frame.mean(dim=1)


def n_video_frames(path):
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return sum(1 for _ in video.decode(stream)), float(stream.average_rate)


@pytest.fixture
def shown(monkeypatch):
    """The panels of every video frame; composing becomes a grey picture, which is quick."""
    frames = []

    def compose(panels, **words):
        frames.append((panels, words))
        return np.full((compare_module.HEIGHT_PX, compare_module.WIDTH_PX, 3), 90, np.uint8)

    monkeypatch.setattr(compare_module, "compose", compose)
    return frames


# On a drive ------------------------------------------------------------------------------------------------


def test_compare_scores_by_hand(make_drive, small_policy):
    # The masks are the left half (20 of 41 columns) on rows 1, 4, 30; the right part on row 30.
    drive = make_drive(40, known_masks=[1, 4, 30])
    drive.road_masks[30] = ~drive.road_masks[30]
    figures = attend({"a": small_policy(), "b": small_policy("lstm")}, drive, left_half)
    area = (20 / 41 + 20 / 41 + 21 / 41) / 3
    assert set(figures) == {"road_area_share", "policies"}
    assert set(figures["policies"]) == {"a", "b"}
    assert figures["road_area_share"] == pytest.approx(area, abs=1e-5)
    for name in "ab":
        assert set(figures["policies"][name]) >= KEYS
        assert figures["policies"][name]["on_road_share"] == pytest.approx(2 / 3, abs=1e-5)
        assert figures["policies"][name]["untrained_on_road_share"] == pytest.approx(2 / 3, abs=1e-5)
        assert figures["policies"][name]["ssim_clean_noisy"] is None
        assert figures["policies"][name]["n_frames"] == 40
        assert figures["policies"][name]["n_mask_frames"] == 3


def test_compare_untrained_network_is_the_mean_of_new_ones(make_drive, small_policy):
    drive = make_drive(6, known_masks=[2])

    def weighs(policy, frame, state):
        """Share on the left: the policy's first bias, which tells the networks apart."""
        share = torch.sigmoid(policy.encoder.dense_weight[0, 0, 0] * 20).item()
        maps = torch.full((len(frame), 16, 41), (1 - share) / 21)
        maps[:, :, :20] = share / 20
        return maps

    policy = small_policy(seed=8)
    figures = attend({"a": policy}, drive, weighs)["policies"]["a"]

    def share_of(p):
        return torch.sigmoid(p.encoder.dense_weight[0, 0, 0] * 20).item()

    untrained = [share_of(small_policy(seed=seed)) for seed in UNTRAINED_SEEDS]
    assert len(set(untrained)) > 1
    assert figures["untrained_on_road_share"] == pytest.approx(np.mean(untrained), abs=1e-4)
    assert figures["on_road_share"] == pytest.approx(share_of(policy), abs=1e-4)


def test_compare_scores_each_map_with_the_mask_of_its_row(make_drive, small_policy):
    rows = [3, 20, 33]  # in two blocks
    drive = make_drive(40, known_masks=rows)
    grey = drive.frames.astype(float).mean(axis=3)
    shares = [grey[row, :, :20].sum() / grey[row].sum() for row in rows]
    assert max(shares) - min(shares) > 0.05
    figures = attend({"a": small_policy()}, drive, brightness)["policies"]["a"]
    assert figures["on_road_share"] == pytest.approx(np.mean(shares), abs=2e-5)


def test_compare_without_masks_has_no_share(make_drive, small_policy):
    figures = attend({"a": small_policy()}, make_drive(5), left_half)
    assert figures["road_area_share"] is None
    assert figures["policies"]["a"]["on_road_share"] is None
    assert figures["policies"]["a"]["untrained_on_road_share"] is None
    assert figures["policies"]["a"]["n_frames"] == 5


def test_compare_similarity_is_that_of_the_same_frame_with_and_without_noise(make_drive, small_policy):
    drive, noise, seed = make_drive(35), Noise("gaussian", 0.05), 4
    figures = attend({"a": small_policy()}, drive, brightness, noise, seed=seed)
    injection = noise(seed)
    noisy = np.stack([injection.see(frame) for frame in drive.frames])
    maps = [frames.astype(np.float64).mean(axis=3) / 255 for frames in (drive.frames, noisy)]
    expected = map_similarity(*maps).mean()
    assert figures["policies"]["a"]["ssim_clean_noisy"] == pytest.approx(expected, abs=2e-5)
    still = attend({"a": small_policy()}, drive, left_half, noise)
    assert still["policies"]["a"]["ssim_clean_noisy"] == pytest.approx(1.0)


def test_compare_frame_whose_map_is_empty_is_left_out(make_drive, small_policy):
    def blind_when_dark(policy, frame, state):
        maps = left_half(policy, frame, state)
        return maps * (frame.mean(dim=(1, 2, 3)) > 0.25)[:, None, None]

    drive = make_drive(4, known_masks=[0, 1, 2, 3])
    drive.frames[1] = 0
    figures = attend({"a": small_policy()}, drive, blind_when_dark)
    assert figures["policies"]["a"]["on_road_share"] == 1.0
    assert figures["policies"]["a"]["n_frames"] == 4


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_compare_drive_is_seen_as_in_the_open_loop_test(make_drive, small_policy, core):
    drive, policy = make_drive(12, gaps=(5,)), small_policy(core, seed=2)
    instants = list(on_drive(policy, drive, None, None, 0))
    np.testing.assert_allclose([instant.curvature_per_m for instant in instants], predict(policy, drive), atol=1e-6)
    np.testing.assert_array_equal(
        np.float32([instant.reference_curvature_per_m for instant in instants]), drive.curvature_per_m
    )
    assert torch.equal(instants[5].state_before, policy.initial_state(1)[0])
    assert torch.equal(instants[6].state_before, instants[5].state)


def test_compare_masks_are_scaled_to_the_policys_picture(make_drive, small_policy):
    drive = make_drive(3, size=(32, 82), known_masks=[1])
    instants = list(on_drive(small_policy(), drive, None, None, 0))
    assert "road_mask" not in instants[0].info
    assert instants[1].info["road_mask"].shape == (16, 41)
    assert instants[1].info["road_mask"][:, :20].all()
    assert not instants[1].info["road_mask"][:, 21:].any()
    assert instants[1].picture.shape == (32, 82, 3)


@pytest.mark.parametrize(("seconds", "n_frames"), [(0.5, 10), (0.05, 1), (0.01, 1), (99.0, 30)])
def test_compare_seconds_cut_a_drive(make_drive, small_policy, seconds, n_frames):
    drive = make_drive(30)
    assert len(list(on_drive(small_policy(), drive, seconds, None, 0))) == n_frames


# In an environment -----------------------------------------------------------------------------------------


def test_compare_in_the_world_has_its_keys(saved_policies, tmp_path):
    policies = {core: checkpoint.load(folder) for core, folder in saved_policies.items()}

    def make():
        return gymnasium.make("lane/Procedural-v0", disable_env_checker=True, episode_seconds=2.0).unwrapped

    figures = attend(policies, make, ATTRIBUTIONS["visual_backprop"], Noise("gaussian", 0.05), 0.5, 1001)
    assert set(figures["policies"]) == {"ltc", "lstm"}
    assert 0.1 < figures["road_area_share"] < 0.7
    for name in policies:
        assert set(figures["policies"][name]) >= KEYS
        assert figures["policies"][name]["n_frames"] == 10
        assert 0 < figures["policies"][name]["on_road_share"] < 1
        assert 0 < figures["policies"][name]["untrained_on_road_share"] < 1
        assert -1 <= figures["policies"][name]["ssim_clean_noisy"] < 1


def test_compare_in_an_environment_drives_as_the_rollout_does(small_policy, stand_in_env):
    policy = small_policy(seed=3)
    driven = Driven(policy, stand_in_env, 4, 0.3, show=True)
    instants = list(driven)
    (other,) = rollout(policy, stand_in_env, [4], 0.3)
    assert [instant.curvature_per_m for instant in instants] == other.curvature_per_m
    assert driven.log == other
    assert instants[0].picture.shape == (48, 123, 3)
    assert instants[0].info["lateral_offset_m"] == pytest.approx(0.04)  # the offset that belongs to the frame
    assert all(env.closed for env in stand_in_env.made)


def test_compare_two_policies_where_a_process_holds_one_world(small_policy, stand_in_env, shown, tmp_path):
    """They drive one after the other and are shown side by side all the same."""

    class Lonely(stand_in_env):
        MAX_PER_PROCESS = 1

        def _begin(self, options):
            assert sum(not env.closed for env in self.made) == 1
            return super()._begin(options)

    policies = {"a": small_policy(seed=3), "b": small_policy("lstm", seed=3)}
    figures = attend(policies, lambda: Lonely({6: 3}), left_half, seconds=0.3, seed=6, video_path=tmp_path / "v.mp4")
    lonely = [panels for panels, _ in shown]
    shown.clear()
    assert figures == attend(
        policies, lambda: stand_in_env({6: 3}), left_half, seconds=0.3, seed=6, video_path=tmp_path / "v.mp4"
    )
    assert len(lonely) == len(shown) > 3
    for one, (other, _) in zip(lonely, shown, strict=True):
        assert [panel.status for panel in one] == [panel.status for panel in other]
        np.testing.assert_array_equal(one[1].picture, other[1].picture)


def test_compare_shown_picture_has_the_noise_the_network_saw(small_policy, stand_in_env):
    noise = Noise("gaussian", 0.02)
    (look, *_) = Driven(small_policy(), stand_in_env, 4, 0.1, noise, show=True)
    assert not np.array_equal(look.frame, look.clean_frame)
    np.testing.assert_array_equal(look.picture, look.frame.repeat(3, axis=0).repeat(3, axis=1))


# Video -----------------------------------------------------------------------------------------------------


def test_compare_video_of_a_drive_has_its_frames_and_its_rate(make_drive, small_policy, tmp_path):
    drive = make_drive(34, step_s=0.1, known_masks=[3])
    calls = []
    attend(
        {"a": small_policy(), "b": small_policy("lstm")}, drive, left_half, seconds=0.7,
        video_path=tmp_path / "look.mp4", on_frame=lambda: calls.append(1),
    )  # fmt: skip
    n_card = round(compare_module.CLOSING_S * 10)
    assert n_video_frames(tmp_path / "look.mp4") == (7 + n_card, pytest.approx(10.0))
    assert len(calls) == 7


def test_compare_panels_show_both_networks(make_drive, small_policy, shown, tmp_path):
    drive = make_drive(40, known_masks=[0, 35])
    attend(
        {"a": small_policy(), "b": small_policy("lstm")}, drive, left_half, Noise("gaussian", 0.1),
        video_path=tmp_path / "v.mp4", source_name="a small drive",
    )  # fmt: skip
    assert len(shown) == 40
    (liquid, lstm), words = shown[-1]
    assert words["subtitle"] == "a small drive"
    assert words["noisy"]
    assert "0.1" in words["condition"]
    assert words["time_s"] == pytest.approx(39 * 0.05)
    assert words["road_area_share"] == pytest.approx(20 / 41, abs=1e-5)
    assert liquid.neurons.shape == (19,)
    assert liquid.wiring.n_neurons == 19
    assert lstm.wiring is None
    assert lstm.neurons.shape == (64,)
    assert liquid.on_road_share == 1.0
    assert liquid.reference_curvature_per_m == pytest.approx(float(drive.curvature_per_m[39]))


@pytest.mark.parametrize("n_after", [3, 40])
def test_compare_crashed_episode_keeps_its_last_picture(small_policy, stand_in_env, shown, tmp_path, n_after):
    """One leaves the lane after two steps and stands still while the other goes on (over a block too)."""
    environments = [stand_in_env({6: 2}), stand_in_env(truncate_at=2 + n_after)]
    waiting = [stand_in_env(), *environments]  # the first one says how many a process may hold
    policies = {"out": small_policy(seed=3), "on": small_policy("lstm", seed=3)}
    figures = attend(policies, lambda: waiting.pop(0), left_half, seconds=60.0, seed=6, video_path=tmp_path / "v.mp4")
    assert len(shown) == 2 + n_after + 1
    final, _ = shown.pop()  # held at the end
    assert final[0].crashed
    assert not final[1].crashed
    assert figures["policies"]["out"]["n_frames"] == 2
    assert figures["policies"]["on"]["n_frames"] == 2 + n_after
    last = shown[1][0][0]
    assert [panels[0].crashed for panels, _ in shown] == [False] * 2 + [True] * n_after
    for panels, _ in shown[2:]:
        np.testing.assert_array_equal(panels[0].picture, last.picture)
        np.testing.assert_array_equal(panels[0].attention, last.attention)
        assert panels[0].curvature_per_m == last.curvature_per_m
        assert panels[0].status == "left the lane at 0.1 s"
        assert not panels[1].crashed
    assert not np.array_equal(shown[2][0][1].picture, shown[3][0][1].picture)
    assert [words["time_s"] for _, words in shown] == pytest.approx(0.05 * np.arange(2 + n_after))
    n_card = round(compare_module.CLOSING_S * 20)
    assert n_video_frames(tmp_path / "v.mp4")[0] == 2 + n_after + compare_module.HOLD_FRAMES + n_card


def test_compare_leaves_no_video_after_an_error(small_policy, stand_in_env, tmp_path):
    with pytest.raises(RuntimeError, match="the world broke"):
        attend(
            {"a": small_policy()},
            lambda: stand_in_env(fail_at=3),
            left_half,
            seconds=1.0,
            video_path=tmp_path / "v.mp4",
        )
    assert list(tmp_path.iterdir()) == []
    assert stand_in_env.made[0].closed


def test_compare_rejects_what_it_cannot_show(make_drive, small_policy, tmp_path):
    drive, policy = make_drive(5), small_policy()
    with pytest.raises(BadInputError, match="at least one policy"):
        attend({}, drive, left_half)
    with pytest.raises(BadInputError, match="got 5"):
        attend(dict.fromkeys("abcde", policy), drive, left_half, video_path=tmp_path / "v.mp4")
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(BadInputError, match="above 0 s"):
            attend({"a": policy}, drive, left_half, seconds=seconds)
    assert set(attend(dict.fromkeys("abc", policy), drive, left_half)["policies"]) == set("abc")


def test_compare_changes_neither_policy_nor_drive(make_drive, small_policy):
    drive, policy = make_drive(5, known_masks=[1]), small_policy()
    frames, weights = drive.frames.copy(), {k: v.clone() for k, v in policy.state_dict().items()}
    attend({"a": policy}, drive, ATTRIBUTIONS["input_gradient"], Noise("gaussian", 0.1))
    np.testing.assert_array_equal(drive.frames, frames)
    assert all(torch.equal(weights[k], v) for k, v in policy.state_dict().items())
    assert all(p.grad is None for p in policy.parameters())
    onlooker = Onlooker(policy, left_half)
    look = next(on_drive(policy, drive, None, None, 0))
    assert [seen.attention.shape for seen in onlooker.seen([look, dataclasses.replace(look)])] == [(16, 41)] * 2


def test_compare_two_of_a_kind_are_told_apart_by_name(small_policy):
    def titles_of(**methods):
        looked = {"runs/a": small_policy(), "b": small_policy(seed=1)}
        return compare_module.titles(
            {name: Onlooker(policy, left_half, None, methods.get(name[-1], "")) for name, policy in looked.items()}
        )

    titles = titles_of()
    assert titles["runs/a"] != titles["b"]
    assert titles["runs/a"].startswith("a: ")
    policy = small_policy()
    assert compare_module.titles({"x": Onlooker(policy, left_half)})["x"] == "19 liquid neurons (LTC)"
    assert titles_of(a="grad_cam", b="occlusion") == {
        "runs/a": "19 liquid neurons (LTC), grad cam", "b": "19 liquid neurons (LTC), occlusion",
    }  # fmt: skip
    one = {"x": Onlooker(policy, left_half, None, "grad_cam"), "y": Onlooker(policy, left_half, None, "occlusion")}
    assert compare_module.titles(one)["x"] == "Grad cam"
    assert compare_module.heading_for(one) == "19 liquid neurons (LTC): where it looks, by two methods"


def test_compare_every_policy_by_a_method_of_its_own(make_drive, small_policy):
    policy, drive = small_policy(), make_drive(5)
    alone = {name: attend({"p": policy}, drive, ATTRIBUTIONS[name]) for name in ("grad_cam", "input_gradient")}
    together = attend(dict.fromkeys(alone, policy), drive, {name: name for name in alone})
    for name, figures in alone.items():
        assert together["policies"][name] == figures["policies"]["p"]


def test_compare_film_tells_when_a_command_has_recovered(make_drive, shown, tmp_path):
    policy, drive = checkpoint.load("ltc19"), make_drive(240)  # bursts from 4.5 to 5 s and from 9.5 to 10 s
    noise = Noise("state_burst", 1.0)
    recovery = Recovery(policy)
    for instant in on_drive(policy, drive, None, noise, 0):
        recovery.watch([instant])
    attend({"p": policy}, drive, left_half, noise, video_path=tmp_path / "v.mp4", with_card=False)
    panels = [panels[0] for panels, _ in shown]
    assert len(panels) == 240
    assert {(p.status, p.shaken) for p in panels[:80]} == {("watching", False)}
    assert {(p.status, p.shaken) for p in panels[92:98]} == {("shaken", True)}
    first_s = recovery.result()[0]
    assert (panels[185].status, panels[185].shaken) == (f"recovered in {first_s:.2f} s", False)
    is_shaken, last_s = recovery.latest()
    assert panels[-1].status == ("shaken" if is_shaken else f"recovered in {last_s:.2f} s")
    assert recovery.mean_s() == pytest.approx(first_s if is_shaken else (first_s + last_s) / 2, abs=1e-3)
    shown.clear()
    attend({"p": policy}, make_drive(100), left_half, Noise("gaussian", 0.1), video_path=tmp_path / "v.mp4")
    assert {panels[0].status for panels, _ in shown} == {"watching"}
