"""Reinforcement learning: Stable-Baselines3's PPO learns to keep the lane. ``pip install stable-baselines3``.

``python -m driving.examples.ppo --steps 100000 --out ppo.zip`` trains on all cores, then drives ten roads. The world's
action is ``normalized``, as PPO's Gaussian policy wants it; the picture is halved, which is enough to see the lane.
After 100,000 steps (7 minutes on two cores with other work) it leaves its lane on three of the ten roads.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import ResizeObservation, vector
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from driving.sb3 import LaneVecEnv
from sim.vector import LaneVectorEnv

SIZE = (39, 100)
TEST_SEEDS = range(2000, 2010)


OPTIONS: dict[str, Any] = {
    "action": "normalized", "episode_seconds": 20.0, "family": "country", "season": "summer", "weather": "clear"
}  # fmt: skip
"""Roads of the country in clear summer weather, so that a short training shows something."""


def train(n_steps: int, n_worlds: int = 4, seed: int = 10_000) -> PPO:
    """A policy after ``n_steps`` steps in ``n_worlds`` worlds; worlds begin at ``seed``, a training road."""
    many = LaneVectorEnv("sim:lane/Procedural-v0", n_worlds, autoreset_mode="Disabled", **OPTIONS)
    worlds = VecMonitor(LaneVecEnv(vector.ResizeObservation(many, SIZE)))
    # An action of 1 is a full lock: the first tries must be small ones, or no car comes far enough to learn anything.
    each = min(256, max(n_steps // n_worlds, 2))
    model = PPO(
        "CnnPolicy", worlds, n_steps=each, batch_size=min(256, each * n_worlds), n_epochs=5, gamma=0.95,
        learning_rate=5e-4, policy_kwargs={"log_std_init": -2.0}, seed=seed, device="cpu",
    )  # fmt: skip
    model.learn(n_steps)
    worlds.close()
    return model


def drive(model: PPO) -> tuple[int, float]:
    """Crashes on the test roads, and the mean distance from the lane's middle in metres."""
    world: gymnasium.Env = ResizeObservation(gymnasium.make("sim:lane/Procedural-v0", **OPTIONS), SIZE)
    crashes, offsets = 0, []
    for seed in TEST_SEEDS:
        frame, _ = world.reset(seed=seed)
        is_over = False
        while not is_over:
            action, _ = model.predict(frame, deterministic=True)
            frame, _, crashed, truncated, info = world.step(action)
            offsets.append(abs(info["lateral_offset_m"]))
            is_over = crashed or truncated
        crashes += int(crashed)
    return crashes, float(np.mean(offsets))


def main() -> None:
    """Train, save, drive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", default="ppo.zip")
    given = parser.parse_args()
    model = train(given.steps)
    model.save(given.out)
    crashes, offset_m = drive(model)
    print(f"{crashes} of {len(TEST_SEEDS)} drives left the lane, {offset_m:.2f} m off its middle; {given.out}")


if __name__ == "__main__":
    main()
