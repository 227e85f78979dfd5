"""Projection: from surfels to the records of those that a view shows, sixteen at a time."""

from __future__ import annotations

import math

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Gaussians, Projection, Shape, Spans
from gaussian_splatting.rasterizer.cpu.binning import tile_at_or_above, tile_at_or_below
from gaussian_splatting.rasterizer.cpu.geometry import camera_axes, camera_row, rotation_matrix, unit_quaternion
from gaussian_splatting.rasterizer.cpu.harmonics import store_basis
from gaussian_splatting.rasterizer.cpu.layout import LANES, PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.project import (
    BASIS,
    MAX_EXTENT,
    MAX_RADIUS,
    RADII,
    ROWS,
    activate,
    color_of,
    is_finite,
    load_batch,
    store_row,
    view_direction,
)
from gaussian_splatting.rasterizer.cpu.simd import (
    Array,
    Vector,
    lowest_bit,
    mask_bits,
    maximum,
    round_up,
    select,
    splat,
    square_root,
)
from gaussian_splatting.rasterizer.cpu.simd_math import log2
from gaussian_splatting.rasterizer.cpu.simd_memory import bits_of, claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import transpose16
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.geometry import Outline, Plane, meeting, outline, screen_plane
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper, kernel

# Scratch of one worker: as for 3D Gaussians, and a second table of sixteen rows.
SECOND_ROWS = 1024
PROJECT_SCRATCH = SECOND_ROWS + LANES * LANES

MIN_VARIANCE = 1e-4
SMALLEST_OPACITY = 1e-30  # below 1/255 in any case, but with a logarithm
ZERO, LOG2_255, LN_2 = np.float32(0.0), np.float32(layout.LOG2_255), np.float32(layout.LN_2)
BOX_TILE = np.float32(surfel.BOX_TILE)
# What is culled is bounded a little too large, so that rounding cannot cut off what is seen.
WIDER, MARGIN, BLUR, SLACK = 1.02, 0.02, 0.05, np.float32(0.01)
LARGEST_VARIANCE, FAR_AWAY = 1e12, 1e9


@helper
def filter_reach(log_opacity: float) -> float:
    """Pixels from its middle at which the low-pass filter falls to an alpha of 1/255, and a little more."""
    return math.sqrt(max(ZERO, LN_2 * (log_opacity + LOG2_255))) + SLACK


@helper
def store_second(scratch: Array, field: int, values: Vector) -> None:
    """Put one field of the second lines of sixteen records into the table that is transposed later."""
    store16(scratch, SECOND_ROWS + (field - LANES) * LANES, values)


@helper
def store_bounds(
    plane: Plane, shape_of: Outline, center_x: Vector, center_y: Vector, w0: Vector, log_opacity: Vector, scratch: Array
) -> None:
    """Store the ellipse outside of which alpha is below 1/255: the outline at the distance that the opacity allows.

    Where that outline crosses the camera plane, there is no ellipse, and nothing is bounded.
    """
    limit = maximum(log_opacity + layout.LOG2_255, 0.0) * (2.0 * layout.LN_2 * WIDER) + MARGIN
    z2 = plane.z * plane.z
    front = z2 - limit * (plane.m0 * plane.m0 + plane.m1 * plane.m1)
    bounded = front > 1e-3 * z2
    inverse = 1.0 / select(bounded, front, 1.0)
    size = limit * inverse
    am, bm = size * shape_of.am, size * shape_of.bm
    xx = size * (plane.a0 * plane.a0 + plane.a1 * plane.a1) + am * am
    xy = size * (plane.a0 * plane.b0 + plane.a1 * plane.b1) + am * bm
    yy = size * (plane.b0 * plane.b0 + plane.b1 * plane.b1) + bm * bm
    determinant = size * size * (w0 * w0) * (z2 * inverse) + BLUR * (xx + yy) + BLUR * BLUR
    xx, yy = xx + BLUR, yy + BLUR
    bounded = bounded & (xx + yy < LARGEST_VARIANCE)
    scale = 1.0 / determinant
    store_row(scratch, layout.MEAN_X, select(bounded, center_x + am, 0.0))
    store_row(scratch, layout.MEAN_Y, select(bounded, center_y + bm, 0.0))
    store_row(scratch, layout.CONIC_XX, select(bounded, yy * scale, 0.0))
    store_row(scratch, layout.CONIC_XY, select(bounded, -2.0 * xy * scale, 0.0))
    store_row(scratch, layout.CONIC_YY, select(bounded, xx * scale, 0.0))
    store_row(scratch, layout.PEAK_Y, select(bounded, xy / square_root(xx), 0.0))
    store_row(scratch, layout.SLOPE_X, select(bounded, xy / yy, 0.0))
    store_row(scratch, layout.HALF_WIDTH, select(bounded, square_root(determinant / yy), FAR_AWAY))
    store_row(scratch, layout.INVERSE_EXTENT_Y, select(bounded, 1.0 / square_root(yy), 0.0))
    store_row(scratch, layout.EXTENT_Y, select(bounded, square_root(yy), FAR_AWAY))


