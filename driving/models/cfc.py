"""Closed-form continuous-time networks (Hasani et al., Nature Machine Intelligence 2022): dense and wired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from driving.models.baselines import UNITS
from driving.models.core import Core
from driving.models.wiring import PAPER_CIRCUIT, Wiring, WiringConfig, build_wiring
from sim.checks import POSITIVE, check_choice, check_number, check_numbers, whole
from sim.errors import BadInputError

N_HEADS = {"default": 4, "no_gate": 4, "pure": 1}
"""Linear maps of one cell by mode: f and g of the signal, a and b of the time gate; pure has f alone."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "lecun_tanh": lambda x: 1.7159 * torch.tanh(0.666 * x),
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
}
"""Activations of the backbone by name, as in ``ncps``."""


def _check_common(core: str, mode: str, reference_dt_s: float) -> None:
    check_choice(core, "mode", mode, N_HEADS)
    check_number(core, "reference_dt_s", reference_dt_s, POSITIVE)


@dataclass(frozen=True)
class CfCConfig:
    """Settings of the dense CfC core.

    Attributes:
        n_inputs: features a frame.
        n_units: neurons.
        mode: "default" (gated), "no_gate" or "pure" (see ``closed_form``).
        backbone_units, backbone_layers: dense layers before the heads; 0 layers for none.
        activation: of the backbone, name in ``ACTIVATIONS``.
        reference_dt_s: seconds that count as time 1 in the closed form.
    """

    n_inputs: int = 32
    n_units: int = 64
    mode: str = "default"
    backbone_units: int = 128
    backbone_layers: int = 1
    activation: str = "lecun_tanh"
    reference_dt_s: float = 0.05

    def __post_init__(self) -> None:
        check_numbers("cfc", self, UNITS, "n_inputs", "n_units", "backbone_units")
        check_numbers("cfc", self, whole(0, 16), "backbone_layers")
        check_choice("cfc", "activation", self.activation, ACTIVATIONS)
        _check_common("cfc", self.mode, self.reference_dt_s)


@dataclass(frozen=True)
class WiredCfCConfig:
    """Settings of the wired CfC core.

    Attributes:
        mode: "default" (gated), "no_gate" or "pure" (see ``closed_form``).
        wired_recurrence: memory along the synapses of the circuit (see ``WiredCfC``); without it the cell is
            that of ``ncps``, which needs a circuit in layers (kind paper or ncp).
        reference_dt_s: seconds that count as time 1 in the closed form.
        wiring: the circuit.
    """

    mode: str = "default"
    wired_recurrence: bool = True
    reference_dt_s: float = 0.05
    wiring: WiringConfig | Wiring = PAPER_CIRCUIT

    def __post_init__(self) -> None:
        if not isinstance(self.wired_recurrence, bool):
            raise BadInputError(f"wired_cfc: wired_recurrence must be true or false, got {self.wired_recurrence!r}")
        kind = self.wiring.kind if isinstance(self.wiring, WiringConfig) else "given"
        if not self.wired_recurrence and kind not in ("paper", "ncp"):
            raise BadInputError(f"wired_cfc: without wired_recurrence the wiring must be paper or ncp, got {kind}")
        _check_common("wired_cfc", self.mode, self.reference_dt_s)

    @property
    def n_inputs(self) -> int:
        """Features a frame."""
        return self.wiring.n_inputs


def closed_form(mode: str, heads: Tensor, decay: Tensor | None, time: Tensor) -> Tensor:
    """State (B, K) after ``time`` (B, 1) from heads (B, H, K) of inputs and old state.

    With s = sigmoid(a time + b), f = tanh(head 0), g = tanh(head 1), a and b heads 2 and 3:
    "default" (1 - s) f + s g (2022, Eq. 10); "no_gate" f + s g; "pure" A - A f exp(-(|w| + |f|) time) with f
    untouched head 0 and w, A = decay (2, K) (Eq. 2), the solution of dx/dt = (|w| + |f|) (A - x) from A - A f.
    """
    if mode == "pure":
        assert decay is not None
        (w_tau, a), f = decay, heads[:, 0]
        return a - a * torch.exp(-time * (w_tau.abs() + f.abs())) * f
    f, g = torch.tanh(heads[:, :2]).unbind(1)
    gate = torch.sigmoid(heads[:, 2] * time + heads[:, 3])
    return f + gate * g if mode == "no_gate" else f + gate * (g - f)


