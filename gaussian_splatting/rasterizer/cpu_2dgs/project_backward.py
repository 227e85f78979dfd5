"""Gradient of projection: from gradient records to the parameters of surfels, sixteen at a time, in memory order."""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Entries, Gaussians, PixelGradients, Projection, Shape, Spans
from gaussian_splatting.rasterizer.cpu.geometry import (
    Matrix,
    camera_axes,
    camera_row,
    rotate_back,
    rotation_matrix,
    unit_quaternion,
)
from gaussian_splatting.rasterizer.cpu.geometry_backward import (
    quaternion_gradient,
    scale_columns,
    scales_gradient,
    times_transposed,
    to_world,
)
from gaussian_splatting.rasterizer.cpu.gradient_store import clear_batch, store_batch, store_pairs
from gaussian_splatting.rasterizer.cpu.harmonics import direction_gradient, store_basis
from gaussian_splatting.rasterizer.cpu.layout import LANES, POSE_SIZE, PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.project import BASIS, ROWS, activate, load_batch, view_direction
from gaussian_splatting.rasterizer.cpu.project_backward import (
    BACKWARD_PROJECT_SCRATCH,
    POSE,
    WEIGHTS,
    ZERO,
    color_backward,
    lane_number,
    pose_backward,
    sums_row,
)
from gaussian_splatting.rasterizer.cpu.shading import clear_rest
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, maximum, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import sum_lanes, transpose16
from gaussian_splatting.rasterizer.cpu_2dgs import layout as surfel
from gaussian_splatting.rasterizer.cpu_2dgs.geometry import (
    Meeting,
    Plane,
    meeting,
    meeting_gradient,
    middle_gradient,
    outline,
    screen_plane,
)
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper, kernel
from gaussian_splatting.rasterizer.cpu_2dgs.project import SMALLEST_OPACITY

# Scratch of one worker: as for 3D Gaussians, and a second table of sixteen rows.
SECOND_ROWS = BACKWARD_PROJECT_SCRATCH
SCRATCH = SECOND_ROWS + LANES * LANES


@helper
def sum_entries(entries: Entries, first: int, end: int, line: int) -> Vector:
    """The sum of one line of the gradient records of one surfel."""
    total = splat(0.0)
    for entry in range(first, end):
        if read(entries.contributes, entry) != 0:
            total = total + load16(entries.records, entry * surfel.RECORD + line)
    return total


@helper
def second_row(scratch: Array, field: int) -> Vector:
    """One field of the second lines of sixteen summed and transposed gradient records."""
    return load16(scratch, SECOND_ROWS + (field - LANES) * LANES)


@helper
def center_gradient(scratch: Array, where: Meeting) -> tuple[Vector, Vector]:
    """d loss / d projected centre, through the offsets from it."""
    u, v, w = (
        sums_row(scratch, surfel.SUM_U),
        sums_row(scratch, surfel.SUM_V),
        sums_row(scratch, surfel.SUM_W),
    )
    return -(where.ux * u + where.vx * v + where.wx * w), -(where.uy * u + where.vy * v + where.wy * w)


@helper
def meeting_sums(scratch: Array) -> Meeting:
    """d loss / d coefficients."""
    return Meeting(
        sums_row(scratch, surfel.SUM_U_DX),
        sums_row(scratch, surfel.SUM_U_DY),
        sums_row(scratch, surfel.SUM_V_DX),
        sums_row(scratch, surfel.SUM_V_DY),
        sums_row(scratch, surfel.SUM_W_DX),
        sums_row(scratch, surfel.SUM_W_DY),
        sums_row(scratch, surfel.SUM_W),
    )


@helper
def add_planes(first: Plane, second: Plane) -> Plane:
    """The sum of two gradients."""
    return Plane(
        first.a0 + second.a0,
        first.a1 + second.a1,
        first.b0 + second.b0,
        first.b1 + second.b1,
        first.m0 + second.m0,
        first.m1 + second.m1,
        first.slope_x + second.slope_x,
        first.slope_y + second.slope_y,
        first.z + second.z,
    )


@helper
def axes_gradient(camera: Array, p: Plane, d: Plane, nx: Vector, ny: Vector, nz: Vector) -> Matrix:
    """d loss / d axes, from d loss / d plane and that by the third axis in camera axes."""
    focal_x, focal_y = read(camera, layout.FOCAL_X), read(camera, layout.FOCAL_Y)
    a0, a1, b0, b1 = focal_x * d.a0, focal_x * d.a1, focal_y * d.b0, focal_y * d.b1
    return Matrix(
        -a0,
        -a1,
        nx,
        -b0,
        -b1,
        ny,
        d.m0 + p.slope_x * a0 + p.slope_y * b0,
        d.m1 + p.slope_x * a1 + p.slope_y * b1,
        nz,
    )


