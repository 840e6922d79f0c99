"""Inside a driving network: states, currents and time constants of its neurons, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driving.models.policy import Policy, to_tensor
from driving.models.wiring import Wiring
from driving.rollout import drive_policy
from sim.conventions import FRAME_RATE_HZ
from sim.episodes import Instant
from sim.errors import BadInputError
from sim.lane_env import LaneEnv

WARMUP_S = 1.0
"""Begin of an episode that the figures leave out: the state still comes from its zeros."""
N_SHARES = 3


@dataclass(frozen=True)
class CircuitTrace:
    """What went on in a core, frame by frame; everything belongs to the end of its frame.

    The liquid circuit alone has what stands after ``states``: the fields of ``driving.models.core.SynapseTrace``,
    (B, T, ...) each; for other cores they are None.

    Attributes:
        curvature_per_m: commands (B, T).
        states: (B, T, ...), as the core carries them.
    """

    curvature_per_m: Tensor
    states: Tensor
    synaptic_current: Tensor | None = None
    time_constant_s: Tensor | None = None
    sensory_current: Tensor | None = None
    recurrent_current: Tensor | None = None
    sensory_sensitivity: Tensor | None = None
    recurrent_sensitivity: Tensor | None = None


@torch.no_grad()
def trace(
    policy: Policy, frames: Tensor, state: Tensor | None = None, dt_s: float | Tensor | None = None
) -> CircuitTrace:
    """Run a policy over a sequence and keep what its neurons do; no hooks, no gradients.

    Args:
        frames: pictures (B, T, 3, H, W) as ``Policy.forward`` takes them, or features (B, T, N) of them as
            ``Policy.encode`` gives them.
        state: before the first frame; default ``initial_state``.
        dt_s: a number or (B, T); default 1 / ``FRAME_RATE_HZ``.

    Raises:
        BadInputError: another number of dimensions, or what ``Policy.forward`` refuses.
    """
    if frames.dim() == 5:
        features = policy.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    elif frames.dim() == 3:
        features = frames
    else:
        raise BadInputError(
            f"insight: expected frames (B, T, 3, H, W) or features (B, T, N), got {tuple(frames.shape)}"
        )
    n_batch, n_time = features.shape[:2]
    times = torch.as_tensor(1.0 / FRAME_RATE_HZ if dt_s is None else dt_s, dtype=features.dtype)
    times = times.expand(n_batch, n_time)
    state = policy.initial_state(n_batch) if state is None else state
    curvature, states = [], []
    for t in range(n_time):
        answer, state = policy.decode(features[:, t : t + 1], state, times[:, t : t + 1])
        curvature.append(answer[:, 0])
        states.append(state)
    v = torch.stack(states, dim=1)
    synapses = policy.core.synapse_trace(features, v)
    return CircuitTrace(torch.stack(curvature, dim=1), v, **(synapses._asdict() if synapses else {}))


def principal_shares(states: np.ndarray, n_shares: int = N_SHARES) -> list[float]:
    """Shares of the variance of states (n, K) that the first principal components hold, largest first.

    A share of 0.92 of the first says that the K neurons move along one line but for 8 % of their variance.

    Raises:
        BadInputError: fewer than two rows, or states that never change.
    """
    variance = np.zeros(1)
    if states.size:
        variance = np.linalg.svd(states - states.mean(axis=0, dtype=np.float64), compute_uv=False) ** 2
    if not variance.sum() > 0:
        raise BadInputError(f"insight: expected two or more states that differ, got {len(states)}; drive for longer")
    return [float(share) for share in (variance / variance.sum())[:n_shares]]


class _Tracer:
    """Keeps what the neurons do at every instant past the warm-up (``sim.episode_workers.Watcher``)."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._kept = policy, list[CircuitTrace]()

    def watch(self, instants: Sequence[Instant]) -> None:
        if instants[0].time_s < WARMUP_S - 1e-6:  # of all: they began together
            return
        frames = to_tensor(np.stack([instant.frame for instant in instants]))
        before = torch.stack([instant.state_before for instant in instants])
        dt_s = torch.tensor([[instant.info["dt_s"]] for instant in instants], dtype=torch.float32)
        self._kept.append(trace(self._policy, frames[:, None], before, dt_s))

    def result(self) -> dict[str, np.ndarray]:
        """The fields of ``CircuitTrace`` that are known, (n, ...) over all instants of all episodes."""
        known = [
            field.name
            for field in fields(CircuitTrace)
            if self._kept and getattr(self._kept[0], field.name) is not None
        ]
        return {name: torch.cat([getattr(t, name)[:, 0] for t in self._kept]).numpy() for name in known}


