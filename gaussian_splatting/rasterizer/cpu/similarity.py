"""L1 and SSIM of two interleaved images [H, W, 3] and their gradient, fused: row by row, through row buffers.

SSIM after Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004: a Gaussian
window of 11 pixels and sigma 1.5, zeros outside the image, the mean over all pixels and channels. The forward pass
leaves the derivatives with respect to the three filtered maps that depend on the rendering; the backward pass filters
them once more.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, absolute, constant_vector, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import sum_lanes

WINDOW, RADIUS, SIGMA, CHANNELS = 11, 5, 1.5, 3
_bell = np.exp(-((np.arange(WINDOW) - RADIUS) ** 2) / (2 * SIGMA**2))
WEIGHTS = (_bell / _bell.sum()).astype(np.float32)
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)
ROWS = 16
"""Rows of one unit of work."""
MARGIN = LANES
"""Zeros on either side of a row buffer; the window reaches 15 floats to each side."""

lane_number = constant_vector(range(LANES))


@helper
def filter_rows(image: Array, row: int, column: int, height: int, stride: int) -> Vector:
    """The window's column of one map, above and below a row; rows outside the image are zero."""
    total = splat(0.0)
    for tap in range(max(0, RADIUS - row), min(WINDOW, height + RADIUS - row)):
        total = total + load16(image, (row + tap - RADIUS) * stride + column) * read(WEIGHTS, tap)
    return total


@helper
def filter_columns(buffer: Array, start: int) -> Vector:
    """The window's row of one buffered map."""
    total = splat(0.0)
    for tap in range(WINDOW):
        total = total + load16(buffer, start + (tap - RADIUS) * CHANNELS) * read(WEIGHTS, tap)
    return total


@part
def buffer_moments(image: Array, target: Array, row: int, height: int, stride: int, buffer: Array, length: int) -> None:
    """Filter means, summed squares and product over rows, into four row buffers."""
    for start in range(0, stride, LANES):
        column = min(start, stride - LANES)
        mean_x, mean_y, squares, product = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for tap in range(max(0, RADIUS - row), min(WINDOW, height + RADIUS - row)):
            place, weight = (row + tap - RADIUS) * stride + column, read(WEIGHTS, tap)
            x, y = load16(image, place), load16(target, place)
            weighted_x, weighted_y = x * weight, y * weight
            mean_x += weighted_x
            mean_y += weighted_y
            squares += weighted_x * x + weighted_y * y
            product += weighted_x * y
        store16(buffer, MARGIN + column, mean_x)
        store16(buffer, length + MARGIN + column, mean_y)
        store16(buffer, 2 * length + MARGIN + column, squares)
        store16(buffer, 3 * length + MARGIN + column, product)


@part
def compare_rows(
    first: int, last: int, height: int, stride: int, valid: int, image: Array, target: Array, by_mean: Array,
    by_square: Array, by_product: Array, sums: Array, buffer: Array
) -> None:  # fmt: skip
    """Sums of SSIM and of absolute differences per row, and the derivatives of SSIM by filtered map (unless size 0).

    A row has `stride` floats, of which `valid` count; the image beyond them must be zero.
    """
    length = stride + 2 * MARGIN
    buffer[:] = np.float32(0.0)
    for row in range(first, last):
        buffer_moments(image, target, row, height, stride, buffer, length)
        total, difference = splat(0.0), splat(0.0)
        for start in range(0, stride, LANES):
            column = min(start, stride - LANES)
            place = MARGIN + column
            mean_x, mean_y = filter_columns(buffer, place), filter_columns(buffer, length + place)
            squares, product = filter_columns(buffer, 2 * length + place), filter_columns(buffer, 3 * length + place)
            mean_xy, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
            variances, covariance = squares - mean_squares, product - mean_xy
            luminance, structure = 2.0 * mean_xy + C1, 2.0 * covariance + C2
            inverse = 1.0 / ((mean_squares + C1) * (variances + C2))
            similarity = luminance * structure * inverse
            position = lane_number() + np.float32(column)
            counted = position < np.float32(valid)
            fresh = counted & (position >= np.float32(start))
            pixel = row * stride + column
            difference += select(fresh, absolute(load16(image, pixel) - load16(target, pixel)), 0.0)
            total += select(fresh, similarity, 0.0)
            if by_mean.shape[0] > 0:
                square = -similarity * (mean_squares + C1) * inverse
                both = 2.0 * luminance * inverse
                mean = 2.0 * mean_y * structure * inverse - 2.0 * mean_x * similarity * (variances + C2) * inverse
                mean = mean - 2.0 * mean_x * square - mean_y * both
                store16(by_mean, pixel, select(counted, mean, 0.0))
                store16(by_square, pixel, select(counted, square, 0.0))
                store16(by_product, pixel, select(counted, both, 0.0))
        write(sums, 2 * row, np.float64(sum_lanes(total)))
        write(sums, 2 * row + 1, np.float64(sum_lanes(difference)))


