"""Gradient of blending: one 64-byte record per Gaussian and tile, summed over the pixels of the tile.

With s_i = colour_i . g and the pixel's total (image . g), walked nearest first with `remaining` = total - sum of
w_j s_j over j <= i, the gradient is d loss / d ln(alpha_i) = w_i s_i - alpha_i / (1 - alpha_i) remaining: no reverse
walk and no stored transmittances. Forward left the blocks to which each entry contributed, so that nothing is culled.
An entry visits its blocks with its sums in registers, and adds up the lanes once at the end.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Images, TileLists
from gaussian_splatting.rasterizer.cpu.blend import AHEAD, ONE, ZERO, pixel_x, pixel_y
from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array, Bits, Vector, absolute, lowest_bit, minimum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_block import load_block, load_color_block
from gaussian_splatting.rasterizer.cpu.simd_math import exp2_below_126
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, prefetch, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import sum_twelve

# State of a block: transmittance, gradients of the pixel, and what remains of the total.
T, GRAD_R, GRAD_G, GRAD_B, GRAD_Z, GRAD_INVERSE_Z, REMAINING = (index * LANES for index in range(7))
STATE = 7 * LANES
# Scratch of one worker: the states, the pixel positions in each column and row of blocks, a block at the edge.
STATES, COLUMNS = 0, BLOCKS * STATE
ROWS = COLUMNS + BLOCKS_PER_ROW * LANES
STAGED = ROWS + BLOCKS_PER_ROW * LANES
BACKWARD_SCRATCH = STAGED + 3 * LANES


@helper
def image_block(image: Array, left: int, top: int, width: int, height: int, staged: Array) -> Vector:
    """A block of an image with one channel; zero outside the image, and where the image has size 0."""
    if image.shape[0] == 0:
        return splat(ZERO)
    pixel = top * width + left
    if left + BLOCK <= width and top + BLOCK <= height:
        return load_block(image, pixel, width)
    store16(staged, STAGED, splat(ZERO))
    for row in range(min(BLOCK, height - top)):
        for column in range(min(BLOCK, width - left)):
            write(staged, STAGED + row * BLOCK + column, read(image, pixel + row * width + column))
    return load16(staged, STAGED)


@helper
def color_block(
    image: Array, left: int, top: int, width: int, height: int, staged: Array
) -> tuple[Vector, Vector, Vector]:
    """A block of an interleaved image; zero outside the image, and where the image has size 0."""
    if image.shape[0] == 0:
        return splat(ZERO), splat(ZERO), splat(ZERO)
    pixel = 3 * (top * width + left)
    if left + BLOCK <= width and top + BLOCK <= height:
        return load_color_block(image, pixel, 3 * width)
    for index in range(3):
        store16(staged, STAGED + index * LANES, splat(ZERO))
    for row in range(min(BLOCK, height - top)):
        for index in range(3 * min(BLOCK, width - left)):
            write(staged, STAGED + row * 3 * BLOCK + index, read(image, pixel + row * 3 * width + index))
    return load_color_block(staged, STAGED, 3 * BLOCK)


@part
def start_block(
    left: int, top: int, width: int, height: int, state: int, images: Images, grads: Images, floats: Array
) -> None:
    """State of a block before its nearest Gaussian; pixels outside the image have no gradient."""
    alpha = image_block(images.alphas, left, top, width, height, floats)
    transmittance = image_block(images.transmittances, left, top, width, height, floats)
    depth = image_block(images.depths, left, top, width, height, floats)
    inverse_depth = image_block(images.inverse_depths, left, top, width, height, floats)
    grad_alpha = image_block(grads.alphas, left, top, width, height, floats)
    # The expected depth is the sum of w z, over alpha.
    grad_depth = select(alpha > ZERO, image_block(grads.depths, left, top, width, height, floats) / alpha, ZERO)
    grad_inverse_depth = image_block(grads.inverse_depths, left, top, width, height, floats)
    red, green, blue = color_block(images.colors, left, top, width, height, floats)
    grad_red, grad_green, grad_blue = color_block(grads.colors, left, top, width, height, floats)
    grad_alpha = grad_alpha - grad_depth * depth
    total = alpha * depth * grad_depth + inverse_depth * grad_inverse_depth - transmittance * grad_alpha
    total = total + red * grad_red + green * grad_green + blue * grad_blue
    store16(floats, state + T, splat(ONE))
    store16(floats, state + GRAD_R, grad_red)
    store16(floats, state + GRAD_G, grad_green)
    store16(floats, state + GRAD_B, grad_blue)
    store16(floats, state + GRAD_Z, grad_depth)
    store16(floats, state + GRAD_INVERSE_Z, grad_inverse_depth)
    store16(floats, state + REMAINING, total)


@part
def backward_entry(
    blocks: Bits, records: Array, record: int, has_depth: bool, absolute_too: bool, floats: Array
) -> Vector:
    """The gradient record of one entry: the sums over the pixels of the blocks to which it contributed."""
    mean_x, mean_y = splat(read(records, record + layout.MEAN_X)), splat(read(records, record + layout.MEAN_Y))
    xx, xy = splat(read(records, record + layout.CONIC_XX)), splat(read(records, record + layout.CONIC_XY))
    yy, opacity = splat(read(records, record + layout.CONIC_YY)), splat(read(records, record + layout.LOG_OPACITY))
    red, green = splat(read(records, record + layout.RED)), splat(read(records, record + layout.GREEN))
    blue, z = splat(read(records, record + layout.BLUE)), read(records, record + layout.DEPTH)
    inverse_z = read(records, record + layout.INVERSE_DEPTH)
    sum_v, sum_x, sum_y, sum_z = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    sum_xx, sum_xy, sum_yy = splat(ZERO), splat(ZERO), splat(ZERO)
    sum_r, sum_g, sum_b = splat(ZERO), splat(ZERO), splat(ZERO)
    absolute_x, absolute_y = splat(ZERO), splat(ZERO)
    while blocks != 0:
        block = lowest_bit(blocks)
        blocks &= blocks - 1
        state = STATES + block * STATE
        dx = load16(floats, COLUMNS + (block % BLOCKS_PER_ROW) * LANES) - mean_x
        dy = load16(floats, ROWS + (block // BLOCKS_PER_ROW) * LANES) - mean_y
        unlimited = exp2_below_126(opacity - (dx * xx + dy * xy) * dx - dy * yy * dy)
        alpha = minimum(unlimited, layout.ALPHA_MAX)
        seen = alpha >= layout.ALPHA_MIN
        alpha = select(seen, alpha, ZERO)
        transmittance = load16(floats, state + T)
        weight = alpha * transmittance
        transmittance = transmittance - weight
        store16(floats, state + T, transmittance)
        alive = seen & (transmittance > layout.TRANSMITTANCE_MIN)
        weight = select(alive, weight, ZERO)
        r, g, b = load16(floats, state + GRAD_R), load16(floats, state + GRAD_G), load16(floats, state + GRAD_B)
        along_color = r * red + g * green + b * blue
        if has_depth:
            grad_z, grad_inverse_z = load16(floats, state + GRAD_Z), load16(floats, state + GRAD_INVERSE_Z)
            along_color += grad_z * z + grad_inverse_z * inverse_z
            sum_z += weight * (grad_z - grad_inverse_z * (inverse_z * inverse_z))
        weighted = weight * along_color
        remaining = load16(floats, state + REMAINING) - weighted
        store16(floats, state + REMAINING, remaining)
        v = weighted - alpha / (ONE - alpha) * remaining
        v = select(alive & (unlimited <= layout.ALPHA_MAX), v, ZERO)
        v_dx, v_dy = v * dx, v * dy
        sum_v += v
        sum_x += v_dx
        sum_y += v_dy
        sum_xx += v_dx * dx
        sum_xy += v_dx * dy
        sum_yy += v_dy * dy
        sum_r += weight * r
        sum_g += weight * g
        sum_b += weight * b
        if absolute_too:  # Ye et al., "AbsGS", 2024
            absolute_x += absolute(2.0 * xx * v_dx + xy * v_dy)
            absolute_y += absolute(xy * v_dx + 2.0 * yy * v_dy)
    return sum_twelve(sum_v, sum_x, sum_y, sum_z, sum_xx, sum_xy, sum_yy, absolute_x, sum_r, sum_g, sum_b, absolute_y)


@part
def backward_tile(
    tile: int, width: int, height: int, records: Array, lists: TileLists, images: Images, grads: Images,
    absolute_too: bool, gradient_records: Array, contributes: Array, floats: Array
) -> None:  # fmt: skip
    """Gradient records of one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    start, end = read(lists.offsets, tile), read(lists.offsets, tile + 1)
    used_end = start + read(lists.used, tile)
    has_depth = grads.depths.shape[0] > 0 or grads.inverse_depths.shape[0] > 0
    for block in range(BLOCKS):
        x, y = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        if x < width and y < height:
            start_block(x, y, width, height, STATES + block * STATE, images, grads, floats)
    for index in range(BLOCKS_PER_ROW):
        store16(floats, COLUMNS + index * LANES, pixel_x() + np.float32(tile_x * TILE + index * BLOCK))
        store16(floats, ROWS + index * LANES, pixel_y() + np.float32(tile_y * TILE + index * BLOCK))
    for entry in range(start, used_end):
        if entry + AHEAD < used_end:
            prefetch(records, int(read(lists.slots, entry + AHEAD)) * LANES)
        blocks, target = read(lists.blocks, entry), int(read(lists.targets, entry))
        write(contributes, target, blocks != 0)
        if blocks != 0:
            record = int(read(lists.slots, entry)) * LANES
            sums = backward_entry(blocks, records, record, has_depth, absolute_too, floats)
            store16(gradient_records, target * LANES, sums)
    for entry in range(used_end, end):
        write(contributes, int(read(lists.targets, entry)), False)


@kernel
def blend_backward(
    number: int, counter: Array, width: int, height: int, records: Array, lists: TileLists, images: Images,
    grads: Images, absolute_too: bool, gradient_records: Array, contributes: Array, floats: Array
) -> None:  # fmt: skip
    """Gradient records of all entries; those of entries that contributed nothing are not written.

    Scratch per worker: BACKWARD_SCRATCH floats.
    """
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        backward_tile(
            tile, width, height, records, lists, images, grads, absolute_too, gradient_records, contributes,
            floats[number]
        )  # fmt: skip
        tile = claim(counter)
