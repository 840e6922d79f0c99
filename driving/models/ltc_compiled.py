"""The liquid time-constant cell over whole sequences in compiled loops, with its gradient by hand: see ``ltc_fused``.

Samples lie side by side in the lanes of vectors (``driving.models.lanes``): no synapse mixes lanes, so samples never
mix, nothing is gathered, and the order of every sum over synapses is the wiring's. Work arrays of such vectors are
flat; ``load`` and ``store`` count in vectors. Compiled at the first call for each number type, kept on disk afterwards.

Sizes: B batch, T time, N inputs, K neurons, S sensory synapses of P in all, O motor neurons. Names: ``v`` states,
``c`` = C / (dt / n_substeps), ``sums`` numerators (K) and denominators (K), ``g_...`` gradient of, ``d_...`` sums for
the gradient of, one a lane.
"""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions are typed by what they are called with.
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from driving.models.lanes import N_LANES, exp, load, store
from driving.models.ltc_circuit import Circuit
from sim.compiled import compiled, inlined

EPS = 1e-8
"""That of ``driving.models.ltc``."""
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
def _take(rows, first, here, lanes):
    """The rows of ``here`` samples from ``first`` on as lanes, zero in the others."""
    for k in range(rows.shape[1]):
        for lane in range(N_LANES):
            lanes[k * N_LANES + lane] = rows[first + lane, k] if lane < here else 0.0


@inlined
def _give(lanes, first, here, rows):
    """The opposite of ``_take``."""
    for lane in range(here):
        for k in range(rows.shape[1]):
            rows[first + lane, k] = lanes[k * N_LANES + lane]


@inlined
def _clear(raw, dt):
    """Harmless values in the lanes without a sample."""
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
    synapses, neurons, table, maps, n_sensory, n_substeps, features, dt_s, first, t, raw, x, dt, c, held, kept
):
    """What stays the same in frame t of the samples from ``first`` on: c, and the sums of all but the neurons."""
    n_batch, n_neurons = len(features), len(neurons)
    for lane in range(min(N_LANES, n_batch - first)):
        dt[lane] = dt_s[first + lane, t]
        for i in range(features.shape[2]):
            raw[i * N_LANES + lane] = features[first + lane, t, i]
    for i in range(features.shape[2]):
        store(x, i, load(raw, i) * maps[i] + maps[features.shape[2] + i])
    for k in range(n_neurons):
        c_k = neurons[k, C_M] * n_substeps / load(dt, 0)
        store(c, k, c_k)
        store(held, k, 0.0 * c_k + neurons[k, G] * neurons[k, V_LEAK])
        store(held, n_neurons + k, c_k + (neurons[k, G] + EPS))
    _add_synapses(synapses, table, 0, n_sensory, x, 0, held, 0, n_neurons, kept, 0)


@inlined
def _substep(synapses, table, n_sensory, v, at, at_next, c, held, sums, at_sums, kept, at_kept):
    """One sub-step from the states at ``at`` to those at ``at_next``."""
    n_neurons = len(c) // N_LANES
    for k in range(2 * n_neurons):
        store(sums, at_sums + k, load(held, k))
    _add_synapses(synapses, table, n_sensory, len(synapses), v, at, sums, at_sums, n_neurons, kept, at_kept)
    for k in range(n_neurons):
        numerator = load(sums, at_sums + k) + load(c, k) * load(v, at + k)
        store(v, at_next + k, numerator / load(sums, at_sums + n_neurons + k))


