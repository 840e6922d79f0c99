"""Recovery from a burst in the state: against networks stepped by hand on the same pictures."""

import numpy as np
import pytest
import torch

from driving.harness.recovery import Recovery, recovery_s
from driving.harness.store import EpisodeStore
from driving.harness.sweep import Sweep, run_sweep
from driving.models import checkpoint
from driving.models.policy import PolicyConfig, build_policy, to_tensor
from driving.noise import Noise
from driving.rollout import drive_policy
from driving.settings import env_maker

OPTIONS = {"roadside": False, "family": "highway", "hills": False}


class Keeping(Recovery):
    """Keeps what it sees as well."""

    def __init__(self, policy):
        super().__init__(policy)
        self.seen = {}

    def watch(self, instants):
        super().watch(instants)
        for i in instants:
            self.seen.setdefault(i.i_run, []).append((i.time_s, i.frame.copy(), i.curvature_per_m, i.state.clone()))

    def result(self):
        return super().result(), self.seen


@pytest.mark.parametrize("name", ["ltc19@0", "lstm64@0"])
def test_recovery_is_that_of_a_network_that_was_spared_the_burst(name):
    policy = checkpoint.load(name)
    env = env_maker("lane/Procedural-v0", OPTIONS, 12.0)
    (group,) = drive_policy(policy, env, range(3, 5), 11.0, Noise("state_burst", 0.5), lambda: Keeping(policy), 1)
    found, seen = group.watched
    assert len(found) == 2
    for i_run, value in enumerate(found):
        times, frames, commands, states = zip(*seen[i_run], strict=True)
        # Frame i is remembered at (i + 1) / 20 s: bursts begin with frames 90 and 190.
        state, gap = states[89][None], []
        for i in range(90, 190):
            with torch.no_grad():
                command, state = policy.step(to_tensor(frames[i][None]), state, torch.tensor([0.05]))
            gap.append(abs(commands[i] - float(command[0])))
        assert max(gap[:10]) > 0
        last = max(i for i in range(100) if gap[i] > 0.05 * max(gap))
        assert value == pytest.approx(max(times[90 + last] + 0.05 - times[99], 0.0), abs=0.051)
        assert 0 <= value <= 4.5


def test_recovery_without_a_state_or_a_second_burst_is_unknown():
    policy = build_policy(PolicyConfig("feedforward"), 0).eval()
    with torch.no_grad():
        for parameter in policy.core.parameters():
            parameter.zero_()  # straight on: some steps at least
    env = env_maker("lane/Procedural-v0", OPTIONS, 12.0)
    (group,) = drive_policy(policy, env, range(3, 5), 10.2, Noise("state_burst", 0.5), lambda: Recovery(policy), 1)
    assert group.watched == [None, None]
    ltc = checkpoint.load("ltc19@0")
    (group,) = drive_policy(ltc, env, range(3, 5), 6.0, Noise("state_burst", 0.5), lambda: Recovery(ltc), 1)
    assert group.watched == [None, None]


def test_recovery_is_counted_from_the_end_of_the_burst_to_the_last_time_above():
    times = np.arange(0.0, 1.0, 0.1).tolist()
    assert recovery_s(times, [1, 1, 0.9, 0.4, 0.01, 0.06, 0.01, 0, 0, 0], 0.2) == pytest.approx(0.4)
    assert recovery_s(times, [1, 1, 0.01, 0, 0, 0, 0, 0, 0, 0], 0.2) == 0.0
    assert recovery_s(times, [0] * 10, 0.2) is None
    assert recovery_s([], [], 0.0) is None


def test_sweep_keeps_the_recovery_of_bursts_alone(tmp_path):
    policy = checkpoint.load("ltc19@0")
    noises = [None, Noise("state_burst", 0.5)]
    sweep = Sweep({"ltc@0": policy}, "lane/Procedural-v0", noises, range(8, 10), 10.2, OPTIONS)
    store = EpisodeStore(tmp_path)
    run_sweep(sweep, store)
    by_noise = {}
    for key, row in store.rows(sweep.keys()).items():
        by_noise.setdefault(key.noise, []).append(row.recovery_s)
    assert by_noise["none"] == [None, None]
    assert all(value is None or 0 <= value <= 4.5 for value in by_noise["state_burst"])
    assert any(value is not None for value in by_noise["state_burst"])
    store.close()
