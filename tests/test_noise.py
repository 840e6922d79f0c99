"""Every kind of noise keeps one contract; each does what its name and its unit say."""

import itertools
import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim  # noqa: F401  (registers the environments)
from driving.noise import KINDS, Noise, noise_title, parse_noise, parse_noises, sheet
from driving.noise.draws import lasting, normal
from driving.noise.kind import HENDRYCKS_UNIT, LEVELS
from driving.noise.wrapper import Noisy
from sim.errors import BadInputError
from sim.injection import Injection

PICTURES = sorted(name for name, kind in KINDS.items() if kind.is_picture)
OTHERS = sorted(name for name, kind in KINDS.items() if not kind.is_picture)
FIFTEEN = {
    *(
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "snow",
    ),
    *("frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
LASTING = {
    "dead_pixels",
    "dead_rows",
    "dirt",
    "half_lens",
    "spatter",
    "frost",
    "low_sun",
    "pitch",
    "yaw",
    "roll",
    "shift",
}
ANEW = {
    *(
        "gaussian",
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "speckle",
        "salt_pepper",
        "motion_blur",
        "glass_blur",
    ),
    *("exposure", "elastic_transform", "snow", "rain", "patch"),
}
every_kind = pytest.mark.parametrize("name", sorted(KINDS))
every_picture = pytest.mark.parametrize("name", PICTURES)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(height: int = 31, width: int = 53) -> np.ndarray:
    return rng(99).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(height: int = 78, width: int = 200) -> np.ndarray:
    """Something like a road: smooth areas with edges and colour."""
    v, u = np.mgrid[:height, :width]
    frame = np.stack([90 + v, 120 - v // 2, 160 - v], axis=-1)
    frame[np.abs(u - width / 2) < v / 2] = (90, 92, 95)
    frame[np.abs(u - width / 2) < 2] = (230, 225, 210)
    return np.clip(frame, 0, 255).astype(np.uint8)


def grey(height: int = 150, width: int = 211) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def see(name, severity, frame, seed=0):
    return Noise(name, severity)(seed).see(frame)


# The contract ------------------------------------------------------------------------------------------------


def test_noise_has_the_fifteen_standard_kinds_and_every_group():
    assert {name for name, kind in KINDS.items() if kind.unit == HENDRYCKS_UNIT} == FIFTEEN
    groups = {"sensor", "blur", "digital", "weather", "occlusion", "geometry", "time", "actuator", "state", "adversary"}
    assert {kind.group for kind in KINDS.values()} == groups


@every_kind
def test_noise_says_what_it_is(name):
    kind = KINDS[name]
    assert kind.name == name
    assert len(kind.text) > 20
    assert 0 < kind.levels[0] < kind.levels[1] < kind.levels[2] <= kind.most
    assert all(noise_title(Noise(name, severity)) for severity in kind.levels)


@every_picture
@pytest.mark.parametrize("frame", [picture(), scene(), grey(9, 14), np.zeros((31, 53, 3), np.uint8)])
def test_noise_zero_severity_is_identity(name, frame):
    result = see(name, 0.0, frame)
    np.testing.assert_array_equal(result, frame)
    assert not np.shares_memory(result, frame)


@pytest.mark.parametrize("name", OTHERS)
def test_noise_zero_severity_changes_no_time_command_or_memory(name):
    injection, frames = Noise(name, 0.0)(3), [picture(), scene()]
    state = rng(2).standard_normal(19).astype(np.float32)
    for k in range(120):
        assert injection.arrives(0.05)
        np.testing.assert_array_equal(injection.see(frames[k % 2]), frames[k % 2])
        assert injection.told_dt_s(0.05, 0.05) == 0.05
        np.testing.assert_array_equal(injection.remember(state, 0.05), state)
        command = 0.02 * math.sin(k / 5)
        assert injection.execute(command, 0.05) == pytest.approx(command, abs=1e-12)


@every_picture
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("size", [(31, 53), (78, 200), (7, 5)])
def test_noise_keeps_shape_type_and_argument(name, level, size):
    kind = KINDS[name]
    severity = (*kind.levels, kind.most)[level]
    frame = picture(*size)
    frame.flags.writeable = False
    before = frame.copy()
    result = see(name, severity, frame)
    assert (result.shape, result.dtype) == ((*size, 3), np.uint8)
    np.testing.assert_array_equal(frame, before)


@every_picture
def test_noise_same_stream_gives_the_same_result(name):
    severity = KINDS[name].levels[1]
    one, two = Noise(name, severity)(4), Noise(name, severity)(4)
    for _ in range(3):
        np.testing.assert_array_equal(one.see(scene()), two.see(scene()))


@every_kind
def test_noise_draws_from_no_other_stream(name):
    np.random.seed(1)  # noqa: NPY002 (the global stream is what must not be touched)
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    injection = Noise(name, KINDS[name].levels[2])(5)
    for _ in range(3):
        injection.arrives(0.05)
        injection.see(scene())
        injection.execute(0.01, 0.05)
        injection.remember(np.zeros(19, np.float32), 0.05)
    assert np.random.random() == expected  # noqa: NPY002


def difference(noisy, clean):
    return np.abs(noisy.astype(int) - clean).mean()


def lost_correlation(noisy, clean):
    return 1.0 - np.corrcoef(noisy.ravel(), clean.ravel())[0, 1]


@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"elastic_transform"}))
def test_noise_grows_with_its_severity(name):
    """The standard elastic transform does not: its second level is the strongest. Fog and frost cover the picture with
    more of their own and less light of it: what they take is its likeness."""
    frame, measure = scene(), lost_correlation if name in ("fog", "frost") else difference
    changes = [
        np.mean([measure(see(name, s, frame, seed), frame) for seed in range(6)]) for s in (0.0, *KINDS[name].levels)
    ]
    assert changes[0] == pytest.approx(0.0, abs=1e-9)
    assert changes[1] > 0.01
    assert changes[1] < changes[2] * 1.02
    assert changes[2] < changes[3] * 1.02


@pytest.mark.parametrize("name", sorted(LASTING))
def test_noise_that_lasts_is_the_same_all_episode_and_another_in_the_next(name):
    severity, frame = KINDS[name].levels[1], scene()
    injection = Noise(name, severity)(0)
    one, two = injection.see(frame), injection.see(frame)
    np.testing.assert_array_equal(one, two)
    others = [see(name, severity, frame, seed) for seed in range(1, 8)]
    assert any(not np.array_equal(one, other) for other in others)


@pytest.mark.parametrize("name", sorted(ANEW))
def test_noise_is_drawn_anew_for_every_frame(name):
    injection, frame = Noise(name, KINDS[name].levels[1])(0), scene()
    assert (injection.see(frame) != injection.see(frame)).any()


def test_noise_fast_normal_numbers_are_normal():
    values = normal(rng(3), (200, 1000)).ravel()
    assert values.mean() == pytest.approx(0.0, abs=0.01)
    assert values.std() == pytest.approx(1.0, abs=0.005)
    for z in (-2.0, -0.5, 1.0, 2.5):
        assert np.mean(values < z) == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=0.004)


