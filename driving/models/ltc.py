"""The liquid time-constant cell on a sparse circuit (Hasani et al. 2021; Lechner et al. 2020)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from driving.models.core import Core, SynapseTrace
from driving.models.ltc_fast import fast_sequence
from driving.models.wiring import PAPER_CIRCUIT, Wiring, WiringConfig, build_wiring
from sim.checks import POSITIVE, check_numbers, whole


@dataclass(frozen=True)
class LTCConfig:
    """Settings of the cell.

    Attributes:
        n_substeps: sub-steps of the solver in one frame, 1 to 100. Part of the model, not a speed knob: the
            solver is of first order and the weights are trained for its steps.
        initial_c: mean initial C / (dt / n_substeps) at ``reference_dt_s``: how long the cell remembers
            before training (see ``LTC``). All shipped policies began with 10. After 300 steps, circuits that began
            with 0.5 or 3 answer sooner (0.10 s behind the expert; with 20 it is 0.15 to 0.20) and crash less in clean
            pictures, so a short training should begin with 3; under noise there is no difference that could be
            told (twelve trainings, ``checkpoints/README.md``).
        reference_dt_s: frame time in seconds for which ``initial_c`` is meant.
        initial_input_scale: initial weight of the input map on the features, which begin around 0 to 1.
        initial_readout_weight: initial weight of the readout. A motor neuron moves a few tenths around its rest;
            an output of about 1 asks for a weight of several.
        wiring: the circuit: settings from which it is built, or itself.
    """

    n_substeps: int = 6
    initial_c: float = 10.0
    reference_dt_s: float = 0.05
    initial_input_scale: float = 1.0
    initial_readout_weight: float = 5.0
    wiring: WiringConfig | Wiring = PAPER_CIRCUIT

    @property
    def n_inputs(self) -> int:
        """Features a frame."""
        return self.wiring.n_inputs

    def __post_init__(self) -> None:
        check_numbers("ltc", self, whole(1, 100), "n_substeps")
        starts = ("initial_c", "initial_input_scale", "initial_readout_weight")
        check_numbers("ltc", self, POSITIVE, "reference_dt_s", *starts)


def softplus_inverse(value: Tensor) -> Tensor:
    """x with softplus(x) = value > 0, without overflow for large values."""
    return value + torch.log(-torch.expm1(-value))


def _uniform(n: int, low: float, high: float) -> Tensor:
    return torch.empty(n).uniform_(low, high)


class _Recurrent(NamedTuple):
    """The synapses between neurons as matrices, built once a call (see ``LTC._substep``)."""

    source: Tensor  # (K, R): sigma at (source of r, r)
    threshold: Tensor  # (R,): sigma mu
    target: Tensor  # (R, 2K): w E at (r, target of r), w at (r, K + target of r)


class LTC(Core):
    """A circuit of neurons with liquid time constants.

    Every neuron i obeys (Lechner et al. 2020, Methods; Hasani et al. 2021, Eq. 1)

        C_i dv_i/dt = g_i (v_leak_i - v_i) + sum_j w_ji s_ji (E_ji - v_i)
        s_ji = 1 / (1 + exp(-sigma_ji (x_j - mu_ji)))

    with x_j a mapped input or the state of another neuron, time in seconds. One frame is ``n_substeps`` fused
    semi-implicit Euler steps with the input held:

        v <- (c v + g v_leak + sum w s E) / (c + g + sum w s + eps),   c = C / (dt / n_substeps)

    The new state is a weighted mean of the old one, v_leak, the E and (with weight eps) 0, so it never leaves
    [min(0, v_leak, E), max(0, v_leak, E)] once inside, whatever the input (2021, theorem on bounded states).

    **Memory.** Without synaptic input a state keeps (c / (c + g))^6 of itself a frame: with g = 1, 0.14 % at
    the c = 0.5 of the paper's released code, 18 % at c = 3 (C = 0.5 and dt = 1 in this formula, the usual
    start elsewhere), 56 % at c = 10; open synapses add to g and shorten it. A cell that begins with c near 3
    or less tends to train to forget within a frame and then follows the noise of every single picture; memory
    of several frames is the likely lever of robustness, but slow cells learn more slowly (several times at
    c = 20) and need some frames of warm-up. So ``initial_c`` is a setting; C itself is trained.

    **Positive values.** w, g and C are softplus of a free parameter: positive for any optimiser, without the
    clipping after each step that leaves weights stuck at zero, relative steps for small values and, unlike an
    exponential, no runaway for large ones. The parameters of ``*_raw`` names are the free ones.

    **Parameters** exist for existing synapses only, as vectors in the order of the wiring's tables: w, sigma,
    mu, E each, and C, g, v_leak a neuron: 1,065 for the paper's circuit; the input
    map (weight and bias a feature) and the readout (weight and bias a motor neuron) come on top.

    Shapes: B batch, T time, N inputs, K neurons, S sensory and R other synapses, O motor neurons.
    """

    kind = "ltc"
    wiring: Wiring
    EPS = 1e-8
    """Added to the denominator of the step; it keeps a neuron whose every conductance underflowed finite."""

    def __init__(self, config: LTCConfig | None = None, wiring: Wiring | None = None) -> None:
        super().__init__()
        self.config = config or LTCConfig()
        if wiring is not None:
            self.config = dataclasses.replace(self.config, wiring=wiring)
        self.wiring = build_wiring(self.config.wiring)
        n_sensory, n_recurrent = len(self.wiring.sensory), len(self.wiring.synapses)
        n_neurons, n_inputs, n_motor = self.wiring.n_neurons, self.wiring.n_inputs, self.wiring.n_motor
        mean_c_m = self.config.initial_c * self.config.reference_dt_s / self.config.n_substeps

        self.sensory_w_raw = nn.Parameter(softplus_inverse(_uniform(n_sensory, 0.001, 1.0)))
        self.sensory_sigma = nn.Parameter(_uniform(n_sensory, 3.0, 8.0))
        self.sensory_mu = nn.Parameter(_uniform(n_sensory, 0.3, 0.8))
        self.sensory_e_rev = nn.Parameter(torch.tensor(self.wiring.sensory[:, 2], dtype=torch.float32))
        self.w_raw = nn.Parameter(softplus_inverse(_uniform(n_recurrent, 0.001, 1.0)))
        self.sigma = nn.Parameter(_uniform(n_recurrent, 3.0, 8.0))
        self.mu = nn.Parameter(_uniform(n_recurrent, 0.3, 0.8))
        self.e_rev = nn.Parameter(torch.tensor(self.wiring.synapses[:, 2], dtype=torch.float32))
        # The paper draws C from 0.4 to 0.6: the same +-20 % around our mean.
        self.c_m_raw = nn.Parameter(softplus_inverse(_uniform(n_neurons, 0.8 * mean_c_m, 1.2 * mean_c_m)))
        self.g_leak_raw = nn.Parameter(softplus_inverse(_uniform(n_neurons, 0.001, 1.0)))
        self.v_leak = nn.Parameter(_uniform(n_neurons, -0.2, 0.2))

        self.input_weight = nn.Parameter(torch.full((n_inputs,), float(self.config.initial_input_scale)))
        # The middle of the first features (0.5) falls on the middle of the thresholds mu (0.55).
        self.input_bias = nn.Parameter(torch.full((n_inputs,), 0.55 - 0.5 * self.config.initial_input_scale))
        self.readout_weight = nn.Parameter(torch.full((n_motor,), float(self.config.initial_readout_weight)))
        self.readout_bias = nn.Parameter(torch.zeros(n_motor))

        # Who is whose source and target, as 0/1 matrices: gathers and sums become products of small matrices.
        self._buffer("sensory_source", _one_hot(self.wiring.sensory[:, 0], n_inputs).T)  # (N, S)
        self._buffer("sensory_target", _one_hot(self.wiring.sensory[:, 1], n_neurons))  # (S, K)
        self._buffer("recurrent_source", _one_hot(self.wiring.synapses[:, 0], n_neurons).T)  # (K, R)
        self._buffer("recurrent_target", _one_hot(self.wiring.synapses[:, 1], n_neurons))  # (R, K)
        both = np.concatenate([self.wiring.sensory, self.wiring.synapses])
        self._buffer("synapse_table", torch.tensor(both[:, :2].T, dtype=torch.int32))  # (2, S + R), for ltc_fast
        self._buffer("motor", torch.tensor([i for i, r in enumerate(self.wiring.role) if r == "motor"]))

        self._centre_readout()

    @torch.no_grad()
    def _centre_readout(self) -> None:
        """Begin straight: the readout's bias cancels the motor's rest under middling features (0.5)."""
        n_frames = 100
        features = self.v_leak.new_full((1, n_frames, self.wiring.n_inputs), 0.5)
        dt_s = self.v_leak.new_full((1, n_frames), self.config.reference_dt_s)
        outputs, _ = self.plain_sequence(features, self.initial_state(1), dt_s)
        self.readout_bias.copy_(-outputs[0, -1])

    def _buffer(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.contiguous(), persistent=False)

    sensory_source: Tensor
    sensory_target: Tensor
    recurrent_source: Tensor
    recurrent_target: Tensor
    synapse_table: Tensor
    motor: Tensor

    @classmethod
    def from_ncps(cls, cell: Any, unit_s: float = 1.0) -> LTC:
        """A cell of the package ``ncps``, see ``driving.models.ncps_cells.ltc_from_ncps``."""
        from driving.models.ncps_cells import ltc_from_ncps

        return ltc_from_ncps(cell, unit_s)

    def to_ncps(self, unit_s: float = 1.0) -> Any:
        """As an ``ncps.torch.LTCCell``; ``from_ncps`` undoes it."""
        from driving.models.ncps_cells import ltc_to_ncps

        return ltc_to_ncps(self, unit_s)

    @property
    def n_substeps(self) -> int:
        """Of the solver, in one frame."""
        return self.config.n_substeps

    @property
    def w(self) -> Tensor:
        """Strength of the synapses between neurons, (R,), positive."""
        return F.softplus(self.w_raw)

    @property
    def sensory_w(self) -> Tensor:
        """Strength of the sensory synapses, (S,), positive."""
        return F.softplus(self.sensory_w_raw)

    @property
    def g_leak(self) -> Tensor:
        """Leak conductance g, (K,), positive."""
        return F.softplus(self.g_leak_raw)

    @property
    def c_m(self) -> Tensor:
        """Capacitance C, (K,), positive; in seconds, as the conductances have no unit."""
        return F.softplus(self.c_m_raw)

    def initial_state(self, batch: int) -> Tensor:
        """The state (B, K) before the first frame: zeros."""
        return self.v_leak.new_zeros(batch, self.wiring.n_neurons)

    def forward_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Many frames: features (B, T, N), state (B, K), dt_s (B, T) > 0 -> outputs (B, T, O), last state.

        Computed in the parameters' type, also inside ``torch.autocast``: six sub-steps a frame feed every
        rounding back into the state. Which form computes it: ``driving.models.ltc_fast``.
        """
        device = features.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            features, state, dt_s = (x.to(self.v_leak.dtype) for x in (features, state, dt_s))
            with torch.autocast(device, enabled=False):
                return self.forward_sequence(features, state, dt_s)
        fast = fast_sequence(self, features, state, dt_s)
        return self.plain_sequence(features, state, dt_s) if fast is None else fast

    def plain_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """``forward_sequence`` by plain PyTorch operations: the definition of the cell, on any device."""
        recurrent = self._recurrent()
        c = self.c_m * self.config.n_substeps / dt_s.unsqueeze(-1)  # (B, T, K)
        weighted, conductance = self._sensory_sums(features)  # (B, T, K) each
        g_leak = self.g_leak
        # All that stays the same during a frame, for every frame at once.
        held = torch.cat([weighted + g_leak * self.v_leak, conductance + g_leak + c + self.EPS], dim=-1)  # (B, T, 2K)
        states = []
        for c_t, held_t in zip(c.unbind(1), held.unbind(1), strict=True):
            for _ in range(self.config.n_substeps):
                state = self._substep(state, c_t, held_t, recurrent)
            states.append(state)
        motor = torch.stack(states, dim=1)[..., self.motor]  # (B, T, O)
        return motor * self.readout_weight + self.readout_bias, state

    @property
    def title(self) -> str:
        """With the number of neurons."""
        return f"{self.wiring.n_neurons} liquid neurons (LTC)"

    @property
    def synapse_strengths(self) -> Tensor:
        """``w``."""
        return self.w

    def synapse_trace(self, features: Tensor, states: Tensor) -> SynapseTrace:
        """What the synapses do at features (..., N) and states (..., K)."""
        sensory, recurrent = torch.tensor(self.wiring.sensory), torch.tensor(self.wiring.synapses)
        mapped = features * self.input_weight + self.input_bias
        # Of each kind of synapse: the source's level, the target's index, and the parameters.
        of_sensory = self.sensory_w, self.sensory_sigma, self.sensory_mu, self.sensory_e_rev
        kinds = (
            (mapped[..., sensory[:, 0]], sensory[:, 1], *of_sensory),
            (states[..., recurrent[:, 0]], recurrent[:, 1], self.w, self.sigma, self.mu, self.e_rev),
        )
        current, total = torch.zeros_like(states), self.g_leak.expand_as(states).clone()
        currents, slopes = [], []
        for x, target, w, sigma, mu, e_rev in kinds:
            s = torch.sigmoid(sigma * (x - mu))
            drive = e_rev - states[..., target]
            currents.append(w * s * drive)
            slopes.append((w * sigma * s * (1 - s) * drive).abs())
            current = current.index_add(-1, target, currents[-1])
            total = total.index_add(-1, target, w * s)
        sensitivities = (slope / total[..., target] for slope, (_, target, *_) in zip(slopes, kinds, strict=True))
        return SynapseTrace(current, self.c_m / total, *currents, *sensitivities)

    def _sensory_sums(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """sum w s E and sum w s over the sensory synapses: (..., N) -> (..., K) twice."""
        mapped = features * self.input_weight + self.input_bias
        source = self.sensory_source * self.sensory_sigma  # (N, S)
        activation = torch.sigmoid(mapped @ source - self.sensory_sigma * self.sensory_mu)  # (..., S)
        sums = activation @ _both_sums(self.sensory_target, self.sensory_w, self.sensory_e_rev)
        weighted, conductance = sums.chunk(2, dim=-1)
        return weighted, conductance

    def _recurrent(self) -> _Recurrent:
        return _Recurrent(
            source=self.recurrent_source * self.sigma,
            threshold=self.sigma * self.mu,
            target=_both_sums(self.recurrent_target, self.w, self.e_rev),
        )

    @staticmethod
    def _substep(state: Tensor, c: Tensor, held: Tensor, recurrent: _Recurrent) -> Tensor:
        """One fused semi-implicit Euler step of the state (B, K); c (B, K), held (B, 2K)."""
        activation = torch.sigmoid(torch.addmm(recurrent.threshold, state, recurrent.source, beta=-1))  # (B, R)
        numerator, denominator = torch.addmm(held, activation, recurrent.target).chunk(2, dim=1)
        return torch.addcmul(numerator, c, state) / denominator


def _one_hot(index: np.ndarray, n: int) -> Tensor:
    return F.one_hot(torch.tensor(index, dtype=torch.int64), n).to(torch.float32)


def _both_sums(target: Tensor, w: Tensor, e_rev: Tensor) -> Tensor:
    """Matrix (n, 2K) that sums activations (..., n) to [sum w s E | sum w s] of each target neuron."""
    return torch.cat([target * (w * e_rev).unsqueeze(1), target * w.unsqueeze(1)], dim=1)
