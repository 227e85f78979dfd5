"""Exponential and logarithm of sixteen lanes, to float32 rounding.

The polynomials are minimax fits of the relative error (Remez exchange), evaluated by Horner's rule.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from gaussian_splatting.rasterizer.cpu.jit import helper, operation
from gaussian_splatting.rasterizer.cpu.layout import LOG2_E
from gaussian_splatting.rasterizer.cpu.simd import (
    FLAGS,
    INTEGERS,
    VECTOR,
    Vector,
    call_intrinsic,
    constant_floats,
    constant_integers,
    maximum,
    minimum,
    v16,
)

# 2 ** x for |x| <= 1/2, relative error 7.5e-8.
EXP2_POLYNOMIAL = (
    0.0013276470426684095,
    0.009675541618260532,
    0.05550713280915511,
    0.2402211971870601,
    0.6931469670586095,
    1.0000000716556774,
)
# log2(m) = s p(s^2) with s = (m - 1) / (m + 1) for m in [sqrt(1/2), sqrt(2)], relative error 7e-10.
LOG2_POLYNOMIAL = (0.4317376514209343, 0.5767143209148041, 0.9617988481747033, 2.885390079788308)
EXPONENT_BITS, HALF_SQRT_2_BITS = 23, 0x3F3504F3


def _horner(builder: ir.IRBuilder, coefficients: tuple[float, ...], x: Any) -> Any:
    result = constant_floats(coefficients[0])
    for coefficient in coefficients[1:]:
        result = builder.fadd(builder.fmul(result, x, flags=FLAGS), constant_floats(coefficient), flags=FLAGS)
    return result


@operation
def exp2_below_126(typing_context: Any, x: Any) -> Any:
    """2 ** x for x < 126; smaller than 2 ** -126 is rounded up to it."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        lowest = constant_floats(-126.0)
        x = builder.select(builder.fcmp_ordered(">", args[0], lowest), args[0], lowest)
        whole = call_intrinsic(builder, "llvm.rint.v16f32", VECTOR, [x])
        fraction = _horner(builder, EXP2_POLYNOMIAL, builder.fsub(x, whole, flags=FLAGS))
        shift = builder.shl(builder.fptosi(whole, INTEGERS), constant_integers(EXPONENT_BITS))
        return builder.bitcast(builder.add(builder.bitcast(fraction, INTEGERS), shift), VECTOR)

    return v16(v16), emit


@operation
def log2(typing_context: Any, x: Any) -> Any:
    """Base-2 logarithm of positive, normal, finite lanes; anything else gives an arbitrary finite number."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], INTEGERS)
        offset = builder.sub(bits, constant_integers(HALF_SQRT_2_BITS))
        exponent = builder.ashr(offset, constant_integers(EXPONENT_BITS))
        mantissa = builder.bitcast(
            builder.sub(bits, builder.shl(exponent, constant_integers(EXPONENT_BITS))), VECTOR
        )  # in [sqrt(1/2), sqrt(2)]
        one = constant_floats(1.0)
        s = builder.fdiv(builder.fsub(mantissa, one), builder.fadd(mantissa, one))
        series = _horner(builder, LOG2_POLYNOMIAL, builder.fmul(s, s, flags=FLAGS))
        return builder.fadd(builder.sitofp(exponent, VECTOR), builder.fmul(s, series, flags=FLAGS), flags=FLAGS)

    return v16(v16), emit


@helper
def exp2(x: Vector) -> Vector:
    """2 ** x, with x limited to the range of normal float32 numbers."""
    return exp2_below_126(minimum(x, 127.0))


@helper
def exp(x: Vector) -> Vector:
    """e ** x, limited to the range of normal float32 numbers; NaN gives a number."""
    return exp2(x * LOG2_E)


@helper
def sigmoid(x: Vector) -> Vector:
    """1 / (1 + e ** -x) in [2e-38, 1]."""
    return 1.0 / (1.0 + exp2(maximum(x, -87.0) * (-LOG2_E)))
