"""Which neuron listens to which: the synapses of a circuit, the paper's own circuit and generated ones."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.checks import Number, check_choice, check_number, check_numbers, whole
from sim.errors import BadInputError, one_line

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wiring) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.n_inputs, self.role, self.sensory.tobytes(), self.synapses.tobytes()))

    @classmethod
    def from_ncps(cls, wiring: Any) -> Wiring:
        """A built wiring of the package ``ncps`` (``driving.models.ncps_cells``); ``to_ncps`` undoes it."""
        from driving.models.ncps_cells import wiring_from_ncps

        return wiring_from_ncps(wiring)

    def to_ncps(self) -> Any:
        """As a wiring of the package ``ncps``."""
        from driving.models.ncps_cells import wiring_to_ncps

        return wiring_to_ncps(self)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, the width K of the state."""
        return len(self.role)

    @property
    def n_motor(self) -> int:
        """Number of motor neurons, the width of the output."""
        return self.role.count("motor")

    def layers(self) -> dict[str, list[int]]:
        """The neurons of each role in the order in which they are drawn, top to bottom; information flows on.

        A neuron's place is the mean place of those that it listens to (inputs, and neurons of the layers before), so
        that fewer lines cross.
        """
        layers: dict[str, list[int]] = {}
        inputs = (np.arange(self.n_inputs) + 0.5) / max(self.n_inputs, 1)
        synapses = self.synapses.tolist()
        height: dict[int, float] = {}  # share of the layer's height, from the top
        for role in reversed(ROLES):
            members = [i for i, other in enumerate(self.role) if other == role]
            mean = {}
            for i in members:
                heard = inputs[self.sensory[self.sensory[:, 1] == i, 0]].tolist()
                heard += [height[j] for j, k, _ in synapses if k == i and j in height]
                mean[i] = sum(heard) / len(heard) if heard else 0.5
            layers[role] = sorted(members, key=lambda i: mean[i])
            height |= {i: (k + 0.5) / len(members) for k, i in enumerate(layers[role])}
        return layers

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
        if not isinstance(plain, Mapping) or set(plain) != expected:
            raise BadInputError(f"wiring: expected the keys {sorted(expected)}, got {one_line(sorted(plain), 80)}")
        n_inputs, role = plain["n_inputs"], plain["role"]
        check_number("wiring", "n_inputs", n_inputs, whole(1, MAX_INPUTS))
        if not isinstance(role, list) or len(role) > MAX_NEURONS or not all(isinstance(r, str) for r in role):
            raise BadInputError(f"wiring: role must be a list of up to {MAX_NEURONS} names")
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


_SIZES = frozenset({"n_inputs", "n_inter", "n_command", "n_motor"})
KINDS: dict[str, frozenset[str]] = {
    "paper": frozenset(),
    "ncp": _SIZES | {"sensory_fanout", "inter_fanout", "n_recurrent", "motor_fanin", "seed"},
    "full": _SIZES | {"seed"},
    "random": _SIZES | {"sparsity", "seed"},
}
"""Every kind of wiring by name, and the settings that it uses."""

MAX_INPUTS, MAX_NEURONS = 8192, 128
"""Most inputs, and most neurons of one role: a broken configuration must not ask for all the memory."""


@dataclass(frozen=True)
class WiringConfig:
    """Which circuit, in numbers; ``build_wiring`` makes it. The defaults are the numbers of the paper.

    ===========  =====================================================================================
    ``paper``    the circuit of the paper as published (``paper_wiring``); takes no other setting
    ``ncp``      a neural circuit policy drawn anew: sensory -> inter -> command (recurrent) -> motor
    ``full``     every neuron hears every input and every neuron, itself included
    ``random``   the same, but only a share 1 - ``sparsity`` of those synapses, drawn without replacement
    ===========  =====================================================================================

    Attributes:
        kind: name in ``KINDS``.
        n_inputs: sensory inputs.
        n_inter, n_command, n_motor: neurons of each role.
        sensory_fanout: inter neurons that each input reaches.
        inter_fanout: command neurons that each inter neuron reaches.
        n_recurrent: synapses among the command neurons.
        motor_fanin: command neurons that each motor neuron hears.
        sparsity: share of missing synapses, 0 to below 1.
        seed: of the draw.

    Raises:
        BadInputError: a number out of range, or a setting that this kind does not use and that is not left
            at its default.
    """

    kind: str = "paper"
    n_inputs: int = 32
    n_inter: int = 12
    n_command: int = 6
    n_motor: int = 1
    sensory_fanout: int = 6
    inter_fanout: int = 4
    n_recurrent: int = 6
    motor_fanin: int = 6
    sparsity: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("wiring", "kind", self.kind, KINDS)
        for field in dataclasses.fields(self)[1:]:
            unused = field.name not in KINDS[self.kind]
            if unused and getattr(self, field.name) != field.default:
                raise BadInputError(f"wiring: kind {self.kind} does not use {field.name}; leave it out")
        layered = self.kind == "ncp"
        least = 1 if layered else 0
        for name, low, high in (
            ("n_inputs", 1, MAX_INPUTS),
            ("n_inter", least, MAX_NEURONS),
            ("n_command", least, MAX_NEURONS),
            ("n_motor", 1, MAX_NEURONS),
            ("sensory_fanout", 1, self.n_inter if layered else MAX_NEURONS),
            ("inter_fanout", 1, self.n_command if layered else MAX_NEURONS),
            ("n_recurrent", 0, self.n_command**2 if layered else MAX_NEURONS),
            ("motor_fanin", 1, self.n_command if layered else MAX_NEURONS),
            ("seed", 0, 2**63 - 1),
        ):
            check_numbers("wiring", self, whole(low, high), name)
        check_numbers("wiring", self, Number(0, 1, is_below=True), "sparsity")


