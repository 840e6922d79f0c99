"""Recurrent cores in discrete time to compare the liquid circuit with, on the same encoder: LSTM and GRU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from driving.models.core import Core
from sim.checks import POSITIVE, check_numbers, whole

MAX_UNITS = 8192
"""Most features or units: a broken configuration must not ask for all the memory."""
UNITS = whole(1, MAX_UNITS)


@dataclass(frozen=True)
class LSTMConfig:
    """Settings of the LSTM core.

    Attributes:
        n_inputs: features a frame.
        n_units: LSTM units.
        state_limit: the state is clipped to +- this after every frame, as in the paper.
    """

    n_inputs: int = 32
    n_units: int = 64
    state_limit: float = 5.0

    def __post_init__(self) -> None:
        check_numbers("lstm", self, UNITS, "n_inputs", "n_units")
        check_numbers("lstm", self, POSITIVE, "state_limit")


class LSTMCore(Core):
    """LSTM-64 with a linear readout (Lechner et al. 2020): 24,897 parameters, and 256 of PyTorch's second bias.

    The state is one tensor (B, 2 units), h beside c, so that it is indexed and carried like any other core's.
    An LSTM has no notion of time: ``dt_s`` is accepted, as by every core, and ignored. The forget gate begins
    with a bias of 1 (as in the TensorFlow of the paper), so that the untrained cell remembers.
    """

    kind = "lstm"

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

    @property
    def title(self) -> str:
        """With the encoder, as papers call it."""
        return f"CNN-LSTM, {self.config.n_units} units"

    def shown_state(self, state: Tensor) -> Tensor:
        """h alone, which the readout sees."""
        return state[: self.config.n_units]

    def parts(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """h, which the readout sees, and both."""
        return {"h": states[:, : self.config.n_units], "h_and_c": states}


@dataclass(frozen=True)
class GRUConfig:
    """Settings of the GRU core.

    Attributes:
        n_inputs: features a frame.
        n_units: GRU units.
    """

    n_inputs: int = 32
    n_units: int = 64

    def __post_init__(self) -> None:
        check_numbers("gru", self, UNITS, "n_inputs", "n_units")


class GRUCore(Core):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) with a linear readout.

    The state (B, units) is a mean of tanh values and zero, so it stays in [-1, 1] and needs no clipping. A GRU
    has no notion of time: ``dt_s`` is accepted, as by every core, and ignored.
    """

    kind = "gru"

    def __init__(self, config: GRUConfig | None = None) -> None:
        super().__init__()
        self.config = config or GRUConfig()
        self.cell = nn.GRUCell(self.config.n_inputs, self.config.n_units)
        self.readout = nn.Linear(self.config.n_units, 1)

    @property
    def title(self) -> str:
        """With the encoder, as papers call it."""
        return f"CNN-GRU, {self.config.n_units} units"

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, units) before the first frame: zeros."""
        return self.readout.weight.new_zeros(batch, self.config.n_units)

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: features (B, N), state (B, units), dt_s (B,) ignored -> output (B, 1), new state."""
        state = self.cell(features, state)
        return self.readout(state), state

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, units), dt_s (B, T) -> outputs (B, T, 1), state."""
        states = []
        for features_t in features.unbind(1):
            state = self.cell(features_t, state)
            states.append(state)
        return self.readout(torch.stack(states, dim=1)), state
