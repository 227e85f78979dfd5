"""Sets of blocks as bits: from spans of columns, and transposed from bits by Gaussian to bits by block."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from gaussian_splatting.rasterizer.cpu.jit import operation
from gaussian_splatting.rasterizer.cpu.layout import BLOCKS, BLOCKS_PER_ROW
from gaussian_splatting.rasterizer.cpu.simd import I32, I64, constant_integers, m16, v16
from gaussian_splatting.rasterizer.cpu.simd_memory import element_pointer

BYTES = 8
I8 = ir.IntType(8)
HALF, WORDS = ir.VectorType(I32, BLOCKS_PER_ROW), ir.VectorType(I64, BYTES)
ALL_BYTES = ir.VectorType(I8, BLOCKS)
# Exchanges of single bits, pairs and quadruples that transpose the eight bytes of a word as an 8x8 matrix of bits.
BIT_EXCHANGES = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))


def _mask(lanes: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


@operation
def spans_to_bits(typing_context: Any, columns: Any, rows: Any) -> Any:
    """Bits of the blocks in eight spans, one to each row of blocks.

    Lanes 0 to 7 of `columns` hold the column behind the last of each span, lanes 8 to 15 the first, both from 0 to 8;
    fractions are cut off. A span counts where its lane of the mask `rows` is set and it is not empty.
    """

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        columns = builder.fptosi(args[0], constant_integers(0).type)
        powers = builder.shl(constant_integers(1), columns)
        ends, firsts = (
            builder.shuffle_vector(powers, powers, _mask(list(range(low, low + BLOCKS_PER_ROW))))
            for low in (0, BLOCKS_PER_ROW)
        )
        counted = builder.shuffle_vector(args[1], args[1], _mask(list(range(BLOCKS_PER_ROW))))
        zeros = ir.Constant(HALF, [0] * BLOCKS_PER_ROW)
        spans = builder.sub(ends, firsts)
        spans = builder.select(builder.icmp_signed(">", spans, zeros), spans, zeros)
        spans = builder.select(counted, spans, zeros)
        return builder.bitcast(builder.trunc(spans, ir.VectorType(I8, BLOCKS_PER_ROW)), I64)

    return types.int64(v16, m16), emit


def _transpose_bytes(builder: ir.IRBuilder, word: Any) -> Any:
    for shift, mask in BIT_EXCHANGES:
        distance, kept = (ir.Constant(WORDS, [value] * BYTES) for value in (shift, mask))
        moved = builder.and_(builder.xor(word, builder.lshr(word, distance)), kept)
        word = builder.xor(word, builder.xor(moved, builder.shl(moved, distance)))
    return word


@operation
def transpose_bits(typing_context: Any, array: Any, index: Any) -> Any:
    """Transpose array[index : index + 64], 64 words of 64 bits (int64), in place."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
        places = [
            builder.bitcast(builder.gep(pointer, [ir.Constant(I64, BYTES * group)]), WORDS.as_pointer())
            for group in range(BYTES)
        ]
        columns = _mask([BYTES * row + column for column in range(BYTES) for row in range(BYTES)])
        groups = []  # for each eight words, 64 bytes: the bits of these words in each column of bits
        for place in places:
            loaded = builder.load(place)
            loaded.align = BYTES
            by_column = builder.shuffle_vector(*[builder.bitcast(loaded, ALL_BYTES)] * 2, columns)
            groups.append(builder.bitcast(_transpose_bytes(builder, builder.bitcast(by_column, WORDS)), ALL_BYTES))
        for size in (1, 2, 4):  # interleave runs of bytes of neighbours
            groups = _interleave(builder, groups, size)
        for place, words in zip(places, groups, strict=True):
            builder.store(builder.bitcast(words, WORDS), place).align = BYTES
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


def _interleave(builder: ir.IRBuilder, vectors: list[Any], size: int) -> list[Any]:
    """Interleave each vector's runs of `size` bytes with those of its partner; halves of a pair become neighbours.

    Vectors are kept as [part][group]: the groups of a part are adjacent.
    """
    num_parts = size
    num_groups = len(vectors) // num_parts
    result = []
    for part in range(num_parts):
        own = vectors[part * num_groups : (part + 1) * num_groups]
        low, high = [], []
        for first, second in zip(own[::2], own[1::2], strict=True):
            order = [
                source + start + byte
                for start in range(0, BLOCKS, size)
                for source in (0, BLOCKS)
                for byte in range(size)
            ]
            low.append(builder.shuffle_vector(first, second, _mask(order[:BLOCKS])))
            high.append(builder.shuffle_vector(first, second, _mask(order[BLOCKS:])))
        result += low + high
    return result
