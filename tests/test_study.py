"""The study of attention: scenes that differ in one thing, effects that are true, rows that say what they are."""

import contextlib
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from driving.attention.soundness import taught_at_random
from driving.harness.statistics import CANNOT_BE_TOLD, DOES_NOT_HOLD, HOLDS, compare_means, mean_estimate
from driving.models.policy import PolicyConfig, build_policy, to_tensor
from driving.noise import Noise
from driving.settings import env_maker
from driving.study.looks import COMPARED, agreement, commands, effects, map_scores, rms_of
from driving.study.recorded import scenes_of
from driving.study.run import EVEN, OWN, REFERENCE, Study, comparisons, effect_comparisons, findings, run_study, table
from driving.study.scenes import Stage
from driving.study.still import COLUMN_INCH, DPI, Moment, check_still, save_still
from sim.changes import CHANGES
from sim.errors import BadInputError
from sim.surface_class import SurfaceClass

ENV = "lane/Procedural-v0"
NAMES = ("no_objects", "no_markings", "other_verge", "no_shadows")


@pytest.fixture(scope="module")
def stage():
    make = partial(env_maker, ENV, seconds=3.0)
    with contextlib.closing(Stage(make({}), {name: make({"change": name}) for name in NAMES}, 0.5)) as stage:
        yield stage


@pytest.fixture(scope="module")
def scenes(stage):
    return stage.play(1012, 2.0)


@pytest.fixture(scope="module")
def policy():
    return build_policy(PolicyConfig("ltc"), 3).eval()


def test_scenes_are_every_half_second_of_one_drive(scenes):
    assert scenes.film.shape == (40, 78, 200, 3)
    assert scenes.picked.tolist() == [9, 19, 29, 39]
    assert set(scenes.changed) == set(NAMES)
    assert all(frames.shape == (4, 78, 200, 3) for frames in scenes.changed.values())
    np.testing.assert_array_equal(scenes.film, scenes.clean_film)
    np.testing.assert_array_equal(scenes.road_masks, np.isin(scenes.class_maps, [3, 4, 5]))


def test_scenes_of_changed_worlds_are_at_the_same_place(scenes):
    real, other = scenes.film[scenes.picked].astype(int), scenes.changed["no_markings"].astype(int)
    differs = (real != other).any(-1)
    marking = scenes.class_maps == SurfaceClass.MARKING
    assert differs[marking].mean() > 0.9
    # All others are the same but for what the camera blurs around the paint.
    near = np.stack([_grown(m, 3) for m in marking])
    assert differs[~near].mean() < 0.02


def _grown(mask, n):
    grown = mask.copy()
    for dy in range(-n, n + 1):
        for dx in range(-n, n + 1):
            grown |= np.roll(mask, (dy, dx), (0, 1))
    return grown


def test_scenes_show_where_the_driver_aims(scenes):
    # The point lies on the own lane, or on a marking of it, wherever nothing hides it and the road is flat enough.
    hits = [
        scenes.class_maps[i, min(round(v), 77), round(u)] in (SurfaceClass.OWN_LANE, SurfaceClass.MARKING)
        for i, (u, v) in enumerate(scenes.aim_px)
        if 0 <= round(u) < 200
    ]
    assert sum(hits) >= len(scenes.picked) - 1


def test_scenes_states_are_those_of_a_policy_that_saw_the_film(scenes, policy):
    before, earlier = scenes.states(policy)
    state, kept = policy.initial_state(1), []
    with torch.no_grad():
        for frame, dt_s in zip(scenes.film, scenes.dt_s, strict=True):
            kept.append(state)
            _, state = policy.step(to_tensor(frame[None]), state, float(dt_s))
    for i, t in enumerate(scenes.picked):
        torch.testing.assert_close(before[i], kept[t][0], atol=1e-4, rtol=0)
        torch.testing.assert_close(earlier[i], kept[t - 1][0], atol=1e-4, rtol=0)


