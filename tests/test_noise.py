import math

import numpy as np
import pytest

from driving.noise import CORRUPTIONS, MAX_SEVERITY, Noise, parse_noise
from sim.errors import BadInputError

every_corruption = pytest.mark.parametrize("name", sorted(CORRUPTIONS))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(height: int = 11, width: int = 23) -> np.ndarray:
    return rng(99).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(height: int = 150, width: int = 211) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


@every_corruption
def test_noise_zero_severity_is_identity(name):
    frame = picture()
    result = CORRUPTIONS[name](frame, 0.0, rng())
    np.testing.assert_array_equal(result, frame)
    assert not np.shares_memory(result, frame)


@every_corruption
@pytest.mark.parametrize("severity", [0.01, 0.5, 2.0, MAX_SEVERITY])
def test_noise_keeps_shape_type_and_argument(name, severity):
    frame = picture()
    frame.flags.writeable = False
    before = frame.copy()
    result = CORRUPTIONS[name](frame, severity, rng())
    assert (result.shape, result.dtype) == ((11, 23, 3), np.uint8)
    np.testing.assert_array_equal(frame, before)


@every_corruption
def test_noise_same_stream_gives_the_same_result(name):
    a, b = (CORRUPTIONS[name](picture(), 0.3, rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@every_corruption
def test_noise_draws_from_no_other_stream(name):
    np.random.seed(1)  # noqa: NPY002 (the global stream is what must not be touched)
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    CORRUPTIONS[name](picture(), 0.3, rng())
    assert np.random.random() == expected  # noqa: NPY002


@every_corruption
def test_noise_grows_with_its_severity(name):
    frame = picture(78, 200)
    changes = [np.abs(CORRUPTIONS[name](frame, s, rng(2)).astype(int) - frame).mean() for s in (0.0, 0.05, 0.4, 0.9)]
    assert changes[0] == 0
    assert changes[1] <= changes[2] < changes[3]


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"blur"}))
def test_noise_is_drawn_anew_for_every_frame(name):
    stream, frame = rng(), picture(78, 200)
    one, two = (CORRUPTIONS[name](frame, 0.3, stream) for _ in range(2))
    assert (one != two).any()


def test_noise_gaussian_has_the_variance_of_its_name():
    variance = 0.01  # 128 lies five standard deviations from both ends: nothing is clipped
    values = CORRUPTIONS["gaussian"](grey(), variance, rng()) / 255
    assert values.var() == pytest.approx(variance, rel=0.02)
    assert values.mean() == pytest.approx(128 / 255, abs=0.0012)  # rounded, not cut off
    assert np.abs(np.corrcoef(values.reshape(-1, 3).T) - np.eye(3)).max() < 0.03  # channels on their own
    assert abs(np.corrcoef(values[:, :-1, 0].ravel(), values[:, 1:, 0].ravel())[0, 1]) < 0.03


def test_noise_gaussian_strong_piles_up_at_the_ends_as_theory_says():
    variance = 0.3
    values = CORRUPTIONS["gaussian"](grey(), variance, rng())
    below = 0.5 * math.erfc((128 - 0.5) / 255 / math.sqrt(2 * variance))
    above = 0.5 * math.erfc((254.5 - 128) / 255 / math.sqrt(2 * variance))
    assert np.mean(values == 0) == pytest.approx(below, abs=0.01)
    assert np.mean(values == 255) == pytest.approx(above, abs=0.01)


def test_noise_salt_pepper_breaks_its_share_of_the_pixels_half_black_half_white():
    share = 0.2
    values = CORRUPTIONS["salt_pepper"](grey(), share, rng())
    assert (values == values[..., :1]).all()  # a pixel breaks as a whole
    assert np.mean(values == 0) == pytest.approx(share / 2, abs=0.006)
    assert np.mean(values == 255) == pytest.approx(share / 2, abs=0.006)
    assert np.mean(values == 128) == pytest.approx(1 - share, abs=0.008)


def test_noise_brightness_shifts_the_whole_picture_uniformly():
    stream, severity = rng(), 0.3
    frames = [CORRUPTIONS["brightness"](grey(3, 5), severity, stream) for _ in range(600)]
    assert all(np.ptp(frame) == 0 for frame in frames)
    shifts = (np.array([frame[0, 0, 0] for frame in frames]) - 128.0) / 255
    assert np.abs(shifts).max() <= severity + 0.5 / 255
    assert shifts.mean() == pytest.approx(0.0, abs=0.03)
    assert shifts.var() == pytest.approx(severity**2 / 3, rel=0.15)


@pytest.mark.parametrize("sigma_px", [0.8, 2.5])
def test_noise_blur_turns_a_step_into_the_gaussian_integral(sigma_px):
    frame = np.zeros((31, 61, 3), np.uint8)
    frame[:, 30:] = 255
    columns = np.arange(61)
    expected = [255 * 0.5 * (1 + math.erf((c - 29.5) / (sigma_px * math.sqrt(2)))) for c in columns]
    result = CORRUPTIONS["blur"](frame, sigma_px, rng())
    np.testing.assert_allclose(result, np.broadcast_to(np.array(expected)[None, :, None], result.shape), atol=4)


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0, 3.0])
def test_noise_occlusion_covers_its_share_with_one_grey_rectangle(share):
    frame = np.full((78, 200, 3), 7, np.uint8)
    covered = CORRUPTIONS["occlusion"](frame, share, rng())[..., 0] == 128
    assert covered.mean() == pytest.approx(min(share, 1.0), abs=0.01)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert covered.sum() == len(rows) * len(columns)


def test_noise_is_parsed_and_written_back():
    noise = parse_noise("salt_pepper:0.25")
    assert noise == Noise("salt_pepper", 0.25)
    assert str(noise) == "salt_pepper:0.25"
    assert parse_noise(str(noise)) == noise
    assert parse_noise("none") is None
    assert parse_noise(None) is None


def test_noise_applies_the_corruption_of_its_name():
    frame = picture()
    for name, corruption in CORRUPTIONS.items():
        np.testing.assert_array_equal(Noise(name, 0.4)(frame, rng(3)), corruption(frame, 0.4, rng(3)))


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
        ("fog:0.1", "gaussian.*'fog'"),
        (":0.1", "gaussian"),
        ("", "NAME:SEVERITY"),
    ],
)
def test_noise_rejects_what_it_cannot_read_in_one_line(text, message):
    with pytest.raises(BadInputError, match=message) as caught:
        parse_noise(text)
    assert "\n" not in str(caught.value)
