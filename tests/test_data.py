import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driving import data
from driving.data import AugmentConfig, Windows, load_drive, parse_drive_spec, policy_frames
from sim.camera import Camera
from sim.errors import BadInputError
from sim.viewpoint import Viewpoint

PLAIN = AugmentConfig(mirror=0, shift_m=0, yaw_rad=0, light=0, shadow=0, noise=0)
FULL = (78, 200)


def changed(**fields):
    return AugmentConfig(**({"light": 0.0, "shadow": 0.0} | fields))


def small_windows(drives, length):
    return Windows(drives, length, height_px=16, width_px=41)


# Windows ---------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(12, 40), min_size=1, max_size=3),
    st.sets(st.integers(1, 39), max_size=3),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_data_windows_cross_no_gap_and_no_end(make_drive, lengths, gaps, window, seed):
    drives = [make_drive(n, gaps=[g for g in gaps if g < n], seed=i) for i, n in enumerate(lengths)]
    windows = small_windows(drives, window)
    runs = [s.stop - s.start for drive in drives for s in drive.segments()]
    assert len(windows) == sum(max(0, run - window + 1) for run in runs)
    batch = windows.sample(30, (seed,))
    np.testing.assert_allclose(batch.dt_s, 0.05, rtol=1e-5)
    for frames, label in zip(batch.frames, batch.curvature_per_m, strict=True):
        places = [
            (i, k)
            for i, drive in enumerate(drives)
            for k in range(len(drive) - window + 1)
            if np.array_equal(drive.frames[k : k + window], frames)
        ]
        assert len(places) == 1
        i, k = places[0]
        np.testing.assert_array_equal(label, drives[i].curvature_per_m[k : k + window])
        assert np.diff(drives[i].timestamps_s[k : k + window]).max(initial=0) < 0.1


def test_data_windows_are_all_drawn(make_drive):
    drive = make_drive(9, gaps=(4,))
    labels = small_windows([drive], 3).sample(200, (0,)).curvature_per_m
    assert len(np.unique(labels, axis=0)) == 2 + 3


def test_data_no_long_enough_run_is_an_error(make_drive):
    with pytest.raises(BadInputError, match="run of 8 frames"):
        small_windows([make_drive(14, gaps=(7,))], 8)
    with pytest.raises(BadInputError, match="at least one drive"):
        Windows([], 4)


def test_data_batch_has_its_shapes_and_types(make_drive):
    batch = small_windows([make_drive(20)], 3).sample(5, (1, 2), AugmentConfig(mirror=0.5, shift_m=0.3))
    assert batch.frames.shape == (5, 3, 16, 41, 3)
    assert batch.frames.dtype == np.uint8
    assert batch.curvature_per_m.shape == batch.dt_s.shape == (5, 3)
    assert batch.curvature_per_m.dtype == batch.dt_s.dtype == np.float32


def test_data_same_seed_gives_the_same_batch(make_drive):
    windows = small_windows([make_drive(30)], 4)
    augment = AugmentConfig(mirror=0.5, shift_m=0.5, yaw_rad=0.02, light=0.5, shadow=0.5, noise=0.1)
    one, same, other = (windows.sample(6, seed, augment) for seed in ((3, 1), (3, 1), (3, 2)))
    for name in ("frames", "curvature_per_m", "dt_s"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.frames, other.frames)


# Augmentation ----------------------------------------------------------------------------------------------

ALONE = {
    "mirror": {"mirror": 0.5},
    "viewpoint": {"shift_m": 0.4, "yaw_rad": 0.02},
    "light": {"light": 0.7},
    "shadow": {"shadow": 0.6},
    "noise": {"noise": 0.1},
}


def draws(windows, monkeypatch, **fields):
    """What each augmentation draws: (which stream, what came out of it) for every window, by stream."""
    seen = {name: [] for name in ALONE}
    original = data._augmented

    def spy(window, label, camera, speed_mps, augment, streams):
        result = original(window, label, camera, speed_mps, augment, streams)
        for name, stream in streams.items():
            seen[name].append(stream.bit_generator.state["state"]["state"])
        return result

    with monkeypatch.context() as patch:
        patch.setattr(data, "_augmented", spy)
        windows.sample(6, (5,), changed(**fields))
    return seen


@pytest.mark.parametrize(("name", "other"), list(itertools.permutations(sorted(ALONE), 2)))
def test_data_augmentations_have_their_own_streams(make_drive, monkeypatch, name, other):
    windows = small_windows([make_drive(30)], 2)
    alone = draws(windows, monkeypatch, **ALONE[name])
    both = draws(windows, monkeypatch, **ALONE[name], **ALONE[other])
    assert alone[name] == both[name]


