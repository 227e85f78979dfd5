"""Blocks of 4x4 pixels as vectors: lanes are row-major, rows of the image are `stride` floats apart."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from gaussian_splatting.rasterizer.cpu.jit import operation
from gaussian_splatting.rasterizer.cpu.layout import BLOCK, LANES
from gaussian_splatting.rasterizer.cpu.simd import F32, I32, v16
from gaussian_splatting.rasterizer.cpu.simd_memory import element_pointer
from gaussian_splatting.rasterizer.cpu.simd_shuffle import gather_lanes

ROW = ir.VectorType(F32, BLOCK)
CHANNELS = 3

# Where red, green and blue of each pixel are, in the three vectors that hold four floats of each row.
_FLOATS = [[CHANNELS * pixel + channel for pixel in range(BLOCK)] for channel in range(CHANNELS)]
UNPACK_COLORS = [
    [place // BLOCK * LANES + BLOCK * row + place % BLOCK for row in range(BLOCK) for place in places]
    for places in _FLOATS
]
PACK_COLORS = [
    [
        place % CHANNELS * LANES + BLOCK * row + place // CHANNELS
        for row in range(BLOCK)
        for place in range(low, low + BLOCK)
    ]
    for low in range(0, CHANNELS * BLOCK, BLOCK)
]


def _mask(lanes: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


def _row_pointer(builder: ir.IRBuilder, pointer: Any, stride: Any, row: int, offset: int) -> Any:
    distance = builder.add(builder.mul(stride, ir.Constant(stride.type, row)), ir.Constant(stride.type, offset))
    return builder.bitcast(builder.gep(pointer, [distance]), ROW.as_pointer())


def _load(builder: ir.IRBuilder, pointer: Any, stride: Any, offset: int) -> Any:
    """Four floats of each of four rows."""
    rows = []
    for row in range(BLOCK):
        rows.append(builder.load(_row_pointer(builder, pointer, stride, row, offset)))
        rows[-1].align = 4
    halves = [builder.shuffle_vector(rows[i], rows[i + 1], _mask(list(range(2 * BLOCK)))) for i in (0, 2)]
    return builder.shuffle_vector(halves[0], halves[1], _mask(list(range(LANES))))


def _store(builder: ir.IRBuilder, vector: Any, pointer: Any, stride: Any, offset: int) -> None:
    for row in range(BLOCK):
        part = builder.shuffle_vector(vector, vector, _mask(list(range(BLOCK * row, BLOCK * row + BLOCK))))
        builder.store(part, _row_pointer(builder, pointer, stride, row, offset)).align = 4


@operation
def load_block(typing_context: Any, array: Any, index: Any, stride: Any) -> Any:
    """A block of an image with one channel, whose first pixel is at `index`."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return _load(builder, element_pointer(context, builder, sig.args[0], args[0], args[1]), args[2], 0)

    return v16(array, types.int64, types.int64), emit


@operation
def store_block(typing_context: Any, array: Any, index: Any, stride: Any, vector: Any) -> Any:
    """Write a block of an image with one channel."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
        _store(builder, args[3], pointer, args[2], 0)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64, v16), emit


@operation
def load_color_block(typing_context: Any, array: Any, index: Any, stride: Any) -> Any:
    """Red, green and blue of a block of an interleaved image."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
        parts = [_load(builder, pointer, args[2], BLOCK * part) for part in range(CHANNELS)]
        channels = [gather_lanes(builder, parts, lanes) for lanes in UNPACK_COLORS]
        return context.make_tuple(builder, sig.return_type, channels)

    return types.UniTuple(v16, CHANNELS)(array, types.int64, types.int64), emit


@operation
def store_color_block(typing_context: Any, array: Any, index: Any, stride: Any, colors: Any) -> Any:
    """Write a block of an interleaved image from (red, green, blue)."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
        channels = [builder.extract_value(args[3], channel) for channel in range(CHANNELS)]
        for part, lanes in enumerate(PACK_COLORS):
            _store(builder, gather_lanes(builder, channels, lanes), pointer, args[2], BLOCK * part)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64, types.UniTuple(v16, CHANNELS)), emit