def test_scenes_of_a_policy_are_its_own_drive_and_noise_is_the_same_in_all_worlds(stage, policy):
    own = stage.play(1012, 1.0, policy, Noise("gaussian", 0.1))
    again = stage.play(1012, 1.0, policy, Noise("gaussian", 0.1))
    np.testing.assert_array_equal(own.film, again.film)
    assert (own.film != own.clean_film).mean() > 0.8
    noise = own.film[own.picked].astype(int) - own.clean_film[own.picked]
    same = own.changed["no_shadows"].astype(int) == own.film[own.picked]
    assert same.mean() > 0.6  # where nothing was in shadow, down to the noise
    assert np.abs(noise).mean() > 10


def test_effects_are_the_difference_of_the_commands(scenes, policy):
    states, _ = scenes.states(policy)
    found = effects(policy, scenes, states, commands(policy, scenes.film[scenes.picked], states))
    with torch.no_grad():
        real = policy.step(to_tensor(scenes.film[scenes.picked]), states, 0.05)[0].numpy()
        other = policy.step(to_tensor(scenes.changed["other_verge"]), states, 0.05)[0].numpy()
    np.testing.assert_allclose(found["other_verge"], other - real, atol=1e-9)
    assert rms_of(found["no_markings"]) > 0
    np.testing.assert_allclose(commands(policy, scenes.film[scenes.picked], states), real, atol=1e-9)


def test_map_scores_of_an_even_map_are_chance(scenes, policy, monkeypatch):
    monkeypatch.setitem(
        __import__("driving.attention", fromlist=["x"]).ATTRIBUTIONS,
        "even",
        lambda p, frames, state: torch.ones(len(frames), 78, 200),
    )
    states = scenes.states(policy)
    found = map_scores(policy, scenes, states, "even", {})
    for part in ("road", "own_lane", "marking", "verge", "sky"):
        assert found[f"{part}_gain"] == pytest.approx(1.0)
    assert found["road_share"] == pytest.approx(scenes.road_masks.mean())
    assert found["rank_accuracy"] == pytest.approx(scenes.road_masks.mean(axis=(1, 2)).mean())
    assert found["evenness"] == pytest.approx(1.0)
    assert found["steadiness"] == pytest.approx(1.0)
    assert found["agreement"] is None
    assert "ssim_clean_noisy" not in found


def test_agreement_is_a_rank_correlation_over_what_is_in_sight():
    truth = {"no_markings": 4.0, "other_verge": 3.0, "other_sky": 2.0, "no_posts": 1.0, "no_signs": 9.0}
    area = dict.fromkeys(truth, 0.1) | {"no_signs": 0.0}
    assert agreement({name: value**2 for name, value in truth.items()}, truth, area) == pytest.approx(1.0)
    assert agreement({name: -value for name, value in truth.items()}, truth, area) == pytest.approx(-1.0)
    assert agreement(truth, truth, area | {"no_posts": 0.0}) is None
    assert agreement(dict.fromkeys(truth, 1.0), truth, area) is None


def test_compared_changes_concern_classes_that_do_not_overlap():
    classes = [surface for name in COMPARED for surface in CHANGES[name].concerns]
    assert len(classes) == len(set(classes)) == len(SurfaceClass)


def test_mean_estimate_covers_roads_and_trainings():
    rng = np.random.default_rng(0)
    values = 2.0 + rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.3, (1, 30))
    estimate = mean_estimate(values)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low < 2.0 < estimate.high
    assert 0.05 < estimate.high - estimate.low < 0.6
    values[0, 3] = np.nan
    assert mean_estimate(values).value == pytest.approx(np.nanmean(values))
    assert math.isnan(mean_estimate(np.full((1, 3), np.nan)).value)


def test_compare_means_tells_a_difference_from_chance():
    rng = np.random.default_rng(1)
    road = rng.normal(0, 1.0, (1, 20))
    one, other = road + rng.normal(0.5, 0.1, (4, 20)), road + rng.normal(0, 0.1, (4, 20))
    assert compare_means(one, other).verdict == HOLDS
    assert compare_means(other, one).verdict == DOES_NOT_HOLD
    assert compare_means(one, one + rng.normal(0, 0.1, (4, 20))).verdict == CANNOT_BE_TOLD
    assert compare_means(one[:3], other[:3]).verdict == CANNOT_BE_TOLD  # three trainings of each cannot tell
    assert compare_means(one[:1], other[:1]).verdict == HOLDS  # of these two networks, not of their kinds
    assert compare_means(one[:, :4], other[:, :4]).verdict == CANNOT_BE_TOLD  # four roads cannot tell
    assert compare_means(one, other).gap.value == pytest.approx((one - other).mean())


