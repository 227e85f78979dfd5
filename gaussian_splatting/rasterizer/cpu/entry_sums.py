"""Sums, for each Gaussian, over what its entries in the tile lists got as gradients."""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.arguments import Projection, Spans
from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.simd import Array
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, read, write


@part
def sum_chunk(
    chunk: int, num: int, projection: Projection, spans: Spans, contributes: Array, values: Array, size: int,
    sums: Array
) -> None:  # fmt: skip
    """Sums of one projection chunk, zero for Gaussians that are not visible."""
    low = chunk * PROJECT_CHUNK
    for place in range(low * size, min(num, low + PROJECT_CHUNK) * size):
        write(sums, place, 0.0)
    base, slot_end = read(spans.entry_starts, chunk), low + read(projection.counts, chunk)
    for slot in range(low, slot_end):
        row, end = int(read(projection.ids, slot)) * size, read(spans.entry_starts, chunk + 1)
        if slot + 1 < slot_end:
            end = base + read(spans.entry_of, slot + 1)
        for entry in range(base + read(spans.entry_of, slot), end):
            if read(contributes, entry) != 0:
                for index in range(size):
                    write(sums, row + index, read(sums, row + index) + read(values, entry * size + index))


@kernel
def sum_by_gaussian(
    number: int, counter: Array, num: int, projection: Projection, spans: Spans, contributes: Array, values: Array,
    size: int, sums: Array
) -> None:  # fmt: skip
    """Sum `values` [entries * size] into `sums` [N * size], in a fixed order."""
    chunk = claim(counter)
    while chunk < projection.counts.shape[0]:
        sum_chunk(chunk, num, projection, spans, contributes, values, size, sums)
        chunk = claim(counter)
