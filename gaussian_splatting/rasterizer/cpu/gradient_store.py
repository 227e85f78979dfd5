"""Writes the gradients of sixteen Gaussians, zero where a Gaussian is not visible, and never past the last one."""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.arguments import Gaussians, PixelGradients, Shape
from gaussian_splatting.rasterizer.cpu.jit import helper
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.project import STAGED_MEANS
from gaussian_splatting.rasterizer.cpu.shading import clear_rest
from gaussian_splatting.rasterizer.cpu.simd import Array, Mask, Vector, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import store_records_of_2, store_records_of_3, store_records_of_4


@helper
def copy_staged(array: Array, start: int, count: int, scratch: Array) -> None:
    """Copy the first values of the staging area."""
    for index in range(count):
        write(array, start + index, read(scratch, STAGED_MEANS + index))


@helper
def store_scalars(array: Array, shape: Shape, first: int, values: Vector, scratch: Array) -> None:
    """One value for each of sixteen Gaussians."""
    if first + LANES <= shape.num_gaussians:
        store16(array, first, values)
    else:
        store16(scratch, STAGED_MEANS, values)
        copy_staged(array, first, shape.num_gaussians - first, scratch)


@helper
def store_pairs(
    array: Array, shape: Shape, first: int, visible: Mask, left: Vector, right: Vector, scratch: Array
) -> None:
    """Two values for each of sixteen Gaussians, unless the array has size 0."""
    if array.shape[0] == 0:
        return
    values = select(visible, left, 0.0), select(visible, right, 0.0)
    if first + LANES <= shape.num_gaussians:
        store_records_of_2(array, 2 * first, values)
    else:
        store_records_of_2(scratch, STAGED_MEANS, values)
        copy_staged(array, 2 * first, 2 * (shape.num_gaussians - first), scratch)


@helper
def store_triples(
    array: Array, shape: Shape, first: int, visible: Mask, values: tuple[Vector, Vector, Vector], scratch: Array
) -> None:
    """Three values for each of sixteen Gaussians."""
    values = select(visible, values[0], 0.0), select(visible, values[1], 0.0), select(visible, values[2], 0.0)
    if first + LANES <= shape.num_gaussians:
        store_records_of_3(array, 3 * first, values)
    else:
        store_records_of_3(scratch, STAGED_MEANS, values)
        copy_staged(array, 3 * first, 3 * (shape.num_gaussians - first), scratch)


@helper
def store_quaternions(
    array: Array,
    shape: Shape,
    first: int,
    visible: Mask,
    values: tuple[Vector, Vector, Vector, Vector],
    scratch: Array,
) -> None:
    """Four values for each of sixteen Gaussians."""
    values = (
        select(visible, values[0], 0.0),
        select(visible, values[1], 0.0),
        select(visible, values[2], 0.0),
        select(visible, values[3], 0.0),
    )
    if first + LANES <= shape.num_gaussians:
        store_records_of_4(array, 4 * first, values)
    else:
        store_records_of_4(scratch, STAGED_MEANS, values)
        copy_staged(array, 4 * first, 4 * (shape.num_gaussians - first), scratch)


@helper
def store_batch(
    grads: Gaussians, shape: Shape, first: int, visible: Mask, means: tuple[Vector, Vector, Vector],
    quats: tuple[Vector, Vector, Vector, Vector], scales: tuple[Vector, Vector, Vector], opacity: Vector, scratch: Array
) -> None:  # fmt: skip
    """All gradients but those of the colours."""
    store_triples(grads.means, shape, first, visible, means, scratch)
    store_quaternions(grads.quats, shape, first, visible, quats, scratch)
    store_triples(grads.scales, shape, first, visible, scales, scratch)
    store_scalars(grads.opacities, shape, first, select(visible, opacity, 0.0), scratch)


@helper
def clear_batch(grads: Gaussians, shape: Shape, first: int, pixels: PixelGradients, scratch: Array) -> None:
    """Zero gradients for sixteen Gaussians that are not visible."""
    zero = splat(0.0)
    nobody = zero < zero
    store_batch(
        grads, shape, first, nobody, (zero, zero, zero), (zero, zero, zero, zero), (zero, zero, zero), zero, scratch
    )
    store_pairs(pixels.means2d, shape, first, nobody, zero, zero, scratch)
    store_pairs(pixels.absolute, shape, first, nobody, zero, zero, scratch)
    for index in range(first, min(first + LANES, shape.num_gaussians)):
        write(grads.dc, index * shape.dc_stride, 0.0)
        write(grads.dc, index * shape.dc_stride + 1, 0.0)
        write(grads.dc, index * shape.dc_stride + 2, 0.0)
        clear_rest(grads.rest, index * shape.rest_stride, shape.num_rest)