def _first_decay(n_units: int) -> nn.Parameter:
    # ncps begins with w = 0, where |w| has no slope for autograd: it would stay 0 for ever.
    return nn.Parameter(torch.stack([torch.full((n_units,), 0.1), torch.ones(n_units)]))


class CfC(Core):
    """Dense CfC with a linear readout: backbone of (features, state), heads, closed form in time.

    The new state is a function of the old one, the features and the elapsed time, without a solver. It is no
    flow in time: as dt goes to 0 the new state does not go to the old one, so a stream seen at another rate
    gives another path, and finer steps do not converge. Train at the rate of use, or at mixed rates.
    """

    kind = "cfc"

    def __init__(self, config: CfCConfig | None = None) -> None:
        super().__init__()
        self.config = config or CfCConfig()
        width, n_units = self.config.n_inputs + self.config.n_units, self.config.n_units
        self.backbone = nn.ModuleList()
        for _ in range(self.config.backbone_layers):
            self.backbone.append(nn.Linear(width, self.config.backbone_units))
            width = self.config.backbone_units
        self.heads = nn.Linear(width, N_HEADS[self.config.mode] * n_units)
        self.decay = _first_decay(n_units) if self.config.mode == "pure" else None
        self.readout = nn.Linear(n_units, 1)
        for layer in self.backbone:
            nn.init.xavier_uniform_(layer.get_parameter("weight"))
        for head in self.heads.weight.detach().split(n_units):
            nn.init.xavier_uniform_(head)

    @property
    def title(self) -> str:
        """With the number of units."""
        return f"CfC, {self.config.n_units} units"

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, K) before the first frame: zeros."""
        return self.readout.weight.new_zeros(batch, self.config.n_units)

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, K), dt_s (B, T) > 0 -> outputs (B, T, 1), last state."""
        activation, mode = ACTIVATIONS[self.config.activation], self.config.mode
        time = (dt_s / self.config.reference_dt_s).unsqueeze(-1)  # (B, T, 1)
        states = []
        for features_t, time_t in zip(features.unbind(1), time.unbind(1), strict=True):
            x = torch.cat([features_t, state], dim=1)
            for layer in self.backbone:
                x = activation(layer(x))
            heads = self.heads(x).unflatten(1, (N_HEADS[mode], -1))  # (B, H, K)
            state = closed_form(mode, heads, self.decay, time_t)
            states.append(state)
        return self.readout(torch.stack(states, dim=1)), state


