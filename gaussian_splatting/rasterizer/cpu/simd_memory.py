"""Raw loads and stores for kernels: flat indices, no bounds check, no negative wraparound, no alignment asked for.

The kernels that use them own the proof that every index is inside its array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function

from gaussian_splatting.rasterizer.cpu.jit import operation
from gaussian_splatting.rasterizer.cpu.simd import I32, VECTOR, v16

BYTE_POINTER = ir.IntType(8).as_pointer()


def element_pointer(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, index: Any) -> Any:
    """Address of one element of an array; an array with gaps does not compile."""
    assert array_type.layout == "C", f"{array_type} is not contiguous"
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def load_vector(builder: ir.IRBuilder, pointer: Any) -> Any:
    """Sixteen floats from an address of any alignment."""
    loaded = builder.load(builder.bitcast(pointer, VECTOR.as_pointer()))
    loaded.align = 4
    return loaded


def store_vector(builder: ir.IRBuilder, vector: Any, pointer: Any) -> None:
    """Sixteen floats to an address of any alignment."""
    builder.store(vector, builder.bitcast(pointer, VECTOR.as_pointer())).align = 4


@operation
def load16(typing_context: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] as a vector."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return load_vector(builder, element_pointer(context, builder, sig.args[0], args[0], args[1]))

    return v16(array, types.int64), emit


@operation
def store16(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """array[index : index + 16] = vector."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        store_vector(builder, args[2], element_pointer(context, builder, sig.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.none(array, types.int64, v16), emit


@operation
def read(typing_context: Any, array: Any, index: Any) -> Any:
    """array[index]."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return builder.load(element_pointer(context, builder, sig.args[0], args[0], args[1]))

    return array.dtype(array, types.int64), emit


@operation
def write(typing_context: Any, array: Any, index: Any, number: Any) -> Any:
    """array[index] = number."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        value = context.cast(builder, args[2], sig.args[2], sig.args[0].dtype)
        builder.store(value, element_pointer(context, builder, sig.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.none(array, types.int64, number), emit


@operation
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index]; any index is harmless."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        address = builder.bitcast(element_pointer(context, builder, sig.args[0], args[0], args[1]), BYTE_POINTER)
        function_type = ir.FunctionType(ir.VoidType(), [BYTE_POINTER, I32, I32, I32])
        function = get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        read_access, keep_in_all_caches, data = (ir.Constant(I32, value) for value in (0, 3, 1))
        builder.call(function, [address, read_access, keep_in_all_caches, data])
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


@operation
def claim(typing_context: Any, counter: Any) -> Any:
    """Add one to counter[0] (int64) atomically and give its former value: how workers share the units of work."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        address = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", address, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), emit


@operation
def bits_of(typing_context: Any, number: Any) -> Any:
    """The bits of a float32 as a non-negative integer."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], I32), ir.IntType(64))

    return types.int64(types.float32), emit
