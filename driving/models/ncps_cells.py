"""Circuits and LTC cells of the package ``ncps`` (Lechner), in and out: the same numbers in another order.

``ncps`` keeps dense matrices with masks; here only synapses that exist have parameters. Its ``elapsed_time`` is ours in
seconds, or in units of ``unit_s``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from driving.models.wiring import Wiring
from sim.errors import BadInputError

if TYPE_CHECKING:
    from driving.models.ltc import LTC

MAX_EPSILON = 1e-6
LEAST = 1e-12
"""A strength of zero, as a positive number."""
SYNAPSES = {"w": "w_raw", "sigma": "sigma", "mu": "mu", "erev": "e_rev"}
"""Names there and here, with ``sensory_`` before them for those of the inputs."""
NEURONS = {"gleak": "g_leak_raw", "vleak": "v_leak", "cm": "c_m_raw"}
MAPS = {"input_w": "input_weight", "input_b": "input_bias", "output_w": "readout_weight", "output_b": "readout_bias"}
POSITIVE = ("w", "gleak", "cm")


def wiring_from_ncps(theirs: Any) -> Wiring:
    """A built wiring of ``ncps``; its first ``output_dim`` neurons are the motor neurons.

    Raises:
        BadInputError: it has no number of inputs yet, or no outputs.
    """
    if theirs.sensory_adjacency_matrix is None or not theirs.output_dim:
        raise BadInputError("wiring: expected a built wiring of ncps with outputs; call its build(n_inputs) first")
    kinds = [str(theirs.get_type_of_neuron(i)) for i in range(theirs.units)]
    roles = ["motor" if i < theirs.output_dim else kind for i, kind in enumerate(kinds)]
    tables = []
    for matrix in (theirs.sensory_adjacency_matrix, theirs.adjacency_matrix):
        matrix = np.asarray(matrix)
        source, target = np.nonzero(matrix)
        tables.append(np.stack([source, target, np.sign(matrix[source, target])], axis=1).astype(np.int64))
    return Wiring(int(theirs.input_dim), tuple(roles), *tables)


def wiring_to_ncps(ours: Wiring) -> Any:
    """A wiring of ``ncps`` with the same synapses.

    Raises:
        BadInputError: ncps is not installed, or the motor neurons are not the first ones, as it wants them.
    """
    try:
        from ncps.wirings import Wiring as NcpsWiring
    except ImportError:
        raise BadInputError("wiring: expected the package ncps; pip install ncps") from None
    if ours.role[: ours.n_motor] != ("motor",) * ours.n_motor:
        raise BadInputError("wiring: ncps wants the motor neurons first; this circuit has them elsewhere")
    theirs = NcpsWiring(ours.n_neurons)
    theirs.set_input_dim(ours.n_inputs)
    theirs.set_output_dim(ours.n_motor)
    for table, matrix in ((ours.sensory, theirs.sensory_adjacency_matrix), (ours.synapses, theirs.adjacency_matrix)):
        matrix[table[:, 0], table[:, 1]] = table[:, 2]
    theirs.get_type_of_neuron = lambda neuron: ours.role[neuron]
    return theirs


def ltc_from_ncps(cell: Any, unit_s: float = 1.0) -> LTC:
    """An ``ncps.torch.LTCCell`` (or the cell of an ``ncps.torch.LTC``) as a core, trained or not.

    Args:
        cell: with affine, linear or no maps, explicit or implicit constraints.
        unit_s: seconds that its ``elapsed_time`` of 1 stands for: 1 / frame rate where it was left at its default.

    Raises:
        BadInputError: a negative strength, conductance or capacitance, or a wiring without outputs.
    """
    from driving.models.ltc import LTC, LTCConfig, softplus_inverse

    cell = getattr(cell, "rnn_cell", cell)
    if not (math.isfinite(unit_s) and unit_s > 0):
        raise BadInputError(f"ltc: expected a positive unit_s, got {unit_s}")
    if cell._epsilon > MAX_EPSILON:
        raise BadInputError(f"ltc: expected an epsilon of at most {MAX_EPSILON:g}, got {cell._epsilon:g}")
    wiring = wiring_from_ncps(cell._wiring)
    core = LTC(LTCConfig(n_substeps=int(cell._ode_unfolds)), wiring)
    is_implicit = bool(cell._implicit_param_constraints)

    def positive(name: str, values: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        """The free parameter whose softplus is the cell's positive value times the factor."""
        if is_implicit and factor == 1.0:
            return values
        values = torch.nn.functional.softplus(values) if is_implicit else values
        if not bool((values >= 0).all()):
            raise BadInputError(f"ltc: expected no negative {name}, got {float(values.min()):g}; clip the cell first")
        return softplus_inverse((values.double() * factor).clamp_min(LEAST)).to(values.dtype)

    with torch.no_grad():
        for prefix, table in (("", wiring.synapses), ("sensory_", wiring.sensory)):
            source, target = torch.tensor(table[:, 0]), torch.tensor(table[:, 1])
            for theirs, name in SYNAPSES.items():
                values = cell._params[prefix + theirs].detach().cpu()[source, target]
                getattr(core, prefix + name).copy_(positive(theirs, values) if theirs in POSITIVE else values)
        for theirs, name in NEURONS.items():
            values = cell._params[theirs].detach().cpu()
            factor = unit_s if theirs == "cm" else 1.0
            getattr(core, name).copy_(positive(theirs, values, factor) if theirs in POSITIVE else values)
        for theirs, name in MAPS.items():
            default = 1.0 if theirs.endswith("_w") else 0.0
            values = cell._params.get(theirs)
            getattr(core, name).copy_(torch.tensor(default) if values is None else values.detach().cpu())
    return core


def ltc_to_ncps(core: LTC, unit_s: float = 1.0) -> Any:
    """The core as an ``ncps.torch.LTCCell`` with explicit constraints; ``ltc_from_ncps`` undoes it.

    Raises:
        BadInputError: as ``wiring_to_ncps``.
    """
    theirs = wiring_to_ncps(core.wiring)
    from ncps.torch import LTCCell

    cell = LTCCell(theirs, in_features=core.wiring.n_inputs, ode_unfolds=core.n_substeps).to(core.v_leak.dtype)
    with torch.no_grad():
        for prefix, table in (("", core.wiring.synapses), ("sensory_", core.wiring.sensory)):
            source, target = torch.tensor(table[:, 0]), torch.tensor(table[:, 1])
            for name, ours in SYNAPSES.items():
                cell._params[prefix + name][source, target] = getattr(core, prefix + ours.removesuffix("_raw")).cpu()
        for name, ours in NEURONS.items():
            values = getattr(core, ours.removesuffix("_raw")).cpu()
            cell._params[name].copy_(values / unit_s if name == "cm" else values)
        for name, ours in MAPS.items():
            cell._params[name].copy_(getattr(core, ours).cpu())
    return cell