def test_data_choice_of_windows_does_not_depend_on_augmentation(make_drive):
    windows = small_windows([make_drive(30)], 3)
    plain = windows.sample(6, (5,))
    light = windows.sample(6, (5,), changed(light=0.8, shadow=1.0, noise=0.1))
    np.testing.assert_array_equal(plain.curvature_per_m, light.curvature_per_m)
    assert not np.array_equal(plain.frames, light.frames)


def test_data_without_augmentation_nothing_changes(make_drive):
    windows = small_windows([make_drive(30)], 3)
    plain, none = windows.sample(6, (5,), PLAIN), windows.sample(6, (5,))
    np.testing.assert_array_equal(plain.frames, none.frames)
    np.testing.assert_array_equal(plain.curvature_per_m, none.curvature_per_m)


def test_data_mirror_flips_and_negates(make_drive):
    windows = small_windows([make_drive(30)], 3)
    plain, mirrored = windows.sample(4, (2,)), windows.sample(4, (2,), changed(mirror=1.0))
    np.testing.assert_array_equal(mirrored.frames, plain.frames[:, :, :, ::-1])
    np.testing.assert_array_equal(mirrored.curvature_per_m, -plain.curvature_per_m)
    half = windows.sample(300, (2,), changed(mirror=0.3)).curvature_per_m
    flipped = (half != windows.sample(300, (2,)).curvature_per_m).any(axis=1)
    assert 0.2 < flipped.mean() < 0.4


