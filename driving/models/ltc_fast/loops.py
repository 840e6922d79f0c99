"""The liquid time-constant cell over whole sequences in compiled loops, with its gradient by hand.

The equations of the gradient stand in ``driving.models.ltc_fast``. Samples lie side by side in the slots of vectors
(``simd``): no synapse mixes slots, so samples never mix, nothing is gathered, and the order of every sum over synapses
is the wiring's. Work arrays of such vectors are flat; ``load`` and ``store`` count in vectors. Compiled at the first
call for each number type, kept on disk afterwards.

Sizes: B batch, T time, N inputs, K neurons, S sensory synapses of P in all, O motor neurons. Names: ``v`` states,
``c`` = C / (dt / n_substeps), ``sums`` numerators (K) and denominators (K), ``g_...`` gradient of, ``d_...`` sums for
the gradient of, one a slot.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions are typed by what they are called with.
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from driving.models.ltc_fast.simd import SIMD_WIDTH, exp, load, store
from sim.compiled import compiled, inlined

LINEAR_FROM = 20.0
"""Softplus is taken as x from here on, as in ``torch.nn.functional.softplus``."""
# Columns of the synapses' table, of the neurons' table, and of the synapses' sums for the gradient.
SIGMA, MU, W, WE = range(4)
C_M, G, V_LEAK = range(3)
D_SIGMA, D_DRIVE, D_W, D_WE = range(4)


@inlined
def _softplus(x):
    return x if x > LINEAR_FROM else math.log1p(math.exp(x))


@inlined
def _softplus_slope(x):
    return 1.0 if x > LINEAR_FROM else 1.0 / (1.0 + math.exp(-x))


@inlined
def _tables(flat, n, n_neurons):
    """The parameters by synapse (P, 4) and by neuron (K, 3); ``flat`` is in the order of ``PARAMETERS``."""
    synapses, neurons = np.empty((n, 4), flat.dtype), np.empty((n_neurons, 3), flat.dtype)
    first = n + 2 * n_neurons
    for i in range(n):
        synapses[i, SIGMA] = flat[first + i]
        synapses[i, MU] = flat[first + n + i]
        synapses[i, W] = _softplus(flat[i])
        synapses[i, WE] = synapses[i, W] * flat[first + 2 * n + i]
    for k in range(n_neurons):
        neurons[k, C_M] = _softplus(flat[n + k])
        neurons[k, G] = _softplus(flat[n + n_neurons + k])
        neurons[k, V_LEAK] = flat[first + 3 * n + k]
    return synapses, neurons


@inlined
def _take(rows, first, here, vectors):
    """The rows of ``here`` samples from ``first`` on as vectors, zero in the slots without one."""
    for k in range(rows.shape[1]):
        for slot in range(SIMD_WIDTH):
            vectors[k * SIMD_WIDTH + slot] = rows[first + slot, k] if slot < here else 0.0


@inlined
def _give(vectors, first, here, rows):
    """The opposite of ``_take``."""
    for slot in range(here):
        for k in range(rows.shape[1]):
            rows[first + slot, k] = vectors[k * SIMD_WIDTH + slot]


@inlined
def _clear(raw, dt):
    """Harmless values in the slots without a sample."""
    for i in range(len(raw)):
        raw[i] = 0.0
    for i in range(len(dt)):
        dt[i] = 1.0


@inlined
def _add_synapses(synapses, table, begin, end, v, at_v, sums, at_sums, n_neurons, kept, at_kept):
    """sums += sum w s E and sum w s over some synapses; keeps their s."""
    for i in range(begin, end):
        s = 1.0 / (1.0 + exp(synapses[i, SIGMA] * (synapses[i, MU] - load(v, at_v + table[0, i]))))
        num = at_sums + table[1, i]
        den = num + n_neurons
        store(sums, num, load(sums, num) + synapses[i, WE] * s)
        store(sums, den, load(sums, den) + synapses[i, W] * s)
        store(kept, at_kept + i - begin, s)


@inlined
def _hold(
    synapses, neurons, table, maps, n_sensory, n_substeps, eps, features, dt_s, first, t, raw, x, dt, c, held, kept
):
    """What stays the same in frame t of the samples from ``first`` on: c, and the sums of all but the neurons."""
    n_batch, n_neurons = len(features), len(neurons)
    for slot in range(min(SIMD_WIDTH, n_batch - first)):
        dt[slot] = dt_s[first + slot, t]
        for i in range(features.shape[2]):
            raw[i * SIMD_WIDTH + slot] = features[first + slot, t, i]
    for i in range(features.shape[2]):
        store(x, i, load(raw, i) * maps[i] + maps[features.shape[2] + i])
    for k in range(n_neurons):
        c_k = neurons[k, C_M] * n_substeps / load(dt, 0)
        store(c, k, c_k)
        store(held, k, 0.0 * c_k + neurons[k, G] * neurons[k, V_LEAK])
        store(held, n_neurons + k, c_k + (neurons[k, G] + eps))
    _add_synapses(synapses, table, 0, n_sensory, x, 0, held, 0, n_neurons, kept, 0)


@inlined
def _substep(synapses, table, n_sensory, v, at, at_next, c, held, sums, at_sums, kept, at_kept):
    """One sub-step from the states at ``at`` to those at ``at_next``."""
    n_neurons = len(c) // SIMD_WIDTH
    for k in range(2 * n_neurons):
        store(sums, at_sums + k, load(held, k))
    _add_synapses(synapses, table, n_sensory, len(synapses), v, at, sums, at_sums, n_neurons, kept, at_kept)
    for k in range(n_neurons):
        numerator = load(sums, at_sums + k) + load(c, k) * load(v, at + k)
        store(v, at_next + k, numerator / load(sums, at_sums + n_neurons + k))


@compiled
def _forward(flat, table, motor, n_sensory, n_substeps, eps, features, state, dt_s, keep):
    n_batch, n_time, n_inputs = features.shape
    n_neurons, n_motor, n = state.shape[1], len(motor), table.shape[1]
    synapses, neurons = _tables(flat, n, n_neurons)
    maps = flat[len(flat) - 2 * (n_inputs + n_motor) :]
    outputs, last = np.empty((n_batch, n_time, n_motor), flat.dtype), np.empty_like(state)
    n_blocks = -(-n_batch // SIMD_WIDTH)
    starts = np.empty((n_blocks if keep else 0, n_time, n_neurons * SIMD_WIDTH), flat.dtype)
    raw, x = np.empty(n_inputs * SIMD_WIDTH, flat.dtype), np.empty(n_inputs * SIMD_WIDTH, flat.dtype)
    dt, kept = np.empty(SIMD_WIDTH, flat.dtype), np.empty(n * SIMD_WIDTH, flat.dtype)
    v, c = np.empty(n_neurons * SIMD_WIDTH, flat.dtype), np.empty(n_neurons * SIMD_WIDTH, flat.dtype)
    held, sums = np.empty(2 * len(v), flat.dtype), np.empty(2 * len(v), flat.dtype)
    for block in range(n_blocks):
        first = block * SIMD_WIDTH
        here = min(SIMD_WIDTH, n_batch - first)
        _clear(raw, dt)
        _take(state, first, here, v)
        for t in range(n_time):
            for i in range(len(v) if keep else 0):
                starts[block, t, i] = v[i]
            _hold(
                synapses, neurons, table, maps, n_sensory, n_substeps, eps, features, dt_s, first, t, raw, x, dt, c,
                held, kept,
            )  # fmt: skip
            for _ in range(n_substeps):
                _substep(synapses, table, n_sensory, v, 0, 0, c, held, sums, 0, kept, 0)
            for slot in range(here):
                for o in range(n_motor):
                    at = 2 * n_inputs + o
                    outputs[first + slot, t, o] = v[motor[o] * SIMD_WIDTH + slot] * maps[at] + maps[at + n_motor]
        _give(v, first, here, last)
    return outputs, last, starts


@inlined
def _add_synapses_gradient(synapses, table, begin, end, v, at_v, kept, at_kept, g_sums, g_v, d):
    """Back through ``_add_synapses``: g_v of the sources grows, as do the synapses' four sums ``d``."""
    n_neurons = len(g_sums) // (2 * SIMD_WIDTH)
    for i in range(begin, end):
        source, k = table[0, i], table[1, i]
        s, g_num, g_den = load(kept, at_kept + i - begin), load(g_sums, k), load(g_sums, n_neurons + k)
        drive = (synapses[i, WE] * g_num + synapses[i, W] * g_den) * s * (1.0 - s)
        from_threshold = load(v, at_v + source) - synapses[i, MU]
        store(d, 4 * i + D_SIGMA, load(d, 4 * i + D_SIGMA) + drive * from_threshold)
        store(d, 4 * i + D_DRIVE, load(d, 4 * i + D_DRIVE) + drive)
        store(d, 4 * i + D_W, load(d, 4 * i + D_W) + g_den * s)
        store(d, 4 * i + D_WE, load(d, 4 * i + D_WE) + g_num * s)
        store(g_v, source, load(g_v, source) + synapses[i, SIGMA] * drive)


