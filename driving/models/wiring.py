"""Which neuron listens to which: the synapses of a sparse circuit, and the paper's own circuit."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import BadInputError

ROLES = ("motor", "command", "inter")


@dataclass(frozen=True, eq=False)
class Wiring:
    """The synapses of a circuit; only existing ones are listed.

    Attributes:
        n_inputs: number of sensory inputs.
        role: "motor", "command" or "inter" for every neuron, in the order of the state.
        sensory: (S, 3) int: input, target neuron, polarity (+1 excites, -1 inhibits).
        synapses: (R, 3) int: source neuron, target neuron, polarity.

    Raises:
        BadInputError: an index out of range, a polarity that is not +-1, a synapse listed twice, an unknown
            role, or no motor neuron.
    """

    n_inputs: int
    role: tuple[str, ...]
    sensory: np.ndarray
    synapses: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", tuple(self.role))
        unknown = sorted({str(role) for role in self.role} - set(ROLES))
        if unknown:
            raise BadInputError(f"wiring: role must be one of {', '.join(ROLES)}, got {', '.join(unknown)}")
        if "motor" not in self.role:
            raise BadInputError("wiring: expected at least one motor neuron, got none")
        for name, n_sources in (("sensory", self.n_inputs), ("synapses", self.n_neurons)):
            object.__setattr__(self, name, self._checked(name, getattr(self, name), n_sources))

    def _checked(self, name: str, table: Any, n_sources: int) -> np.ndarray:
        try:
            given = np.asarray(table).reshape(-1, 3) if np.size(table) == 0 else np.asarray(table)
        except ValueError:
            raise BadInputError(f"wiring: {name} must be rows of source, target, polarity") from None
        if given.ndim != 2 or given.shape[1] != 3 or (given.size and given.dtype.kind not in "iu"):
            raise BadInputError(
                f"wiring: {name} must be an (n, 3) table of whole numbers, got {given.shape} {given.dtype}"
            )
        rows = given.astype(np.int64)
        for column, n, what in ((0, n_sources, "source"), (1, self.n_neurons, "target")):
            if np.any((rows[:, column] < 0) | (rows[:, column] >= n)):
                raise BadInputError(f"wiring: every {what} in {name} must be in 0..{n - 1}")
        if not np.all(np.abs(rows[:, 2]) == 1):
            raise BadInputError(f"wiring: every polarity in {name} must be +1 or -1")
        if len(np.unique(rows[:, :2], axis=0)) != len(rows):
            raise BadInputError(f"wiring: {name} lists a synapse twice")
        rows.setflags(write=False)
        return rows

    @property
    def n_neurons(self) -> int:
        """Number of neurons, the width K of the state."""
        return len(self.role)

    @property
    def n_motor(self) -> int:
        """Number of motor neurons, the width of the output."""
        return self.role.count("motor")

    @property
    def n_synapses(self) -> int:
        """All synapses, sensory and between neurons."""
        return len(self.sensory) + len(self.synapses)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for json; undone by ``from_dict``."""
        return {
            "n_inputs": self.n_inputs,
            "role": list(self.role),
            "sensory": self.sensory.tolist(),
            "synapses": self.synapses.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Wiring:
        """The wiring that ``to_dict`` wrote; an unknown or missing key is a ``BadInputError``."""
        expected = {"n_inputs", "role", "sensory", "synapses"}
        if set(plain) != expected:
            raise BadInputError(f"wiring: expected the keys {sorted(expected)}, got {sorted(plain)}")
        return cls(**plain)


def paper_wiring() -> Wiring:
    """The lane-keeping circuit of Lechner et al. 2020: 32 inputs, 12 inter, 6 command, 1 motor neuron.

    252 synapses: 192 sensory, 48 inter to command, 6 command to command, 6 command to motor (the published
    253 counts the readout weight). Neuron 0 is the motor neuron, 1-6 are command, 7-18 inter neurons.

    >>> paper_wiring().n_synapses
    252
    """
    text = importlib.resources.files("driving.models").joinpath("paper_circuit.json").read_text("utf-8")
    plain = json.loads(text)
    role = ["motor"] * plain["n_motor"] + ["command"] * plain["n_command"] + ["inter"] * plain["n_inter"]
    return Wiring(plain["n_sensory"], tuple(role), plain["sensory_synapses"], plain["synapses"])