def test_noise_lasting_numbers_do_not_move_the_stream():
    stream, twin = rng(5), rng(5)
    assert lasting(stream).random() == lasting(stream).random() != lasting(rng(6)).random()
    assert stream.random() == twin.random()


# Sensor ------------------------------------------------------------------------------------------------------


def test_noise_gaussian_has_the_variance_of_its_name():
    variance = 0.01  # 128 lies five standard deviations from both ends: nothing is clipped
    values = see("gaussian", variance, grey()) / 255
    assert values.var() == pytest.approx(variance, rel=0.02)
    assert values.mean() == pytest.approx(128 / 255, abs=0.0012)  # rounded, not cut off
    assert np.abs(np.corrcoef(values.reshape(-1, 3).T) - np.eye(3)).max() < 0.03  # channels on their own
    assert abs(np.corrcoef(values[:, :-1, 0].ravel(), values[:, 1:, 0].ravel())[0, 1]) < 0.03


def test_noise_gaussian_strong_piles_up_at_the_ends_as_theory_says():
    variance = 0.3
    values = see("gaussian", variance, grey())
    below = 0.5 * math.erfc((128 - 0.5) / 255 / math.sqrt(2 * variance))
    above = 0.5 * math.erfc((254.5 - 128) / 255 / math.sqrt(2 * variance))
    assert np.mean(values == 0) == pytest.approx(below, abs=0.01)
    assert np.mean(values == 255) == pytest.approx(above, abs=0.01)


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.08), (2, 0.12), (1.5, 0.10)])
def test_noise_gaussian_of_the_fifteen_has_its_deviation(severity, sigma):
    assert (see("gaussian_noise", severity, grey()) / 255).std() == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize(("severity", "photons"), [(1, 60), (3, 12)])