@inlined
def _substep_gradient(v, i, c, sums, g_v, q, g_held, g_c):
    """Back through sub-step i but for its synapses: q becomes the gradient of its sums, g_v that of its start."""
    n_neurons = len(c) // SIMD_WIDTH
    for k in range(n_neurons):
        by_num = load(g_v, k) / load(sums, (2 * i + 1) * n_neurons + k)
        by_den = 0.0 - by_num * load(v, (i + 1) * n_neurons + k)
        store(q, k, by_num)
        store(q, n_neurons + k, by_den)
        store(g_held, k, load(g_held, k) + by_num)
        store(g_held, n_neurons + k, load(g_held, n_neurons + k) + by_den)
        store(g_c, k, load(g_c, k) + by_num * load(v, i * n_neurons + k))
        store(g_v, k, load(c, k) * by_num)


@inlined
def _total(vectors, i):
    total = 0.0
    for slot in range(SIMD_WIDTH):
        total += vectors[i * SIMD_WIDTH + slot]
    return total


@inlined
def _flat_gradient(flat, synapses, neurons, d_synapses, d_neurons, d_maps):
    """The gradient of ``flat`` from the sums by synapse, by neuron and of the maps."""
    n, n_neurons = len(synapses), len(neurons)
    g_flat = np.empty_like(flat)
    first = n + 2 * n_neurons
    for i in range(n):
        by_we = _total(d_synapses, 4 * i + D_WE)
        by_w = by_we * flat[first + 2 * n + i] + _total(d_synapses, 4 * i + D_W)
        g_flat[i] = by_w * _softplus_slope(flat[i])
        g_flat[first + i] = _total(d_synapses, 4 * i + D_SIGMA)
        g_flat[first + n + i] = -synapses[i, SIGMA] * _total(d_synapses, 4 * i + D_DRIVE)
        g_flat[first + 2 * n + i] = by_we * synapses[i, W]
    for k in range(n_neurons):
        by_num, by_den = _total(d_neurons, k), _total(d_neurons, n_neurons + k)
        c_at, g_at = n + k, n + n_neurons + k
        g_flat[c_at] = _total(d_neurons, 2 * n_neurons + k) * _softplus_slope(flat[c_at])
        g_flat[g_at] = (by_den + by_num * neurons[k, V_LEAK]) * _softplus_slope(flat[g_at])
        g_flat[first + 3 * n + k] = by_num * neurons[k, G]
    n_maps = len(d_maps) // SIMD_WIDTH
    for i in range(n_maps):
        g_flat[len(flat) - n_maps + i] = _total(d_maps, i)
    return g_flat