class WiredCfC(Core):
    """CfC on a sparse circuit: within a frame the inter neurons move first, then command, then motor.

    A neuron hears its sensory inputs, and the neurons that the wiring connects to it: those of layers that have
    already moved with their new state, all others with their old one. It also hears its own old state, as every
    neuron of the LTC does. All heads follow the same synapses, so command neurons keep the recurrence that the
    circuit gives them.

    ``ncps.torch.WiredCfCCell`` reads the wiring between layers only: the synapses inside a layer are dropped,
    every neuron hears the old state of its whole layer instead, and the time gates (a, b) hear the whole layer
    before as well. ``wired_recurrence=False`` is that cell, for comparison.

    Parameters exist for existing connections only, so active and stored differ by the readout alone: weight
    and bias a motor neuron. State in the order of the wiring: motor, command, inter neurons.
    """

    kind = "wired_cfc"
    wiring: Wiring

    def __init__(self, config: WiredCfCConfig | None = None) -> None:
        super().__init__()
        self.config = config or WiredCfCConfig()
        self.wiring = build_wiring(self.config.wiring)
        n_neurons, n_motor = self.wiring.n_neurons, self.wiring.n_motor
        n_heads = N_HEADS[self.config.mode]
        counts = [self.wiring.role.count(role) for role in ("motor", "command", "inter")]
        edges = np.cumsum([0, *counts])
        self._layers = [
            slice(int(a), int(b)) for a, b in zip(edges[-2::-1], edges[:0:-1], strict=True) if b > a
        ]  # inter, command, motor
        connections = self._connections(n_heads)
        n_sources = np.bincount(connections % (n_heads * n_neurons), minlength=n_heads * n_neurons)
        bound = torch.tensor(3.0 / n_sources[connections % (n_heads * n_neurons)], dtype=torch.float32).sqrt()
        self.weight = nn.Parameter(bound * torch.empty(len(connections)).uniform_(-1.0, 1.0))
        self.bias = nn.Parameter(torch.zeros(n_heads, n_neurons))
        self.decay = _first_decay(n_neurons) if self.config.mode == "pure" else None
        self.readout_weight = nn.Parameter(torch.ones(n_motor))
        self.readout_bias = nn.Parameter(torch.zeros(n_motor))
        self.register_buffer("connection", torch.tensor(connections), persistent=False)

    connection: Tensor
    """Place of each weight in the dense (N + K, H, K) tensor of source, head, target, laid out flat."""

    def _connections(self, n_heads: int) -> np.ndarray:
        n_inputs, n_neurons = self.wiring.n_inputs, self.wiring.n_neurons
        if self.config.wired_recurrence:
            heard = _heard(self.wiring)
            np.fill_diagonal(heard[n_inputs:], True)
            dense = np.repeat(heard[:, None], n_heads, axis=1)
        else:
            dense = self._connections_of_ncps(n_heads)
        return np.flatnonzero(dense.reshape(n_inputs + n_neurons, n_heads, n_neurons))

    def _connections_of_ncps(self, n_heads: int) -> np.ndarray:
        n_inputs = self.wiring.n_inputs
        heard = _heard(self.wiring)
        dense = np.zeros((len(heard), n_heads, self.wiring.n_neurons), dtype=bool)
        before = slice(0, n_inputs)
        for layer in self._layers:
            own = slice(n_inputs + layer.start, n_inputs + layer.stop)
            dense[before, :2, layer] = heard[before, None, layer]
            dense[before, 2:, layer] = True
            dense[own, :, layer] = True
            before = own
        return dense

    @property
    def title(self) -> str:
        """With the number of neurons."""
        return f"{self.wiring.n_neurons} wired CfC neurons"

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, K) before the first frame: zeros."""
        return self.bias.new_zeros(batch, self.wiring.n_neurons)

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, K), dt_s (B, T) > 0 -> outputs (B, T, O), last state."""
        n_inputs, (n_heads, n_neurons) = self.wiring.n_inputs, self.bias.shape
        dense = self.weight.new_zeros((n_inputs + n_neurons) * n_heads * n_neurons)
        dense = dense.scatter(0, self.connection, self.weight).unflatten(0, (-1, n_heads, n_neurons))
        heard = (features @ dense[:n_inputs].flatten(1)).unflatten(-1, (n_heads, n_neurons)) + self.bias
        recurrent = [dense[n_inputs:, :, layer].flatten(1) for layer in self._layers]  # (K, H n) each
        time = (dt_s / self.config.reference_dt_s).unsqueeze(-1)  # (B, T, 1)
        states = []
        for heard_t, time_t in zip(heard.unbind(1), time.unbind(1), strict=True):
            for layer, weight in zip(self._layers, recurrent, strict=True):
                heads = heard_t[:, :, layer] + (state @ weight).unflatten(1, (n_heads, -1))
                decay = None if self.decay is None else self.decay[:, layer]
                moved = closed_form(self.config.mode, heads, decay, time_t)
                state = torch.cat([state[:, : layer.start], moved, state[:, layer.stop :]], dim=1)
            states.append(state)
        motor = torch.stack(states, dim=1)[..., : self.wiring.n_motor]  # (B, T, O)
        return motor * self.readout_weight + self.readout_bias, state


def _heard(wiring: Wiring) -> np.ndarray:
    """Who hears whom, bool (N + K, K): inputs, then neurons, to neurons."""
    heard = np.zeros((wiring.n_inputs + wiring.n_neurons, wiring.n_neurons), dtype=bool)
    heard[wiring.sensory[:, 0], wiring.sensory[:, 1]] = True
    heard[wiring.n_inputs + wiring.synapses[:, 0], wiring.synapses[:, 1]] = True
    return heard
