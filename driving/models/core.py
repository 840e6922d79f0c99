"""What every core has in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from driving.models.wiring import Wiring


class SynapseTrace(NamedTuple):
    """What the synapses of a circuit do at given states v; ... stands for any leading dimensions.

    With x the mapped features of the frame or the states v, and s = sigmoid(sigma (x - mu)) of each synapse:

    Attributes:
        synaptic_current: (..., K), sum over the synapses onto a neuron of w s (E - v). With the leak,
            C dv/dt = g (v_leak - v) + this.
        time_constant_s: (..., K), C / (g + sum of w s): how quickly the neuron moves now (Hasani et al. 2021, Eq. 3).
        sensory_current, recurrent_current: (..., S) and (..., R), w s (E - v) of each synapse in the order of the
            wiring's tables ``sensory`` and ``synapses``.
        sensory_sensitivity, recurrent_sensitivity: (..., S) and (..., R), the coupling sensitivity of each
            synapse: |dv_rest / dx| = w sigma s (1 - s) |E - v| / (g + sum of w s), by how much the level that the
            target neuron goes to would move for a small move of the synapse's source, with v where it stands. No
            unit. Exact at rest, by the implicit function theorem on C dv/dt = 0. (Lechner et al. 2020 speak of
            coupling sensitivity too; this definition is our own.)
    """

    synaptic_current: Tensor
    time_constant_s: Tensor
    sensory_current: Tensor
    recurrent_current: Tensor
    sensory_sensitivity: Tensor
    recurrent_sensitivity: Tensor


class Core(nn.Module):
    """Features and a state in, output and new state out; the state begins as ``initial_state``.

    Attributes:
        kind: the core's name in ``driving.models.policy.CORES``.
        wiring: of a core that is a circuit; its state is one number a neuron.
    """

    kind: ClassVar[str]
    wiring: Wiring | None = None

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

    @property
    def title(self) -> str:
        """What kind of network it is, in a few words, to write over a picture of it."""
        return self.kind

    @property
    def units_note(self) -> str:
        """How the units that ``shown_state`` gives hang together, to write under a picture of them."""
        return "each wired to every other"

    def shown_state(self, state: Tensor) -> Tensor:
        """The units (n,) to draw of one sample's state."""
        return state.flatten()

    def parts(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """What to look at in states (n, ...), by name: (n, units) each."""
        return {"state": states.reshape(len(states), -1)}

    @property
    def synapse_strengths(self) -> Tensor | None:
        """(R,) of the wiring's table ``synapses``, where a synapse has one strength."""
        return None

    def synapse_trace(self, features: Tensor, states: Tensor) -> SynapseTrace | None:
        """What the synapses do at features (..., N) and states (..., K), where there are any with such quantities."""
        return None
