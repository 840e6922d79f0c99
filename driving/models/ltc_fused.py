"""The liquid time-constant cell as one operation with its own gradient; this file decides when it is used.

``LTC.plain_sequence`` is the definition. The compiled form (``ltc_compiled``) computes the same numbers (1e-6 of each
other in float32, 1e-12 in float64) from the same parameters, without autograd's graph of a thousand small operations.
The plain one remains for all that is not float32 or float64 on the CPU: GPUs, bfloat16, ``torch.compile``,
``torch.export`` and ONNX, ``torch.func`` transforms, forward-mode and second derivatives.

``form_for`` is the one place that decides. Nothing is kept between two calls: each reads the parameters anew (a
``torch.cat`` of 3 microseconds), so an optimiser step, ``load_state_dict`` (``assign=True`` too) or
``torch.func.functional_call`` cannot leave anything stale.

**The gradient.** One sub-step is v' = n / d, n = n0 + sum_r w E s + c v, d = d0 + sum_r w s, with n0 = g v_leak +
sensory sums, d0 = c + g + eps + sensory sums, s = sigmoid(z), z = sigma (v_source - mu). For a = dL/dv':

    q = a / d              dL/dn = q                          dL/dd = -q v'
    dL/ds_r = w E q_target - w q_target v'_target             dL/dz = s (1 - s) dL/ds
    dL/dv = c q + (sum of sigma dL/dz of all synapses from v)

and, summed over sub-steps, frames and samples: dL/d(wE) = q s, dL/dw = -q v' s, dL/dsigma = (v - mu) dL/dz, dL/dmu =
-sigma dL/dz. dL/dn0 and dL/dd0 are the sums of dL/dn and dL/dd over the frame's sub-steps; they go through the sensory
synapses in the same way, once a frame; dL/dc = sum q v + dL/dd0. The only
division is by d > 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from driving.models import ltc_compiled
from driving.models.ltc_circuit import PARAMETERS

if TYPE_CHECKING:
    from driving.models.ltc import LTC

FORMS = ("plain", "compiled")
_forced: str | None = None


@contextlib.contextmanager
def forced(form: str) -> Iterator[None]:
    """Inside, the cell uses this of ``FORMS`` wherever it can be used, else plain; to measure and to compare."""
    global _forced
    before, _forced = _forced, form
    try:
        yield
    finally:
        _forced = before


def form_for(ltc: LTC, features: Tensor, state: Tensor, dt_s: Tensor) -> str:
    """Which of ``FORMS`` these arguments are for."""
    if (
        torch.compiler.is_compiling()
        or _forced == "plain"
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()  # vmap, grad, jvp ...
        or torch._C._len_torch_dispatch_stack()  # fake tensors, make_fx, counters of operations
        or forward_ad._current_level >= 0
    ):
        return "plain"
    dtype = ltc.v_leak.dtype
    if dtype not in (torch.float32, torch.float64):
        return "plain"
    for given in (features, state, dt_s, ltc.v_leak):
        if (
            type(given) not in (Tensor, nn.Parameter)  # a subclass may mean anything
            or given.dtype != dtype
            or given.device.type != "cpu"
            or given.layout != torch.strided
        ):
            return "plain"
    n_batch, n_time = features.shape[:2]
    shapes = (features.shape[2:], state.shape, dt_s.shape)
    circuit = ltc.circuit
    if shapes != ((circuit.n_inputs,), (n_batch, circuit.n_neurons), (n_batch, n_time)) or not dt_s.numel():
        return "plain"  # and let it say what is wrong
    return "compiled"


def run(ltc: LTC, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
    """``LTC.forward_sequence`` in the compiled form."""
    flat = torch.cat([getattr(ltc, name) for name in PARAMETERS])
    features, state, dt_s = features.contiguous(), state.contiguous(), dt_s.contiguous()
    given = (features, state, dt_s, flat)
    if torch.is_grad_enabled() and any(x.requires_grad for x in given):
        return _Sequence.apply(ltc, *given)
    features, state, dt_s, flat = (x.detach() for x in given)
    outputs, last, _ = ltc_compiled.forward(ltc.circuit, flat, features, state, dt_s, keep=False)
    return outputs, last


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ltc: LTC, features: Tensor, state: Tensor, dt_s: Tensor, flat: Tensor
    ) -> tuple[Tensor, Tensor]:
        given = (features.detach(), state.detach(), dt_s.detach(), flat.detach())
        outputs, last, saved = ltc_compiled.forward(ltc.circuit, given[3], *given[:3], keep=True)
        ctx.ltc = ltc
        ctx.save_for_backward(features, state, dt_s, flat, *saved)
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        features, state, dt_s, flat, *saved = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):  # in the parameters' type, as forward
            if torch.is_grad_enabled():  # create_graph: somebody wants the gradient's gradient
                return None, *_differentiable_gradient(ctx.ltc, (features, state, dt_s, flat), grads)
            g_outputs, g_last = (grad.contiguous() for grad in grads)
            given = (flat.detach(), features.detach(), dt_s.detach())
            found = ltc_compiled.backward(ctx.ltc.circuit, *given, tuple(saved), g_outputs, g_last)
        return None, *found


class _Plain(nn.Module):
    def __init__(self, ltc: LTC) -> None:
        super().__init__()
        self.ltc = ltc

    def forward(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        return self.ltc.plain_sequence(features, state, dt_s)


def _differentiable_gradient(
    ltc: LTC, given: tuple[Tensor, ...], grads: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """The gradient once more through the plain form, with a graph of its own."""
    features, state, dt_s, flat = given
    parts = zip(PARAMETERS, flat.split(ltc.circuit.n_parameters), strict=True)
    values = {f"ltc.{name}": part for name, part in parts}
    results = torch.func.functional_call(_Plain(ltc), values, (features, state, dt_s))
    wanted = [x for x in given if x.requires_grad]
    found = iter(torch.autograd.grad(results, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in given]
