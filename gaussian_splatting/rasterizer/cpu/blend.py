"""Blending: from the list of Gaussians of each tile to the pixels of the tile, nearest first.

A tile has 64 blocks of 4x4 pixels and one vector holds one block. For a batch of entries the blocks that each Gaussian
touches are found as bits; transposed, they tell each block its own Gaussians, and the block walks them while its
transmittance and its sums stay in registers. A pixel is alive while its transmittance, which keeps falling, is above
TRANSMITTANCE_MIN.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Images, TileLists
from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import BATCH, BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import (
    Array,
    Bits,
    Real,
    Vector,
    constant_vector,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    select,
    splat,
    square_root,
)
from gaussian_splatting.rasterizer.cpu.simd_bits import spans_to_bits, transpose_bits
from gaussian_splatting.rasterizer.cpu.simd_block import store_block, store_color_block
from gaussian_splatting.rasterizer.cpu.simd_math import exp2_below_126
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, prefetch, read, store16, write

ONE, ZERO, LAST_ROW = np.float32(1.0), np.float32(0.0), np.float32(BLOCK - 1)
QUARTER = np.float32(1.0 / BLOCK)
AHEAD = 12
"""Entries whose records are prefetched before their turn."""

pixel_x = constant_vector([lane % BLOCK + 0.5 for lane in range(LANES)])
pixel_y = constant_vector([lane // BLOCK + 0.5 for lane in range(LANES)])
# Lanes 0 to 7 find where an ellipse ends in each row of blocks, lanes 8 to 15 where it begins.
row_top = constant_vector([lane % BLOCKS_PER_ROW * BLOCK + 0.5 for lane in range(LANES)])
side = constant_vector([1.0] * BLOCKS_PER_ROW + [-1.0] * BLOCKS_PER_ROW)
# From a position over BLOCK to a column: a block's first and last pixel centres are 0.5 and 3.5 beyond its left edge,
# and positions may be off by a thousandth of a pixel.
to_column = constant_vector([0.87525] * BLOCKS_PER_ROW + [0.12465] * BLOCKS_PER_ROW)

# State of a block: transmittance if pixels never finished, transmittance where they did, sum of weights, that is alpha
# (precise where it is small, as 1 - transmittance is not), and five weighted sums.
T, T_FINAL, SUM_W, SUM_R, SUM_G, SUM_B, SUM_Z, SUM_INVERSE_Z = (index * LANES for index in range(8))
STATE = 8 * LANES
# Scratch of one worker, floats: the states, and the records of a batch.
STATES, RECORDS = 0, BLOCKS * STATE
BLEND_SCRATCH = RECORDS + BATCH * LANES
# Scratch of one worker, integers: for each entry of a batch the bits of its blocks, or for each block and each 64
# entries the bits of the entries: the one is the other transposed.
HALVES = BATCH // BLOCKS
BIT_SCRATCH = BATCH


@helper
def block_left(tile_x: int, block: int) -> Real:
    """Left edge of a block in pixels."""
    return np.float32(tile_x * TILE + (block % BLOCKS_PER_ROW) * BLOCK)


@helper
def block_top(tile_y: int, block: int) -> Real:
    """Upper edge of a block in pixels."""
    return np.float32(tile_y * TILE + (block // BLOCKS_PER_ROW) * BLOCK)


@helper
def blocks_inside(tile_x: int, tile_y: int, width: int, height: int) -> Bits:
    """Bits of the blocks of a tile that have at least one pixel."""
    bits = np.int64(0)
    for block in range(BLOCKS):
        x, y = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        if x < width and y < height:
            bits |= np.int64(1) << block
    return bits


@helper
def touched_blocks(records: Array, record: int, tile_left: Real, tile_top: Real) -> Bits:
    """Bits of the blocks where a Gaussian may reach 1/255: those between the ends of its ellipse in each row."""
    extent, inverse = read(records, record + layout.EXTENT_Y), read(records, record + layout.INVERSE_EXTENT_Y)
    top = row_top() + (tile_top - read(records, record + layout.MEAN_Y))
    bottom = minimum(top + LAST_ROW, extent)
    top = maximum(top, -extent)
    # A row is widest where the ellipse reaches furthest, or as near to that as the row allows.
    y = minimum(maximum(side() * read(records, record + layout.PEAK_Y), top), bottom)
    ratio = y * inverse
    width = square_root(maximum(ONE - ratio * ratio, ZERO)) * (QUARTER * read(records, record + layout.HALF_WIDTH))
    middle = QUARTER * (read(records, record + layout.MEAN_X) - tile_left)
    column = y * (QUARTER * read(records, record + layout.SLOPE_X)) + middle + side() * width + to_column()
    return spans_to_bits(minimum(maximum(column, ZERO), np.float32(BLOCKS_PER_ROW)), top <= bottom)


@helper
def gaussian_exponent(floats: Array, record: int, dx: Vector, dy: Vector) -> Vector:
    """log2 of alpha before it is limited."""
    along_x = dx * read(floats, record + layout.CONIC_XX) + dy * read(floats, record + layout.CONIC_XY)
    return read(floats, record + layout.LOG_OPACITY) - along_x * dx - dy * read(floats, record + layout.CONIC_YY) * dy


@part
def blend_block(block: int, tile_x: int, tile_y: int, floats: Array, bits: Array) -> bool:
    """Blend the entries of this batch that touch a block; whether any pixel of the block is still alive.

    The bits of the entries that touch the block are replaced by those of the entries that contribute to it.
    """
    x, y, state = pixel_x() + block_left(tile_x, block), pixel_y() + block_top(tile_y, block), STATES + block * STATE
    transmittance, final = load16(floats, state + T), load16(floats, state + T_FINAL)
    total = load16(floats, state + SUM_W)
    r, g, b = load16(floats, state + SUM_R), load16(floats, state + SUM_G), load16(floats, state + SUM_B)
    depth, inverse_depth = load16(floats, state + SUM_Z), load16(floats, state + SUM_INVERSE_Z)
    alive_bits = mask_bits(transmittance > layout.TRANSMITTANCE_MIN)
    for half in range(HALVES):
        touching, contributing = read(bits, half * BLOCKS + block), np.int64(0)
        while touching != 0 and alive_bits != 0:
            record = RECORDS + (half * BLOCKS + lowest_bit(touching)) * LANES
            bit = touching & -touching
            touching ^= bit
            dx, dy = x - read(floats, record + layout.MEAN_X), y - read(floats, record + layout.MEAN_Y)
            alpha = minimum(exp2_below_126(gaussian_exponent(floats, record, dx, dy)), layout.ALPHA_MAX)
            seen = alpha >= layout.ALPHA_MIN
            weight = select(seen, alpha, ZERO) * transmittance
            before = transmittance
            transmittance = transmittance - weight
            alive = transmittance > layout.TRANSMITTANCE_MIN
            weight = select(alive, weight, ZERO)
            total += weight
            r += weight * read(floats, record + layout.RED)
            g += weight * read(floats, record + layout.GREEN)
            b += weight * read(floats, record + layout.BLUE)
            depth += weight * read(floats, record + layout.DEPTH)
            inverse_depth += weight * read(floats, record + layout.INVERSE_DEPTH)
            if mask_bits(seen & alive) != 0:
                contributing |= bit
            # Pixels may be finished by this Gaussian, which no longer counts. No branch foresees which one that is.
            final = select(before > layout.TRANSMITTANCE_MIN, before, final)
            alive_bits = mask_bits(alive)
        write(bits, half * BLOCKS + block, contributing)
    store16(floats, state + T, transmittance)
    store16(floats, state + T_FINAL, final)
    store16(floats, state + SUM_W, total)
    store16(floats, state + SUM_R, r)
    store16(floats, state + SUM_G, g)
    store16(floats, state + SUM_B, b)
    store16(floats, state + SUM_Z, depth)
    store16(floats, state + SUM_INVERSE_Z, inverse_depth)
    return alive_bits != 0


@part
def write_block(
    left: int, top: int, width: int, height: int, state: int, background: Array, floats: Array, images: Images
) -> None:
    """Write the finished pixels of a block, as far as they are inside the image."""
    alpha, transmittance = load16(floats, state + SUM_W), load16(floats, state + T)
    final = select(transmittance > layout.TRANSMITTANCE_MIN, transmittance, load16(floats, state + T_FINAL))
    colors = (
        load16(floats, state + SUM_R) + final * read(background, 0),
        load16(floats, state + SUM_G) + final * read(background, 1),
        load16(floats, state + SUM_B) + final * read(background, 2),
    )
    depth = select(alpha > ZERO, load16(floats, state + SUM_Z) / alpha, ZERO)
    pixel = top * width + left
    if left + BLOCK <= width and top + BLOCK <= height:
        store_color_block(images.colors, 3 * pixel, 3 * width, colors)
        store_block(images.alphas, pixel, width, alpha)
        store_block(images.transmittances, pixel, width, final)
        store_block(images.depths, pixel, width, depth)
        store_block(images.inverse_depths, pixel, width, load16(floats, state + SUM_INVERSE_Z))
        return
    store_color_block(floats, RECORDS, 3 * BLOCK, colors)
    store16(floats, RECORDS + 3 * LANES, alpha)
    store16(floats, RECORDS + 4 * LANES, depth)
    store16(floats, RECORDS + 5 * LANES, final)
    for row in range(min(BLOCK, height - top)):
        for column in range(min(BLOCK, width - left)):
            place = row * BLOCK + column
            for channel in range(3):
                write(images.colors, 3 * pixel + 3 * column + channel, read(floats, RECORDS + 3 * place + channel))
            write(images.alphas, pixel + column, read(floats, RECORDS + 3 * LANES + place))
            write(images.depths, pixel + column, read(floats, RECORDS + 4 * LANES + place))
            write(images.transmittances, pixel + column, read(floats, RECORDS + 5 * LANES + place))
            write(images.inverse_depths, pixel + column, read(floats, state + SUM_INVERSE_Z + place))
        pixel += width


@helper
def start_states(floats: Array) -> None:
    """Every pixel transparent and black."""
    for block in range(BLOCKS):
        state = STATES + block * STATE
        store16(floats, state + T, splat(ONE))
        for index in range(1, STATE // LANES):
            store16(floats, state + index * LANES, splat(ZERO))


@part
def blend_batch(
    first: int, count: int, end: int, tile_x: int, tile_y: int, alive: Bits, records: Array, lists: TileLists,
    floats: Array, bits: Array
) -> Bits:  # fmt: skip
    """Blend one batch of entries; give the blocks that are still alive. Contributions are noted if there is room."""
    left, top = np.float32(tile_x * TILE), np.float32(tile_y * TILE)
    for entry in range(count):
        if first + entry + AHEAD < end:
            prefetch(records, int(read(lists.slots, first + entry + AHEAD)) * LANES)
        record = RECORDS + entry * LANES
        store16(floats, record, load16(records, int(read(lists.slots, first + entry)) * LANES))
        write(bits, entry, touched_blocks(floats, record, left, top) & alive)
    for entry in range(count, BATCH):
        write(bits, entry, 0)
    for half in range(HALVES):
        transpose_bits(bits, half * BLOCKS)
    for block in range(BLOCKS):
        touching = np.int64(0)
        for half in range(HALVES):
            touching |= read(bits, half * BLOCKS + block)
        if touching != 0 and not blend_block(block, tile_x, tile_y, floats, bits):
            alive &= ~(np.int64(1) << block)
    if lists.blocks.shape[0] == 0:
        return alive
    for half in range(HALVES):
        transpose_bits(bits, half * BLOCKS)
    for entry in range(count):
        write(lists.blocks, first + entry, read(bits, entry))
    return alive


@part
def blend_tile(
    tile: int, width: int, height: int, records: Array, background: Array, lists: TileLists, images: Images,
    floats: Array, bits: Array
) -> None:  # fmt: skip
    """Blend one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    start, end = read(lists.offsets, tile), read(lists.offsets, tile + 1)
    start_states(floats)
    alive = blocks_inside(tile_x, tile_y, width, height)
    first = start
    while first < end and alive != 0:
        count = min(BATCH, end - first)
        alive = blend_batch(first, count, end, tile_x, tile_y, alive, records, lists, floats, bits)
        first += count
    write(lists.used, tile, first - start)
    for block in range(BLOCKS):
        x, y = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        if x < width and y < height:
            write_block(x, y, width, height, STATES + block * STATE, background, floats, images)


@kernel
def blend(
    number: int, counter: Array, width: int, height: int, records: Array, background: Array, lists: TileLists,
    images: Images, floats: Array, bits: Array
) -> None:  # fmt: skip
    """Blend all tiles. Scratch per worker: BLEND_SCRATCH floats and BIT_SCRATCH integers."""
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        blend_tile(tile, width, height, records, background, lists, images, floats[number], bits[number])
        tile = claim(counter)
