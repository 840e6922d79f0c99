"""A wiring as flat tables of numbers, in the order that the compiled form of the cell works in."""

from __future__ import annotations

import numpy as np

from driving.models.wiring import Wiring

PARAMETERS = (
    *("sensory_w_raw", "w_raw", "c_m_raw", "g_leak_raw", "sensory_sigma", "sigma", "sensory_mu", "mu"),
    *("sensory_e_rev", "e_rev", "v_leak", "input_weight", "input_bias", "readout_weight", "readout_bias"),
)
"""Order of the parameters in the flat vector: first all that go through softplus, the sensory synapses first."""


class Circuit:
    """Who is connected with whom, for the compiled form. Never changed after it was made.

    Attributes:
        n_inputs, n_neurons, n_sensory, n_substeps: the sizes N, K, S and the sub-steps.
        table: (2, P) int32, source and target of all P = S + R synapses, the sensory ones first.
        motor: (O,) int32, indices of the motor neurons.
        n_parameters: the length of each of ``PARAMETERS``.
    """

    def __init__(self, wiring: Wiring, n_substeps: int) -> None:
        self.n_inputs, self.n_neurons = wiring.n_inputs, wiring.n_neurons
        self.n_sensory, self.n_substeps = len(wiring.sensory), n_substeps
        synapses = np.concatenate([wiring.sensory, wiring.synapses])
        self.table = np.ascontiguousarray(synapses[:, :2].T, dtype=np.int32)
        self.motor = np.array([i for i, role in enumerate(wiring.role) if role == "motor"], dtype=np.int32)
        by_kind = (self.n_sensory, len(wiring.synapses))
        maps = (self.n_inputs, self.n_inputs, len(self.motor), len(self.motor))
        self.n_parameters = (*by_kind, self.n_neurons, self.n_neurons, *(by_kind * 3), self.n_neurons, *maps)