@helper
def view_gradient(
    shape: Shape,
    direction_x: Vector,
    direction_y: Vector,
    direction_z: Vector,
    inverse_distance: Vector,
    scratch: Array,
) -> tuple[Vector, Vector, Vector]:
    """d loss / d mean, through the direction from which the colour is seen."""
    if shape.degree < 1:
        return splat(0.0), splat(0.0), splat(0.0)
    transpose16(scratch, WEIGHTS)
    turn_x, turn_y, turn_z = direction_gradient(shape.degree, direction_x, direction_y, direction_z, scratch, WEIGHTS)
    radial = turn_x * direction_x + turn_y * direction_y + turn_z * direction_z
    return (
        (turn_x - radial * direction_x) * inverse_distance,
        (turn_y - radial * direction_y) * inverse_distance,
        (turn_z - radial * direction_z) * inverse_distance,
    )


@helper
def batch_backward(
    gaussians: Gaussians, shape: Shape, camera: Array, first: int, bits: int, slot: int, projection: Projection,
    grads: Gaussians, pixels: PixelGradients, wants_pose: bool, scratch: Array
) -> None:  # fmt: skip
    """Gradients of sixteen surfels, whose summed records are the rows of two tables in scratch."""
    x, y, z, qw, qx, qy, qz, raw_0, raw_1, raw_2, raw_opacity = load_batch(gaussians, shape, first, scratch)
    direction_x, direction_y, direction_z, inverse_distance = view_direction(camera, x, y, z)
    if shape.degree >= 1:
        store_basis(shape.degree, direction_x, direction_y, direction_z, scratch, BASIS)
        transpose16(scratch, BASIS)
    visible = lane_number() < 0.0
    for place in range(min(LANES, shape.num_gaussians - first)):
        if (bits >> place) & 1:
            record, sums = (
                load16(projection.records, slot * surfel.RECORD),
                load16(scratch, SECOND_ROWS + place * LANES),
            )
            color_backward(gaussians, shape, first + place, place, record, sums, grads, scratch)
            visible = visible | (lane_number() == np.float32(place))
            slot += 1
        else:
            start = (first + place) * shape.dc_stride
            write(grads.dc, start, ZERO)
            write(grads.dc, start + 1, ZERO)
            write(grads.dc, start + 2, ZERO)
            clear_rest(grads.rest, (first + place) * shape.rest_stride, shape.num_rest)
    transpose16(scratch, ROWS)
    transpose16(scratch, SECOND_ROWS)
    toward_x, toward_y, toward_z = view_gradient(
        shape, direction_x, direction_y, direction_z, inverse_distance, scratch
    )

    s0, s1, _, opacity = activate(shape, camera, raw_0, raw_1, raw_2, raw_opacity)
    camera_x, camera_y, camera_z = (
        camera_row(camera, 0, x, y, z),
        camera_row(camera, 1, x, y, z),
        camera_row(camera, 2, x, y, z),
    )
    q = unit_quaternion(qw, qx, qy, qz)
    rotation = rotation_matrix(q)
    axes = camera_axes(camera, rotation, s0, s1, splat(1.0))
    plane = screen_plane(camera, axes, camera_x, camera_y, camera_z)
    where = meeting(camera, axes, s0, s1, plane)
    grad_plane = meeting_gradient(plane, meeting_sums(scratch))
    center_x, center_y = center_gradient(scratch, where)
    # With the plane held, a = c m - (the rest of the ray transform) moves with the centre c, too.
    densify_x = center_x + grad_plane.a0 * plane.m0 + grad_plane.a1 * plane.m1
    densify_y = center_y + grad_plane.b0 * plane.m0 + grad_plane.b1 * plane.m1
    # d(-squared distance) / d(middle of the filter) is four times the offset from it, and v counts half of that.
    middle_x, middle_y = 2.0 * sums_row(scratch, surfel.SUM_F_DX), 2.0 * sums_row(scratch, surfel.SUM_F_DY)
    grad_plane = add_planes(grad_plane, middle_gradient(plane, outline(plane), middle_x, middle_y))
    center_x, center_y = center_x + middle_x, center_y + middle_y

    focal_x, focal_y, inverse_z = read(camera, layout.FOCAL_X), read(camera, layout.FOCAL_Y), 1.0 / camera_z
    slope_x = focal_x * (center_x + grad_plane.a0 * plane.m0 + grad_plane.a1 * plane.m1)
    slope_y = focal_y * (center_y + grad_plane.b0 * plane.m0 + grad_plane.b1 * plane.m1)
    grad_x, grad_y = slope_x * inverse_z, slope_y * inverse_z
    grad_z = grad_plane.z + second_row(scratch, surfel.SUM_DEPTH) - grad_x * plane.slope_x - grad_y * plane.slope_y

    towards = select(axes.m02 * camera_x + axes.m12 * camera_y + axes.m22 * camera_z < 0.0, splat(1.0), -1.0)
    none = splat(0.0)
    grad_axes = axes_gradient(camera, plane, grad_plane, none, none, none)
    world = to_world(camera, grad_axes)
    grad_0, grad_1, _ = scales_gradient(rotation, world)
    turned = scale_columns(world, s0, s1, none)
    turned = Matrix(
        turned.m00, turned.m01, towards * second_row(scratch, surfel.SUM_NORMAL_X),
        turned.m10, turned.m11, towards * second_row(scratch, surfel.SUM_NORMAL_Y),
        turned.m20, turned.m21, towards * second_row(scratch, surfel.SUM_NORMAL_Z),
    )  # fmt: skip
    by_alpha, modifier = second_row(scratch, surfel.SUM_ALPHA), read(camera, layout.SCALE_MODIFIER)
    grad_opacity = by_alpha / maximum(opacity, SMALLEST_OPACITY)
    if shape.raw:
        grad_0, grad_1, grad_opacity = grad_0 * s0, grad_1 * s1, by_alpha * (1.0 - opacity)
    else:
        grad_0, grad_1 = grad_0 * modifier, grad_1 * modifier
    grad_mean = (
        toward_x + rotate_back(camera, 0, grad_x, grad_y, grad_z),
        toward_y + rotate_back(camera, 1, grad_x, grad_y, grad_z),
        toward_z + rotate_back(camera, 2, grad_x, grad_y, grad_z),
    )
    grad_quaternion = quaternion_gradient(q, turned)
    store_batch(grads, shape, first, visible, grad_mean, grad_quaternion, (grad_0, grad_1, none), grad_opacity, scratch)
    store_pairs(pixels.means2d, shape, first, visible, densify_x, densify_y, scratch)
    if wants_pose:
        by_rotation = times_transposed(grad_axes, scale_columns(rotation, s0, s1, none))
        pose_backward(scratch, visible, by_rotation, x, y, z, grad_x, grad_y, grad_z, toward_x, toward_y, toward_z)


