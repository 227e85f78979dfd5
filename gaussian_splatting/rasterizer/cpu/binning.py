"""Which tiles each Gaussian touches, exactly, and the list of Gaussians of each tile in depth order.

A Gaussian ends where its alpha falls below 1/255: on an ellipse, cut here by rows of tiles. Spans are found in memory
order; the lists are filled in depth order by chunks whose size depends on the scene only, so that they do not depend
on the number of threads. Each entry also knows where its gradient record goes: the records of one Gaussian are
consecutive and in memory order, so that the projection's gradient reads them as a stream.
"""

from __future__ import annotations

import math

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Spans, TileLists
from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES, PROJECT_CHUNK, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, prefetch, read, write

SLOT_BITS = 0xFFFFFFFF
HALF, ZERO, ONE, EDGE = np.float32(0.5), np.float32(0.0), np.float32(1.0), np.float32(TILE)
INVERSE_EDGE, LAST_PIXEL, SLACK = np.float32(1.0 / TILE), np.float32(TILE - 1), np.float32(1e-3)
AHEAD = 16
"""Entries that are prefetched before their turn."""


@helper
def tile_at_or_below(position: float, num_tiles: int) -> int:
    """The last tile whose first pixel centre is not beyond a position, from -1 to `num_tiles`."""
    tile = (position - HALF) * INVERSE_EDGE
    return int(min(max(tile, -ONE), np.float32(num_tiles)) + ONE) - 1


@helper
def tile_at_or_above(position: float, num_tiles: int) -> int:
    """The first tile whose last pixel centre is not before a position, from -1 to `num_tiles`."""
    tile = (position + HALF - EDGE) * INVERSE_EDGE
    return num_tiles - int(np.float32(num_tiles) - min(max(tile, -ONE), np.float32(num_tiles)))


@helper
def row_range(mean_y: float, extent_y: float, num_rows: int) -> int:
    """The rows of tiles that a Gaussian touches: the first, times 65536, plus their number."""
    first = max(0, tile_at_or_above(mean_y - extent_y, num_rows))
    last = min(num_rows - 1, tile_at_or_below(mean_y + extent_y, num_rows))
    return (first << 16) | max(0, last - first + 1)


@helper
def column_range(records: Array, record: int, row: int, num_columns: int) -> tuple[int, int]:
    """The first and the last column of tiles that a Gaussian touches in one row of tiles."""
    mean_x, slope_x = read(records, record + layout.MEAN_X), read(records, record + layout.SLOPE_X)
    peak_y, half_width = read(records, record + layout.PEAK_Y), read(records, record + layout.HALF_WIDTH)
    extent_y, inverse = read(records, record + layout.EXTENT_Y), read(records, record + layout.INVERSE_EXTENT_Y)
    top = np.float32(row * TILE) + HALF - read(records, record + layout.MEAN_Y)
    bottom = min(top + LAST_PIXEL, extent_y)
    top = max(top, -extent_y)
    # The row is widest where the ellipse reaches furthest, or as near to that as the row allows.
    right_y, left_y = min(max(peak_y, top), bottom), min(max(-peak_y, top), bottom)
    right_width = half_width * math.sqrt(max(ZERO, ONE - (right_y * inverse) * (right_y * inverse)))
    left_width = half_width * math.sqrt(max(ZERO, ONE - (left_y * inverse) * (left_y * inverse)))
    first = tile_at_or_above(mean_x + slope_x * left_y - left_width - SLACK, num_columns)
    last = tile_at_or_below(mean_x + slope_x * right_y + right_width + SLACK, num_columns)
    return max(0, first), min(num_columns - 1, last)


@part
def find_chunk(chunk: int, counts: Array, records: Array, spans: Spans, num_columns: int) -> None:
    """Find the spans of one projection chunk, and how many tiles they hold."""
    place, num_entries = read(spans.starts, chunk), 0
    for slot in range(chunk * PROJECT_CHUNK, chunk * PROJECT_CHUNK + read(counts, chunk)):
        rows = read(spans.rows, slot)
        first_row, num_rows = rows >> 16, rows & 0xFFFF
        write(spans.span_of, slot, place)
        write(spans.entry_of, slot, num_entries)
        for row in range(first_row, first_row + num_rows):
            first, last = column_range(records, slot * LANES, row, num_columns)
            end = max(first, last + 1)
            write(spans.columns, place, (first << 16) | end)
            place += 1
            num_entries += end - first
    write(spans.num_entries, chunk, num_entries)


