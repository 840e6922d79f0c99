"""Networks without memory: the paper's convolutional baseline and PilotNet, as encoder and core."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from driving.models.baselines import MAX_UNITS, UNITS
from driving.models.core import Core
from driving.models.encoder import ConvStack
from sim.checks import check_numbers
from sim.errors import BadInputError


class PaperCNNEncoder(ConvStack):
    """The convolutions of the feed-forward baseline of Lechner et al. 2020: 4,864 features at 78x200.

    With the head of the paper (``FeedforwardConfig(4864, "1000-100", output_bias=False)``) the network has the
    published 5,068,900 parameters; a bias of the output would be one more.
    """

    SAME = False
    LAYERS = ((24, 5, 2), (36, 5, 2), (48, 3, 2), (64, 3, 1), (64, 3, 1))


class PilotNetEncoder(ConvStack):
    """The convolutions of PilotNet (Bojarski et al. 2016, arXiv 1604.07316): 1,152 features at 66x200.

    With the head of the paper (``FeedforwardConfig(1152, "100-50-10")``) the network has 252,219 parameters at
    the paper's 66x200. At 78x200 the map before the head is three rows high, not one: 482,619.
    """

    SAME = False
    LAYERS = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))


@dataclass(frozen=True)
class FeedforwardConfig:
    """Settings of the core without memory.

    Attributes:
        n_inputs: features a frame.
        layers: units of the hidden layers, first to last, as text: "1000-100".
        output_bias: whether the linear output has a bias.
    """

    n_inputs: int = 32
    layers: str = "100-50-10"
    output_bias: bool = True

    def __post_init__(self) -> None:
        check_numbers("feedforward", self, UNITS, "n_inputs")
        if not isinstance(self.layers, str) or not re.fullmatch(r"[1-9]\d{0,3}(-[1-9]\d{0,3})*", self.layers):
            raise BadInputError(f"feedforward: layers must be units joined by '-', like 1000-100, got {self.layers!r}")
        if max(self.n_units) > MAX_UNITS or len(self.n_units) > 16:
            raise BadInputError(f"feedforward: layers must be at most 16 of {MAX_UNITS} units, got {self.layers}")
        if not isinstance(self.output_bias, bool):
            raise BadInputError(f"feedforward: output_bias must be true or false, got {self.output_bias!r}")

    @property
    def n_units(self) -> tuple[int, ...]:
        """Units of the hidden layers."""
        return tuple(int(n) for n in self.layers.split("-"))


class FeedforwardCore(Core):
    """Dense layers with ReLU and a linear output, without memory: every frame is decided on its own.

    The state that the contract asks for is the last hidden layer (B, units), for looking into the network as
    into any other. It is written and never read: no output depends on ``state`` or ``dt_s``.
    """

    kind = "feedforward"

    def __init__(self, config: FeedforwardConfig | None = None) -> None:
        super().__init__()
        self.config = config or FeedforwardConfig()
        self.hidden = nn.ModuleList(
            nn.Linear(n_in, n_out) for n_in, n_out in pairwise((self.config.n_inputs, *self.config.n_units))
        )
        self.readout = nn.Linear(self.config.n_units[-1], 1, bias=self.config.output_bias)
        for layer in self.hidden:
            nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu")
            nn.init.zeros_(layer.get_parameter("bias"))

    @property
    def title(self) -> str:
        """With the encoder, as papers call it."""
        return "CNN without memory"

    @property
    def units_note(self) -> str:
        return "last layer, no memory"

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, units) before the first frame: zeros."""
        return self.readout.weight.new_zeros(batch, self.config.n_units[-1])

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: features (B, N) -> output (B, 1), last hidden layer; state and dt_s (B,) are ignored."""
        hidden = self._hidden(features)
        return self.readout(hidden), hidden

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N) -> outputs (B, T, 1), last hidden layer (B, units) of the last frame."""
        hidden = self._hidden(features)
        return self.readout(hidden), hidden[:, -1]

    def _hidden(self, features: Tensor) -> Tensor:
        for layer in self.hidden:
            features = torch.relu(layer(features))
        return features
