"""A wiring as flat tables of numbers, in the order that the fast forms of the cell work in."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np

from driving.models.wiring import Wiring

PARAMETERS = (
    *("sensory_w_raw", "w_raw", "c_m_raw", "g_leak_raw", "sensory_sigma", "sigma", "sensory_mu", "mu"),
    *("sensory_e_rev", "e_rev", "v_leak", "input_weight", "input_bias", "readout_weight", "readout_bias"),
)
"""Order of the parameters in the flat vector: first all that go through softplus, the sensory synapses first."""


class Circuit:
    """Who is connected with whom, for the fast forms. Never changed after it was made.

    Attributes:
        n_inputs, n_neurons, n_motor, n_sensory, n_synapses, n_substeps: the sizes N, K, O, S, R and the sub-steps.
        motor: (O,) indices of the motor neurons.
        n_parameters: the length of each of ``PARAMETERS``.
        groups: where in the flat vector lie w, C and g, then sigma, mu, E (sensory first), v_leak and the maps.
        matrices: shapes of the four matrices of ``ltc_numpy``, which lie in one vector one after another.
        entries: (4 P,) where in that vector -sigma, sigma mu, w E and w of all P = S + R synapses belong.
        table_address: where all the indices lie in memory one after another, int32.
    """

    def __init__(self, wiring: Wiring, n_substeps: int) -> None:
        self._made_of = (wiring, n_substeps)
        self.n_inputs, self.n_neurons, self.n_motor = wiring.n_inputs, wiring.n_neurons, wiring.n_motor
        self.n_sensory, self.n_synapses = len(wiring.sensory), len(wiring.synapses)
        self.n_substeps = n_substeps
        self.motor = np.array([i for i, role in enumerate(wiring.role) if role == "motor"])
        parts = (*wiring.sensory.T[:2], *wiring.synapses.T[:2], self.motor)
        self._table = np.concatenate(parts).astype(np.int32)
        self.table_address = self._table.ctypes.data

        n_in, n_all, n_neurons = self.n_sensory, self.n_sensory + self.n_synapses, self.n_neurons
        maps = (self.n_inputs, self.n_inputs, self.n_motor, self.n_motor)
        by_kind = (n_in, self.n_synapses) * 3
        self.n_parameters = (
            *(n_in, self.n_synapses, n_neurons, n_neurons),
            *by_kind,
            *(n_neurons, *maps),
        )
        ends = np.cumsum([0, n_all + 2 * n_neurons, n_all, n_all, n_all, n_neurons, *maps]).tolist()
        self.groups = tuple(slice(*pair) for pair in itertools.pairwise(ends))
        n_sources = (self.n_inputs + 1, n_neurons + 1)
        self.matrices = (
            *((n_sources[0], n_in), (n_in, 2 * n_neurons)),
            *((n_sources[1], self.n_synapses), (self.n_synapses, 2 * n_neurons)),
        )
        self.entries = self._entries(wiring)

    def _entries(self, wiring: Wiring) -> np.ndarray:
        starts = np.cumsum([0, *(rows * columns for rows, columns in self.matrices)])
        found: list[list[np.ndarray]] = [[], [], [], []]
        for i, synapses in ((0, wiring.sensory), (2, wiring.synapses)):
            rows, n = np.arange(len(synapses)), len(synapses)
            source, target = synapses[:, 0], synapses[:, 1]
            found[0].append(starts[i] + source * n + rows)
            found[1].append(starts[i] + (self.matrices[i][0] - 1) * n + rows)
            found[2].append(starts[i + 1] + rows * 2 * self.n_neurons + target)
            found[3].append(starts[i + 1] + rows * 2 * self.n_neurons + self.n_neurons + target)
        return np.concatenate([part for pair in found for part in pair])

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """The four matrices as views of one vector: sensory sources, sensory targets, sources, targets."""
        views, start = [], 0
        for rows, columns in self.matrices:
            views.append(vector[start : start + rows * columns].reshape(rows, columns))
            start += rows * columns
        return views

    @property
    def n_entries(self) -> int:
        """Length of the vector that ``split`` takes."""
        return sum(rows * columns for rows, columns in self.matrices)

    def __reduce__(self) -> tuple[Any, ...]:
        return Circuit, self._made_of  # a copy has its own memory, so its own address

    def sizes(self, n_batch: int, n_time: int) -> ctypes.Array[ctypes.c_int64]:
        """The sizes as the compiled form reads them."""
        return (ctypes.c_int64 * 8)(
            *(n_batch, n_time, self.n_inputs, self.n_neurons, self.n_sensory, self.n_synapses),
            *(self.n_motor, self.n_substeps),
        )