def test_noise_shot_counts_photons(severity, photons):
    """A Poisson number has its mean as variance; and it is a whole number of photons."""
    frame = np.full((200, 200, 3), 80, np.uint8)  # three times as many would be cut off at white: hardly any
    counts = see("shot_noise", severity, frame) / 255 * photons
    expected = 80 / 255 * photons
    assert counts.mean() == pytest.approx(expected, rel=0.01)
    assert counts.var() == pytest.approx(expected, rel=0.03)
    assert np.abs(counts - np.rint(counts)).max() < 0.5 / 255 * photons + 1e-9
    np.testing.assert_array_equal(see("shot_noise", severity, np.zeros((5, 5, 3), np.uint8)), 0)


@pytest.mark.parametrize(("severity", "share"), [(1, 0.03), (4, 0.17)])
def test_noise_impulse_breaks_its_share_of_the_values(severity, share):
    values = see("impulse_noise", severity, grey(300, 300))
    assert np.mean(values == 0) == pytest.approx(share / 2, abs=0.003)
    assert np.mean(values == 255) == pytest.approx(share / 2, abs=0.003)


def test_noise_speckle_grows_with_the_light():
    for value in (40, 120):
        frame = np.full((200, 200, 3), value, np.uint8)
        assert see("speckle", 0.2, frame).std() == pytest.approx(0.2 * value, rel=0.03)


@pytest.mark.parametrize("name", ["salt_pepper", "dead_pixels"])
def test_noise_pixels_break_in_their_share_half_black_half_white(name):
    share = 0.2
    values = see(name, share, grey())
    assert (values == values[..., :1]).all()  # a pixel breaks as a whole
    assert np.mean(values == 0) == pytest.approx(share / 2, abs=0.008)
    assert np.mean(values == 255) == pytest.approx(share / 2, abs=0.008)
    assert np.mean(values == 128) == pytest.approx(1 - share, abs=0.01)


def test_noise_dead_rows_are_black_as_a_whole():
    shares = []
    for seed in range(30):
        black = (see("dead_rows", 0.3, grey(), seed) == 0).all(axis=(1, 2))
        assert set(np.unique(see("dead_rows", 0.3, grey(), seed)[~black])) == {128}
        shares.append(black.mean())
    assert np.mean(shares) == pytest.approx(0.3, abs=0.03)


# Blur --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma_px", [0.8, 2.5])
def test_noise_blur_turns_a_step_into_the_gaussian_integral(sigma_px):
    frame = np.zeros((31, 61, 3), np.uint8)
    frame[:, 30:] = 255
    columns = np.arange(61)
    expected = [255 * 0.5 * (1 + math.erf((c - 29.5) / (sigma_px * math.sqrt(2)))) for c in columns]
    result = see("blur", sigma_px, frame)
    np.testing.assert_allclose(result, np.broadcast_to(np.array(expected)[None, :, None], result.shape), atol=4)


def test_noise_defocus_spreads_a_point_over_a_disc():
    """Radius 3 pixels at a height of 224 is 6 at a height of 448."""
    frame = np.zeros((448, 448, 3), np.uint8)
    frame[224, 224] = 255
    spread = see("defocus_blur", 1.0, np.repeat(frame, 1, axis=0))[..., 0] > 0
    reach = np.argwhere(spread) - 224
    assert np.hypot(*reach.T).max() == pytest.approx(6.0, abs=0.6)
    assert spread.sum() == pytest.approx(math.pi * 6**2, rel=0.15)