@compiled
def _backward(flat, table, motor, n_sensory, n_substeps, eps, features, dt_s, starts, g_outputs, g_last):
    n_batch, n_time, n_inputs = features.shape
    n_neurons, n_motor, n = g_last.shape[1], len(motor), table.shape[1]
    n_recurrent, size, dtype = n - n_sensory, n_neurons * SIMD_WIDTH, flat.dtype
    synapses, neurons = _tables(flat, n, n_neurons)
    maps = flat[len(flat) - 2 * (n_inputs + n_motor) :]
    g_features, g_state, g_dt_s = np.empty_like(features), np.empty_like(g_last), np.empty_like(dt_s)
    raw, x, g_x = (
        np.empty(n_inputs * SIMD_WIDTH, dtype),
        np.empty(n_inputs * SIMD_WIDTH, dtype),
        np.empty(n_inputs * SIMD_WIDTH, dtype),
    )
    dt, g_dt, g_y = np.empty(SIMD_WIDTH, dtype), np.empty(SIMD_WIDTH, dtype), np.zeros(SIMD_WIDTH, dtype)
    c, held, g_v = np.empty(size, dtype), np.empty(2 * size, dtype), np.empty(size, dtype)
    v, sums = np.empty((n_substeps + 1) * size, dtype), np.empty(n_substeps * 2 * size, dtype)
    kept_in = np.empty(n_sensory * SIMD_WIDTH, dtype)
    kept = np.empty(n_substeps * n_recurrent * SIMD_WIDTH, dtype)
    q, g_held, g_c = np.empty(2 * size, dtype), np.empty(2 * size, dtype), np.empty(size, dtype)
    d_synapses, d_neurons = np.zeros(4 * n * SIMD_WIDTH, dtype), np.zeros(3 * size, dtype)
    d_maps = np.zeros(2 * (n_inputs + n_motor) * SIMD_WIDTH, dtype)
    for block in range(len(starts)):
        first = block * SIMD_WIDTH
        here = min(SIMD_WIDTH, n_batch - first)
        _clear(raw, dt)
        _take(g_last, first, here, g_v)
        for t in range(n_time - 1, -1, -1):
            # The frame once more, everything kept: cheaper than to store it for all frames.
            for i in range(size):
                v[i] = starts[block, t, i]
            _hold(
                synapses, neurons, table, maps, n_sensory, n_substeps, eps, features, dt_s, first, t, raw, x, dt, c,
                held, kept_in,
            )  # fmt: skip
            for i in range(n_substeps):
                at, at_sums, at_kept = i * n_neurons, i * 2 * n_neurons, i * n_recurrent
                _substep(synapses, table, n_sensory, v, at, at + n_neurons, c, held, sums, at_sums, kept, at_kept)
            for o in range(n_motor):
                for slot in range(SIMD_WIDTH):
                    g_y[slot] = g_outputs[first + slot, t, o] if slot < here else 0.0
                y, at = load(g_y, 0), 2 * n_inputs + o
                last = load(v, n_substeps * n_neurons + motor[o])
                store(d_maps, at, load(d_maps, at) + y * last)
                store(d_maps, at + n_motor, load(d_maps, at + n_motor) + y)
                store(g_v, motor[o], load(g_v, motor[o]) + y * maps[at])
            for i in range(2 * size):
                g_held[i] = 0.0
            for i in range(size):
                g_c[i] = 0.0
            for i in range(n_substeps - 1, -1, -1):
                _substep_gradient(v, i, c, sums, g_v, q, g_held, g_c)
                _add_synapses_gradient(
                    synapses, table, n_sensory, n, v, i * n_neurons, kept, i * n_recurrent, q, g_v, d_synapses
                )
            for i in range(n_inputs * SIMD_WIDTH):
                g_x[i] = 0.0
            _add_synapses_gradient(synapses, table, 0, n_sensory, x, 0, kept_in, 0, g_held, g_x, d_synapses)
            g_time = 0.0 * load(dt, 0)
            for k in range(n_neurons):
                g_den = load(g_held, n_neurons + k)
                share = (load(g_c, k) + g_den) / load(dt, 0)  # c is in the denominator too
                g_time = g_time - share * load(c, k)
                for i, part in ((k, load(g_held, k)), (n_neurons + k, g_den), (2 * n_neurons + k, share * n_substeps)):
                    store(d_neurons, i, load(d_neurons, i) + part)
            store(g_dt, 0, g_time)
            for i in range(n_inputs):
                g = load(g_x, i)
                store(d_maps, i, load(d_maps, i) + g * load(raw, i))
                store(d_maps, n_inputs + i, load(d_maps, n_inputs + i) + g)
                store(g_x, i, g * maps[i])
            for slot in range(here):
                g_dt_s[first + slot, t] = g_dt[slot]
                for i in range(n_inputs):
                    g_features[first + slot, t, i] = g_x[i * SIMD_WIDTH + slot]
        _give(g_v, first, here, g_state)
    return g_features, g_state, g_dt_s, _flat_gradient(flat, synapses, neurons, d_synapses, d_neurons, d_maps)