@compiled
def _forward(flat, table, motor, n_sensory, n_substeps, features, state, dt_s, keep):
    n_batch, n_time, n_inputs = features.shape
    n_neurons, n_motor, n = state.shape[1], len(motor), table.shape[1]
    synapses, neurons = _tables(flat, n, n_neurons)
    maps = flat[len(flat) - 2 * (n_inputs + n_motor) :]
    outputs, last = np.empty((n_batch, n_time, n_motor), flat.dtype), np.empty_like(state)
    n_blocks = -(-n_batch // N_LANES)
    starts = np.empty((n_blocks if keep else 0, n_time, n_neurons * N_LANES), flat.dtype)
    raw, x = np.empty(n_inputs * N_LANES, flat.dtype), np.empty(n_inputs * N_LANES, flat.dtype)
    dt, kept = np.empty(N_LANES, flat.dtype), np.empty(n * N_LANES, flat.dtype)
    v, c = np.empty(n_neurons * N_LANES, flat.dtype), np.empty(n_neurons * N_LANES, flat.dtype)
    held, sums = np.empty(2 * len(v), flat.dtype), np.empty(2 * len(v), flat.dtype)
    for block in range(n_blocks):
        first = block * N_LANES
        here = min(N_LANES, n_batch - first)
        _clear(raw, dt)
        _take(state, first, here, v)
        for t in range(n_time):
            for i in range(len(v) if keep else 0):
                starts[block, t, i] = v[i]
            _hold(
                synapses, neurons, table, maps, n_sensory, n_substeps, features, dt_s, first, t, raw, x, dt, c,
                held, kept,
            )  # fmt: skip
            for _ in range(n_substeps):
                _substep(synapses, table, n_sensory, v, 0, 0, c, held, sums, 0, kept, 0)
            for lane in range(here):
                for o in range(n_motor):
                    at = 2 * n_inputs + o
                    outputs[first + lane, t, o] = v[motor[o] * N_LANES + lane] * maps[at] + maps[at + n_motor]
        _give(v, first, here, last)
    return outputs, last, starts


@inlined
def _add_synapses_gradient(synapses, table, begin, end, v, at_v, kept, at_kept, g_sums, g_v, d):
    """Back through ``_add_synapses``: g_v of the sources grows, as do the synapses' four sums ``d``."""
    n_neurons = len(g_sums) // (2 * N_LANES)
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
    n_neurons = len(c) // N_LANES
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
def _total(lanes, i):
    total = 0.0
    for lane in range(N_LANES):
        total += lanes[i * N_LANES + lane]
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
    n_maps = len(d_maps) // N_LANES
    for i in range(n_maps):
        g_flat[len(flat) - n_maps + i] = _total(d_maps, i)
    return g_flat


@compiled
def _backward(flat, table, motor, n_sensory, n_substeps, features, dt_s, starts, g_outputs, g_last):
    n_batch, n_time, n_inputs = features.shape
    n_neurons, n_motor, n = g_last.shape[1], len(motor), table.shape[1]
    n_recurrent, size, dtype = n - n_sensory, n_neurons * N_LANES, flat.dtype
    synapses, neurons = _tables(flat, n, n_neurons)
    maps = flat[len(flat) - 2 * (n_inputs + n_motor) :]
    g_features, g_state, g_dt_s = np.empty_like(features), np.empty_like(g_last), np.empty_like(dt_s)
    raw, x, g_x = (
        np.empty(n_inputs * N_LANES, dtype),
        np.empty(n_inputs * N_LANES, dtype),
        np.empty(n_inputs * N_LANES, dtype),
    )
    dt, g_dt, g_y = np.empty(N_LANES, dtype), np.empty(N_LANES, dtype), np.zeros(N_LANES, dtype)
    c, held, g_v = np.empty(size, dtype), np.empty(2 * size, dtype), np.empty(size, dtype)
    v, sums = np.empty((n_substeps + 1) * size, dtype), np.empty(n_substeps * 2 * size, dtype)
    kept_in = np.empty(n_sensory * N_LANES, dtype)
    kept = np.empty(n_substeps * n_recurrent * N_LANES, dtype)
    q, g_held, g_c = np.empty(2 * size, dtype), np.empty(2 * size, dtype), np.empty(size, dtype)
    d_synapses, d_neurons = np.zeros(4 * n * N_LANES, dtype), np.zeros(3 * size, dtype)
    d_maps = np.zeros(2 * (n_inputs + n_motor) * N_LANES, dtype)
    for block in range(len(starts)):
        first = block * N_LANES
        here = min(N_LANES, n_batch - first)
        _clear(raw, dt)
        _take(g_last, first, here, g_v)
        for t in range(n_time - 1, -1, -1):
            # The frame once more, everything kept: cheaper than to store it for all frames.
            for i in range(size):
                v[i] = starts[block, t, i]
            _hold(
                synapses, neurons, table, maps, n_sensory, n_substeps, features, dt_s, first, t, raw, x, dt, c,
                held, kept_in,
            )  # fmt: skip
            for i in range(n_substeps):
                at, at_sums, at_kept = i * n_neurons, i * 2 * n_neurons, i * n_recurrent
                _substep(
                    synapses, table, n_sensory, v, at, at + n_neurons, c, held, sums, at_sums, kept, at_kept
                )
            for o in range(n_motor):
                for lane in range(N_LANES):
                    g_y[lane] = g_outputs[first + lane, t, o] if lane < here else 0.0
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
            for i in range(n_inputs * N_LANES):
                g_x[i] = 0.0
            _add_synapses_gradient(synapses, table, 0, n_sensory, x, 0, kept_in, 0, g_held, g_x, d_synapses)
            g_time = 0.0 * load(dt, 0)
            for k in range(n_neurons):
                g_den = load(g_held, n_neurons + k)
                share = (load(g_c, k) + g_den) / load(dt, 0)  # c is in the denominator too
                g_time = g_time - share * load(c, k)
                for i, part in (
                    (k, load(g_held, k)),
                    (n_neurons + k, g_den),
                    (2 * n_neurons + k, share * n_substeps),
                ):
                    store(d_neurons, i, load(d_neurons, i) + part)
            store(g_dt, 0, g_time)
            for i in range(n_inputs):
                g = load(g_x, i)
                store(d_maps, i, load(d_maps, i) + g * load(raw, i))
                store(d_maps, n_inputs + i, load(d_maps, n_inputs + i) + g)
                store(g_x, i, g * maps[i])
            for lane in range(here):
                g_dt_s[first + lane, t] = g_dt[lane]
                for i in range(n_inputs):
                    g_features[first + lane, t, i] = g_x[i * N_LANES + lane]
        _give(g_v, first, here, g_state)
    return g_features, g_state, g_dt_s, _flat_gradient(flat, synapses, neurons, d_synapses, d_neurons, d_maps)


def forward(
    circuit: Circuit, flat: Tensor, features: Tensor, state: Tensor, dt_s: Tensor, keep: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Outputs (B, T, O), last state (B, K) and, to ``keep``, what ``backward`` needs."""
    outputs, last, starts = _forward(
        flat.numpy(),
        circuit.table,
        circuit.motor,
        circuit.n_sensory,
        circuit.n_substeps,
        features.numpy(),
        state.numpy(),
        dt_s.numpy(),
        keep,
    )
    saved = (torch.from_numpy(starts),) if keep else ()
    return torch.from_numpy(outputs), torch.from_numpy(last), saved


def backward(
    circuit: Circuit,
    flat: Tensor,
    features: Tensor,
    dt_s: Tensor,
    saved: tuple[Tensor, ...],
    grad_outputs: Tensor,
    grad_last: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of features, state, dt_s and flat."""
    found = _backward(
        flat.numpy(),
        circuit.table,
        circuit.motor,
        circuit.n_sensory,
        circuit.n_substeps,
        *(x.numpy() for x in (features, dt_s, *saved, grad_outputs, grad_last)),
    )
    of_features, of_state, of_dt_s, of_flat = (torch.from_numpy(x) for x in found)
    return of_features, of_state, of_dt_s, of_flat