def test_noise_motion_blur_smears_one_way_only():
    frame = np.zeros((224, 224, 3), np.uint8)
    frame[112, 112] = 255
    for seed in range(5):
        trail = np.argwhere(see("motion_blur", 1.0, frame, seed)[..., 0] > 0) - 112
        assert (trail[:, 1] <= 0).all() or (trail[:, 1] >= 0).all()
        ends = trail[np.argmax(np.hypot(*trail.T))]
        assert abs(math.atan2(abs(ends[0]), abs(ends[1]))) <= math.pi / 4 + 0.15
        assert len(trail) >= 6
    assert see("motion_blur", 3.0, scene()).mean() == pytest.approx(scene().mean(), rel=0.02)


def test_noise_glass_blur_and_zoom_blur_keep_the_light():
    for name in ("glass_blur", "zoom_blur"):
        assert see(name, 3.0, scene()).mean() == pytest.approx(scene().mean(), rel=0.05)
    frame = np.zeros((78, 200, 3), np.uint8)
    frame[39, 100] = 255
    assert (see("zoom_blur", 3.0, frame)[..., 0] > 0).sum() < 40  # near the middle little moves


# Digital -----------------------------------------------------------------------------------------------------


def test_noise_exposure_shifts_the_whole_picture_uniformly():
    injection, severity = Noise("exposure", 0.3)(0), 0.3
    frames = [injection.see(grey(3, 5)) for _ in range(600)]
    assert all(np.ptp(frame) == 0 for frame in frames)
    shifts = (np.array([frame[0, 0, 0] for frame in frames]) - 128.0) / 255
    assert np.abs(shifts).max() <= severity + 0.5 / 255
    assert shifts.mean() == pytest.approx(0.0, abs=0.03)
    assert shifts.var() == pytest.approx(severity**2 / 3, rel=0.15)


def test_noise_brightness_adds_to_the_value_and_keeps_the_hue():
    frame = np.array([[[100, 50, 25], [0, 0, 0], [250, 250, 200]]], np.uint8)
    brighter = see("brightness", 2.0, frame)[0]  # 0.2 of the range is 51
    np.testing.assert_allclose(brighter[0], [151, 75.5, 37.75], atol=1)
    np.testing.assert_allclose(brighter[1], [51, 51, 51], atol=1)
    assert brighter[2].max() == 255


@pytest.mark.parametrize(("severity", "share"), [(1, 0.4), (5, 0.05), (1.5, 0.35)])
def test_noise_contrast_shrinks_about_the_mean(severity, share):
    frame = scene()
    lower = see("contrast", severity, frame).astype(float)
    np.testing.assert_allclose(lower, (frame - frame.mean((0, 1))) * share + frame.mean((0, 1)), atol=0.6)


def test_noise_saturation_loses_its_share_of_the_colour():
    frame = scene()
    spread = np.ptp(frame.astype(int), axis=2)
    assert np.ptp(see("saturation", 1.0, frame).astype(int), axis=2).max() == 0
    np.testing.assert_allclose(np.ptp(see("saturation", 0.5, frame).astype(int), axis=2), spread / 2, atol=1.6)


def test_noise_colour_temperature_turns_white_into_the_light_of_a_black_body():
    white = np.full((3, 3, 3), 255, np.uint8)
    kelvin = 1e6 / (1e6 / 6500 + 179.5)  # 3,000 K
    assert kelvin == pytest.approx(3000, abs=5)
    warm = see("colour_temperature", 179.5, white)[0, 0]
    np.testing.assert_allclose(warm, [255, 180 * 255 / 249, 107 * 255 / 253], atol=2)


def test_noise_pixelate_leaves_few_values():
    frame = scene()
    assert len(np.unique(see("pixelate", 5.0, frame).reshape(-1, 3), axis=0)) < 0.5 * (0.25**2) * frame.size


