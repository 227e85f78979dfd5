"""Blending surfels: from the list of each tile to its pixels, nearest first, in blocks of 4x4 pixels.

The walk is that of the CPU backend (`cpu.blend`). Depths are summed relative to the nearest contribution of a pixel,
so that the distortion of a thin surface far away keeps its digits.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import TileLists
from gaussian_splatting.rasterizer.cpu.blend import (
    AHEAD,
    ONE,
    ZERO,
    block_left,
    block_top,
    blocks_inside,
    pixel_x,
    pixel_y,
    touched_blocks,
)
from gaussian_splatting.rasterizer.cpu.layout import BATCH, BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array, Bits, Real, Vector, mask_bits, minimum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_math import exp2_below_126
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, prefetch, read, store16, write
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps, Walk
from gaussian_splatting.rasterizer.cpu_2dgs.block_lists import LENGTHS, MASKS, append_to_lists
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper, kernel
from gaussian_splatting.rasterizer.cpu_2dgs.project import filter_reach

# State of a block: transmittance if nothing ended, sums over contributions of w and of w times what is blended, depth
# of the nearest contribution, half the distortion, and where the median depth is.
T, SUM_W, SUM_R, SUM_G, SUM_B, SPREAD, SUM_INVERSE_Z = (index * LANES for index in range(7))
SUM_NX, SUM_NY, SUM_NZ, NEAREST, HALF_DISTORTION, MEDIAN, MEDIAN_PLACE = (index * LANES for index in range(7, 14))
STATE = 14 * LANES
# Scratch of one worker, floats: the states, and the records of a batch.
STATES, RECORDS = 0, BLOCKS * STATE
BLEND_SCRATCH = RECORDS + BATCH * surfel.RECORD

LEFT_HALF, UPPER_HALF = 0x0F0F0F0F0F0F0F0F, 0x00000000FFFFFFFF
"""Bits of the blocks in the left and in the upper half of a tile: those of one tile of a box."""
HALF, TWO, NONE = np.float32(0.5), np.float32(2.0), np.float32(-1.0)
INVERSE_EDGE, LAST_BLOCK = np.float32(1 / BLOCK), np.float32(BLOCKS_PER_ROW)
FALLOFF = np.float32(0.5 * layout.LOG2_E)


@helper
def box_blocks(boxes: Array, slot: int, tile_x: int, tile_y: int) -> Bits:
    """Bits of the blocks of a tile that the box of a surfel meets."""
    start, column, row = slot * surfel.BOX, 2 * tile_x, 2 * tile_y
    first_column, end_column = read(boxes, start), read(boxes, start + 1)
    first_row, end_row = read(boxes, start + 2), read(boxes, start + 3)
    columns, rows = np.int64(0), np.int64(0)
    if first_column <= column < end_column:
        columns |= np.int64(LEFT_HALF)
    if first_column <= column + 1 < end_column:
        columns |= ~np.int64(LEFT_HALF)
    if first_row <= row < end_row:
        rows |= np.int64(UPPER_HALF)
    if first_row <= row + 1 < end_row:
        rows |= ~np.int64(UPPER_HALF)
    return columns & rows


@helper
def block_at(position: float) -> int:
    """The row or column of blocks at a position in the tile, from -1 to BLOCKS_PER_ROW."""
    return int(min(max(position * INVERSE_EDGE, NONE), LAST_BLOCK) + ONE) - 1


@helper
def filter_blocks(floats: Array, record: int, tile_left: Real, tile_top: Real) -> Bits:
    """Bits of the blocks where the low-pass filter may reach 1/255."""
    reach = filter_reach(read(floats, record + layout.LOG_OPACITY))
    x = read(floats, record + surfel.FILTER_X) - tile_left - HALF
    y = read(floats, record + surfel.FILTER_Y) - tile_top - HALF
    first, last = max(0, block_at(x - reach)), min(BLOCKS_PER_ROW - 1, block_at(x + reach))
    bits = np.int64(0)
    if first <= last:
        row_bits = (np.int64(2) << last) - (np.int64(1) << first)
        for row in range(max(0, block_at(y - reach)), min(BLOCKS_PER_ROW - 1, block_at(y + reach)) + 1):
            bits |= row_bits << (BLOCKS_PER_ROW * row)
    return bits


@helper
def ray_meeting(floats: Array, record: int, dx: Vector, dy: Vector) -> tuple[Vector, Vector, Vector]:
    """Where the rays at offsets from the projected centre meet the surfel (u, v), and 1 / w."""
    w = (
        dx * read(floats, record + surfel.W_X)
        + dy * read(floats, record + surfel.W_Y)
        + read(floats, record + surfel.W_0)
    )
    inverse_w = 1.0 / w
    u = (dx * read(floats, record + surfel.U_X) + dy * read(floats, record + surfel.U_Y)) * inverse_w
    v = (dx * read(floats, record + surfel.V_X) + dy * read(floats, record + surfel.V_Y)) * inverse_w
    return u, v, inverse_w


@helper
def unlimited_alpha(floats: Array, record: int, squared: Vector) -> Vector:
    """Alpha before it is limited, at a squared distance in standard deviations."""
    return exp2_below_126(read(floats, record + layout.LOG_OPACITY) - squared * FALLOFF)


@helper
def blend_block(block: int, tile_x: int, tile_y: int, base: int, floats: Array, counts: Array, queues: Array) -> bool:
    """Blend a block's list of this batch; whether any pixel is still alive. `base` is the batch's place in the list."""
    x, y, state = pixel_x() + block_left(tile_x, block), pixel_y() + block_top(tile_y, block), STATES + block * STATE
    transmittance, total = load16(floats, state + T), load16(floats, state + SUM_W)
    r, g, b = load16(floats, state + SUM_R), load16(floats, state + SUM_G), load16(floats, state + SUM_B)
    nx, ny, nz = load16(floats, state + SUM_NX), load16(floats, state + SUM_NY), load16(floats, state + SUM_NZ)
    spread, inverse_depth = load16(floats, state + SPREAD), load16(floats, state + SUM_INVERSE_Z)
    nearest, distortion = load16(floats, state + NEAREST), load16(floats, state + HALF_DISTORTION)
    median, median_place = load16(floats, state + MEDIAN), load16(floats, state + MEDIAN_PLACE)
    bit, alive_anywhere = np.int64(1) << block, True
    start = block * BATCH
    for place in range(start, start + read(counts, LENGTHS + block)):
        entry = np.int64(read(queues, place))
        record = RECORDS + entry * surfel.RECORD
        dx, dy = x - read(floats, record + surfel.CENTER_X), y - read(floats, record + surfel.CENTER_Y)
        u, v, _ = ray_meeting(floats, record, dx, dy)
        fx, fy = x - read(floats, record + surfel.FILTER_X), y - read(floats, record + surfel.FILTER_Y)
        squared = minimum(u * u + v * v, TWO * (fx * fx + fy * fy))  # the second where the first is not a number
        alpha = minimum(unlimited_alpha(floats, record, squared), layout.ALPHA_MAX)
        seen = alpha >= layout.ALPHA_MIN
        before = transmittance
        weight = select(seen, alpha, ZERO) * before
        transmittance = before - weight
        alive = transmittance > layout.TRANSMITTANCE_MIN
        contributes = seen & alive
        weight = select(contributes, weight, ZERO)
        z = read(floats, record + layout.DEPTH)
        nearest = select(contributes & (total == ZERO), splat(z), nearest)
        behind = z - nearest
        distortion += weight * (behind * total - spread)
        spread += weight * behind
        total += weight
        r += weight * read(floats, record + layout.RED)
        g += weight * read(floats, record + layout.GREEN)
        b += weight * read(floats, record + layout.BLUE)
        nx += weight * read(floats, record + surfel.NORMAL_X)
        ny += weight * read(floats, record + surfel.NORMAL_Y)
        nz += weight * read(floats, record + surfel.NORMAL_Z)
        inverse_depth += weight * read(floats, record + layout.INVERSE_DEPTH)
        halfway = contributes & (before > HALF)
        median = select(halfway, splat(z), median)
        median_place = select(halfway, splat(np.float32(base + entry)), median_place)
        if mask_bits(contributes) != 0:
            write(counts, MASKS + entry, read(counts, MASKS + entry) | bit)
        if mask_bits(alive) == 0:
            alive_anywhere = False
            break
    store16(floats, state + T, transmittance)
    store16(floats, state + SUM_W, total)
    store16(floats, state + SUM_R, r)
    store16(floats, state + SUM_G, g)
    store16(floats, state + SUM_B, b)
    store16(floats, state + SUM_NX, nx)
    store16(floats, state + SUM_NY, ny)
    store16(floats, state + SUM_NZ, nz)
    store16(floats, state + SPREAD, spread)
    store16(floats, state + SUM_INVERSE_Z, inverse_depth)
    store16(floats, state + NEAREST, nearest)
    store16(floats, state + HALF_DISTORTION, distortion)
    store16(floats, state + MEDIAN, median)
    store16(floats, state + MEDIAN_PLACE, median_place)
    return alive_anywhere


@helper
def write_pixel(pixel: int, state: int, background: Array, floats: Array, maps: Maps, walk: Walk) -> None:
    """Write one finished pixel."""
    alpha = read(floats, state + SUM_W)
    final, depth = ONE - alpha, ZERO
    if alpha > ZERO:
        depth = read(floats, state + NEAREST) + read(floats, state + SPREAD) / alpha
    write(maps.colors, 3 * pixel, read(floats, state + SUM_R) + final * read(background, 0))
    write(maps.colors, 3 * pixel + 1, read(floats, state + SUM_G) + final * read(background, 1))
    write(maps.colors, 3 * pixel + 2, read(floats, state + SUM_B) + final * read(background, 2))
    write(maps.normals, 3 * pixel, read(floats, state + SUM_NX))
    write(maps.normals, 3 * pixel + 1, read(floats, state + SUM_NY))
    write(maps.normals, 3 * pixel + 2, read(floats, state + SUM_NZ))
    write(maps.alphas, pixel, alpha)
    write(maps.depths, pixel, depth)
    write(maps.inverse_depths, pixel, read(floats, state + SUM_INVERSE_Z))
    write(maps.distortions, pixel, TWO * read(floats, state + HALF_DISTORTION))
    write(maps.medians, pixel, read(floats, state + MEDIAN))
    write(walk.spreads, pixel, read(floats, state + SPREAD))
    write(walk.median_places, pixel, read(floats, state + MEDIAN_PLACE))


@helper
def write_pixels(
    tile_x: int, tile_y: int, width: int, height: int, background: Array, floats: Array, maps: Maps, walk: Walk
) -> None:
    """Write the finished pixels of a tile."""
    for block in range(BLOCKS):
        left, top = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        for row in range(min(BLOCK, height - top)):
            for column in range(min(BLOCK, width - left)):
                state = STATES + block * STATE + row * BLOCK + column
                write_pixel((top + row) * width + left + column, state, background, floats, maps, walk)


@helper
def start_states(floats: Array) -> None:
    """Every pixel transparent and black."""
    for block in range(BLOCKS):
        state = STATES + block * STATE
        for index in range(STATE // LANES):
            store16(floats, state + index * LANES, splat(ZERO))
        store16(floats, state + T, splat(ONE))
        store16(floats, state + MEDIAN_PLACE, splat(NONE))


@helper
def stage(records: Array, slot: int, floats: Array, record: int) -> None:
    """Copy a record to scratch."""
    store16(floats, record, load16(records, slot * surfel.RECORD))
    store16(floats, record + LANES, load16(records, slot * surfel.RECORD + LANES))


@helper
def blend_tile(
    tile: int, width: int, height: int, records: Array, boxes: Array, background: Array, lists: TileLists, maps: Maps,
    walk: Walk, floats: Array, counts: Array, queues: Array
) -> None:  # fmt: skip
    """Blend one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    tile_left, tile_top = np.float32(tile_x * TILE), np.float32(tile_y * TILE)
    start, end = read(lists.offsets, tile), read(lists.offsets, tile + 1)
    start_states(floats)
    alive = blocks_inside(tile_x, tile_y, width, height)
    first = start
    while first < end and alive != 0:
        count = min(BATCH, end - first)
        for block in range(BLOCKS):
            write(counts, LENGTHS + block, 0)
        for entry in range(count):
            if first + entry + AHEAD < end:
                prefetch(records, int(read(lists.slots, first + entry + AHEAD)) * surfel.RECORD)
                prefetch(records, int(read(lists.slots, first + entry + AHEAD)) * surfel.RECORD + LANES)
            record, slot = RECORDS + entry * surfel.RECORD, int(read(lists.slots, first + entry))
            stage(records, slot, floats, record)
            write(counts, MASKS + entry, 0)
            bits = touched_blocks(floats, record, tile_left, tile_top) | filter_blocks(
                floats, record, tile_left, tile_top
            )
            append_to_lists(bits & box_blocks(boxes, slot, tile_x, tile_y) & alive, entry, counts, queues)
        for block in range(BLOCKS):
            if read(counts, LENGTHS + block) != 0 and not blend_block(
                block, tile_x, tile_y, first - start, floats, counts, queues
            ):
                alive &= ~(np.int64(1) << block)
        for entry in range(count):
            write(lists.blocks, first + entry, read(counts, MASKS + entry))
        first += count
    write(lists.used, tile, first - start)
    write_pixels(tile_x, tile_y, width, height, background, floats, maps, walk)


@kernel
def blend(
    number: int, counter: Array, width: int, height: int, records: Array, boxes: Array, background: Array,
    lists: TileLists, maps: Maps, walk: Walk, floats: Array, counts: Array, queues: Array
) -> None:  # fmt: skip
    """Blend all tiles. Scratch per worker: BLEND_SCRATCH floats; counts and queues as for 3D Gaussians."""
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        blend_tile(
            tile, width, height, records, boxes, background, lists, maps, walk, floats[number], counts[number],
            queues[number]
        )  # fmt: skip
        tile = claim(counter)
