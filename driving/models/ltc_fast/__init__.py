"""The liquid time-constant cell as one operation with its own gradient; ``fast_sequence`` is all that others call.

``LTC.plain_sequence`` is the definition. The compiled loops (``loops``) compute the same numbers (1e-6 of each other
in float32, 1e-12 in float64) from the same parameters, without autograd's graph of a thousand small operations.
The plain one remains for all that is not float32 or float64 in the memory of the CPU: GPUs, bfloat16,
``torch.compile``, ``torch.export`` and ONNX, ``torch.func`` transforms, forward-mode and second derivatives.

Nothing is kept between two calls: each reads the parameters anew (a ``torch.cat`` of 3 microseconds), so an optimiser
step, ``load_state_dict`` (``assign=True`` too) or ``torch.func.functional_call`` cannot leave anything stale.

**The gradient.** One sub-step is v' = n / d, n = n0 + sum_r w E s + c v, d = d0 + sum_r w s, with n0 = g v_leak +
sensory sums, d0 = c + g + eps + sensory sums, s = sigmoid(z), z = sigma (v_source - mu). For a = dL/dv':

    q = a / d              dL/dn = q                          dL/dd = -q v'
    dL/ds_r = w E q_target - w q_target v'_target             dL/dz = s (1 - s) dL/ds
    dL/dv = c q + (sum of sigma dL/dz of all synapses from v)

and, summed over sub-steps, frames and samples: dL/d(wE) = q s, dL/dw = -q v' s, dL/dsigma = (v - mu) dL/dz, dL/dmu =
-sigma dL/dz. dL/dn0 and dL/dd0 are the sums of dL/dn and dL/dd over the frame's sub-steps; they go through the sensory
synapses in the same way, once a frame; dL/dc = sum q v + dL/dd0. The only division
is by d > 0.
"""

from __future__ import annotations

import operator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from driving.models.ltc_fast import loops
from driving.models.wiring import Wiring

__all__ = ["fast_sequence"]

PARAMETERS = (
    *("sensory_w_raw", "w_raw", "c_m_raw", "g_leak_raw", "sensory_sigma", "sigma", "sensory_mu", "mu"),
    *("sensory_e_rev", "e_rev", "v_leak", "input_weight", "input_bias", "readout_weight", "readout_bias"),
)
"""Order of the parameters in the flat vector: first all that go through softplus, the sensory synapses first."""


_NUMBERS = (torch.float32, torch.float64)
_parameters_of = operator.attrgetter(*PARAMETERS)


class Cell(Protocol):
    """What this package asks of ``driving.models.ltc.LTC``, beside its ``PARAMETERS``."""

    wiring: Wiring
    synapse_table: Tensor
    motor: Tensor
    EPS: float

    @property
    def n_substeps(self) -> int: ...

    def plain_sequence(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]: ...


def fast_sequence(cell: Cell, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor] | None:
    """``LTC.forward_sequence`` in compiled loops; None where the plain form must do it."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    flat = torch.cat(_parameters_of(cell))
    given = (features, state, dt_s, flat)
    if flat.dtype not in _NUMBERS or not all(_is_usable(x, flat.dtype) for x in given):
        return None
    n_batch, n_time = features.shape[:2]
    wiring = cell.wiring
    shapes = (features.shape[2:], state.shape, dt_s.shape)
    if shapes != ((wiring.n_inputs,), (n_batch, wiring.n_neurons), (n_batch, n_time)):
        return None  # and let it say what is wrong
    features, state, dt_s = features.contiguous(), state.contiguous(), dt_s.contiguous()
    if torch.is_grad_enabled() and any(x.requires_grad for x in given):
        outputs, last = _Sequence.apply(cell, features, state, dt_s, flat)
    else:
        outputs, last, _ = loops.forward(flat, _circuit(cell), features, state, dt_s, False)
    return outputs, last


def _is_usable(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor is plain numbers in memory, and of this type."""
    if (
        type(x) not in (Tensor, nn.Parameter)  # a subclass may mean anything
        or x.dtype is not dtype
        or not x.is_cpu
        or x.layout is not torch.strided
        or forward_ad.unpack_dual(x).tangent is not None
    ):
        return False
    try:
        return x.data_ptr() != 0
    except RuntimeError:  # inside vmap, grad, jvp ...: stands for numbers that it does not hold
        return False


def _circuit(cell: Cell) -> loops.CircuitNumbers:
    return loops.CircuitNumbers(cell.synapse_table, cell.motor, len(cell.wiring.sensory), cell.n_substeps, cell.EPS)


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, features: Tensor, state: Tensor, dt_s: Tensor, flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs, last, starts = loops.forward(flat, _circuit(cell), features, state, dt_s, True)
        ctx.cell = cell
        ctx.save_for_backward(features, state, dt_s, flat, starts)
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        features, state, dt_s, flat, starts = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):  # in the parameters' type, as forward
            if torch.is_grad_enabled():  # create_graph: somebody wants the gradient's gradient
                return None, *_differentiable_gradient(ctx.cell, (features, state, dt_s, flat), grads)
            found = loops.backward(
                flat, _circuit(ctx.cell), features, dt_s, starts, *(grad.contiguous() for grad in grads)
            )
        return None, *found


class _Plain(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        return self.cell.plain_sequence(features, state, dt_s)


def _differentiable_gradient(cell: Cell, given: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The gradient once more through the plain form, with a graph of its own."""
    features, state, dt_s, flat = given
    parts = flat.split([getattr(cell, name).numel() for name in PARAMETERS])
    values = {f"cell.{name}": part for name, part in zip(PARAMETERS, parts, strict=True)}
    results = torch.func.functional_call(_Plain(cell), values, (features, state, dt_s))
    wanted = [x for x in given if x.requires_grad]
    found = iter(torch.autograd.grad(results, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in given]
