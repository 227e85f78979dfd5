"""Projection: from Gaussians to the 64-byte records of those that a view shows, sixteen Gaussians at a time."""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import PLAIN_COLORS, Gaussians, Projection, Shape, Spans
from gaussian_splatting.rasterizer.cpu.binning import row_range
from gaussian_splatting.rasterizer.cpu.geometry import (
    camera_axes,
    camera_row,
    covariance,
    perspective_jacobian,
    rotation_matrix,
    screen_axes,
    unit_quaternion,
)
from gaussian_splatting.rasterizer.cpu.harmonics import DEGREE_0, store_basis
from gaussian_splatting.rasterizer.cpu.jit import helper, kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES, PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.shading import load_rest, shade
from gaussian_splatting.rasterizer.cpu.simd import (
    Array,
    Mask,
    Vector,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    round_up,
    splat,
    square_root,
)
from gaussian_splatting.rasterizer.cpu.simd_math import exp, log2, sigmoid
from gaussian_splatting.rasterizer.cpu.simd_memory import bits_of, claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import lane, load_records_of_3, load_records_of_4, transpose16

# Scratch of one worker: a copy of the last, incomplete batch, one row of coefficients, and tables of sixteen rows.
STAGED_MEANS, STAGED_QUATS, STAGED_SCALES, STAGED_OPACITIES, STAGED_REST = 0, 48, 112, 160, 192
BASIS, ROWS, RADII = 256, 512, 768
PROJECT_SCRATCH = 1024

CONSTANT_BASIS, HALF, ZERO = np.float32(DEGREE_0), np.float32(0.5), np.float32(0.0)
MAX_RADIUS = np.float32(2**30)
MAX_EXTENT = 3.33
"""gsplat's limit of the radius, in standard deviations."""


@helper
def stage_tail(gaussians: Gaussians, first: int, count: int, scratch: Array) -> None:
    """Copy the last Gaussians to scratch and fill up with zeros, so that they can be loaded as a whole batch."""
    for index in range(STAGED_REST):
        write(scratch, index, 0.0)
    for index in range(3 * count):
        write(scratch, STAGED_MEANS + index, read(gaussians.means, 3 * first + index))
        write(scratch, STAGED_SCALES + index, read(gaussians.scales, 3 * first + index))
    for index in range(4 * count):
        write(scratch, STAGED_QUATS + index, read(gaussians.quats, 4 * first + index))
    for index in range(count):
        write(scratch, STAGED_OPACITIES + index, read(gaussians.opacities, first + index))


@helper
def load_batch(gaussians: Gaussians, shape: Shape, first: int, scratch: Array) -> tuple[Vector, ...]:
    """Position, quaternion, scales and opacity of sixteen Gaussians as they are stored, one vector each."""
    count = shape.num_gaussians - first
    if count >= LANES:
        x, y, z = load_records_of_3(gaussians.means, 3 * first)
        qw, qx, qy, qz = load_records_of_4(gaussians.quats, 4 * first)
        s0, s1, s2 = load_records_of_3(gaussians.scales, 3 * first)
        return x, y, z, qw, qx, qy, qz, s0, s1, s2, load16(gaussians.opacities, first)
    stage_tail(gaussians, first, count, scratch)
    x, y, z = load_records_of_3(scratch, STAGED_MEANS)
    qw, qx, qy, qz = load_records_of_4(scratch, STAGED_QUATS)
    s0, s1, s2 = load_records_of_3(scratch, STAGED_SCALES)
    return x, y, z, qw, qx, qy, qz, s0, s1, s2, load16(scratch, STAGED_OPACITIES)


@helper
def activate(
    shape: Shape, camera: Array, s0: Vector, s1: Vector, s2: Vector, opacity: Vector
) -> tuple[Vector, Vector, Vector, Vector]:
    """Scales and opacity in linear units."""
    if shape.raw:
        s0, s1, s2, opacity = exp(s0), exp(s1), exp(s2), sigmoid(opacity)
    modifier = read(camera, layout.SCALE_MODIFIER)
    return s0 * modifier, s1 * modifier, s2 * modifier, opacity


