"""Samples side by side in the slots of one vector register: a number type for compiled code (``sim.compiled``).

``load(array, i)`` takes the i-th ``SIMD_WIDTH`` numbers of a flat array as one value, ``store`` puts one back; between
them + - * / work on all slots at once, with plain numbers on either side too. LLVM makes of it what the processor has
(AVX, NEON ...), so speed does not hang on whether its optimiser recognises a loop.

Each operation rounds as IEEE says, except that a product and a following sum may become one fused operation, with one
rounding fewer, where the processor has it. NaN stays NaN.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

SIMD_WIDTH = 16
_FUSE = ("contract",)


class SimdType(types.Type):
    """``SIMD_WIDTH`` numbers of type ``real``."""

    def __init__(self, real: types.Float) -> None:
        self.real = real
        super().__init__(name=f"Simd({real})")


@register_model(SimdType)
class _SimdModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: SimdType) -> None:
        element = manager.lookup(vector.real).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, SIMD_WIDTH))


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A vector whose slots all hold ``value``."""
    vector = ir.VectorType(value.type, SIMD_WIDTH)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), SIMD_WIDTH), None))


def _place(context: Any, builder: ir.IRBuilder, array: Any, values: Any) -> tuple[ir.Value, int]:
    """Where in the memory of an array its i-th vector begins, and how such a place is aligned."""
    data = context.make_array(array)(context, builder, value=values[0]).data
    place = builder.gep(data, [builder.mul(values[1], ir.Constant(values[1].type, SIMD_WIDTH))])
    vector = ir.VectorType(context.get_value_type(array.dtype), SIMD_WIDTH)
    return builder.bitcast(place, vector.as_pointer()), array.dtype.bitwidth // 8


@intrinsic
def load(_: Any, array: Any, i: types.Integer) -> Any:
    """The numbers ``i * SIMD_WIDTH`` to ``(i + 1) * SIMD_WIDTH`` of a flat array."""
    signature = SimdType(array.dtype)(array, types.intp)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        place, align = _place(context, builder, array, values)
        return builder.load(place, align=align)

    return signature, generate


@intrinsic
def store(_: Any, array: Any, i: types.Integer, vector: SimdType) -> Any:
    """Puts ``vector`` where ``load(array, i)`` finds them."""
    signature = types.void(array, types.intp, vector)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        place, align = _place(context, builder, array, values)
        builder.store(values[2], place, align=align)
        return context.get_dummy_value()

    return signature, generate


def _allow(symbol: Callable[..., Any], instruction: str) -> None:
    """Make an operator work on vectors."""

    @type_callable(symbol)
    def result(_: Any) -> Any:
        def of(a: Any, b: Any) -> SimdType | None:
            return next((x for x in (a, b) if isinstance(x, SimdType)), None)

        return of

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        both = [
            value
            if isinstance(given, SimdType)
            else _spread(builder, context.cast(builder, value, given, signature.return_type.real))
            for given, value in zip(signature.args, values, strict=True)
        ]
        return getattr(builder, instruction)(*both, flags=_FUSE)

    for given in ((SimdType, SimdType), (SimdType, types.Number), (types.Number, SimdType)):
        lower_builtin(symbol, *given)(generate)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _allow(_symbol, _instruction)


@intrinsic
def exp(_: Any, vector: SimdType) -> Any:
    """e^x in every slot, x held within +-87 (float32) or +-708 (float64), where the result is a normal number.

    e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and Taylor's series for e^r (error below half a unit);
    ln 2 in two parts, the first with so few digits that its product with n is exact (Cody and Waite 1980).
    """
    if vector.real == types.float32:
        bits, mantissa, limit, n_terms = 32, 23, 87.0, 7
        ln2 = (0.693145751953125, 1.428606820309417e-06)
    else:
        bits, mantissa, limit, n_terms = 64, 52, 708.0, 13
        ln2 = (0.693147180369123816490, 1.90821492927058770002e-10)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        (x,), whole = values, ir.IntType(bits)

        def number(value: float) -> ir.Value:
            return _spread(builder, ir.Constant(x.type.element, value))

        def integer(value: int) -> ir.Value:
            return _spread(builder, ir.Constant(whole, value))

        def product_sum(a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
            return builder.fadd(builder.fmul(a, b, flags=_FUSE), c, flags=_FUSE)

        for sign, worse in ((-1.0, "<"), (1.0, ">")):  # a NaN compares false and stays
            bound = number(sign * limit)
            x = builder.select(builder.fcmp_ordered(worse, x, bound), bound, x)
        magic = number(1.5 * 2.0**mantissa)  # brings n to the lowest bits
        shifted = product_sum(x, number(1 / math.log(2)), magic)
        n = builder.fsub(shifted, magic)
        r = product_sum(n, number(-ln2[1]), product_sum(n, number(-ln2[0]), x))
        series = number(1 / math.factorial(n_terms))
        for i in range(n_terms - 1, -1, -1):
            series = product_sum(series, r, number(1 / math.factorial(i)))
        vector = ir.VectorType(whole, SIMD_WIDTH)
        exponent = builder.add(builder.bitcast(shifted, vector), integer(2 ** (bits - mantissa - 2) - 1))
        power = builder.bitcast(builder.shl(exponent, integer(mantissa)), x.type)
        return builder.fmul(series, power, flags=_FUSE)

    return vector(vector), generate