# As operations of PyTorch, so that whoever watches or traces operations sees them. ``torch.library.custom_op`` says
# the same in fewer words and takes twice as long to call: 9 microseconds of a step of 40.
_CIRCUIT = "Tensor flat, Tensor table, Tensor motor, int n_sensory, int n_substeps, float eps"
torch.library.define(
    "liquid_lane::ltc_forward",
    f"({_CIRCUIT}, Tensor features, Tensor state, Tensor dt_s, bool keep) -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "liquid_lane::ltc_backward",
    f"({_CIRCUIT}, Tensor features, Tensor dt_s, Tensor starts, Tensor grad_outputs, Tensor grad_last)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)


@torch.library.impl("liquid_lane::ltc_forward", "CPU")
def _forward_of_tensors(flat, table, motor, n_sensory, n_substeps, eps, features, state, dt_s, keep):
    parameters, who, motors, x, v, times = (t.numpy(force=True) for t in (flat, table, motor, features, state, dt_s))
    found = _forward(parameters, who, motors, n_sensory, n_substeps, eps, x, v, times, keep)
    return tuple(map(torch.from_numpy, found))


@torch.library.impl("liquid_lane::ltc_backward", "CPU")
def _backward_of_tensors(
    flat, table, motor, n_sensory, n_substeps, eps, features, dt_s, starts, grad_outputs, grad_last
):
    parameters, who, motors = (t.numpy(force=True) for t in (flat, table, motor))
    x, times, begun, g_y, g_v = (t.numpy(force=True) for t in (features, dt_s, starts, grad_outputs, grad_last))
    found = _backward(parameters, who, motors, n_sensory, n_substeps, eps, x, times, begun, g_y, g_v)
    return tuple(map(torch.from_numpy, found))


_FORWARD, _BACKWARD = torch.ops.liquid_lane.ltc_forward.default, torch.ops.liquid_lane.ltc_backward.default


class CircuitNumbers(NamedTuple):
    """What both operations need to know of a circuit.

    Attributes:
        table: (2, P) int32, source and target of the synapses, the sensory ones first.
        motor: (O,) indices of the motor neurons.
        n_sensory, n_substeps: S, and the sub-steps of a frame.
        eps: of the denominator.
    """

    table: Tensor
    motor: Tensor
    n_sensory: int
    n_substeps: int
    eps: float


def forward(
    flat: Tensor, circuit: CircuitNumbers, features: Tensor, state: Tensor, dt_s: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (B, T, O), last state (B, K) and, to ``keep``, the states that ``backward`` begins its frames with.

    ``flat`` holds all parameters, in the order of ``driving.models.ltc_fast.PARAMETERS``.
    """
    found: tuple[Tensor, Tensor, Tensor] = _FORWARD(flat, *circuit, features, state, dt_s, keep)
    return found


def backward(
    flat: Tensor, circuit: CircuitNumbers, features: Tensor, dt_s: Tensor, starts: Tensor, *grads: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of features, state, dt_s and flat from those of outputs and last state."""
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _BACKWARD(flat, *circuit, features, dt_s, starts, *grads)
    return found
