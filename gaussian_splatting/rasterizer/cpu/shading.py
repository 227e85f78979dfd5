"""Colours from spherical harmonics and back, one Gaussian at a time.

Fifteen coefficients by three channels are consecutive in memory: three vectors of fifteen lanes (five coefficients
each) and a lane to spare, which is kept at zero weight.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.harmonics import REST
from gaussian_splatting.rasterizer.cpu.jit import helper
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, constant_vector, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import merge, permutation

STAGED_ROW = 48
"""Floats of scratch for one Gaussian that has fewer than fifteen coefficients."""

# Basis values, one lane each, to one lane per coefficient and channel.
expand_first, expand_second, expand_third = (
    permutation([*(5 * part + place // 3 for place in range(15)), 15]) for part in range(3)
)
skip_one = permutation([*range(1, 16), 1])
add_one_before = merge([14, *range(16, 31)])
# Sum of fifteen lanes per channel, in lanes 0 to 2.
fold_6 = permutation([*range(6, 12), *[15] * 10])
fold_12 = permutation([*range(12, 15), *[15] * 13])
fold_3 = permutation([*range(3, 6), *[15] * 13])
# One channel of all coefficients.
pick_red, pick_green, pick_blue = (
    merge([*range(channel, 15, 3), *range(16 + channel, 31, 3), *[15] * 6]) for channel in range(3)
)
append_red, append_green, append_blue = (merge([*range(10), *range(16 + channel, 31, 3), 15]) for channel in range(3))
repeat_colors = permutation([*range(layout.RED, layout.BLUE + 1)] * 5 + [layout.RED])
repeat_color_sums = permutation([*range(layout.SUM_RED, layout.SUM_BLUE + 1)] * 5 + [layout.SUM_RED])
first_fifteen = constant_vector([1.0] * 15 + [0.0])


@helper
def load_rest(
    rest: Array, start: int, num_active: int, num_stored: int, staged: Array, at: int
) -> tuple[Vector, Vector, Vector]:
    """The coefficients of one Gaussian beyond the constant one, fifteen lanes in each vector, zero where inactive."""
    if num_stored >= REST and num_active == REST:
        return load16(rest, start), load16(rest, start + 15), skip_one(load16(rest, start + 29))
    for index in range(3 * num_active):
        write(staged, at + index, read(rest, start + index))
    for index in range(3 * num_active, STAGED_ROW):
        write(staged, at + index, 0.0)
    return load16(staged, at), load16(staged, at + 15), load16(staged, at + 30)


@helper
def shade(basis: Vector, first: Vector, second: Vector, third: Vector) -> Vector:
    """Sum over coefficients of value times basis: red, green and blue in lanes 0 to 2."""
    products = first * expand_first(basis) + second * expand_second(basis) + third * expand_third(basis)
    products = select(first_fifteen() > 0.0, products, 0.0)
    halves = products + fold_6(products)
    return halves + fold_3(halves) + fold_12(products)


@helper
def color_gradient(sums: Vector, record: Vector, clamped: bool) -> Vector:
    """d loss / d colour, repeated over fifteen lanes; zero for a channel that was clamped at black."""
    gradient = repeat_color_sums(sums) * first_fifteen()
    if clamped:
        gradient = select(repeat_colors(record) > 0.0, gradient, 0.0)
    return gradient


@helper
def store_rest(
    rest: Array, start: int, basis: Vector, gradient: Vector, num_active: int, num_stored: int, staged: Array, at: int
) -> None:
    """Write d loss / d coefficient of one Gaussian, zero for the inactive ones."""
    first, second = expand_first(basis) * gradient, expand_second(basis) * gradient
    third = expand_third(basis) * gradient
    if num_stored == REST and num_active == REST:
        store16(rest, start, first)
        store16(rest, start + 15, second)
        store16(rest, start + 29, add_one_before(second, third))
        return
    store16(staged, at, first)
    store16(staged, at + 15, second)
    store16(staged, at + 30, third)
    for index in range(3 * num_active):
        write(rest, start + index, read(staged, at + index))
    for index in range(3 * num_active, 3 * num_stored):
        write(rest, start + index, 0.0)


@helper
def clear_rest(rest: Array, start: int, num_stored: int) -> None:
    """Write zero gradients for one Gaussian."""
    if num_stored == REST:
        store16(rest, start, splat(0.0))
        store16(rest, start + 16, splat(0.0))
        store16(rest, start + 29, splat(0.0))
        return
    for index in range(3 * num_stored):
        write(rest, start + index, 0.0)


@helper
def basis_gradient(first: Vector, second: Vector, third: Vector, gradient: Vector) -> Vector:
    """d loss / d basis value, one lane per function: the sum over channels of coefficient times gradient."""
    a, b, c = first * gradient, second * gradient, third * gradient
    red = append_red(pick_red(a, b), c)
    green = append_green(pick_green(a, b), c)
    blue = append_blue(pick_blue(a, b), c)
    return red + green + blue