@helper
def project_batch(gaussians: Gaussians, shape: Shape, camera: Array, first: int, scratch: Array) -> int:
    """Write sixteen records without colours to scratch, and the radii beside them; give the bits of the visible."""
    x, y, z, qw, qx, qy, qz, raw_0, raw_1, raw_2, raw_opacity = load_batch(gaussians, shape, first, scratch)
    s0, s1, _, opacity = activate(shape, camera, raw_0, raw_1, raw_2, raw_opacity)
    camera_z = camera_row(camera, 2, x, y, z)
    visible = (camera_z > read(camera, layout.NEAR)) & (camera_z < read(camera, layout.FAR)) & (camera_z > 0.0)
    if mask_bits(visible) == 0:
        return 0
    camera_x, camera_y, inverse_z = camera_row(camera, 0, x, y, z), camera_row(camera, 1, x, y, z), 1.0 / camera_z
    rotation = rotation_matrix(unit_quaternion(qw, qx, qy, qz))
    axes = camera_axes(camera, rotation, s0, s1, splat(1.0))
    plane = screen_plane(camera, axes, camera_x, camera_y, camera_z)
    where, shape_of = meeting(camera, axes, s0, s1, plane), outline(plane)
    center_x = read(camera, layout.FOCAL_X) * plane.slope_x + read(camera, layout.CENTER_X)
    center_y = read(camera, layout.FOCAL_Y) * plane.slope_y + read(camera, layout.CENTER_Y)
    offset_x, offset_y = shape_of.am * shape_of.inverse_front, shape_of.bm * shape_of.inverse_front
    filter_x, filter_y = center_x + offset_x, center_y + offset_y
    variance_x = (plane.a0 * plane.a0 + plane.a1 * plane.a1) * shape_of.inverse_front + offset_x * offset_x
    variance_y = (plane.b0 * plane.b0 + plane.b1 * plane.b1) * shape_of.inverse_front + offset_y * offset_y
    radius_x = round_up(MAX_EXTENT * square_root(maximum(variance_x, MIN_VARIANCE)))
    radius_y = round_up(MAX_EXTENT * square_root(maximum(variance_y, MIN_VARIANCE)))
    visible = visible & (maximum(radius_x, radius_y) > read(camera, layout.RADIUS_CLIP))
    visible = visible & (filter_x + radius_x > 0.0) & (filter_x - radius_x < read(camera, layout.IMAGE_WIDTH))
    visible = visible & (filter_y + radius_y > 0.0) & (filter_y - radius_y < read(camera, layout.IMAGE_HEIGHT))
    log_opacity = log2(maximum(opacity, SMALLEST_OPACITY))

    inputs = x + y + z + qw + qx + qy + qz + raw_0 + raw_1 + raw_opacity
    outputs = where.ux + where.uy + where.vx + where.vy + where.wx + where.wy + where.w0
    visible = visible & is_finite(0.0 * inputs) & is_finite(0.0 * outputs)
    visible = visible & is_finite(0.0 * (filter_x + filter_y + radius_x + radius_y + inverse_z + log_opacity))

    store_bounds(plane, shape_of, center_x, center_y, where.w0, log_opacity, scratch)
    store_row(scratch, layout.LOG_OPACITY, log_opacity)
    store_row(scratch, layout.DEPTH, camera_z)
    store_row(scratch, layout.INVERSE_DEPTH, inverse_z)
    store_second(scratch, surfel.CENTER_X, center_x)
    store_second(scratch, surfel.CENTER_Y, center_y)
    store_second(scratch, surfel.U_X, where.ux)
    store_second(scratch, surfel.U_Y, where.uy)
    store_second(scratch, surfel.V_X, where.vx)
    store_second(scratch, surfel.V_Y, where.vy)
    store_second(scratch, surfel.W_X, where.wx)
    store_second(scratch, surfel.W_Y, where.wy)
    store_second(scratch, surfel.W_0, where.w0)
    store_second(scratch, surfel.FILTER_X, filter_x)
    store_second(scratch, surfel.FILTER_Y, filter_y)
    towards = select(axes.m02 * camera_x + axes.m12 * camera_y + axes.m22 * camera_z < 0.0, splat(1.0), -1.0)
    store_second(scratch, surfel.NORMAL_X, towards * rotation.m02)
    store_second(scratch, surfel.NORMAL_Y, towards * rotation.m12)
    store_second(scratch, surfel.NORMAL_Z, towards * rotation.m22)
    store16(scratch, RADII, radius_x)
    store16(scratch, RADII + LANES, radius_y)
    bits = mask_bits(visible)
    if bits != 0:
        transpose16(scratch, ROWS)
        transpose16(scratch, SECOND_ROWS)
        if shape.degree >= 1:
            direction_x, direction_y, direction_z, _ = view_direction(camera, x, y, z)
            store_basis(shape.degree, direction_x, direction_y, direction_z, scratch, BASIS)
            transpose16(scratch, BASIS)
    return bits


