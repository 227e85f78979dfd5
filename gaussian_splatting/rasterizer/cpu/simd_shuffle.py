"""Lane permutations: interleaved records to separate lanes and back, transposes, and horizontal sums."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from gaussian_splatting.rasterizer.cpu.jit import operation
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import FLAGS, I32, INTEGERS, v16
from gaussian_splatting.rasterizer.cpu.simd_memory import element_pointer, load_vector, store_vector


def shuffle(builder: ir.IRBuilder, left: Any, right: Any, lanes: list[Any]) -> Any:
    """Lanes picked from 32 candidates, the 16 of `left` and the 16 of `right`; None: any value will do."""
    indices = [place if lane is None else lane for place, lane in enumerate(lanes)]
    return builder.shuffle_vector(left, right, ir.Constant(INTEGERS, indices))


def gather_lanes(builder: ir.IRBuilder, vectors: list[Any], lanes: list[int]) -> Any:
    """Lanes picked from all lanes of several vectors, counted through."""
    result, filled = vectors[0], [lane if lane < LANES else None for lane in lanes]
    if filled != list(range(LANES)):
        result = shuffle(builder, vectors[0], vectors[0], filled)
    for number, vector in enumerate(vectors[1:], start=1):
        low = number * LANES
        picked = [
            LANES + lane - low if low <= lane < low + LANES else (index if filled[index] is not None else None)
            for index, lane in enumerate(lanes)
        ]
        result, filled = shuffle(builder, result, vector, picked), picked
    return result


def _fields(width: int) -> Any:
    """Make a function that loads 16 consecutive records of `width` floats as one vector per field."""

    @operation
    def load_fields(typing_context: Any, array: Any, index: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
            rows = [load_vector(builder, builder.gep(pointer, [ir.Constant(I32, row * LANES)])) for row in range(width)]
            fields = [
                gather_lanes(builder, rows, [lane * width + field for lane in range(LANES)]) for field in range(width)
            ]
            return context.make_tuple(builder, sig.return_type, fields)

        return types.UniTuple(v16, width)(array, types.int64), emit

    return load_fields


def _store_fields(width: int) -> Any:
    """Make a function that stores one vector per field as 16 consecutive records of `width` floats."""

    @operation
    def store_fields(typing_context: Any, array: Any, index: Any, fields: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
            vectors = [builder.extract_value(args[2], field) for field in range(width)]
            for row in range(width):
                places = range(row * LANES, (row + 1) * LANES)
                lanes = [(place % width) * LANES + place // width for place in places]
                store_vector(
                    builder,
                    gather_lanes(builder, vectors, lanes),
                    builder.gep(pointer, [ir.Constant(I32, row * LANES)]),
                )
            return context.get_dummy_value()

        return types.none(array, types.int64, types.UniTuple(v16, width)), emit

    return store_fields


# Permutations that processors do in one instruction: alternate lanes, or pairs, of both halves of each quarter, and
# even, or odd, quarters of both vectors.
UNPACK_LOW = [4 * quarter + place for quarter in range(4) for place in (0, LANES, 1, LANES + 1)]
UNPACK_HIGH = [4 * quarter + place for quarter in range(4) for place in (2, LANES + 2, 3, LANES + 3)]
PAIRS_LOW = [4 * quarter + place for quarter in range(4) for place in (0, 1, LANES, LANES + 1)]
PAIRS_HIGH = [4 * quarter + place for quarter in range(4) for place in (2, 3, LANES + 2, LANES + 3)]
QUARTERS_EVEN = [8 * pair + place for source in (0, LANES) for pair in range(2) for place in range(source, source + 4)]
QUARTERS_ODD = [place + 4 for place in QUARTERS_EVEN]
# Each step pairs rows this far apart.
TRANSPOSE_STEPS = (
    (1, UNPACK_LOW, UNPACK_HIGH),
    (2, PAIRS_LOW, PAIRS_HIGH),
    (4, QUARTERS_EVEN, QUARTERS_ODD),
    (8, QUARTERS_EVEN, QUARTERS_ODD),
)
TRANSPOSED_ORDER = [4 * quarter + place for quarter in range(4) for place in (0, 2, 1, 3)]


def _exchange(builder: ir.IRBuilder, rows: list[Any], distance: int, low: list[int], high: list[int]) -> list[Any]:
    """Replace each pair of rows by what the two permutations pick from them."""
    result = list(rows)
    for row in (row for row in range(LANES) if not row & distance):
        result[row] = shuffle(builder, rows[row], rows[row + distance], low)
        result[row + distance] = shuffle(builder, rows[row], rows[row + distance], high)
    return result


load_records_of_3, load_records_of_4 = _fields(3), _fields(4)
store_records_of_2, store_records_of_3, store_records_of_4 = _store_fields(2), _store_fields(3), _store_fields(4)


@operation
def transpose16(typing_context: Any, array: Any, index: Any) -> Any:
    """Transpose array[index : index + 256], sixteen rows of sixteen floats, in place."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, sig.args[0], args[0], args[1])
        addresses = [builder.gep(pointer, [ir.Constant(I32, row * LANES)]) for row in range(LANES)]
        rows = [load_vector(builder, address) for address in addresses]
        for distance, low, high in TRANSPOSE_STEPS:
            rows = _exchange(builder, rows, distance, low, high)
        rows = [rows[row] for row in TRANSPOSED_ORDER]
        for row, address in zip(rows, addresses, strict=True):
            store_vector(builder, row, address)
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