def test_noise_jpeg_is_the_file_of_that_quality():
    import cv2

    packed = cv2.imencode(".jpg", scene()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    np.testing.assert_array_equal(see("jpeg_compression", 3.0, scene()), cv2.imdecode(packed, 1)[..., ::-1])


# Weather, occlusion ------------------------------------------------------------------------------------------


def test_noise_fog_takes_contrast_and_rain_and_snow_draw_streaks():
    assert lost_correlation(see("fog", 5.0, scene()), scene()) > 0.3
    for name in ("rain", "snow"):
        assert (see(name, KINDS[name].levels[1], scene()).astype(int) - scene() > 60).mean() > 0.01


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_noise_patch_covers_its_share_with_one_grey_rectangle(share):
    frame = np.full((78, 200, 3), 7, np.uint8)
    covered = see("patch", share, frame)[..., 0] == 128
    assert covered.mean() == pytest.approx(share, abs=0.01)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert covered.sum() == len(rows) * len(columns)


@pytest.mark.parametrize(("name", "share"), [("dirt", 0.25), ("half_lens", 0.35), ("spatter", 0.2)])
def test_noise_on_the_lens_covers_its_share(name, share):
    covered = np.abs(see(name, share, grey(78, 200)).astype(int) - 128).max(2) > 12
    assert covered.mean() == pytest.approx(share, abs=0.06)


def test_noise_half_lens_covers_either_side():
    sides = {bool(see("half_lens", 0.3, grey(), seed)[0, 0, 0] < 60) for seed in range(10)}
    assert sides == {False, True}


# Geometry ----------------------------------------------------------------------------------------------------


def marked(row: int, column: int) -> np.ndarray:
    frame = np.zeros((78, 200, 3), np.uint8)
    frame[row - 1 : row + 2, column - 1 : column + 2] = 255
    return frame


def where(frame: np.ndarray) -> np.ndarray:
    weights = frame[..., 0].astype(float)
    v, u = np.mgrid[: frame.shape[0], : frame.shape[1]]
    return np.array([(weights * v).sum(), (weights * u).sum()]) / weights.sum()


def test_noise_turned_camera_moves_the_picture_as_a_pinhole_does():
    """The default camera: focal length 150 pixels, straight ahead at row 26, column 99.5."""
    ahead = marked(26, 100)
    expected = 150 * math.tan(math.radians(3))
    assert abs(where(see("yaw", 3.0, ahead))[1] - where(ahead)[1]) == pytest.approx(expected, abs=0.3)
    assert abs(where(see("pitch", 3.0, ahead))[0] - where(ahead)[0]) == pytest.approx(expected, abs=0.3)
    aside = marked(26, 150)
    moved = where(see("roll", 10.0, aside)) - [26, 99.5]
    assert abs(moved[0]) == pytest.approx(50.5 * math.sin(math.radians(10)), abs=0.5)
    assert moved[1] == pytest.approx(50.5 * math.cos(math.radians(10)), abs=0.5)


def test_noise_shifted_camera_moves_the_ground_and_not_the_sky():
    """A ground point in row v is f h / (v - 26) = 150 x 1.4 / 40 = 5.25 m ahead: 0.3 m there are 8.6 columns."""
    ground, sky = marked(66, 100), marked(12, 60)
    assert abs(where(see("shift", 0.3, ground))[1] - 100) == pytest.approx(150 * 0.3 / 5.25, abs=0.3)
    np.testing.assert_array_equal(see("shift", 0.3, sky), sky)


def test_noise_focal_length_zooms_about_straight_ahead():
    factors = {round(float((where(see("focal_length", 0.2, marked(26, 130), seed))[1] - 99.5) / 30.5), 1)
               for seed in range(10)}  # fmt: skip
    assert factors == {1.2, 0.8}


# Time --------------------------------------------------------------------------------------------------------


def test_noise_dropped_frames_are_lost_in_their_share_never_the_first():
    injection = Noise("dropped", 0.4)(1)
    arrived = [injection.arrives(0.05) for _ in range(4000)]
    assert arrived[0]
    assert np.mean(arrived) == pytest.approx(0.6, abs=0.03)
    assert any(Noise("dropped", 1.0)(1).arrives(0.05) for _ in range(1))
    assert injection.told_dt_s(0.05, 0.15) == 0.15


def test_noise_frozen_frames_repeat_the_one_before():
    injection = Noise("frozen", 0.5)(1)
    frames = [np.full((2, 2, 3), k, np.uint8) for k in range(200)]
    seen = [int(injection.see(frame)[0, 0, 0]) for frame in frames]
    assert seen[0] == 0
    assert all(now in (before, k) for k, (before, now) in enumerate(itertools.pairwise(seen), start=1))
    assert np.mean(np.diff(seen) == 0) == pytest.approx(0.5, abs=0.12)


def test_noise_late_frames_are_that_old():
    injection, seen = Noise("late", 0.15)(1), []
    for k in range(10):
        injection.arrives(0.05)
        seen.append(int(injection.see(np.full((2, 2, 3), k, np.uint8))[0, 0, 0]))
    assert seen == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]


