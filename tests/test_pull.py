import numpy as np
import pytest
import torch

from driving.models.ltc import LTCConfig
from driving.models.policy import PolicyConfig, build_policy, to_tensor
from sim.conventions import FRAME_RATE_HZ
from tests.benchmarks.pull import OFFSET_M, decay_s, first_pictures, under_noise


@pytest.fixture(scope="module")
def pairs():
    return first_pictures(range(3000, 3002))


def test_pull_pictures_are_from_both_sides_of_the_same_place(pairs):
    assert pairs.shape[:2] == (2, 2)
    assert pairs.dtype == np.uint8
    assert not np.array_equal(pairs[:, 0], pairs[:, 1])


def test_pull_a_larger_c_remembers_longer_and_no_state_for_a_frame(pairs):
    frames = to_tensor(pairs[:, 0])
    times = [
        float(decay_s(build_policy(PolicyConfig("ltc", LTCConfig(initial_c=c)), 0), frames).median())
        for c in (0.5, 10.0, 100.0)
    ]
    assert times[0] < times[1] < times[2]
    cnn = build_policy(PolicyConfig("feedforward"), 0)
    assert decay_s(cnn, frames).tolist() == pytest.approx([1 / FRAME_RATE_HZ] * 2)


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_pull_without_noise_is_none_and_the_answer_whole(pairs, core):
    found = under_noise(build_policy(PolicyConfig(core), 0).eval(), pairs, 0.0)
    assert found.pull_per_m < 1e-6
    assert found.shake_per_m < 1e-4
    assert found.answer == pytest.approx(1.0, abs=0.02)
    assert found.off_m < 0.1


class _Leaning(torch.nn.Module):
    """A network that steers by the brightness of its picture, more to the left the brighter it is."""

    def encode(self, frames):
        return frames.float().mean((1, 2, 3))[:, None] / 255.0

    def decode(self, features):
        return features[..., 0] * 0.02, None


def test_pull_is_what_noise_does_to_the_mean_command():
    dark, less_dark = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 20, np.uint8)
    found = under_noise(_Leaning(), np.stack([dark, less_dark])[None], 0.1)
    # Clipped at black, the mean of dark pixels rises: 0.3 of 1 standard deviation of 0.32, and more.
    clean = 0.02 * np.array([10, 20]) / 255
    assert found.pull_per_m == pytest.approx(0.02 * 0.11, rel=0.15)
    assert found.answer == pytest.approx(0.55, abs=0.1)  # as many pixels are not cut off
    assert found.off_m == pytest.approx(
        found.pull_per_m / (found.answer * np.diff(clean)[0] / (2 * OFFSET_M)), rel=1e-3
    )
