"""How a policy answers a car beside the middle of its lane: how strongly against the expert, and how late.

The car is put on the road twice, a little to the left and to the right, and the same picture is shown until the answer
stands; then the other one. Gain: the change of the policy's answer over that of the expert's. A gain above 1 at a high
speed weaves, one far below 1 drifts out. Lag: time until 63 % of the change, 0.05 s for one that remembers nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from driving.models.policy import Policy, to_tensor
from sim.conventions import FRAME_RATE_HZ
from sim.lane_env import LaneEnv

N_PLACES, OFFSET_M = 4, 0.25
SETTLING_S = 3.0
SPEEDS_MPS = (0.0, 12.0, 18.0, 24.0, np.inf)
RISE = 0.632
"""1 - 1/e, what a first-order lag has done after its time constant."""


@torch.no_grad()
def response(policy: Policy, make_env: Callable[[], LaneEnv], seeds: Sequence[int]) -> dict[str, Any]:
    """Medians of gain and lag over places on the roads of ``seeds``: of all, by family and by speed.

    Places where the expert hardly answers, as its command is at the limit, are left out.
    """
    rows, pairs = [], []
    with contextlib.closing(make_env()) as env:
        for seed in seeds:
            _, info = env.reset(seed=seed)
            for along_m in np.linspace(0.1, 0.9, N_PLACES) * env.road_m:
                frames, experts = [], []
                for offset_m in (OFFSET_M, -OFFSET_M):
                    frame, seen = env.place(float(along_m), offset_m)
                    frames.append(frame.copy())
                    experts.append(env.expert_curvature_per_m())
                if abs(experts[1] - experts[0]) > 1e-6:
                    pairs.append(np.stack(frames))
                    rows.append((info["setting"].get("family", "any"), seen["speed_mps"], experts[1] - experts[0]))
    if not rows:
        return {"n": 0}
    gain, lag_s = _answers(policy, np.stack(pairs), np.array([row[2] for row in rows]))
    family, speed = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    by_speed = {
        f"{low:g} to {high:g} m/s": (speed >= low) & (speed < high) for low, high in itertools.pairwise(SPEEDS_MPS)
    }
    return {
        **_medians(gain, lag_s, np.ones(len(gain), bool)),
        "families": {name: _medians(gain, lag_s, family == name) for name in sorted(set(family))},
        "speeds": {name: _medians(gain, lag_s, chosen) for name, chosen in by_speed.items() if chosen.any()},
    }


def _answers(policy: Policy, pairs: np.ndarray, expert_change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain and lag in s (n,) of pairs of pictures (n, 2, H, W, 3)."""
    policy.eval()
    n_steps, n = round(SETTLING_S * FRAME_RATE_HZ), len(pairs)
    features = policy.encode(to_tensor(pairs.reshape(-1, *pairs.shape[2:]))).unflatten(0, (n, 2))  # (n, 2, N)
    dt_s = torch.full((n, n_steps), 1.0 / FRAME_RATE_HZ)
    before, state = policy.decode(features[:, :1].expand(-1, n_steps, -1), policy.initial_state(n), dt_s)
    after, _ = policy.decode(features[:, 1:].expand(-1, n_steps, -1), state, dt_s)  # (n, T)
    change = (after - before[:, -1:]).double().numpy()
    total = change[:, -1]
    risen = np.abs(change) >= RISE * np.abs(total)[:, None]
    return total / expert_change, (1 + np.argmax(risen, axis=1)) / FRAME_RATE_HZ


def _medians(gain: np.ndarray, lag_s: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    return {
        "gain": round(float(np.median(gain[chosen])), 3),
        "lag_s": round(float(np.median(lag_s[chosen])), 3),
        "n": int(chosen.sum()),
    }