def test_noise_jitter_leaves_out_so_many_on_average_and_tells_or_not():
    told, untold = Noise("jitter", 1.5)(1), Noise("jitter_untold", 1.5)(1)
    arrived = [told.arrives(0.05) for _ in range(6000)]
    assert arrived == [untold.arrives(0.05) for _ in range(6000)]
    assert np.mean(arrived) == pytest.approx(1 / 2.5, abs=0.02)
    assert told.told_dt_s(0.05, 0.2) == 0.2
    assert untold.told_dt_s(0.05, 0.2) == 0.05


# Actuator, state ---------------------------------------------------------------------------------------------


def executed(name, severity, commands, seed=0):
    injection = Noise(name, severity)(seed)
    return [injection.execute(command, 0.05) for command in commands]


def test_noise_actuator_delay_executes_later():
    assert executed("delay", 0.1, [1.0, 2.0, 3.0, 4.0]) == [0.0, 0.0, 1.0, 2.0]


def test_noise_actuator_gain_and_bias_go_either_way():
    assert {round(executed("gain", 0.25, [0.01], seed)[0], 6) for seed in range(10)} == {0.0125, 0.008}
    assert {round(executed("bias", 0.003, [0.01], seed)[0], 6) for seed in range(10)} == {0.013, 0.007}


def test_noise_actuator_backlash_follows_when_the_play_is_used_up():
    np.testing.assert_allclose(
        executed("backlash", 0.02, [0.005, 0.02, 0.015, 0.0, -0.02]), [0, 0.01, 0.01, 0.01, -0.01]
    )


def test_noise_actuator_dead_band_takes_small_commands():
    np.testing.assert_allclose(executed("dead_band", 0.01, [0.005, 0.02, -0.03]), [0, 0.01, -0.02], atol=1e-12)


def test_noise_actuator_rate_limit_turns_the_wheels_slowly():
    """Two seconds for 0.1 1/m are 0.0025 1/m a step of 0.05 s."""
    np.testing.assert_allclose(executed("rate_limit", 2.0, [0.0, 0.1, 0.1, 0.001]), [0, 0.0025, 0.005, 0.0025])


def test_noise_state_burst_lasts_half_a_second_in_five():
    import torch

    injection, state = Noise("state_burst", 0.3)(2), torch.zeros(1000)
    stirred = [bool((injection.remember(state, 0.05) != 0).any()) for _ in range(200)]
    assert sum(stirred) == pytest.approx(20, abs=2)
    assert (state == 0).all()
    injection = Noise("state_burst", 0.3)(2)
    bursts = [injection.remember(np.zeros(1000, np.float32), 0.05) for _ in range(100)]
    assert np.std(bursts[-1]) == pytest.approx(0.3, rel=0.1)


# Names -------------------------------------------------------------------------------------------------------


def test_noise_is_parsed_and_written_back():
    noise = parse_noise("salt_pepper:0.25")
    assert noise == Noise("salt_pepper", 0.25)
    assert str(noise) == "salt_pepper:0.25"
    assert parse_noise(str(noise)) == noise
    assert parse_noise("none") is None
    assert parse_noise(None) is None
    assert [parse_noise(f"late:{level}").severity for level in LEVELS] == [0.05, 0.15, 0.3]


def test_noise_many_are_parsed_by_kind_group_and_all():
    assert [str(noise) for noise in parse_noises(["none", "gaussian:0.1", "gaussian", "gaussian:0.1"])] == [
        *("None", "gaussian:0.1", "gaussian:0.2", "gaussian:0.3")
    ]
    weather = parse_noises(["weather"])
    assert {noise.name for noise in weather} == {"fog", "frost", "snow", "rain", "low_sun", "spatter"}
    assert len(parse_noises(["all"])) == 3 * len(KINDS)


def test_noise_many_are_parsed_at_one_level():
    middle = parse_noises(["all:middle"])
    assert [noise.severity for noise in middle] == [kind.levels[1] for kind in KINDS.values()]
    assert parse_noises(["weather:strong"]) == parse_noises(["weather"])[2::3]
    assert parse_noises(["blur:mild"]) == [Noise("blur", 1.0)]  # the kind of this name, not its group


