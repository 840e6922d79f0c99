"""White-box attacks: within their limit, against a gradient known by hand, stronger than noise of the same size."""

import numpy as np
import pytest
import torch

from driving.attack import attack
from driving.models.policy import build_policy, to_tensor
from driving.noise import Noise, parse_noise
from driving.noise.adversary import FGSM, PGD
from driving.rollout import PolicyActor, rollout
from sim.episodes import EpisodePlan, Run, advance


class Left(torch.nn.Module):
    """Steers by how much brighter the left half is than the right one; the state counts."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def step(self, frame, state, dt_s):
        half = frame.shape[-1] // 2
        return self.weight * (frame[..., :half].mean((1, 2, 3)) - frame[..., half:].mean((1, 2, 3))), state + 1


def parts(n_steps, limit=(3.0, 0.0), direction=(1.0, -1.0), policy=None):
    frames = torch.full((2, 3, 4, 8), 100, dtype=torch.uint8)
    frames[0, :, 0] = 254
    given = frames, torch.zeros(2, 1), torch.full((2,), 0.05), torch.tensor(limit), torch.tensor(direction), n_steps
    return frames, attack(policy or Left(), *given)


@pytest.mark.parametrize("n_steps", [1, 5])
def test_attack_of_a_linear_policy_is_the_sign_of_its_weights(n_steps):
    frames, changed = parts(n_steps)
    change = changed.int() - frames.int()
    assert (change[0, :, 1:, :4] == 3).all()
    assert (change[0, :, 1:, 4:] == -3).all()
    assert (changed[0, :, 0, :4] == 255).all()  # a value has its end
    assert (change[1] == 0).all()  # no limit, no change
    _, right = parts(n_steps, (2.0, 2.0))
    assert (right[1, ..., :4] == 98).all()


def test_attack_leaves_the_policy_as_it_was():
    policy = Left()
    policy.weight.requires_grad_(True)
    parts(1, policy=policy)
    assert policy.weight.requires_grad
    assert policy.weight.grad is None


@pytest.mark.parametrize("core", ["ltc", "lstm"])
def test_attack_turns_the_wheel_further_than_random_noise_of_its_size(core):
    policy = build_policy(seed=2) if core == "ltc" else build_policy(type(build_policy().config)("lstm"), 2)
    rng = np.random.default_rng(0)
    frames = to_tensor(rng.integers(0, 256, (3, 78, 200, 3), dtype=np.uint8))
    state, dt_s, limit = policy.initial_state(3), torch.full((3,), 0.05), torch.full((3,), 2.0)
    answer = {"clean": policy.step(frames, state, dt_s)[0].detach()}
    for name, n_steps in (("fgsm", 1), ("pgd", 5)):
        changed = attack(policy, frames, state, dt_s, limit, torch.ones(3), n_steps)
        assert (changed.int() - frames.int()).abs().max() <= 2
        answer[name] = policy.step(changed, state, dt_s)[0].detach()
    noise = torch.from_numpy(rng.choice([-2, 2], frames.shape))
    answer["noise"] = policy.step((frames.int() + noise).clamp(0, 255).to(torch.uint8), state, dt_s)[0].detach()
    gains = {name: float((value - answer["clean"]).mean()) for name, value in answer.items()}
    assert gains["fgsm"] > 3 * abs(gains["noise"])
    assert gains["pgd"] > 0.9 * gains["fgsm"]


def test_attack_in_closed_loop_pushes_to_one_side_and_shows_in_the_frame(small_policy, stand_in_env):
    noise = parse_noise("pgd:middle")
    assert isinstance(noise(1), PGD)
    assert isinstance(parse_noise("fgsm:1")(1), FGSM)
    policy = small_policy()
    (clean,) = rollout(policy, stand_in_env, [3], 0.1)
    (pushed,) = rollout(policy, stand_in_env, [3], 0.1, noise)
    moved = pushed.curvature_per_m[0] - clean.curvature_per_m[0]
    assert moved * noise(3).direction > 0
    actor, run = PolicyActor(policy), Run(stand_in_env(), EpisodePlan(3, 0.1), noise)
    actor.begin(1)
    (instant,) = advance([run], actor)
    difference = np.abs(instant.frame.astype(int) - instant.clean_frame)
    assert difference.max() == 2
    (same,) = rollout(policy, stand_in_env, [3], 0.1, Noise("fgsm", 0.0))
    assert same.curvature_per_m == clean.curvature_per_m


def test_attack_goes_either_way_by_the_episode():
    assert {Noise("fgsm", 1.0)(seed).direction for seed in range(10)} == {1.0, -1.0}
