"""Gradient of blending any number of channels, as `blend_backward` has it for three.

Every Gaussian and tile gets the same gradient record, which all channels share, and one number for each channel.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Images, TileLists
from gaussian_splatting.rasterizer.cpu.blend import ONE, ZERO
from gaussian_splatting.rasterizer.cpu.blend_backward import BACKWARD_SCRATCH, image_block
from gaussian_splatting.rasterizer.cpu.channels import store_positions
from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array, Bits, Vector, absolute, lowest_bit, minimum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_math import exp2_below_126
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import sum_lanes, sum_twelve

# Scratch of one worker: behind what `image_block` uses, pixel positions, and for each block of pixels transmittance,
# gradient by depth, what remains of the total, and the gradients by all channels; last the sums of one entry.
COLUMNS = BACKWARD_SCRATCH
ROWS = COLUMNS + BLOCKS_PER_ROW * LANES
STATES = ROWS + BLOCKS_PER_ROW * LANES
T, GRAD_Z, REMAINING, GRADS = 0, LANES, 2 * LANES, 3 * LANES


def scratch_size(num_channels: int) -> int:
    """Floats of scratch for one worker."""
    return STATES + BLOCKS * (GRADS + num_channels * LANES) + num_channels * LANES


@part
def start_block(
    left: int, top: int, width: int, height: int, state: int, images: Images, grads: Images, picture: Array,
    picture_grad: Array, num_channels: int, floats: Array
) -> None:  # fmt: skip
    """State of a block before its nearest Gaussian; pixels outside the image have no gradient."""
    alpha = image_block(images.alphas, left, top, width, height, floats)
    transmittance = image_block(images.transmittances, left, top, width, height, floats)
    depth = image_block(images.depths, left, top, width, height, floats)
    grad_depth = select(alpha > ZERO, image_block(grads.depths, left, top, width, height, floats) / alpha, ZERO)
    grad_alpha = image_block(grads.alphas, left, top, width, height, floats) - grad_depth * depth
    store16(floats, state + T, splat(ONE))
    store16(floats, state + GRAD_Z, grad_depth)
    store16(floats, state + REMAINING, alpha * depth * grad_depth - transmittance * grad_alpha)
    for index in range(num_channels):
        store16(floats, state + GRADS + index * LANES, splat(ZERO))
    if picture_grad.shape[0] == 0:
        return
    for row in range(min(BLOCK, height - top)):
        for column in range(min(BLOCK, width - left)):
            place, total = ((top + row) * width + left + column) * num_channels, ZERO
            lane = row * BLOCK + column
            for index in range(num_channels):
                gradient = read(picture_grad, place + index)
                total += gradient * read(picture, place + index)
                write(floats, state + GRADS + index * LANES + lane, gradient)
            write(floats, state + REMAINING + lane, read(floats, state + REMAINING + lane) + total)


@part
def backward_entry(
    blocks: Bits, records: Array, record: int, channels: Array, row: int, num_channels: int, absolute_too: bool,
    sums: int, floats: Array
) -> Vector:  # fmt: skip
    """The gradient record of one entry; leaves its sums over pixels for each channel in scratch."""
    mean_x, mean_y = splat(read(records, record + layout.MEAN_X)), splat(read(records, record + layout.MEAN_Y))
    xx, xy = splat(read(records, record + layout.CONIC_XX)), splat(read(records, record + layout.CONIC_XY))
    yy, opacity = splat(read(records, record + layout.CONIC_YY)), splat(read(records, record + layout.LOG_OPACITY))
    z = read(records, record + layout.DEPTH)
    zero = splat(ZERO)
    sum_v, sum_x, sum_y, sum_z, sum_xx, sum_xy, sum_yy = zero, zero, zero, zero, zero, zero, zero
    absolute_x, absolute_y = zero, zero
    for index in range(num_channels):
        store16(floats, sums + index * LANES, zero)
    while blocks != 0:
        block = lowest_bit(blocks)
        blocks &= blocks - 1
        state = STATES + block * (GRADS + num_channels * LANES)
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
        grad_z = load16(floats, state + GRAD_Z)
        along = grad_z * z
        for index in range(num_channels):
            gradient = load16(floats, state + GRADS + index * LANES)
            along += gradient * read(channels, row + index)
            place = sums + index * LANES
            store16(floats, place, load16(floats, place) + weight * gradient)
        weighted = weight * along
        remaining = load16(floats, state + REMAINING) - weighted
        store16(floats, state + REMAINING, remaining)
        v = select(alive & (unlimited <= layout.ALPHA_MAX), weighted - alpha / (ONE - alpha) * remaining, ZERO)
        v_dx, v_dy = v * dx, v * dy
        sum_v += v
        sum_x += v_dx
        sum_y += v_dy
        sum_z += weight * grad_z
        sum_xx += v_dx * dx
        sum_xy += v_dx * dy
        sum_yy += v_dy * dy
        if absolute_too:
            absolute_x += absolute(2.0 * xx * v_dx + xy * v_dy)
            absolute_y += absolute(xy * v_dx + 2.0 * yy * v_dy)
    return sum_twelve(sum_v, sum_x, sum_y, sum_z, sum_xx, sum_xy, sum_yy, absolute_x, zero, zero, zero, absolute_y)


@part
def channel_tile_backward(
    tile: int, width: int, height: int, records: Array, ids: Array, lists: TileLists, images: Images, grads: Images,
    channels: Array, num_channels: int, picture: Array, picture_grad: Array, absolute_too: bool,
    gradient_records: Array, channel_records: Array, contributes: Array, floats: Array
) -> None:  # fmt: skip
    """Gradient records of one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    start, end = read(lists.offsets, tile), read(lists.offsets, tile + 1)
    used_end = start + read(lists.used, tile)
    state_size = GRADS + num_channels * LANES
    store_positions(tile_x, tile_y, COLUMNS, ROWS, floats)
    for block in range(BLOCKS):
        left, top = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
        if left < width and top < height:
            start_block(
                left, top, width, height, STATES + block * state_size, images, grads, picture, picture_grad,
                num_channels, floats
            )  # fmt: skip
    sums = STATES + BLOCKS * state_size
    for entry in range(start, used_end):
        blocks, target = read(lists.blocks, entry), int(read(lists.targets, entry))
        write(contributes, target, blocks != 0)
        if blocks != 0:
            slot = int(read(lists.slots, entry))
            row = int(read(ids, slot)) * num_channels
            total = backward_entry(
                blocks, records, slot * LANES, channels, row, num_channels, absolute_too, sums, floats
            )
            store16(gradient_records, target * LANES, total)
            for index in range(num_channels):
                write(channel_records, target * num_channels + index, sum_lanes(load16(floats, sums + index * LANES)))
    for entry in range(used_end, end):
        write(contributes, int(read(lists.targets, entry)), False)


@kernel
def blend_channels_backward(
    number: int, counter: Array, width: int, height: int, records: Array, ids: Array, lists: TileLists,
    images: Images, grads: Images, channels: Array, num_channels: int, picture: Array, picture_grad: Array,
    absolute_too: bool, gradient_records: Array, channel_records: Array, contributes: Array, floats: Array
) -> None:  # fmt: skip
    """Gradient records [entries * 16] and gradients by channels [entries * D] of all entries that contributed.

    `picture_grad` has size 0 where nothing depends on the channels. Scratch per worker: `scratch_size` floats.
    """
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        channel_tile_backward(
            tile, width, height, records, ids, lists, images, grads, channels, num_channels, picture, picture_grad,
            absolute_too, gradient_records, channel_records, contributes, floats[number]
        )  # fmt: skip
        tile = claim(counter)
