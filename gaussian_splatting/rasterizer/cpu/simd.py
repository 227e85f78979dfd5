"""Portable SIMD for Numba: a vector of 16 float32 lanes and a mask of 16 bits, lowered to LLVM vector types.

`v16` supports + - * / and comparisons among vectors and with scalars; a comparison gives an `m16`. LLVM splits the
vectors into what the machine has (AVX-512, AVX2, NEON, ...), so that one source serves every processor.
Memory access is in `simd_memory`, lane permutations are in `simd_shuffle`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.core.extending import models, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from gaussian_splatting.rasterizer.cpu.jit import operation
from gaussian_splatting.rasterizer.cpu.layout import LANES

FLAGS = ("nsz", "contract", "arcp")
F32, I1, I32, I64 = ir.FloatType(), ir.IntType(1), ir.IntType(32), ir.IntType(64)
VECTOR, INTEGERS, MASK = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES), ir.VectorType(I1, LANES)

Vector: TypeAlias = Any
"""A `v16` inside a kernel."""
Mask: TypeAlias = Any
"""An `m16` inside a kernel."""
Real: TypeAlias = Any
"""A float32 inside a kernel."""
Bits: TypeAlias = Any
"""An int64 inside a kernel, taken as a set of bits."""
Array: TypeAlias = Any
"""A C-contiguous one-dimensional NumPy array inside a kernel."""


class V16(types.Type):
    """Sixteen float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="v16")


class M16(types.Type):
    """Sixteen booleans."""

    def __init__(self) -> None:
        super().__init__(name="m16")


v16, m16 = V16(), M16()


@register_model(V16)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any) -> None:
        super().__init__(manager, front_end_type, VECTOR)


@register_model(M16)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any) -> None:
        super().__init__(manager, front_end_type, MASK)


def constant_floats(values: Any) -> ir.Constant:
    """LLVM constant of sixteen floats; one number fills all lanes."""
    lanes = [float(values)] * LANES if isinstance(values, int | float) else [float(value) for value in values]
    return ir.Constant(VECTOR, [ir.Constant(F32, lane) for lane in lanes])


def constant_integers(values: Any) -> ir.Constant:
    """LLVM constant of sixteen 32-bit integers; one number fills all lanes."""
    return ir.Constant(INTEGERS, [values] * LANES if isinstance(values, int) else list(values))


def call_intrinsic(builder: ir.IRBuilder, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its full name."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(get_or_insert_function(builder.module, function_type, name), arguments)


def as_vector(context: Any, builder: ir.IRBuilder, type_: Any, value: Any) -> Any:
    """A vector as it is; a number in all lanes."""
    if isinstance(type_, V16):
        return value
    number = context.cast(builder, value, type_, types.float32)
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, constant_integers(0))


def _is_vector_operation(args: tuple[Any, ...]) -> bool:
    numbers = (V16, types.Float, types.Integer)
    return any(isinstance(arg, V16) for arg in args) and all(isinstance(arg, numbers) for arg in args)


def _register_binary(function: Any, result: Any, emit: Callable[[ir.IRBuilder, Any, Any], Any]) -> None:
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return signature(result, *args) if len(args) == 2 and _is_vector_operation(args) else None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: tuple[Any, ...]) -> Any:
        left, right = (as_vector(context, builder, type_, arg) for type_, arg in zip(sig.args, args, strict=True))
        return emit(builder, left, right)

    lower_builtin(function, V16, V16)(lower)
    for number in (types.Float, types.Integer):
        lower_builtin(function, V16, number)(lower)
        lower_builtin(function, number, V16)(lower)


def _arithmetic(name: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    return lambda builder, left, right: getattr(builder, name)(left, right, flags=FLAGS)


def _comparison(predicate: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    return lambda builder, left, right: builder.fcmp_ordered(predicate, left, right)


for _functions, _name in (
    ((operator.add, operator.iadd), "fadd"),
    ((operator.sub, operator.isub), "fsub"),
    ((operator.mul, operator.imul), "fmul"),
    ((operator.truediv, operator.itruediv), "fdiv"),
):
    for _function in _functions:
        _register_binary(_function, v16, _arithmetic(_name))
for _function, _predicate in (
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.eq, "=="),
):
    _register_binary(_function, m16, _comparison(_predicate))


@infer_global(operator.neg)
class _NegateTemplate(AbstractTemplate):
    def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return signature(v16, *args) if len(args) == 1 and isinstance(args[0], V16) else None


@lower_builtin(operator.neg, V16)
def _negate(context: Any, builder: ir.IRBuilder, sig: Any, args: tuple[Any, ...]) -> Any:
    return builder.fsub(constant_floats(-0.0), args[0], flags=FLAGS)


def _register_mask_operation(function: Any, name: str) -> None:
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return signature(m16, *args) if len(args) == 2 and all(isinstance(arg, M16) for arg in args) else None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: tuple[Any, ...]) -> Any:
        return getattr(builder, name)(*args)

    lower_builtin(function, M16, M16)(lower)


for _function, _name in ((operator.and_, "and_"), (operator.iand, "and_"), (operator.or_, "or_")):
    _register_mask_operation(_function, _name)


def constant_vector(values: Any) -> Any:
    """Make a function for kernels that gives these sixteen constants."""

    @operation
    def vector(typing_context: Any) -> Any:
        return v16(), lambda context, builder, sig, args: constant_floats(values)

    return vector


@operation
def splat(typing_context: Any, number: Any) -> Any:
    """One number in all lanes."""
    return v16(number), lambda context, builder, sig, args: as_vector(context, builder, sig.args[0], args[0])


@operation
def select(typing_context: Any, mask: Any, yes: Any, no: Any) -> Any:
    """Lanes of `yes` where the mask is set, of `no` elsewhere; both may be numbers."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        branches = [as_vector(context, builder, sig.args[index], args[index]) for index in (1, 2)]
        return builder.select(args[0], *branches)

    return v16(m16, yes, no), emit


def _extreme(predicate: str) -> Any:
    @operation
    def extreme(typing_context: Any, left: Any, right: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            left, right = (as_vector(context, builder, type_, arg) for type_, arg in zip(sig.args, args, strict=True))
            return builder.select(builder.fcmp_ordered(predicate, left, right), left, right)

        return v16(left, right), emit

    return extreme


minimum = _extreme("<")
maximum = _extreme(">")


@operation
def mask_bits(typing_context: Any, mask: Any) -> Any:
    """The mask as an integer: bit i is lane i."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), I64)

    return types.int64(m16), emit


@operation
def lowest_bit(typing_context: Any, bits: Any) -> Any:
    """Index of the lowest set bit of an integer that is not zero."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return call_intrinsic(builder, "llvm.cttz.i64", I64, [args[0], ir.Constant(I1, 1)])

    return types.int64(types.int64), emit


def _unary_intrinsic(name: str) -> Any:
    @operation
    def function(typing_context: Any, vector: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            return call_intrinsic(builder, f"llvm.{name}.v{LANES}f32", VECTOR, [args[0]])

        return v16(v16), emit

    return function


square_root = _unary_intrinsic("sqrt")
absolute = _unary_intrinsic("fabs")
round_up = _unary_intrinsic("ceil")
