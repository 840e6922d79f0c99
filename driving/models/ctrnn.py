"""The continuous-time recurrent network of the comparison (Funahashi & Nakamura 1993; Lechner et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from driving.models.baselines import UNITS
from driving.models.core import Core
from sim.checks import POSITIVE, check_numbers, whole


@dataclass(frozen=True)
class CTRNNConfig:
    """Settings of the CT-RNN core.

    Attributes:
        n_inputs: features a frame.
        n_units: neurons.
        n_substeps: explicit Euler steps in one frame, 1 to 100. Part of the model, as in the LTC.
        tau_s: time constant of every neuron in seconds, not trained. The paper's code steps 0.1 time constants
            six times a frame; at 20 frames a second that is 0.05 / 0.6 s.
        state_limit: the state is clipped to +- this after every sub-step, as in the paper.
    """

    n_inputs: int = 32
    n_units: int = 64
    n_substeps: int = 6
    tau_s: float = 0.05 / 0.6
    state_limit: float = 5.0

    def __post_init__(self) -> None:
        check_numbers("ctrnn", self, UNITS, "n_inputs", "n_units")
        check_numbers("ctrnn", self, whole(1, 100), "n_substeps")
        check_numbers("ctrnn", self, POSITIVE, "tau_s", "state_limit")


class CTRNNCore(Core):
    """CT-RNN with a linear readout: 6,273 parameters with 32 features and 64 neurons, the paper's figure.

    Every neuron obeys ``tau dx/dt = -x + tanh(W_in I + W x + b)``, time in seconds. One frame is ``n_substeps``
    explicit Euler steps of h = dt / n_substeps with the input I held:

        x <- clip(x + h / tau (-x + tanh(W_in I + W x + b)))

    For h <= tau a state in [-1, 1] stays there, as it is a mean of itself and a tanh. From h = 2 tau on (a
    frame of 1 s with the defaults) the steps are unstable, and only the clipping bounds them.
    """

    kind = "ctrnn"

    def __init__(self, config: CTRNNConfig | None = None) -> None:
        super().__init__()
        self.config = config or CTRNNConfig()
        self.input_map = nn.Linear(self.config.n_inputs, self.config.n_units)
        self.recurrent_map = nn.Linear(self.config.n_units, self.config.n_units, bias=False)
        self.readout = nn.Linear(self.config.n_units, 1)

    @property
    def title(self) -> str:
        """With the number of units."""
        return f"CT-RNN, {self.config.n_units} units"

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, K) before the first frame: zeros."""
        return self.readout.weight.new_zeros(batch, self.config.n_units)

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, K), dt_s (B, T) > 0 -> outputs (B, T, 1), last state."""
        limit = self.config.state_limit
        driven = self.input_map(features)  # (B, T, K), the same in every sub-step
        # A step beyond this moves any state past the clip; more would only leave the range of numbers.
        share = (dt_s / (self.config.n_substeps * self.config.tau_s)).unsqueeze(-1).clamp(max=1e6)  # (B, T, 1)
        recurrent = self.recurrent_map.weight.T
        states = []
        for driven_t, share_t in zip(driven.unbind(1), share.unbind(1), strict=True):
            for _ in range(self.config.n_substeps):
                target = torch.tanh(torch.addmm(driven_t, state, recurrent))
                state = (state + share_t * (target - state)).clamp(-limit, limit)
            states.append(state)
        return self.readout(torch.stack(states, dim=1)), state
