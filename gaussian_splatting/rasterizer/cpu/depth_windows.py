"""The windowed depth error of `losses.depth_windows` and its gradient, a window at a time, sixteen pixels at once.

Windows overlap, and workers add to one gradient: a unit of work is a band of windows, and the bands with even numbers
are finished before those with odd ones begin. Two even bands share no row, so that no sum depends on the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, constant_vector, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import sum_lanes
from gaussian_splatting.rasterizer.cpu.threads import run

ROWS = 8
"""Rows of windows in a band, or more where windows are large."""
TINY = np.float32(1e-30)  # less than any variance of numbers that differ

lane_number = constant_vector(range(LANES))


@helper
def weights_of(weights: Array, wanted: int, start: int, left: int) -> Vector:
    """Weights of the pixels from `start` on, zero but for the `left` pixels from `wanted` on."""
    shift = wanted - start
    inside = (lane_number() >= np.float32(shift)) & (lane_number() < np.float32(shift + left))
    return select(inside, load16(weights, start), 0.0)


@helper
def sign_of(values: Vector) -> Vector:
    """1, 0 or -1."""
    return select(values > 0.0, 1.0, 0.0) - select(values < 0.0, 1.0, 0.0)


@part
def window(
    place: int, size: int, width: int, last: int, depth: Array, target: Array, weights: Array, slope: np.float32,
    gradient: Array
) -> np.float32:  # fmt: skip
    """Add a window's derivative to the gradient; its error. `place` is its first pixel, `last` the last to load from.

    Both maps are relative to the centre: moments about zero would cancel where depths hardly differ.
    """
    centre = place + (size // 2) * (width + 1)
    middle_depth, middle = read(depth, centre), read(target, centre)
    count, first, second, depths, products = splat(0.0), splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for row in range(size):
        for column in range(0, size, LANES):
            wanted = place + row * width + column
            start = min(wanted, last)
            weight = weights_of(weights, wanted, start, size - column)
            difference, other = load16(target, start) - middle, load16(depth, start) - middle_depth
            weighted = difference * weight
            count += weight
            first += weighted
            second += difference * weighted
            products += other * weighted
            depths += other * weight
    total = max(np.float32(1.0), sum_lanes(count))
    sum_first, sum_depths = sum_lanes(first), sum_lanes(depths)
    variance = max(np.float32(0.0), sum_lanes(second) - sum_first * sum_first / total)
    own = (sum_lanes(products) - sum_first * sum_depths / total) / max(variance, TINY)
    fitted = max(np.float32(0.0), np.float32(0.5) * (own + slope))
    offset = (sum_depths - fitted * sum_first) / total

    error, balance = splat(0.0), splat(0.0)
    for row in range(size):
        for column in range(0, size, LANES):
            wanted = place + row * width + column
            start = min(wanted, last)
            weight = weights_of(weights, wanted, start, size - column)
            away = load16(depth, start) - middle_depth - (load16(target, start) - middle) * fitted - offset
            pull = sign_of(away) * weight
            error += away * pull
            balance += pull
    surplus = sum_lanes(balance) / total

    for row in range(size):
        for column in range(0, size, LANES):
            wanted = place + row * width + column
            start = min(wanted, last)
            weight = weights_of(weights, wanted, start, size - column)
            away = load16(depth, start) - middle_depth - (load16(target, start) - middle) * fitted - offset
            store16(gradient, start, load16(gradient, start) + (sign_of(away) - surplus) * weight)
    return sum_lanes(error)


@kernel
def bands(
    number: int, counter: Array, parity: int, rows_of_band: int, rows: int, columns: int, size: int, stride: int,
    width: int, depth: Array, target: Array, weights: Array, slope: np.float32, gradient: Array, sums: Array
) -> None:  # fmt: skip
    """Add the derivatives of every other band of windows to the gradient, and their errors to the sums by band."""
    last = depth.shape[0] - LANES
    band = 2 * claim(counter) + parity
    while band * rows_of_band < rows:
        total = 0.0
        for row in range(band * rows_of_band, min(rows, (band + 1) * rows_of_band)):
            for column in range(columns):
                place = row * stride * width + column * stride
                if read(weights, place + (size // 2) * (width + 1)) > np.float32(0.0):
                    total += window(place, size, width, last, depth, target, weights, slope, gradient)
        write(sums, band, total)
        band = 2 * claim(counter) + parity


def windowed_error(
    depth: NDArray[Any], target: NDArray[Any], weights: NDArray[Any], slope: float, radius: int, stride: int
) -> tuple[float, NDArray[np.float32]]:
    """The sum of the errors of all windows, and its derivative [H, W] by the depth; maps [H, W], contiguous float32.

    A row must have at least 16 pixels, and the map a window.
    """
    size = 2 * radius + 1
    (height, width), rows_of_band = depth.shape, max(ROWS, size // stride + 1)
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    num_bands = -(-rows // rows_of_band)
    gradient, sums = np.zeros((height, width), np.float32), np.zeros(num_bands)
    maps = depth.reshape(-1), target.reshape(-1), weights.reshape(-1)
    sizes = rows_of_band, rows, columns, size, stride, width
    for parity in range(min(2, num_bands)):
        count = (num_bands - parity + 1) // 2
        run(bands, count, parity, *sizes, *maps, np.float32(slope), gradient.reshape(-1), sums)
    return float(sums.sum()), gradient
