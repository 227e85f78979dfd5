"""Which tiles each surfel touches: those of its bounding ellipse and of its low-pass filter that its box meets."""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Spans
from gaussian_splatting.rasterizer.cpu.binning import column_range, tile_at_or_above, tile_at_or_below
from gaussian_splatting.rasterizer.cpu.layout import PROJECT_CHUNK, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, read, write
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper, kernel
from gaussian_splatting.rasterizer.cpu_2dgs.project import ZERO, filter_reach


@helper
def columns_of(records: Array, slot: int, boxes: Array, row: int, num_columns: int) -> tuple[int, int]:
    """The first and the last column of tiles that a surfel touches in one row of tiles."""
    record, start = slot * surfel.RECORD, slot * surfel.BOX
    first = int(read(boxes, start)) * surfel.BOX_TILE // TILE
    last = (int(read(boxes, start + 1)) * surfel.BOX_TILE - 1) // TILE
    if read(records, record + layout.CONIC_XX) > ZERO:  # bounded
        left, right = column_range(records, record, row, num_columns)
        reach = filter_reach(read(records, record + layout.LOG_OPACITY))
        filter_x = read(records, record + surfel.FILTER_X)
        left = min(left, tile_at_or_above(filter_x - reach, num_columns))
        right = max(right, tile_at_or_below(filter_x + reach, num_columns))
        first, last = max(first, left), min(last, right)
    return first, last


@helper
def find_chunk(chunk: int, counts: Array, records: Array, boxes: Array, spans: Spans, num_columns: int) -> None:
    """Find the spans of one projection chunk, and how many tiles they hold."""
    place, num_entries = read(spans.starts, chunk), 0
    for slot in range(chunk * PROJECT_CHUNK, chunk * PROJECT_CHUNK + read(counts, chunk)):
        rows = read(spans.rows, slot)
        first_row, num_rows = rows >> 16, rows & 0xFFFF
        write(spans.span_of, slot, place)
        write(spans.entry_of, slot, num_entries)
        for row in range(first_row, first_row + num_rows):
            first, last = columns_of(records, slot, boxes, row, num_columns)
            end = max(first, last + 1)
            write(spans.columns, place, (first << 16) | end)
            place += 1
            num_entries += end - first
    write(spans.num_entries, chunk, num_entries)


@kernel
def find_spans(
    number: int, counter: Array, counts: Array, records: Array, boxes: Array, spans: Spans, num_columns: int
) -> None:
    """Find the spans of all visible surfels."""
    chunk = claim(counter)
    while chunk < counts.shape[0]:
        find_chunk(chunk, counts, records, boxes, spans, num_columns)
        chunk = claim(counter)