@helper
def box_edge(position: float, length: int) -> int:
    """A box edge in tiles of the box, given in such tiles, kept inside the picture."""
    return int(min(max(position, ZERO), np.float32((length + surfel.BOX_TILE - 1) // surfel.BOX_TILE)))


@helper
def store_box(boxes: Array, slot: int, row: int, place: int, width: int, height: int, scratch: Array) -> None:
    """The tiles that a surfel's box meets."""
    middle_x = read(scratch, row + surfel.FILTER_X - LANES)
    middle_y = read(scratch, row + surfel.FILTER_Y - LANES)
    radius_x, radius_y = read(scratch, RADII + place), read(scratch, RADII + LANES + place)
    start = slot * surfel.BOX
    write(boxes, start, box_edge(np.float32(math.floor((middle_x - radius_x) / BOX_TILE)), width))
    write(boxes, start + 1, box_edge(np.float32(math.ceil((middle_x + radius_x) / BOX_TILE)), width))
    write(boxes, start + 2, box_edge(np.float32(math.floor((middle_y - radius_y) / BOX_TILE)), height))
    write(boxes, start + 3, box_edge(np.float32(math.ceil((middle_y + radius_y) / BOX_TILE)), height))


@helper
def emit(
    gaussians: Gaussians, shape: Shape, index: int, place: int, slot: int, projection: Projection, scratch: Array
) -> bool:
    """Write the record of one visible surfel; false, and nothing is used, when its colour is not finite."""
    red, green, blue = color_of(gaussians, shape, index, place, scratch)
    if not (red + green + blue) * ZERO == ZERO:  # noqa: SIM201, NaN
        return False
    row, second, record = ROWS + place * LANES, SECOND_ROWS + place * LANES, slot * surfel.RECORD
    store16(projection.records, record, load16(scratch, row))
    store16(projection.records, record + LANES, load16(scratch, second))
    write(projection.records, record + layout.RED, red)
    write(projection.records, record + layout.GREEN, green)
    write(projection.records, record + layout.BLUE, blue)
    write(projection.depth_bits, slot, bits_of(read(scratch, row + layout.DEPTH)))
    write(projection.ids, slot, index)
    write(projection.means2d, 2 * index, read(scratch, second + surfel.FILTER_X - LANES))
    write(projection.means2d, 2 * index + 1, read(scratch, second + surfel.FILTER_Y - LANES))
    radius_x, radius_y = read(scratch, RADII + place), read(scratch, RADII + LANES + place)
    if projection.radii_stride == 2:
        write(projection.radii, 2 * index, min(radius_x, MAX_RADIUS))
        write(projection.radii, 2 * index + 1, min(radius_y, MAX_RADIUS))
    else:
        write(projection.radii, index, min(max(radius_x, radius_y), MAX_RADIUS))
    return True


@helper
def rows_of(records: Array, record: int, boxes: Array, slot: int, num_tile_rows: int) -> int:
    """The rows of tiles that a surfel touches: the first, times 65536, plus their number."""
    log_opacity = read(records, record + layout.LOG_OPACITY)
    if log_opacity < -LOG2_255:
        return 0
    reach, extent = filter_reach(log_opacity), read(records, record + layout.EXTENT_Y)
    mean_y, filter_y = read(records, record + layout.MEAN_Y), read(records, record + surfel.FILTER_Y)
    above = min(tile_at_or_above(mean_y - extent, num_tile_rows), tile_at_or_above(filter_y - reach, num_tile_rows))
    below = max(tile_at_or_below(mean_y + extent, num_tile_rows), tile_at_or_below(filter_y + reach, num_tile_rows))
    start = slot * surfel.BOX
    first = max(above, read(boxes, start + 2) * surfel.BOX_TILE // layout.TILE)
    last = min(below, (read(boxes, start + 3) * surfel.BOX_TILE - 1) // layout.TILE)
    return (first << 16) | max(0, last - first + 1) if last >= first else 0


@helper
def project_chunk(
    gaussians: Gaussians, shape: Shape, camera: Array, chunk: int, projection: Projection, boxes: Array, spans: Spans,
    num_tile_rows: int, scratch: Array
) -> None:  # fmt: skip
    """Project one chunk of surfels into its slots, and find the rows of tiles that they touch."""
    low = chunk * PROJECT_CHUNK
    high = min(shape.num_gaussians, low + PROJECT_CHUNK)
    projection.means2d[2 * low : 2 * high] = ZERO
    projection.radii[projection.radii_stride * low : projection.radii_stride * high] = 0
    width, height = int(read(camera, layout.IMAGE_WIDTH)), int(read(camera, layout.IMAGE_HEIGHT))
    slot, num_rows = low, 0
    for first in range(low, high, LANES):
        bits = project_batch(gaussians, shape, camera, first, scratch)
        while bits != 0:
            place = lowest_bit(bits)
            bits &= bits - 1
            if emit(gaussians, shape, first + place, place, slot, projection, scratch):
                store_box(boxes, slot, SECOND_ROWS + place * LANES, place, width, height, scratch)
                rows = rows_of(projection.records, slot * surfel.RECORD, boxes, slot, num_tile_rows)
                write(spans.rows, slot, rows)
                num_rows += rows & 0xFFFF
                slot += 1
    write(projection.counts, chunk, slot - low)
    write(spans.num_rows, chunk, num_rows)


@kernel
def project(
    number: int, counter: Array, gaussians: Gaussians, shape: Shape, camera: Array, projection: Projection,
    boxes: Array, spans: Spans, num_tile_rows: int, scratch: Array
) -> None:  # fmt: skip
    """Project all surfels. `scratch` has PROJECT_SCRATCH floats for each worker, `counter` one zero."""
    num_chunks = (shape.num_gaussians + PROJECT_CHUNK - 1) // PROJECT_CHUNK
    chunk = claim(counter)
    while chunk < num_chunks:
        project_chunk(gaussians, shape, camera, chunk, projection, boxes, spans, num_tile_rows, scratch[number])
        chunk = claim(counter)
