"""Gain and lag of a policy, against ones that are known."""

import numpy as np
import pytest
import torch

from driving.response import response
from sim.procedural_env import ProceduralEnv
from tests.stand_in import StandInEnv


class Known(torch.nn.Module):
    """Answers the brightness of the picture with a gain, through a first-order lag; its state is the answer."""

    def __init__(self, gain, lag_s):
        super().__init__()
        self.gain, self.lag_s = gain, lag_s

    def encode(self, frames):
        return frames.float().mean(dim=(1, 2, 3))[:, None]

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def decode(self, features, state, dt_s):
        answers = []
        for t in range(features.shape[1]):
            keep = torch.exp(-dt_s[:, t : t + 1] / self.lag_s) if self.lag_s else 0.0
            state = keep * state + (1 - keep) * self.gain * features[:, t]
            answers.append(state)
        return torch.cat(answers, dim=1), state


class Bright(StandInEnv):
    """The picture gets brighter by 100 a metre to the left, without noise; the expert steers 0.01 1/m a metre back."""

    def _see(self):
        return np.full(self.observation_space.shape, round(128 + 100 * self.offset_m), np.uint8), {"setting": {}}

    def _expert_curvature_per_m(self):
        return -0.01 * self.offset_m


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("lag_s", [0.0, 0.1, 0.3])
def test_response_finds_gain_and_lag(gain, lag_s):
    policy = Known(-gain * 0.01 / 100, lag_s)
    found = response(policy, Bright, [1, 2])
    assert found["gain"] == pytest.approx(gain, rel=0.02)
    assert found["lag_s"] == pytest.approx(max(lag_s, 0.05), abs=0.026)
    assert found["n"] == 8
    assert found["families"]["any"] == {key: found[key] for key in ("gain", "lag_s", "n")}
    assert list(found["speeds"]) == ["0 to 12 m/s"]


def test_response_is_by_family_and_speed(small_policy):
    from driving.models.policy import build_policy

    found = response(build_policy(seed=1), lambda: ProceduralEnv(roadside=False, hills=False), range(3000, 3006))
    assert sum(row["n"] for row in found["families"].values()) == found["n"]
    assert sum(row["n"] for row in found["speeds"].values()) == found["n"]
    assert len(found["families"]) > 1
    assert abs(found["gain"]) < 0.5  # untrained
