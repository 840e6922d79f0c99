"""The liquid time-constant cell in numpy, with its gradient by hand: the fast form that needs no compiler.

Few, large operations: the sums of the sensory synapses for all frames at once, every parameter's gradient as one
product of matrices at the end; only the sub-steps are a loop. The derivation is in ``ltc_fused``. The large products
are torch's: numpy's have threads of their own, which neither know ``torch.set_num_threads`` nor let go of a busy core.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from driving.models.ltc_circuit import Circuit

EPS = 1e-8
"""That of ``driving.models.ltc``."""
LINEAR_FROM = 20.0
"""Softplus is taken as x from here on, as in ``torch.nn.functional.softplus``."""


class _Values(NamedTuple):
    """The parameters as the loop wants them; P = S + R synapses, the sensory ones first."""

    positive: np.ndarray  # (P + 2K,): w, C, g
    sigma: np.ndarray  # (P,)
    mu: np.ndarray  # (P,)
    e_rev: np.ndarray  # (P,)
    v_leak: np.ndarray  # (K,)
    input_weight: np.ndarray  # (N,)
    input_bias: np.ndarray  # (N,)
    readout_weight: np.ndarray  # (O,)
    readout_bias: np.ndarray  # (O,)
    sensory_source: np.ndarray  # (N + 1, S): -sigma at (source, s); last row: sigma mu
    sensory_target: np.ndarray  # (S, 2K): w E at (s, target), w at (s, K + target)
    source: np.ndarray  # (K + 1, R), likewise
    target: np.ndarray  # (R, 2K), likewise


def _values(circuit: Circuit, flat: np.ndarray) -> _Values:
    raw, sigma, mu, e_rev, *maps = [flat[group] for group in circuit.groups]
    positive = np.where(raw > LINEAR_FROM, raw, np.log1p(np.exp(raw)))
    w = positive[: len(sigma)]
    matrices = np.zeros(circuit.n_entries, flat.dtype)
    matrices[circuit.entries] = np.concatenate([-sigma, sigma * mu, w * e_rev, w])
    return _Values(positive, sigma, mu, e_rev, *maps, *circuit.split(matrices))


class _Held(NamedTuple):
    """What is held during a frame, for all of them, time first."""

    mapped: np.ndarray  # (T, B, N + 1): the mapped features and a one
    activation: np.ndarray  # (T, B, S)
    c: np.ndarray  # (T, B, K)
    sums: np.ndarray  # (T, B, 2K): numerator and denominator without recurrent synapses and c v


def _hold(circuit: Circuit, p: _Values, features: np.ndarray, dt_s: np.ndarray) -> _Held:
    n_batch, n_time, n_inputs = features.shape
    n_neurons = circuit.n_neurons
    c_m, g = p.positive[-2 * n_neurons : -n_neurons], p.positive[-n_neurons:]
    mapped = np.ones((n_time, n_batch, n_inputs + 1), features.dtype)
    np.multiply(features.swapaxes(0, 1), p.input_weight, out=mapped[..., :-1])
    mapped[..., :-1] += p.input_bias
    rows = _product(_rows(mapped), p.sensory_source)
    np.exp(rows, out=rows)
    rows += 1
    np.reciprocal(rows, out=rows)
    sums = _product(rows, p.sensory_target).reshape(n_time, n_batch, 2 * n_neurons)
    c = (c_m * circuit.n_substeps) / dt_s.T[..., None]
    sums[..., :n_neurons] += g * p.v_leak
    sums[..., n_neurons:] += c + (g + g.dtype.type(EPS))
    return _Held(mapped, rows.reshape(n_time, n_batch, circuit.n_sensory), c, sums)


@np.errstate(all="ignore")  # a closed synapse overflows to 0 as it should, and a NaN is the caller's
def forward(
    circuit: Circuit, flat: Tensor, features: Tensor, state: Tensor, dt_s: Tensor, keep: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Outputs (B, T, O), last state (B, K) and, to ``keep``, what ``backward`` needs."""
    p = _values(circuit, flat.numpy())
    held = _hold(circuit, p, features.numpy(), dt_s.numpy())
    (n_time, n_batch, n_neurons), dtype = held.c.shape, held.c.dtype
    n_steps = n_time * circuit.n_substeps
    # Without `keep` one row of each is used again and again.
    n_kept, again = (n_steps, 1) if keep else (1, n_steps)
    # The states carry a one, so that the product with `source` brings the thresholds along.
    states = np.ones((n_kept + keep, n_batch, n_neurons + 1), dtype)
    states[0, :, :-1] = state.numpy()
    activations = np.empty((n_kept, n_batch, circuit.n_synapses), dtype)
    sums = np.empty((n_kept, n_batch, 2 * n_neurons), dtype)
    frames = np.empty((n_time, n_batch, n_neurons), dtype)
    whole, v = list(states) * again, list(states[..., :-1]) * again
    steps = zip(
        *(whole[:n_steps], v[:n_steps], v[1:] if keep else v, list(activations) * again),
        *(list(x) * again for x in (sums, sums[..., :n_neurons], sums[..., n_neurons:])),
        strict=True,
    )
    one = np.ones(1, dtype)
    for c, fixed, frame in zip(held.c, held.sums, frames, strict=True):
        for with_one, before, after, a, both, numerator, denominator in itertools.islice(
            steps, circuit.n_substeps
        ):
            np.matmul(with_one, p.source, a)
            np.exp(a, a)
            np.add(a, one, a)
            np.reciprocal(a, a)
            np.matmul(a, p.target, both)
            np.add(both, fixed, both)
            np.multiply(c, before, after)
            np.add(after, numerator, after)
            np.divide(after, denominator, after)
        frame[...] = after
    outputs = frames[..., circuit.motor] * p.readout_weight + p.readout_bias
    kept = (states, activations, sums, held.mapped, held.activation, held.c) if keep else ()
    return (
        torch.from_numpy(outputs.swapaxes(0, 1).copy()),
        torch.from_numpy(frames[-1].copy()),
        tuple(map(torch.from_numpy, kept)),
    )


