"""Depth order: a stable radix sort of the visible Gaussians by the bits of their depth, in parallel chunks.

The chunks are fixed by the number of Gaussians, never by the number of threads, and equal depths keep memory order.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.simd import Array
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, read, write

DIGIT_BITS = 8
DIGITS = 1 << DIGIT_BITS
KEY_BITS = 31  # of a non-negative float
NUM_PASSES = (KEY_BITS + DIGIT_BITS - 1) // DIGIT_BITS
"""Even, so that the sorted pairs end where they began."""


@part
def collect_chunk(chunk: int, counts: Array, starts: Array, depth_bits: Array, pairs: Array) -> None:
    """Append the visible Gaussians of one projection chunk, as depth bits above slot."""
    low = chunk * PROJECT_CHUNK
    place = read(starts, chunk)
    for slot in range(low, low + read(counts, chunk)):
        write(pairs, place, (int(read(depth_bits, slot)) << 32) | slot)
        place += 1


@part
def count_digits(chunk: int, size: int, num: int, shift: int, pairs: Array, histogram: Array) -> None:
    """Count the digits of one chunk of pairs."""
    base = chunk * DIGITS
    for digit in range(DIGITS):
        write(histogram, base + digit, 0)
    for place in range(chunk * size, min(num, chunk * size + size)):
        digit = base + ((read(pairs, place) >> shift) & (DIGITS - 1))
        write(histogram, digit, read(histogram, digit) + 1)


@part
def scatter_digits(chunk: int, size: int, num: int, shift: int, source: Array, target: Array, histogram: Array) -> None:
    """Move the pairs of one chunk to their places by the present digit."""
    base = chunk * DIGITS
    for place in range(chunk * size, min(num, chunk * size + size)):
        pair = read(source, place)
        digit = base + ((pair >> shift) & (DIGITS - 1))
        position = read(histogram, digit)
        write(histogram, digit, position + 1)
        write(target, position, pair)


@kernel
def scan_digits(num_chunks: int, histogram: Array) -> None:
    """Turn counts into first places: by digit, then by chunk."""
    total = 0
    for digit in range(DIGITS):
        for chunk in range(num_chunks):
            count = histogram[chunk * DIGITS + digit]
            histogram[chunk * DIGITS + digit] = total
            total += count


@kernel
def collect(number: int, counter: Array, counts: Array, starts: Array, depth_bits: Array, pairs: Array) -> None:
    """Gather the visible Gaussians of all projection chunks; `starts` is where each chunk begins."""
    chunk = claim(counter)
    while chunk < counts.shape[0]:
        collect_chunk(chunk, counts, starts, depth_bits, pairs)
        chunk = claim(counter)


@kernel
def count_pass(
    number: int, counter: Array, num_chunks: int, size: int, num: int, shift: int, pairs: Array, histogram: Array
) -> None:
    """First half of a radix pass."""
    chunk = claim(counter)
    while chunk < num_chunks:
        count_digits(chunk, size, num, shift, pairs, histogram)
        chunk = claim(counter)


@kernel
def scatter_pass(
    number: int,
    counter: Array,
    num_chunks: int,
    size: int,
    num: int,
    shift: int,
    source: Array,
    target: Array,
    histogram: Array,
) -> None:
    """Second half of a radix pass."""
    chunk = claim(counter)
    while chunk < num_chunks:
        scatter_digits(chunk, size, num, shift, source, target, histogram)
        chunk = claim(counter)