class FixedDraw:
    """A random stream whose uniform numbers are given."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high):
        value = self.values.pop(0)
        assert low <= value <= high
        return value


@pytest.mark.parametrize(("left_m", "yaw_rad"), [(0.6, 0.0), (-0.45, 0.0), (0.0, 0.03), (0.4, -0.02)])
def test_data_viewpoint_shift_moves_a_ground_point_and_steers_back(left_m, yaw_rad):
    camera = Camera()
    forward_m, lateral_m = 9.0, 0.5
    u, v = (float(x) for x in camera.project(np.float64(forward_m), np.float64(lateral_m)))
    rows, columns = np.mgrid[: FULL[0], : FULL[1]]
    blob = 250 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 8.0)
    window = blob.astype(np.uint8)[None, :, :, None].repeat(3, axis=3)
    streams = {"viewpoint": FixedDraw(left_m, yaw_rad)}
    streams |= {name: np.random.default_rng(0) for name in ("mirror", "light", "shadow", "noise")}
    label, speed = np.array([0.004], np.float32), np.array([12.0], np.float32)
    augment = changed(shift_m=0.7, yaw_rad=0.03, recovery_s=1.5)
    moved, new_label = data._augmented(window, label, Viewpoint(camera), speed, augment, streams)
    # The same point in the axes of a car further left that looks further left.
    c, s, y = np.cos(yaw_rad), np.sin(yaw_rad), lateral_m - left_m
    expected_u, expected_v = camera.project(forward_m * c + y * s, -forward_m * s + y * c)
    weight = moved[0, :, :, 0].astype(float)
    assert (weight * columns).sum() / weight.sum() == pytest.approx(float(expected_u), abs=0.5)
    assert (weight * rows).sum() / weight.sum() == pytest.approx(float(expected_v), abs=0.5)
    ahead_m = 12.0 * 1.5
    correction = -2 * left_m / ahead_m**2 - 2 * yaw_rad / ahead_m
    assert new_label[0] == pytest.approx(0.004 + correction, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_data_light_table_is_monotone(seed):
    table = data._light_table(np.random.default_rng(seed), 1.0)
    assert table.shape == (1, 256, 3)
    assert table.dtype == np.uint8
    assert (np.diff(table[0].astype(int), axis=0) >= 0).all()
    still = data._light_table(np.random.default_rng(seed), 0.0)
    np.testing.assert_array_equal(still[0], np.arange(256)[:, None].repeat(3, 1))


def test_data_light_and_shadow_and_noise_leave_the_label(make_drive):
    windows = small_windows([make_drive(30)], 3)
    plain = windows.sample(8, (4,))
    for fields in ({"light": 1.0}, {"shadow": 1.0}, {"noise": 0.2}):
        batch = windows.sample(8, (4,), changed(**fields))
        np.testing.assert_array_equal(batch.curvature_per_m, plain.curvature_per_m)
        assert not np.array_equal(batch.frames, plain.frames)


def test_data_light_is_the_same_for_all_frames_of_a_window(make_drive):
    windows = small_windows([make_drive(30)], 3)
    plain, light = windows.sample(5, (4,)), windows.sample(5, (4,), changed(light=1.0))
    for before, after in zip(plain.frames, light.frames, strict=True):
        values = before.reshape(-1, 3)[:, 0]
        for level in np.unique(values)[::9]:
            assert len(np.unique(after.reshape(-1, 3)[values == level], axis=0)) == 1


def test_data_shadow_darkens_or_brightens_a_part(make_drive):
    window = np.full((2, 16, 41, 3), 100, np.uint8)
    for seed in range(5):
        result = data._shadowed(window, np.random.default_rng(seed)).astype(int)
        assert result.shape == window.shape
        assert np.ptp(result, axis=3).max() == 0  # no colour comes in
    assert (window == 100).all()


def test_data_augmentation_never_changes_the_drive(make_drive):
    drive = make_drive(30)
    frames, label = drive.frames.copy(), drive.curvature_per_m.copy()
    augment = AugmentConfig(mirror=0.5, shift_m=0.5, yaw_rad=0.02, light=0.5, shadow=1.0, noise=0.1)
    batch = small_windows([drive], 4).sample(10, (0,), augment)
    batch.frames[:] = 0
    batch.curvature_per_m[:] = 9
    np.testing.assert_array_equal(drive.frames, frames)
    np.testing.assert_array_equal(drive.curvature_per_m, label)


def test_data_plain_batch_is_a_copy(make_drive):
    drive = make_drive(10)
    batch = small_windows([drive], 10).sample(1, (0,))
    batch.frames[:] = 0
    assert drive.frames.any()


@pytest.mark.parametrize(
    "fields", [{"mirror": 1.5}, {"shadow": 2.0}, {"light": 1.1}, {"shift_m": -0.1}, {"noise": float("nan")}]
)
def test_data_augment_config_rejects_what_cannot_be(fields):
    with pytest.raises(BadInputError, match=next(iter(fields))):
        AugmentConfig(**fields)


# Pictures and names ----------------------------------------------------------------------------------------


def test_data_policy_frames_keeps_or_scales(make_drive):
    drive = make_drive(3)
    assert policy_frames(drive, 16, 41) is drive.frames
    larger = policy_frames(drive)
    assert larger.shape == (3, *FULL, 3)
    np.testing.assert_array_equal(larger[1], cv2.resize(drive.frames[1], FULL[::-1]))
    smaller = policy_frames(make_drive(3, size=(156, 400)))
    assert smaller.shape == (3, *FULL, 3)


def test_data_policy_frames_of_another_shape_are_an_error(make_drive):
    with pytest.raises(BadInputError, match=r"200:78.*got 40x16"):
        policy_frames(make_drive(3, size=(16, 40)))
    with pytest.raises(BadInputError, match="64x48"):
        Windows([make_drive(8, size=(48, 64))], 4)


@pytest.mark.parametrize(
    ("spec", "folder", "rows"),
    [
        ("drives/b", "drives/b", None),
        ("b@3:9", "b", slice(3, 9)),
        ("b@:9", "b", slice(None, 9)),
        ("b@3:", "b", slice(3, None)),
        ("me@home/b@0:2", "me@home/b", slice(0, 2)),
    ],
)
def test_data_drive_spec_is_folder_and_rows(spec, folder, rows):
    assert parse_drive_spec(spec) == (Path(folder), rows)


@pytest.mark.parametrize("spec", ["b@", "b@3", "b@a:b", "b@-1:3", "b@1:2:3", "b@1.5:3", "b@²:3"])
def test_data_drive_spec_errors_name_what_was_given(spec):
    with pytest.raises(BadInputError, match="FOLDER@A:B"):
        parse_drive_spec(spec)


def test_data_load_drive_takes_the_rows(saved_drive):
    whole, part = load_drive(str(saved_drive)), load_drive(f"{saved_drive}@4:9")
    assert len(part) == 5
    np.testing.assert_array_equal(part.frames, whole.frames[4:9])
    np.testing.assert_array_equal(part.curvature_per_m, whole.curvature_per_m[4:9])
    assert whole.road_masks is None
    assert load_drive(f"{saved_drive}@4:9", masks=True).mask_rows().tolist() == [1]
    with pytest.raises(BadInputError, match="rows 4:99"):
        load_drive(f"{saved_drive}@4:99")