PAPER_CIRCUIT = WiringConfig()
"""The published circuit, the default of every core with a wiring."""


def build_wiring(config: WiringConfig | Wiring) -> Wiring:
    """The circuit of ``config``, which may be one itself; the same settings always give the same synapses.

    Neurons are ordered motor, command, inter, as in the paper's circuit. Polarities: -1 and +1 alike in a
    policy circuit, two of three excite in full and random ones, as in the package ``ncps``.

    >>> build_wiring(WiringConfig("ncp", seed=3)).n_synapses
    252
    >>> build_wiring(WiringConfig("full")).n_synapses == (32 + 19) * 19
    True
    """
    if isinstance(config, Wiring):
        return config
    if config.kind == "paper":
        return paper_wiring()
    rng = np.random.default_rng(config.seed)
    role = ["motor"] * config.n_motor + ["command"] * config.n_command + ["inter"] * config.n_inter
    if config.kind == "ncp":
        pairs_of, polarities = _ncp_pairs(config, rng), [-1, 1]
    else:
        kept = 1.0 if config.kind == "full" else 1.0 - config.sparsity
        pairs_of = [_share_of_pairs(n, len(role), kept, rng) for n in (config.n_inputs, len(role))]
        polarities = [-1, 1, 1]
    sensory, synapses = (
        np.column_stack([pairs, rng.choice(polarities, len(pairs))]).astype(np.int64) for pairs in pairs_of
    )
    return Wiring(config.n_inputs, tuple(role), sensory, synapses)


def _share_of_pairs(n_sources: int, n_targets: int, kept: float, rng: np.random.Generator) -> np.ndarray:
    """A share of all (source, target) pairs, (n, 2), in their order."""
    chosen = rng.permutation(n_sources * n_targets)[: round(kept * n_sources * n_targets)]
    return np.column_stack(np.divmod(np.sort(chosen), n_targets))


def _ncp_pairs(config: WiringConfig, rng: np.random.Generator) -> list[np.ndarray]:
    """(source, target) of the sensory and of the other synapses of a policy circuit (Lechner et al. 2020).

    Each layer is drawn as in Methods, "design principles": a fixed fan-out, then a neuron that nobody reached
    gets the mean fan-in. The recurrent synapses are distinct, so that their number is what was asked for;
    drawn with replacement, as in ``ncps``, some fall together.
    """
    first_inter = config.n_motor + config.n_command
    command = np.arange(config.n_motor, first_inter)
    inter = np.arange(first_inter, first_inter + config.n_inter)
    motor = np.arange(config.n_motor)
    sensory = _fan_out(np.arange(config.n_inputs), inter, config.sensory_fanout, rng)
    loops = rng.permutation(config.n_command**2)[: config.n_recurrent]
    recurrent = config.n_motor + np.column_stack(np.divmod(loops, config.n_command))
    # A motor neuron picks the command neurons that it hears: a fan-out seen from the target.
    to_motor = _fan_out(motor, command, config.motor_fanin, rng)[:, ::-1]
    return [sensory, np.concatenate([_fan_out(inter, command, config.inter_fanout, rng), recurrent, to_motor])]


def _fan_out(sources: np.ndarray, targets: np.ndarray, fanout: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs (n, 2): every source to ``fanout`` targets, and every target left out to its mean share of sources."""
    reached = np.concatenate([rng.choice(targets, fanout, replace=False) for _ in sources])
    blocks = [np.column_stack([np.repeat(sources, fanout), reached])]
    mean_fanin = min(max(len(sources) * fanout // len(targets), 1), len(sources))
    for target in np.setdiff1d(targets, reached):
        hears = rng.choice(sources, mean_fanin, replace=False)
        blocks.append(np.column_stack([hears, np.full(mean_fanin, target)]))
    return np.concatenate(blocks)