def rows_of(scores, method="input_gradient"):
    """``scores``: by policy, road gains of the roads from 0 on."""
    return [
        {"policy": policy, "seed": seed, "drive": REFERENCE, "noise": "none:0", "method": method, "road_gain": value,
         "agreement": 0.5 * value}
        for policy, values in scores.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_study_table_and_findings_say_what_the_rows_say():
    gains = {f"ltc19@{k}": [2.0 + k / 15] * 8 for k in range(4)} | {f"lstm64@{k}": [1.0 + k / 30] * 8 for k in range(4)}
    rows = rows_of(gains)
    rows += rows_of({"ltc19@0": [1.0] * 8, "lstm64@0": [1.0] * 8}, EVEN)
    lines = table(rows)
    assert [(line["network"], line["method"]) for line in lines] == [
        ("ltc19", "input_gradient"), ("lstm64", "input_gradient"), ("ltc19", EVEN), ("lstm64", EVEN),
    ]  # fmt: skip
    assert lines[0]["road_gain"] == pytest.approx(2.1)
    assert (lines[0]["n_trainings"], lines[0]["n_roads"]) == (4, 8)
    found = comparisons(rows)
    assert [(row["what"], row["verdict"]) for row in found] == [("road_gain", HOLDS), ("agreement", HOLDS)]
    text = findings({"table": lines, "comparisons": found, "effect_comparisons": []})
    assert text[0] == "On the same pictures ltc19 attends to the road more than lstm64, by input_gradient."
    assert "input_gradient 0.79; a map that looks everywhere alike has 0.50" in text[-1]
    single = rows_of({"ltc19@0": [2.0] * 8, "lstm64@0": [2.0, 1.0] * 4})
    text = findings({"table": table(single), "comparisons": comparisons(single), "effect_comparisons": []})
    assert "cannot tell which of ltc19 and lstm64" in text[0]
    assert "about networks, not their kinds" in text[1]


def effect_rows(shares, change):
    """``shares``: by policy, shares of the roads from 0 on."""
    return [
        {"policy": policy, "seed": seed, "drive": REFERENCE, "noise": "none:0", "change": change, "share": value}
        for policy, values in shares.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_study_effects_are_compared_all_changes_taken_together():
    calm = {f"ltc19@{k}": [0.1 + 0.01 * k] * 8 for k in range(4)}
    restless = {f"cnn@{k}": [0.2 + 0.01 * k] * 8 for k in range(4)}
    rows = effect_rows(calm | restless, "no_markings")
    (alone,) = effect_comparisons(rows)
    assert (alone["network"], alone["than"], alone["change"]) == ("ltc19", "cnn", "no_markings")
    assert alone["verdict"] == DOES_NOT_HOLD  # ltc19 does not hang on it more
    assert alone["difference"] == pytest.approx(-0.1)
    text = findings({"table": [], "comparisons": [], "effect_comparisons": [alone]})
    assert text == [
        "Of 1 changes of the world 1 change the commands of ltc19 less than those of cnn; told apart, all taken "
        "together: nothing painted on the road (less)."
    ]
    # Eight roads have p = 2 / 2^8 at best, which does not stand among fourteen such questions.
    many = [row for change in CHANGES if change != "none" for row in effect_rows(calm | restless, change)]
    together = effect_comparisons(many)
    assert len(together) == 14
    assert {row["verdict"] for row in together} == {CANNOT_BE_TOLD}
    assert all(row["p"] < 0.05 for row in together)


@pytest.mark.slow
def test_study_gives_the_same_rows_for_any_number_of_workers(monkeypatch):
    # What is taught at random is taught before the work is spread; a few steps are enough here.
    monkeypatch.setattr("driving.study.run.taught_at_random", partial(taught_at_random, n_steps=4))
    policies = {f"{core}@0": build_policy(PolicyConfig(core), 3).eval() for core in ("ltc", "lstm")}
    study = Study(
        policies, ("visual_backprop",), ENV, range(1012, 1014), 1.0, 0.5, (None, Noise("fog", 3.0)), sound=True
    )
    one, two = run_study(study, 1), run_study(study, 2)
    assert one == two
    json.dumps(one, allow_nan=False)
    scores = one["rows"]["scores"]
    assert {row["drive"] for row in scores} == {REFERENCE, OWN}
    assert {row["noise"] for row in scores} == {"none:0", "fog:3"}
    assert {row["method"] for row in scores} == {"visual_backprop", "class_ablation", EVEN}
    assert {row["change"] for row in one["effects"]} == set(CHANGES) - {"none"}
    assert [row["policy"] for row in one["soundness"]] == ["ltc@0", "lstm@0"]
    assert not one["soundness"][0]["passed"]["random core"]  # it does not look at the core
    marked = [row["fails"] for row in one["table"] if row["method"] == "visual_backprop"]
    assert all("random core" in fails for fails in marked)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_still_has_a_row_for_each_network_and_a_column_for_each_method(scenes, policy, tmp_path, suffix):
    other = build_policy(PolicyConfig("lstm"), 3).eval()
    policies = {"a/ltc": policy, "lstm": other}
    moments = {
        name: Moment(scenes.film[9], one.initial_state(1)[0], scenes.road_masks[0]) for name, one in policies.items()
    }
    path = tmp_path / f"still.{suffix}"
    save_still(path, policies, moments, ["visual_backprop", "grad_cam"], "a road")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == "png":
        with Image.open(path) as picture:
            assert picture.width == 3 * COLUMN_INCH * DPI
            assert 0.2 < picture.height / picture.width < 0.5
    else:
        text = path.read_text()
        assert text.count("<image") == 2 * 3  # one a cell, the map laid over the picture
        assert "<svg" in text


def test_still_of_no_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"ends with .png, .svg, .pdf, got 'a.jpg'"):
        check_still(tmp_path / "a.jpg")


def test_scenes_of_a_recording_are_rows_with_masks_in_blocks(make_drive, monkeypatch):
    monkeypatch.setattr("driving.study.recorded.BLOCK_S", 1.0)
    drive = make_drive(60, size=(78, 200), gaps=(30,), known_masks=[2, 5, 6, 26, 40, 59])
    blocks = list(scenes_of(drive, 78, 200, every_s=0.1))
    picked = np.concatenate([scenes.film[scenes.picked] for scenes in blocks])
    np.testing.assert_array_equal(picked, drive.frames[[2, 5, 26, 40, 59]])  # 6 is too soon after 5
    assert [scenes.seed for scenes in blocks] == list(range(len(blocks)))
    assert all(scenes.class_maps is None for scenes in blocks)
    masks = np.concatenate([scenes.road_masks for scenes in blocks])
    known = dict(zip(drive.mask_rows(), drive.road_masks[drive.mask_rows()], strict=True))
    np.testing.assert_array_equal(masks, np.stack([known[row] for row in (2, 5, 26, 40, 59)]))
    noisy = list(scenes_of(drive, 78, 200, Noise("gaussian", 0.1), every_s=0.1))
    assert (noisy[0].film != noisy[0].clean_film).any()
    np.testing.assert_array_equal(noisy[0].clean_film, blocks[0].film)


def test_study_of_a_recording_scores_the_road_alone(make_drive, policy):
    drive = make_drive(30, size=(78, 200), known_masks=[2, 25])
    other = build_policy(PolicyConfig("lstm"), 3).eval()
    study = Study({"ltc@0": policy, "lstm@0": other}, ("grad_cam",), "", range(0), recording=drive, every_s=0.1)
    figures = run_study(study)
    assert [(row["network"], row["method"], row["drive"]) for row in figures["table"]] == [
        ("ltc", "grad_cam", REFERENCE), ("lstm", "grad_cam", REFERENCE),
    ]  # fmt: skip
    assert figures["table"][0]["road_gain"] > 0
    assert figures["effects"] == []
    assert "marking_gain" not in figures["table"][0]
