"""Reinforcement learning in one file, every line of PPO before your eyes (Schulman et al. 2017, in CleanRL's manner).

``python -m driving.examples.ppo_one_file --steps 200000`` lets a liquid circuit learn to keep its lane without a
teacher: the policy of this project with its recurrent core, a Gaussian around its command, and a value beside it. The
memory at the beginning of each stretch is kept, and gradients go through the stretch (truncated back-propagation).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from driving.models import checkpoint
from driving.models.policy import PolicyConfig, build_policy, to_tensor
from sim.conventions import FRAME_RATE_HZ
from sim.vector import LaneVectorEnv


@dataclass(frozen=True)
class Settings:
    """Of the algorithm; CleanRL's names."""

    num_envs: int = 8
    num_steps: int = 64
    update_epochs: int = 3
    gamma: float = 0.97
    gae_lambda: float = 0.95
    clip_coef: float = 0.2
    vf_coef: float = 0.5
    learning_rate: float = 5e-4
    max_grad_norm: float = 0.5
    seed: int = 10_000


class Agent(nn.Module):
    """A driver of this project, how far it strays from its command, and what it expects."""

    def __init__(self, core: str) -> None:
        super().__init__()
        self.policy = build_policy(PolicyConfig(core=core), 0)
        self.log_std = nn.Parameter(torch.tensor(-1.5))  # of the command, where 1 is the vehicle's limit
        self.value = nn.Linear(self.policy.config.core_config.n_inputs, 1)

    def forward(self, frames: Tensor, state: Tensor, over: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """frames (T, B, 3, H, W), state (B, S), over (T, B) -> commands (T, B), values (T, B), new state.

        ``over``: an episode ended with the step before, so the memory begins anew.
        """
        commands, values = [], []
        first = self.policy.initial_state(frames.shape[1])
        for frame, ended in zip(frames, over, strict=True):
            state = torch.where(ended[:, None], first, state)
            features = self.policy.encode(frame)
            dt_s = features.new_full((len(features),), 1 / FRAME_RATE_HZ)
            output, state = self.policy.core(features, state, dt_s)
            commands.append(self.policy.curvature(output.squeeze(-1)) / self.policy.config.max_curvature_per_m)
            values.append(self.value(features).squeeze(-1))
        return torch.stack(commands), torch.stack(values), state

    def around(self, commands: Tensor) -> torch.distributions.Normal:
        """What is tried around the commands."""
        return torch.distributions.Normal(commands, self.log_std.exp())


def train(n_steps: int, core: str = "ltc", given: Settings | None = None) -> tuple[Agent, list[float]]:
    """The agent after ``n_steps`` steps in all worlds together, and the mean reward a step of each update."""
    args = given or Settings()
    torch.manual_seed(args.seed)
    envs = LaneVectorEnv(
        "sim:lane/Procedural-v0", args.num_envs, action="normalized", episode_seconds=20.0, family="country",
        season="summer", weather="clear",
    )  # fmt: skip
    agent = Agent(core)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    picture, _ = envs.reset(seed=args.seed)
    frame, state = to_tensor(picture), agent.policy.initial_state(args.num_envs)
    over = torch.zeros(args.num_envs, dtype=torch.bool)
    history = []
    for _ in range(max(n_steps // (args.num_envs * args.num_steps), 1)):
        frames, overs, actions, logprobs, values, rewards, dones = [], [], [], [], [], [], []
        first_state = state
        for _ in range(args.num_steps):
            with torch.no_grad():
                command, value, state = agent(frame[None], state, over[None])
                around = agent.around(command[0])
                action = around.sample()
                logprobs.append(around.log_prob(action))
            frames.append(frame)
            overs.append(over)
            actions.append(action)
            values.append(value[0])
            sent = action.clamp(-1, 1).numpy()[:, None].astype(np.float32)
            picture, reward, terminated, truncated, _ = envs.step(sent)
            frame, over = to_tensor(picture), torch.from_numpy(terminated | truncated)
            rewards.append(torch.from_numpy(reward).float())
            dones.append(over)
        with torch.no_grad():
            _, (next_value,), _ = agent(frame[None], state, over[None])
        advantages, last = torch.zeros(args.num_steps, args.num_envs), torch.zeros(args.num_envs)
        for t in reversed(range(args.num_steps)):  # generalised advantage estimation
            following = next_value if t == args.num_steps - 1 else values[t + 1]
            goes_on = (~dones[t]).float()
            delta = rewards[t] + args.gamma * following * goes_on - values[t]
            last = delta + args.gamma * args.gae_lambda * goes_on * last
            # The step after an end only begins the next episode: its action did nothing.
            last = torch.where(overs[t], torch.zeros(()), last)
            advantages[t] = last
        counts = ~torch.stack(overs)
        returns, b_logprobs, b_actions = advantages + torch.stack(values), torch.stack(logprobs), torch.stack(actions)
        scaled = (advantages - advantages[counts].mean()) / (advantages[counts].std() + 1e-8)
        for _ in range(args.update_epochs):
            commands, new_values, _ = agent(torch.stack(frames), first_state, torch.stack(overs))
            ratio = (agent.around(commands).log_prob(b_actions) - b_logprobs).exp()
            clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
            pg_loss = -torch.minimum(scaled * ratio, scaled * clipped)[counts].mean()
            v_loss = 0.5 * (new_values - returns)[counts].square().mean()
            optimizer.zero_grad()
            (pg_loss + args.vf_coef * v_loss).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()
        state = state.detach()
        history.append(float(torch.stack(rewards)[counts].mean()))
    envs.close()
    return agent, history


def main() -> None:
    """Train, and save a policy that every command of the project takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--core", default="ltc")
    parser.add_argument("--out", default="policies/ppo")
    given = parser.parse_args()
    agent, history = train(given.steps, given.core)
    checkpoint.save(agent.policy, given.out, {"reward_a_step": history})
    print(f"reward a step {history[0]:.3f} at first, {history[-1]:.3f} in the end; {given.out}")


if __name__ == "__main__":
    main()