@np.errstate(all="ignore")
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
    p = _values(circuit, flat.numpy())
    states, activations, sums, mapped, sensory_activation, c = (x.numpy() for x in saved)
    n_time, n_batch, n_neurons = c.shape
    g_outputs = grad_outputs.numpy().swapaxes(0, 1)  # (T, B, O)
    g_frames = np.zeros_like(c)
    g_frames[..., circuit.motor] = g_outputs * p.readout_weight
    g_v = grad_last.numpy().copy()
    drive, both = _back_through_substeps(circuit, p, (states, activations, sums, c), g_frames, g_v)

    per_frame = (n_time, circuit.n_substeps, n_batch, -1)
    g_sums = both.reshape(per_frame).sum(1)  # (T, B, 2K)
    g_c = np.einsum(
        "tibk,tibk->tbk", both.reshape(per_frame)[..., :n_neurons], states[:-1].reshape(per_frame)[..., :-1]
    )
    g_c = (g_c + g_sums[..., n_neurons:]) * c  # c is in the denominator too; by the logarithm of c
    sensory_drive = _product(_rows(g_sums), p.sensory_target.T).reshape(sensory_activation.shape)
    sensory_drive *= _slope(sensory_activation)

    # Gradients of the four matrices; of their entries only those of a synapse count.
    g_matrices = np.empty(circuit.n_entries, flat.numpy().dtype)
    pairs = ((mapped, sensory_drive), (sensory_activation, g_sums), (states[:-1], drive), (activations, both))
    for matrix, (x, y) in zip(circuit.split(g_matrices), pairs, strict=True):
        matrix[...] = _product(_rows(x).T, _rows(y))
    by_minus_sigma, by_threshold, by_w_e, by_w = np.split(g_matrices[circuit.entries], 4)
    g_mapped = _product(_rows(sensory_drive), p.sensory_source[:-1].T).reshape(
        n_time, n_batch, circuit.n_inputs
    )
    by_numerator, by_denominator = g_sums.sum((0, 1)).reshape(2, -1)
    c_m, g = p.positive[-2 * n_neurons :].reshape(2, -1)
    by_positive = (by_w + by_w_e * p.e_rev, g_c.sum((0, 1)) / c_m, by_denominator + by_numerator * p.v_leak)
    g_flat = np.concatenate(
        [
            np.concatenate(by_positive) * -np.expm1(-p.positive),  # softplus' slope from its value
            by_threshold * p.mu - by_minus_sigma,
            by_threshold * p.sigma,
            by_w_e * p.positive[: len(p.sigma)],
            by_numerator * g,
            np.einsum("tbn,btn->n", g_mapped, features.numpy()),
            g_mapped.sum((0, 1)),
            (g_outputs * states[circuit.n_substeps :: circuit.n_substeps, :, circuit.motor]).sum((0, 1)),
            g_outputs.sum((0, 1)),
        ]
    )
    grads = ((g_mapped * p.input_weight).swapaxes(0, 1), g_v, -g_c.sum(2).T / dt_s.numpy(), g_flat)
    of_features, of_state, of_dt_s, of_flat = (torch.from_numpy(np.ascontiguousarray(x)) for x in grads)
    return of_features, of_state, of_dt_s, of_flat


def _rows(x: np.ndarray) -> np.ndarray:
    """All but the last axis as one."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x @ y of two matrices, on torch's threads."""
    product: np.ndarray = torch.mm(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    return product


def _slope(activation: np.ndarray) -> np.ndarray:
    """Slope of 1 / (1 + e^z) by z, from its value."""
    slope = activation - 1
    slope *= activation
    return slope


def _back_through_substeps(
    circuit: Circuit, p: _Values, saved: tuple[np.ndarray, ...], g_frames: np.ndarray, g_v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (T n_substeps, B, R) of z and (T n_substeps, B, 2K) of numerator and denominator.

    ``g_v``, the gradient of the last state, becomes that of the first one; ``g_frames`` is added after each frame.
    """
    states, activations, sums, c = saved
    n_neurons = circuit.n_neurons
    drive, both, minus_v = _slope(activations), np.empty_like(sums), -states[1:, :, :-1]
    target, source = np.ascontiguousarray(p.target.T), np.ascontiguousarray(p.source[:-1].T)
    through, part = np.empty_like(activations[0]), np.empty_like(g_v)
    parts = (both, both[..., :n_neurons], both[..., n_neurons:], sums[..., n_neurons:], minus_v, drive)
    steps = zip(*(x[::-1] for x in parts), strict=True)
    for c_t, g_frame in zip(c[::-1], g_frames[::-1], strict=True):
        np.add(g_v, g_frame, g_v)
        for pair, q, q_denominator, denominator, v, slope in itertools.islice(steps, circuit.n_substeps):
            np.divide(g_v, denominator, q)
            np.multiply(q, v, q_denominator)
            np.matmul(pair, target, through)
            np.multiply(slope, through, slope)
            np.matmul(slope, source, g_v)
            np.multiply(c_t, q, part)
            np.add(g_v, part, g_v)
    return drive, both
