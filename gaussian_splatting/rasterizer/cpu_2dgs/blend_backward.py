"""Gradient of blending surfels: one record of two lines per surfel and tile, summed over the pixels of the tile.

As in `cpu.blend_backward`, pixels are walked nearest first. The distortion of a pixel is a quadratic form in the
weights; its derivative by one weight is twice the weighted distance to all the others, before and behind.
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
    pixel_x,
    pixel_y,
)
from gaussian_splatting.rasterizer.cpu.layout import BATCH, BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array, Real, minimum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, prefetch, read, store16, write
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps, Walk
from gaussian_splatting.rasterizer.cpu_2dgs.blend import TWO, ray_meeting, stage, unlimited_alpha
from gaussian_splatting.rasterizer.cpu_2dgs.block_lists import LENGTHS, append_to_lists
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper, kernel
from gaussian_splatting.rasterizer.cpu_2dgs.sums import sum_features, sum_meeting

# State of a block: transmittance, gradients of the pixel, what remains of the total, sums of w and w (z - nearest) so
# far and in all, the nearest depth, and the place of the median.
T, GRAD_R, GRAD_G, GRAD_B, GRAD_Z, GRAD_INVERSE_Z, REMAINING = (index * LANES for index in range(7))
GRAD_NX, GRAD_NY, GRAD_NZ, GRAD_DISTORTION, GRAD_MEDIAN, SUM_W, SPREAD = (index * LANES for index in range(7, 14))
ALL_W, ALL_SPREAD, NEAREST, MEDIAN_PLACE = (index * LANES for index in range(14, 18))
STATE = 18 * LANES
STATES, RECORDS = 0, BLOCKS * STATE
SUMS = RECORDS + BATCH * surfel.RECORD
BACKWARD_SCRATCH = SUMS + BATCH * surfel.RECORD


@helper
def start_triple(
    pixel: int, state: int, grads: Array, values: Array, floats: Array, fields: tuple[int, int, int]
) -> Real:
    """Take over the gradient of a map of three channels; its product with the map."""
    total = ZERO
    if grads.shape[0] > 0:
        first, second, third = read(grads, 3 * pixel), read(grads, 3 * pixel + 1), read(grads, 3 * pixel + 2)
        write(floats, state + fields[0], first)
        write(floats, state + fields[1], second)
        write(floats, state + fields[2], third)
        total += first * read(values, 3 * pixel)
        total += second * read(values, 3 * pixel + 1)
        total += third * read(values, 3 * pixel + 2)
    return total


@helper
def start_pixel(pixel: int, state: int, maps: Maps, walk: Walk, grads: Maps, floats: Array) -> None:
    """State of one pixel before its nearest surfel."""
    alpha, depth = read(maps.alphas, pixel), read(maps.depths, pixel)
    grad_alpha, grad_depth, total = ZERO, ZERO, ZERO
    if grads.alphas.shape[0] > 0:
        grad_alpha = read(grads.alphas, pixel)
    if grads.depths.shape[0] > 0 and alpha > ZERO:  # expected depth is the sum of w z, over alpha
        grad_depth = read(grads.depths, pixel) / alpha
        grad_alpha -= grad_depth * depth
        total += alpha * depth * grad_depth
    if grads.inverse_depths.shape[0] > 0:
        write(floats, state + GRAD_INVERSE_Z, read(grads.inverse_depths, pixel))
        total += read(maps.inverse_depths, pixel) * read(grads.inverse_depths, pixel)
    if grads.distortions.shape[0] > 0:
        write(floats, state + GRAD_DISTORTION, read(grads.distortions, pixel))
        total += TWO * read(maps.distortions, pixel) * read(grads.distortions, pixel)
    if grads.medians.shape[0] > 0:
        write(floats, state + GRAD_MEDIAN, read(grads.medians, pixel))
    total -= (ONE - alpha) * grad_alpha
    total += start_triple(pixel, state, grads.colors, maps.colors, floats, (GRAD_R, GRAD_G, GRAD_B))
    total += start_triple(pixel, state, grads.normals, maps.normals, floats, (GRAD_NX, GRAD_NY, GRAD_NZ))
    write(floats, state + T, ONE)
    write(floats, state + GRAD_Z, grad_depth)
    write(floats, state + REMAINING, total)
    write(floats, state + ALL_W, alpha)
    write(floats, state + ALL_SPREAD, read(walk.spreads, pixel))
    write(floats, state + MEDIAN_PLACE, read(walk.median_places, pixel))


@helper
def start_states(
    tile_x: int, tile_y: int, width: int, height: int, maps: Maps, walk: Walk, grads: Maps, floats: Array
) -> None:
    """States of all pixels of a tile; those outside the image do nothing."""
    for block in range(BLOCKS):
        for index in range(STATE // LANES):
            store16(floats, STATES + block * STATE + index * LANES, splat(ZERO))
        left, top = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        for row in range(min(BLOCK, height - top)):
            for column in range(min(BLOCK, width - left)):
                pixel = (top + row) * width + left + column
                start_pixel(pixel, STATES + block * STATE + row * BLOCK + column, maps, walk, grads, floats)


@helper
def backward_block(
    block: int, tile_x: int, tile_y: int, base: int, floats: Array, counts: Array, queues: Array
) -> None:
    """Add the pixels of one block to the gradient records of its list."""
    x, y, state = pixel_x() + block_left(tile_x, block), pixel_y() + block_top(tile_y, block), STATES + block * STATE
    transmittance, remaining = load16(floats, state + T), load16(floats, state + REMAINING)
    r, g, b = load16(floats, state + GRAD_R), load16(floats, state + GRAD_G), load16(floats, state + GRAD_B)
    nx, ny, nz = load16(floats, state + GRAD_NX), load16(floats, state + GRAD_NY), load16(floats, state + GRAD_NZ)
    grad_z, grad_inverse_z = load16(floats, state + GRAD_Z), load16(floats, state + GRAD_INVERSE_Z)
    grad_distortion, grad_median = load16(floats, state + GRAD_DISTORTION), load16(floats, state + GRAD_MEDIAN)
    total, spread, nearest = (
        load16(floats, state + SUM_W),
        load16(floats, state + SPREAD),
        load16(floats, state + NEAREST),
    )
    all_total, all_spread = load16(floats, state + ALL_W), load16(floats, state + ALL_SPREAD)
    median_place = load16(floats, state + MEDIAN_PLACE)
    start = block * BATCH
    for place in range(start, start + read(counts, LENGTHS + block)):
        entry = np.int64(read(queues, place))
        record, sums = RECORDS + entry * surfel.RECORD, SUMS + entry * surfel.RECORD
        dx, dy = x - read(floats, record + surfel.CENTER_X), y - read(floats, record + surfel.CENTER_Y)
        u, v, inverse_w = ray_meeting(floats, record, dx, dy)
        fx, fy = x - read(floats, record + surfel.FILTER_X), y - read(floats, record + surfel.FILTER_Y)
        by_ray, by_filter = u * u + v * v, TWO * (fx * fx + fy * fy)
        is_ray = by_ray <= by_filter
        unlimited = unlimited_alpha(floats, record, minimum(by_ray, by_filter))
        alpha = minimum(unlimited, layout.ALPHA_MAX)
        seen = alpha >= layout.ALPHA_MIN
        alpha = select(seen, alpha, ZERO)
        weight = alpha * transmittance
        transmittance = transmittance - weight
        alive = seen & (transmittance > layout.TRANSMITTANCE_MIN)
        weight = select(alive, weight, ZERO)

        z, inverse_z = read(floats, record + layout.DEPTH), read(floats, record + layout.INVERSE_DEPTH)
        nearest = select(alive & (total == ZERO), splat(z), nearest)
        behind = z - nearest
        to_nearer = behind * total - spread
        total_before = total
        spread += weight * behind
        total += weight
        to_further = (all_spread - spread) - behind * (all_total - total)
        along = r * read(floats, record + layout.RED) + g * read(floats, record + layout.GREEN)
        along += b * read(floats, record + layout.BLUE) + nx * read(floats, record + surfel.NORMAL_X)
        along += ny * read(floats, record + surfel.NORMAL_Y) + nz * read(floats, record + surfel.NORMAL_Z)
        along += grad_z * z + grad_inverse_z * inverse_z + grad_distortion * (TWO * (to_nearer + to_further))
        by_depth = grad_z - grad_inverse_z * (inverse_z * inverse_z)
        by_depth += TWO * grad_distortion * (total_before - (all_total - total))
        is_median = median_place == np.float32(base + entry)
        depth = weight * by_depth + select(is_median, grad_median, ZERO)

        weighted = weight * along
        remaining = remaining - weighted
        by_alpha = weighted - alpha / (ONE - alpha) * remaining
        by_alpha = select(alive & (unlimited <= layout.ALPHA_MAX), by_alpha, ZERO)
        # ln(alpha) holds minus half the squared distance: of (u, v), or twice that of the pixel to the filter's middle.
        g_u = select(is_ray, -(by_alpha * u * inverse_w), ZERO)
        g_v = select(is_ray, -(by_alpha * v * inverse_w), ZERO)
        g_w = select(is_ray, by_alpha * by_ray * inverse_w, ZERO)
        f = select(is_ray, splat(ZERO), by_alpha)
        store16(floats, sums, load16(floats, sums) + sum_meeting(g_u, g_v, g_w, f, dx, dy, fx, fy))
        features = sum_features(
            by_alpha, depth, weight * nx, weight * ny, weight * nz, weight * r, weight * g, weight * b
        )
        store16(floats, sums + LANES, load16(floats, sums + LANES) + features)
    store16(floats, state + T, transmittance)
    store16(floats, state + REMAINING, remaining)
    store16(floats, state + SUM_W, total)
    store16(floats, state + SPREAD, spread)
    store16(floats, state + NEAREST, nearest)


@helper
def write_entry(
    target: int, contributed: bool, sums: int, gradient_records: Array, contributes: Array, floats: Array
) -> None:
    """Write the gradient record of one entry, when it has one."""
    write(contributes, target, contributed)
    if contributed:
        store16(gradient_records, target * surfel.RECORD, load16(floats, sums))
        store16(gradient_records, target * surfel.RECORD + LANES, load16(floats, sums + LANES))


@helper
def backward_tile(
    tile: int, width: int, height: int, records: Array, lists: TileLists, maps: Maps, walk: Walk, grads: Maps,
    gradient_records: Array, contributes: Array, floats: Array, counts: Array, queues: Array
) -> None:  # fmt: skip
    """Gradient records of one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    start, end = read(lists.offsets, tile), read(lists.offsets, tile + 1)
    used_end = start + read(lists.used, tile)
    start_states(tile_x, tile_y, width, height, maps, walk, grads, floats)
    first = start
    while first < used_end:
        count = min(BATCH, used_end - first)
        for block in range(BLOCKS):
            write(counts, LENGTHS + block, 0)
        for entry in range(count):
            if first + entry + AHEAD < used_end:
                prefetch(records, int(read(lists.slots, first + entry + AHEAD)) * surfel.RECORD)
                prefetch(records, int(read(lists.slots, first + entry + AHEAD)) * surfel.RECORD + LANES)
            bits = read(lists.blocks, first + entry)
            if bits != 0:
                slot = int(read(lists.slots, first + entry))
                stage(records, slot, floats, RECORDS + entry * surfel.RECORD)
                store16(floats, SUMS + entry * surfel.RECORD, splat(ZERO))
                store16(floats, SUMS + entry * surfel.RECORD + LANES, splat(ZERO))
                append_to_lists(bits, entry, counts, queues)
        for block in range(BLOCKS):
            if read(counts, LENGTHS + block) != 0:
                backward_block(block, tile_x, tile_y, first - start, floats, counts, queues)
        for entry in range(count):
            target, contributed = int(read(lists.targets, first + entry)), read(lists.blocks, first + entry) != 0
            sums = SUMS + entry * surfel.RECORD
            write_entry(target, contributed, sums, gradient_records, contributes, floats)
        first += count
    for entry in range(used_end, end):
        write(contributes, int(read(lists.targets, entry)), False)


@kernel
def blend_backward(
    number: int, counter: Array, width: int, height: int, records: Array, lists: TileLists, maps: Maps, walk: Walk,
    grads: Maps, gradient_records: Array, contributes: Array, floats: Array, counts: Array, queues: Array
) -> None:  # fmt: skip
    """Gradient records of all entries; those of entries that contributed nothing are not written.

    Scratch per worker: BACKWARD_SCRATCH floats; counts and queues as for 3D Gaussians.
    """
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        backward_tile(
            tile, width, height, records, lists, maps, walk, grads, gradient_records, contributes, floats[number],
            counts[number], queues[number]
        )  # fmt: skip
        tile = claim(counter)