@helper
def view_direction(camera: Array, x: Vector, y: Vector, z: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Unit vector from the camera to each point, and one over the distance."""
    x = x - read(camera, layout.POSITION)
    y = y - read(camera, layout.POSITION + 1)
    z = z - read(camera, layout.POSITION + 2)
    inverse_distance = 1.0 / square_root(x * x + y * y + z * z)
    return x * inverse_distance, y * inverse_distance, z * inverse_distance, inverse_distance


@helper
def is_finite(total: Vector) -> Mask:
    """Whether a sum of values times zero is zero, that is, none of them was infinite or NaN."""
    return total == 0.0


@part
def project_batch(gaussians: Gaussians, shape: Shape, camera: Array, first: int, scratch: Array) -> int:
    """Write sixteen records without colours, and the radii, to scratch; give the bits of the visible ones."""
    x, y, z, qw, qx, qy, qz, raw_0, raw_1, raw_2, raw_opacity = load_batch(gaussians, shape, first, scratch)
    s0, s1, s2, opacity = activate(shape, camera, raw_0, raw_1, raw_2, raw_opacity)
    camera_z = camera_row(camera, 2, x, y, z)
    visible = (camera_z >= read(camera, layout.NEAR)) & (camera_z <= read(camera, layout.FAR)) & (camera_z > 0.0)
    visible = visible & (opacity >= layout.ALPHA_MIN)
    if mask_bits(visible) == 0:
        return 0
    camera_x, camera_y, inverse_z = camera_row(camera, 0, x, y, z), camera_row(camera, 1, x, y, z), 1.0 / camera_z
    axes = camera_axes(camera, rotation_matrix(unit_quaternion(qw, qx, qy, qz)), s0, s1, s2)
    sharp_xx, xy, sharp_yy, sharp = covariance(
        screen_axes(perspective_jacobian(camera, camera_x, camera_y, inverse_z), axes)
    )
    blur = read(camera, layout.BLUR)
    xx, yy = sharp_xx + blur, sharp_yy + blur
    determinant = sharp + blur * (sharp_xx + sharp_yy) + blur * blur
    log_opacity = log2(opacity)
    if shape.antialiased:
        compensation = square_root(sharp / determinant)
        opacity = opacity * compensation
        log_opacity = log2(opacity)
        visible = visible & (opacity >= layout.ALPHA_MIN)
    mean_x = read(camera, layout.FOCAL_X) * camera_x * inverse_z + read(camera, layout.CENTER_X)
    mean_y = read(camera, layout.FOCAL_Y) * camera_y * inverse_z + read(camera, layout.CENTER_Y)

    root_x, root_y = square_root(xx), square_root(yy)
    exponent = maximum(log_opacity + layout.LOG2_255, 0.0)  # alpha falls to 1/255 after this many halvings
    reach = minimum(square_root(exponent * (2.0 * layout.LN_2)), MAX_EXTENT)  # in standard deviations
    radius_x, radius_y = round_up(reach * root_x), round_up(reach * root_y)
    clip = read(camera, layout.RADIUS_CLIP)
    visible = visible & (maximum(radius_x, radius_y) > clip) & (determinant > 0.0)
    visible = visible & (mean_x + radius_x > 0.0) & (mean_x - radius_x < read(camera, layout.IMAGE_WIDTH))
    visible = visible & (mean_y + radius_y > 0.0) & (mean_y - radius_y < read(camera, layout.IMAGE_HEIGHT))

    scale = layout.LOG2_E / determinant
    conic_xx, conic_xy, conic_yy = 0.5 * yy * scale, -xy * scale, 0.5 * xx * scale
    reach = square_root(exponent * (2.0001 * layout.LN_2) + 1e-4)  # a little enlarged for rounding
    extent_y, half_width = reach * root_y, reach * square_root(determinant) / root_y
    peak_y, slope_x, inverse_extent_y = reach * xy / root_x, xy / yy, 1.0 / extent_y
    inputs = x + y + z + qw + qx + qy + qz + raw_0 + raw_1 + raw_2 + raw_opacity
    outputs = mean_x + mean_y + conic_xx + conic_xy + conic_yy + log_opacity + inverse_z
    outputs = outputs + slope_x + peak_y + extent_y + half_width + inverse_extent_y
    visible = visible & is_finite(0.0 * inputs) & is_finite(0.0 * outputs)

    store_row(scratch, layout.MEAN_X, mean_x)
    store_row(scratch, layout.MEAN_Y, mean_y)
    store_row(scratch, layout.CONIC_XX, conic_xx)
    store_row(scratch, layout.CONIC_XY, conic_xy)
    store_row(scratch, layout.CONIC_YY, conic_yy)
    store_row(scratch, layout.LOG_OPACITY, log_opacity)
    store_row(scratch, layout.DEPTH, camera_z)
    store_row(scratch, layout.PEAK_Y, peak_y)
    store_row(scratch, layout.SLOPE_X, slope_x)
    store_row(scratch, layout.HALF_WIDTH, half_width)
    store_row(scratch, layout.INVERSE_EXTENT_Y, inverse_extent_y)
    store_row(scratch, layout.EXTENT_Y, extent_y)
    store_row(scratch, layout.INVERSE_DEPTH, inverse_z)
    store16(scratch, RADII, radius_x)
    store16(scratch, RADII + LANES, radius_y)
    bits = mask_bits(visible)
    if bits != 0:
        transpose16(scratch, ROWS)
        if shape.degree >= 1:
            direction_x, direction_y, direction_z, _ = view_direction(camera, x, y, z)
            store_basis(shape.degree, direction_x, direction_y, direction_z, scratch, BASIS)
            transpose16(scratch, BASIS)
    return bits


@helper
def store_row(scratch: Array, field: int, values: Vector) -> None:
    """Put one field of sixteen records into the table that is transposed later."""
    store16(scratch, ROWS + field * LANES, values)


@helper
def color_of(gaussians: Gaussians, shape: Shape, index: int, place: int, scratch: Array) -> tuple[float, float, float]:
    """Red, green and blue of one Gaussian, `place`-th of its batch."""
    start = index * shape.dc_stride
    red, green, blue = read(gaussians.dc, start), read(gaussians.dc, start + 1), read(gaussians.dc, start + 2)
    if shape.degree == PLAIN_COLORS:
        return red, green, blue
    more = splat(0.0)
    if shape.degree >= 1:
        num_active = (shape.degree + 1) * (shape.degree + 1) - 1
        start = index * shape.rest_stride
        first, second, third = load_rest(gaussians.rest, start, num_active, shape.num_rest, scratch, STAGED_REST)
        more = shade(load16(scratch, BASIS + place * LANES), first, second, third)
    return (
        max(CONSTANT_BASIS * red + lane(more, 0) + HALF, ZERO),
        max(CONSTANT_BASIS * green + lane(more, 1) + HALF, ZERO),
        max(CONSTANT_BASIS * blue + lane(more, 2) + HALF, ZERO),
    )


@part
def emit(
    gaussians: Gaussians, shape: Shape, index: int, place: int, slot: int, projection: Projection, scratch: Array
) -> bool:
    """Write the record of one visible Gaussian; false, and nothing is used, when its colour is not finite."""
    red, green, blue = color_of(gaussians, shape, index, place, scratch)
    if (red + green + blue) * ZERO != ZERO:  # true for NaN
        return False
    row, record = ROWS + place * LANES, slot * LANES
    store16(projection.records, record, load16(scratch, row))
    write(projection.records, record + layout.RED, red)
    write(projection.records, record + layout.GREEN, green)
    write(projection.records, record + layout.BLUE, blue)
    write(projection.depth_bits, slot, bits_of(read(scratch, row + layout.DEPTH)))
    write(projection.ids, slot, index)
    write(projection.means2d, 2 * index, read(scratch, row + layout.MEAN_X))
    write(projection.means2d, 2 * index + 1, read(scratch, row + layout.MEAN_Y))
    radius_x, radius_y = read(scratch, RADII + place), read(scratch, RADII + LANES + place)
    if projection.radii_stride == 2:
        write(projection.radii, 2 * index, min(radius_x, MAX_RADIUS))
        write(projection.radii, 2 * index + 1, min(radius_y, MAX_RADIUS))
    else:
        write(projection.radii, index, min(max(radius_x, radius_y), MAX_RADIUS))
    return True


@part
def project_chunk(
    gaussians: Gaussians,
    shape: Shape,
    camera: Array,
    chunk: int,
    projection: Projection,
    spans: Spans,
    num_tile_rows: int,
    scratch: Array,
) -> None:
    """Project one chunk of Gaussians into its slots, and find the rows of tiles that they touch."""
    low = chunk * PROJECT_CHUNK
    high = min(shape.num_gaussians, low + PROJECT_CHUNK)
    projection.means2d[2 * low : 2 * high] = ZERO
    projection.radii[projection.radii_stride * low : projection.radii_stride * high] = 0
    slot, num_rows = low, 0
    for first in range(low, high, LANES):
        bits = project_batch(gaussians, shape, camera, first, scratch)
        while bits != 0:
            place = lowest_bit(bits)
            bits &= bits - 1
            if emit(gaussians, shape, first + place, place, slot, projection, scratch):
                row = ROWS + place * LANES
                rows = row_range(
                    read(scratch, row + layout.MEAN_Y), read(scratch, row + layout.EXTENT_Y), num_tile_rows
                )
                write(spans.rows, slot, rows)
                num_rows += rows & 0xFFFF
                slot += 1
    write(projection.counts, chunk, slot - low)
    write(spans.num_rows, chunk, num_rows)


@kernel
def project(
    number: int,
    counter: Array,
    gaussians: Gaussians,
    shape: Shape,
    camera: Array,
    projection: Projection,
    spans: Spans,
    num_tile_rows: int,
    scratch: Array,
) -> None:
    """Project all Gaussians. `scratch` has PROJECT_SCRATCH floats for each worker, `counter` one zero."""
    num_chunks = (shape.num_gaussians + PROJECT_CHUNK - 1) // PROJECT_CHUNK
    chunk = claim(counter)
    while chunk < num_chunks:
        project_chunk(gaussians, shape, camera, chunk, projection, spans, num_tile_rows, scratch[number])
        chunk = claim(counter)
