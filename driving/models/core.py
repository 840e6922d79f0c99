"""What every core has in common."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Core(nn.Module):
    """Features and a state in, output and new state out; the state begins as ``initial_state``."""

    @property
    def n_stored_parameters(self) -> int:
        """All trainable numbers in memory, input map and readout included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    @abstractmethod
    def n_active_parameters(self) -> int:
        """As papers and packages count them: those that can change the output."""

    @abstractmethod
    def initial_state(self, batch: int) -> Tensor:
        """The state before the first frame; its first dimension is the batch."""

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: features (B, N), state (B, ...), dt_s (B,) > 0 -> output (B, O), new state."""
        outputs, state = self.forward_sequence(features.unsqueeze(1), state, dt_s.unsqueeze(1))
        return outputs.squeeze(1), state

    @abstractmethod
    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, ...), dt_s (B, T) > 0 -> outputs (B, T, O), last state."""