@pytest.mark.parametrize("text", ["smog", "smog:1", "weather:much", "all:2", "weather:", "", ":mild"])
def test_noise_many_reject_what_they_cannot_read_in_one_line(text):
    with pytest.raises(BadInputError, match=rf"weather.*mild.*got '{text}'") as caught:
        parse_noises([text])
    assert "\n" not in str(caught.value)


def test_noise_calls_with_an_episode_make_an_injection():
    for name in KINDS:
        assert isinstance(Noise(name, KINDS[name].levels[0])(7), Injection)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian", "NAME:SEVERITY"),
        ("gaussian:", "NAME:SEVERITY"),
        ("gaussian:much", "NAME:SEVERITY"),
        ("gaussian:0.1:0.2", "NAME:SEVERITY"),
        ("gaussian:-0.1", "severity"),
        ("gaussian:nan", "severity"),
        ("gaussian:inf", "severity"),
        ("patch:1.5", "from 0 to 1 .share of the picture., got 1.5"),
        ("smog:0.1", "gaussian.*'smog'"),
        (":0.1", "gaussian"),
        ("", "NAME:SEVERITY"),
    ],
)
def test_noise_rejects_what_it_cannot_read_in_one_line(text, message):
    with pytest.raises(BadInputError, match=message) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)


# Around other environments -----------------------------------------------------------------------------------


def lane_env():
    return gymnasium.make("lane/Procedural-v0", disable_env_checker=True, roadside=False, hills=False, family="urban")


@pytest.mark.parametrize("name", ["fog:3", "frozen:0.5", "late:0.15", "jitter:1.5", "delay:0.15", "gain:0.5", None])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_noise_wrapper_is_an_environment(name):
    env = Noisy(lane_env(), name)
    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("name", ["gaussian:0.1", "jitter:1", "bias:0.01"])
def test_noise_wrapper_is_reproducible_and_registered_by_its_arguments(name):
    env, twin = Noisy(lane_env(), name), Noisy(lane_env(), name)
    for one in (env, twin):
        one.reset(seed=4)
    for k in range(8):
        action = np.array([0.01 * math.sin(k)], np.float32)
        for a, b in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            np.testing.assert_array_equal(a, b)
    assert env.spec.additional_wrappers[-1].kwargs == {"noise": name, "dt_s": 0.05}
    rebuilt = gymnasium.make(env.spec)
    assert isinstance(rebuilt, Noisy)
    for one in (env, twin, rebuilt):
        one.close()


def test_noise_wrapper_sums_the_reward_over_lost_pictures_and_tells_the_time():
    env, plain = Noisy(lane_env(), "jitter:2"), lane_env()
    env.reset(seed=4)
    plain.reset(seed=4)
    for _ in range(6):
        _, reward, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        n = round(info["dt_s"] / 0.05)
        assert reward == pytest.approx(sum(plain.step(np.zeros(1, np.float32))[1] for _ in range(n)))
        if terminated or truncated:
            break
    env.close()
    plain.close()


def test_noise_wrapper_refuses_what_it_cannot_disturb():
    with pytest.raises(BadInputError, match="uint8 pictures"):
        Noisy(gymnasium.make("CartPole-v1"), "fog:1")
    for name in ("state_burst:0.1", "fgsm:1"):
        with pytest.raises(BadInputError, match="needs the network"):
            Noisy(lane_env(), name)
    with pytest.raises(BadInputError, match="expected one of"):
        Noisy(lane_env(), "smog:1")


def test_noise_readme_has_every_kind_with_its_unit_and_levels():
    text = (Path(__file__).parents[1] / "driving" / "noise" / "README.md").read_text()
    for kind in KINDS.values():
        levels = ", ".join(f"{severity:g}" for severity in kind.levels)
        assert f"| `{kind.name}` | {kind.group} | {kind.unit} | {levels} |" in text


def test_noise_sheet_shows_every_picture_kind(tmp_path):
    import cv2

    sheet.main(tmp_path / "noises.png")
    picture = cv2.imread(str(tmp_path / "noises.png"))
    n_rows = -(-len(PICTURES) // sheet.N_ACROSS)
    assert picture.shape[0] % n_rows == 0
    assert picture.shape[1] > 3 * 3 * 400