@helper
def backward_chunk(
    gaussians: Gaussians, shape: Shape, camera: Array, chunk: int, projection: Projection, spans: Spans,
    entries: Entries, grads: Gaussians, pixels: PixelGradients, pose: Array, scratch: Array
) -> None:  # fmt: skip
    """Gradients of one chunk of surfels; `pose` is the row of pose sums of this chunk, or has size 0."""
    low = chunk * PROJECT_CHUNK
    high = min(shape.num_gaussians, low + PROJECT_CHUNK)
    slot, slot_end = low, low + read(projection.counts, chunk)
    entry, base = read(spans.entry_starts, chunk), read(spans.entry_starts, chunk)
    for index in range(POSE_SIZE):
        store16(scratch, POSE + index * LANES, splat(0.0))
    for first in range(low, high, LANES):
        first_slot, bits = slot, np.int64(0)
        while slot < slot_end and read(projection.ids, slot) < first + LANES:
            place = read(projection.ids, slot) - first
            slot += 1
            end = read(spans.entry_starts, chunk + 1)
            if slot < slot_end:
                end = base + read(spans.entry_of, slot)
            store16(scratch, ROWS + place * LANES, sum_entries(entries, entry, end, 0))
            store16(scratch, SECOND_ROWS + place * LANES, sum_entries(entries, entry, end, LANES))
            entry = end
            bits |= np.int64(1) << place
        if bits == 0:
            clear_batch(grads, shape, first, pixels, scratch)
        else:
            batch_backward(
                gaussians, shape, camera, first, bits, first_slot, projection, grads, pixels, pose.shape[0] > 0, scratch
            )
    for index in range(pose.shape[0]):
        write(pose, index, sum_lanes(load16(scratch, POSE + index * LANES)))


@kernel
def project_backward(
    number: int, counter: Array, gaussians: Gaussians, shape: Shape, camera: Array, projection: Projection,
    spans: Spans, entries: Entries, grads: Gaussians, pixels: PixelGradients, pose: Array, scratch: Array
) -> None:  # fmt: skip
    """Gradients of all surfels. `pose` is [chunks, POSE_SIZE], or [chunks, 0] when it is not wanted."""
    chunk = claim(counter)
    while chunk < projection.counts.shape[0]:
        backward_chunk(
            gaussians, shape, camera, chunk, projection, spans, entries, grads, pixels, pose[chunk], scratch[number]
        )
        chunk = claim(counter)