@kernel
def find_spans(number: int, counter: Array, counts: Array, records: Array, spans: Spans, num_columns: int) -> None:
    """Find the spans of all visible Gaussians."""
    chunk = claim(counter)
    while chunk < counts.shape[0]:
        find_chunk(chunk, counts, records, spans, num_columns)
        chunk = claim(counter)


@part
def count_chunk(low: int, high: int, pairs: Array, spans: Spans, num_columns: int, tile_counts: Array) -> None:
    """Count the entries that one chunk of depth-ordered Gaussians adds to each tile."""
    tile_counts[:] = 0
    for place in range(low, high):
        if place + AHEAD < high:
            prefetch(spans.rows, read(pairs, place + AHEAD) & SLOT_BITS)
            prefetch(spans.span_of, read(pairs, place + AHEAD) & SLOT_BITS)
        slot = read(pairs, place) & SLOT_BITS
        rows, span = read(spans.rows, slot), read(spans.span_of, slot)
        row_start = (rows >> 16) * num_columns
        for index in range(rows & 0xFFFF):
            columns = read(spans.columns, span + index)
            for tile in range(row_start + (columns >> 16), row_start + (columns & 0xFFFF)):
                write(tile_counts, tile, read(tile_counts, tile) + 1)
            row_start += num_columns


@part
def fill_chunk(
    low: int, high: int, pairs: Array, spans: Spans, num_columns: int, next_entry: Array, lists: TileLists
) -> None:
    """Append one chunk of depth-ordered Gaussians to the lists of their tiles; targets unless they have size 0."""
    has_targets = lists.targets.shape[0] > 0
    for place in range(low, high):
        if place + AHEAD < high:
            ahead = read(pairs, place + AHEAD) & SLOT_BITS
            prefetch(spans.rows, ahead)
            prefetch(spans.span_of, ahead)
            prefetch(spans.entry_of, ahead)
        slot = read(pairs, place) & SLOT_BITS
        rows, span = read(spans.rows, slot), read(spans.span_of, slot)
        target = read(spans.entry_starts, slot // PROJECT_CHUNK) + read(spans.entry_of, slot)
        row_start = (rows >> 16) * num_columns
        for index in range(rows & 0xFFFF):
            columns = read(spans.columns, span + index)
            for tile in range(row_start + (columns >> 16), row_start + (columns & 0xFFFF)):
                entry = int(read(next_entry, tile))
                write(next_entry, tile, entry + 1)
                write(lists.slots, entry, slot)
                if has_targets:
                    write(lists.targets, entry, target)
                target += 1
            row_start += num_columns


@kernel
def count_entries(
    number: int, counter: Array, size: int, num: int, pairs: Array, spans: Spans, num_columns: int, table: Array
) -> None:
    """Count entries per chunk of `size` depth-ordered Gaussians and tile; `table` is [chunks, tiles]."""
    chunk = claim(counter)
    while chunk < table.shape[0]:
        low = chunk * size
        count_chunk(low, min(num, low + size), pairs, spans, num_columns, table[chunk])
        chunk = claim(counter)


@kernel
def scan_entries(table: Array, offsets: Array) -> None:
    """Turn counts into the first entry of each tile, and of each chunk in each tile."""
    total = 0
    for tile in range(table.shape[1]):
        offsets[tile] = total
        for chunk in range(table.shape[0]):
            count = table[chunk, tile]
            table[chunk, tile] = total
            total += count
    offsets[table.shape[1]] = total


@kernel
def fill_lists(
    number: int,
    counter: Array,
    size: int,
    num: int,
    pairs: Array,
    spans: Spans,
    num_columns: int,
    table: Array,
    lists: TileLists,
) -> None:
    """Write the lists of all tiles."""
    chunk = claim(counter)
    while chunk < table.shape[0]:
        low = chunk * size
        fill_chunk(low, min(num, low + size), pairs, spans, num_columns, table[chunk], lists)
        chunk = claim(counter)
