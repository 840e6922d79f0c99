"""Recurrent cores to compare the liquid circuit with, on the same encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sim.errors import BadInputError


@dataclass(frozen=True)
class LSTMConfig:
    """Settings of the LSTM core.

    Attributes:
        n_inputs: features a frame.
        n_units: LSTM units, 1 to 4096.
        state_limit: the state is clipped to +- this after every frame, as in the paper.
    """

    n_inputs: int = 32
    n_units: int = 64
    state_limit: float = 5.0

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_units"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 4096:
                raise BadInputError(f"lstm: {name} must be a whole number from 1 to 4096, got {value!r}")
        if not (math.isfinite(self.state_limit) and self.state_limit > 0):
            raise BadInputError(f"lstm: state_limit must be a positive number, got {self.state_limit!r}")


class LSTMCore(nn.Module):
    """LSTM-64 with a linear readout (Lechner et al. 2020): 25,153 parameters with PyTorch's two bias sets.

    The state is one tensor (B, 2 units), h beside c, so that it is indexed and carried like any other core's.
    An LSTM has no notion of time: ``dt_s`` is accepted, as by every core, and ignored. The forget gate begins
    with a bias of 1 (as in the TensorFlow of the paper), so that the untrained cell remembers.
    """

    def __init__(self, config: LSTMConfig | None = None) -> None:
        super().__init__()
        self.config = config or LSTMConfig()
        n_units = self.config.n_units
        self.cell = nn.LSTMCell(self.config.n_inputs, n_units)
        self.readout = nn.Linear(n_units, 1)
        with torch.no_grad():
            self.cell.bias_ih[n_units : 2 * n_units] = 1.0
            self.cell.bias_hh[n_units : 2 * n_units] = 0.0

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, 2 units) before the first frame: zeros."""
        return self.readout.weight.new_zeros(batch, 2 * self.config.n_units)

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: features (B, N), state (B, 2 units), dt_s (B,) ignored -> output (B, 1), new state."""
        outputs, state = self.forward_sequence(features.unsqueeze(1), state, dt_s.unsqueeze(1))
        return outputs.squeeze(1), state

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, 2 units), dt_s (B, T) -> outputs (B, T, 1), state."""
        limit = self.config.state_limit
        h, c = state.chunk(2, dim=1)
        hidden = []
        for features_t in features.unbind(1):
            h, c = self.cell(features_t, (h, c))
            h, c = h.clamp(-limit, limit), c.clamp(-limit, limit)
            hidden.append(h)
        return self.readout(torch.stack(hidden, dim=1)), torch.cat([h, c], dim=1)