@part
def backward_rows(
    first: int, last: int, height: int, stride: int, image: Array, target: Array, by_mean: Array, by_square: Array,
    by_product: Array, ssim_scale: float, l1_scale: float, gradient: Array, buffer: Array
) -> None:  # fmt: skip
    """Write ssim_scale * d(sum of SSIM) + l1_scale * d(sum of absolute differences), by pixel of the image."""
    length = stride + 2 * MARGIN
    buffer[:] = np.float32(0.0)
    for row in range(first, last):
        for start in range(0, stride, LANES):
            column = min(start, stride - LANES)
            store16(buffer, MARGIN + column, filter_rows(by_mean, row, column, height, stride))
            store16(buffer, length + MARGIN + column, filter_rows(by_square, row, column, height, stride))
            store16(buffer, 2 * length + MARGIN + column, filter_rows(by_product, row, column, height, stride))
        for start in range(0, stride, LANES):
            column = min(start, stride - LANES)
            place, pixel = MARGIN + column, row * stride + column
            mean, square = filter_columns(buffer, place), filter_columns(buffer, length + place)
            product = filter_columns(buffer, 2 * length + place)
            x, y = load16(image, pixel), load16(target, pixel)
            sign = select(x > y, 1.0, 0.0) - select(x < y, 1.0, 0.0)
            through_ssim = mean + 2.0 * x * square + y * product
            store16(gradient, pixel, through_ssim * np.float32(ssim_scale) + sign * np.float32(l1_scale))


@kernel
def compare(
    number: int, counter: Array, height: int, stride: int, valid: int, image: Array, target: Array,
    by_mean: Array, by_square: Array, by_product: Array, sums: Array, buffers: Array
) -> None:  # fmt: skip
    """Compare two images. Each worker has a row of 4 * (stride + 2 * MARGIN) floats."""
    first = claim(counter) * ROWS
    while first < height:
        last = min(height, first + ROWS)
        compare_rows(
            first, last, height, stride, valid, image, target, by_mean, by_square, by_product, sums, buffers[number]
        )
        first = claim(counter) * ROWS


@kernel
def compare_backward(
    number: int, counter: Array, height: int, stride: int, image: Array, target: Array, by_mean: Array,
    by_square: Array, by_product: Array, ssim_scale: float, l1_scale: float, gradient: Array, buffers: Array
) -> None:  # fmt: skip
    """Gradient of the comparison by the image. Each worker has a row of 4 * (stride + 2 * MARGIN) floats."""
    first = claim(counter) * ROWS
    while first < height:
        last = min(height, first + ROWS)
        backward_rows(
            first, last, height, stride, image, target, by_mean, by_square, by_product, ssim_scale, l1_scale,
            gradient, buffers[number]
        )  # fmt: skip
        first = claim(counter) * ROWS