def permutation(lanes: list[int]) -> Any:
    """Make a function that gives the chosen lanes of one vector."""

    @operation
    def permute(typing_context: Any, vector: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            return shuffle(builder, args[0], args[0], list(lanes))

        return v16(v16), emit

    return permute


def merge(lanes: list[int]) -> Any:
    """Make a function that picks lanes of two vectors: 0 to 15 from the first, 16 to 31 from the second."""

    @operation
    def pick(typing_context: Any, first: Any, second: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
            return shuffle(builder, args[0], args[1], list(lanes))

        return v16(v16, v16), emit

    return pick


@operation
def lane(typing_context: Any, vector: Any, index: Any) -> Any:
    """One lane of a vector as a number."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], I32))

    return types.float32(v16, types.int64), emit


@operation
def sum_lanes(typing_context: Any, vector: Any) -> Any:
    """The sum of all lanes, added pairwise in a fixed order."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        total = args[0]
        for step in (8, 4, 2, 1):
            rotated = shuffle(builder, total, total, [(lane + step) % LANES for lane in range(LANES)])
            total = builder.fadd(total, rotated, flags=FLAGS)
        return builder.extract_element(total, ir.Constant(I32, 0))

    return types.float32(v16), emit


def _add(builder: ir.IRBuilder, first: Any, second: Any, low: list[int], high: list[int]) -> Any:
    """Add what two permutations pick from two vectors."""
    return builder.fadd(shuffle(builder, first, second, low), shuffle(builder, first, second, high), flags=FLAGS)


@operation
def sum_twelve(
    typing_context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, j: Any, k: Any, l: Any
) -> Any:
    """The sums over lanes of twelve vectors, in lanes 0 to 11 of one, added in a fixed order."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> Any:
        fours = []  # sums within each quarter of four vectors, side by side
        for first in (0, 4, 8):
            low = _add(builder, args[first], args[first + 1], UNPACK_LOW, UNPACK_HIGH)
            high = _add(builder, args[first + 2], args[first + 3], UNPACK_LOW, UNPACK_HIGH)
            fours.append(_add(builder, low, high, PAIRS_LOW, PAIRS_HIGH))
        lower = _add(builder, fours[0], fours[1], QUARTERS_EVEN, QUARTERS_ODD)
        upper = _add(builder, fours[2], fours[2], QUARTERS_EVEN, QUARTERS_ODD)
        return _add(builder, lower, upper, QUARTERS_EVEN, QUARTERS_ODD)

    return v16(*[v16] * 12), emit