def insight(
    policy: Policy,
    make_env: Callable[[], LaneEnv],
    seeds: Sequence[int],
    seconds: float,
    n_workers: int = 1,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> dict[str, Any]:
    """Drive in closed loop and say what the neurons did: the figures of ``liquid-lane insight --json``.

    The first ``WARMUP_S`` of each episode are left out.

    Returns:
        ``n_frames``, ``crashes`` and ``principal_shares``: for each part of the state (``state``; of an LSTM ``h``,
        which its readout sees, and ``h_and_c``) the first shares (see ``principal_shares``) over all episodes. Of the
        liquid circuit also ``neurons`` and ``synapses``, a row each with means over all frames.

    Raises:
        BadInputError: nothing was driven past the warm-up, or a state that never changes.
    """
    tracer = partial(_Tracer, policy)
    groups = drive_policy(policy, make_env, seeds, seconds, None, tracer, n_workers, on_seconds)
    found = [group.watched for group in groups if group.watched]
    if not found:
        raise BadInputError(f"insight: expected episodes of more than {WARMUP_S:g} s, got none; drive for longer")
    kept = {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
    figures: dict[str, Any] = {
        "n_frames": len(kept["states"]),
        "crashes": sum(log.crashed for group in groups for log in group.logs),
        "principal_shares": {
            part: [round(share, 5) for share in principal_shares(values)]
            for part, values in policy.core.parts(kept["states"]).items()
        },
    }
    return figures | (_circuit_figures(policy.core.wiring, kept) if "synaptic_current" in kept else {})


def _circuit_figures(wiring: Wiring, kept: dict[str, np.ndarray]) -> dict[str, Any]:
    def column(name: str) -> np.ndarray:
        return kept[name].astype(np.float64)

    v, tau_s, current = column("states"), column("time_constant_s"), column("synaptic_current")
    sensory, sensitivity = column("sensory_sensitivity").mean(0), column("recurrent_sensitivity").mean(0)
    synaptic = np.abs(column("recurrent_current")).mean(0)
    command = column("curvature_per_m")
    tables = wiring.sensory, wiring.synapses
    hears = np.zeros(wiring.n_neurons)
    np.add.at(hears, tables[0][:, 1], sensory)
    np.add.at(hears, tables[1][:, 1], sensitivity)
    is_heard = np.zeros_like(hears)
    np.add.at(is_heard, tables[1][:, 0], sensitivity)
    neurons = [
        {
            "neuron": i,
            "role": role,
            "mean_state": _rounded(v[:, i].mean()),
            "std_state": _rounded(v[:, i].std()),
            "mean_time_constant_s": _rounded(tau_s[:, i].mean()),
            "min_time_constant_s": _rounded(tau_s[:, i].min()),
            "max_time_constant_s": _rounded(tau_s[:, i].max()),
            "mean_abs_current": _rounded(np.abs(current[:, i]).mean()),
            "incoming_sensitivity": _rounded(hears[i]),
            "outgoing_sensitivity": _rounded(is_heard[i]),
            "correlation_with_command": _correlation(v[:, i], command),
        }
        for i, role in enumerate(wiring.role)
    ]
    synapses = [
        {
            "source": source,
            "target": target,
            "mean_abs_current": _rounded(synaptic[r]),
            "sensitivity": _rounded(sensitivity[r]),
        }
        for r, (source, target, _) in enumerate(wiring.synapses.tolist())
    ]
    return {"neurons": neurons, "synapses": synapses}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's; None where one of them never changes."""
    if not (a.std() > 0 and b.std() > 0):
        return None
    return _rounded(float(np.corrcoef(a, b)[0, 1]))
