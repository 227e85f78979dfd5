"""Blending of any number of channels: a second walk over the entries that contributed to a picture.

The first walk, without colours, has found which Gaussians contribute to which blocks of pixels and what each pixel
lets through. Channels are taken a few at a time, so that the sums of a tile stay in the cache.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import TileLists
from gaussian_splatting.rasterizer.cpu.blend import ONE, ZERO, pixel_x, pixel_y
from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import BLOCK, BLOCKS, BLOCKS_PER_ROW, LANES, TILE
from gaussian_splatting.rasterizer.cpu.simd import Array, Bits, lowest_bit, minimum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_math import exp2_below_126
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write

GROUP = 16
"""Channels that are blended together."""
# State of a block: transmittance, and one sum for each channel.
SUMS = LANES
STATE = (1 + GROUP) * LANES
# Scratch of one worker: the states, and the pixel positions in each column and row of blocks.
COLUMNS = BLOCKS * STATE
ROWS = COLUMNS + BLOCKS_PER_ROW * LANES
CHANNEL_SCRATCH = ROWS + BLOCKS_PER_ROW * LANES


@part
def store_positions(tile_x: int, tile_y: int, columns: int, rows: int, floats: Array) -> None:
    """Pixel positions of each column and of each row of blocks."""
    for index in range(BLOCKS_PER_ROW):
        store16(floats, columns + index * LANES, pixel_x() + np.float32(tile_x * TILE + index * BLOCK))
        store16(floats, rows + index * LANES, pixel_y() + np.float32(tile_y * TILE + index * BLOCK))


@part
def add_entry(
    blocks: Bits, records: Array, record: int, channels: Array, first: int, count: int, floats: Array
) -> None:
    """Add `count` channels of one Gaussian to the blocks to which it contributes."""
    mean_x, mean_y = splat(read(records, record + layout.MEAN_X)), splat(read(records, record + layout.MEAN_Y))
    xx, xy = splat(read(records, record + layout.CONIC_XX)), splat(read(records, record + layout.CONIC_XY))
    yy, opacity = splat(read(records, record + layout.CONIC_YY)), splat(read(records, record + layout.LOG_OPACITY))
    while blocks != 0:
        block = lowest_bit(blocks)
        blocks &= blocks - 1
        state = block * STATE
        dx = load16(floats, COLUMNS + (block % BLOCKS_PER_ROW) * LANES) - mean_x
        dy = load16(floats, ROWS + (block // BLOCKS_PER_ROW) * LANES) - mean_y
        alpha = minimum(exp2_below_126(opacity - (dx * xx + dy * xy) * dx - dy * yy * dy), layout.ALPHA_MAX)
        alpha = select(alpha >= layout.ALPHA_MIN, alpha, ZERO)
        transmittance = load16(floats, state)
        weight = alpha * transmittance
        transmittance = transmittance - weight
        store16(floats, state, transmittance)
        weight = select(transmittance > layout.TRANSMITTANCE_MIN, weight, ZERO)
        for index in range(count):
            place = state + SUMS + index * LANES
            store16(floats, place, load16(floats, place) + weight * read(channels, first + index))


@part
def write_channels(
    left: int, top: int, width: int, height: int, state: int, num_channels: int, first: int, count: int,
    background: Array, transmittances: Array, picture: Array, floats: Array
) -> None:  # fmt: skip
    """Write the pixels of one block, with the background behind them."""
    for row in range(min(BLOCK, height - top)):
        for column in range(min(BLOCK, width - left)):
            pixel = (top + row) * width + left + column
            lane, behind = row * BLOCK + column, read(transmittances, pixel)
            for index in range(count):
                value = read(floats, state + SUMS + index * LANES + lane) + behind * read(background, first + index)
                write(picture, pixel * num_channels + first + index, value)


@part
def channel_tile(
    tile: int, width: int, height: int, records: Array, ids: Array, lists: TileLists, channels: Array,
    num_channels: int, background: Array, transmittances: Array, picture: Array, floats: Array
) -> None:  # fmt: skip
    """Blend the channels of one tile."""
    num_columns = (width + TILE - 1) // TILE
    tile_x, tile_y = tile % num_columns, tile // num_columns
    start = read(lists.offsets, tile)
    used_end = start + read(lists.used, tile)
    store_positions(tile_x, tile_y, COLUMNS, ROWS, floats)
    for first in range(0, num_channels, GROUP):
        count = min(GROUP, num_channels - first)
        for block in range(BLOCKS):
            store16(floats, block * STATE, splat(ONE))
            for index in range(count):
                store16(floats, block * STATE + SUMS + index * LANES, splat(ZERO))
        for entry in range(start, used_end):
            blocks = read(lists.blocks, entry)
            if blocks != 0:
                slot = int(read(lists.slots, entry))
                row = int(read(ids, slot)) * num_channels
                add_entry(blocks, records, slot * LANES, channels, row + first, count, floats)
        for block in range(BLOCKS):
            left, top = tile_x * TILE + block % BLOCKS_PER_ROW * BLOCK, tile_y * TILE + block // BLOCKS_PER_ROW * BLOCK
            if left < width and top < height:
                write_channels(
                    left, top, width, height, block * STATE, num_channels, first, count, background, transmittances,
                    picture, floats
                )  # fmt: skip


@kernel
def blend_channels(
    number: int, counter: Array, width: int, height: int, records: Array, ids: Array, lists: TileLists,
    channels: Array, num_channels: int, background: Array, transmittances: Array, picture: Array, floats: Array
) -> None:  # fmt: skip
    """Blend `channels` [N * D] into `picture` [H * W * D]. Scratch per worker: CHANNEL_SCRATCH floats."""
    tile = claim(counter)
    while tile < lists.used.shape[0]:
        channel_tile(
            tile, width, height, records, ids, lists, channels, num_channels, background, transmittances, picture,
            floats[number]
        )  # fmt: skip
        tile = claim(counter)
