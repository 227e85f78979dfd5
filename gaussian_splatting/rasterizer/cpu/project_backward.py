"""Gradient of projection: from gradient records to the parameters, sixteen Gaussians at a time.

Gaussians are walked in memory order, so that parameters, records and gradients stream; nothing is added atomically
and every sum has a fixed order. With raw parameters the gradients are those of the logarithms and logits.
"""

from __future__ import annotations

import numpy as np

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import (
    PLAIN_COLORS,
    Entries,
    Gaussians,
    PixelGradients,
    Projection,
    Shape,
    Spans,
)
from gaussian_splatting.rasterizer.cpu.geometry import (
    Matrix,
    camera_axes,
    camera_row,
    covariance,
    perspective_jacobian,
    rotate_back,
    rotation_matrix,
    screen_axes,
    unit_quaternion,
)
from gaussian_splatting.rasterizer.cpu.geometry_backward import (
    camera_axes_gradient,
    inverse_gradient,
    position_gradient,
    quaternion_gradient,
    scale_columns,
    scales_gradient,
    screen_axes_gradient,
    times_transposed,
    to_world,
)
from gaussian_splatting.rasterizer.cpu.gradient_store import clear_batch, store_batch, store_pairs
from gaussian_splatting.rasterizer.cpu.harmonics import DEGREE_0, direction_gradient, store_basis
from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES, POSE_SIZE, PROJECT_CHUNK
from gaussian_splatting.rasterizer.cpu.project import BASIS, ROWS, STAGED_REST, activate, load_batch, view_direction
from gaussian_splatting.rasterizer.cpu.shading import (
    basis_gradient,
    clear_rest,
    color_gradient,
    load_rest,
    store_rest,
)
from gaussian_splatting.rasterizer.cpu.simd import Array, Mask, Vector, constant_vector, select, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.simd_shuffle import lane, sum_lanes, transpose16

# Scratch of one worker, behind what loading a batch needs: gradients by basis function, and sums for the pose.
WEIGHTS, POSE = 768, 1024
BACKWARD_PROJECT_SCRATCH = POSE + LANES * LANES
CONSTANT_BASIS, ZERO = np.float32(DEGREE_0), np.float32(0.0)

lane_number = constant_vector(range(LANES))


@part
def sum_entries(entries: Entries, first: int, end: int) -> Vector:
    """The sum of the gradient records of one Gaussian."""
    total = splat(0.0)
    for entry in range(first, end):
        if read(entries.contributes, entry) != 0:
            total = total + load16(entries.records, entry * LANES)
    return total


@part
def color_backward(
    gaussians: Gaussians, shape: Shape, index: int, place: int, record: Vector, sums: Vector, grads: Gaussians,
    scratch: Array
) -> None:  # fmt: skip
    """Gradients of the colour coefficients of one Gaussian; leaves those of the basis functions in scratch."""
    gradient = color_gradient(sums, record, shape.degree != PLAIN_COLORS)
    factor = np.float32(1.0) if shape.degree == PLAIN_COLORS else CONSTANT_BASIS
    start, rest_start = index * shape.dc_stride, index * shape.rest_stride
    write(grads.dc, start, factor * lane(gradient, 0))
    write(grads.dc, start + 1, factor * lane(gradient, 1))
    write(grads.dc, start + 2, factor * lane(gradient, 2))
    if shape.degree >= 1:
        num_active = (shape.degree + 1) * (shape.degree + 1) - 1
        first, second, third = load_rest(gaussians.rest, rest_start, num_active, shape.num_rest, scratch, STAGED_REST)
        store16(scratch, WEIGHTS + place * LANES, basis_gradient(first, second, third, gradient))
        basis = load16(scratch, BASIS + place * LANES)
        store_rest(grads.rest, rest_start, basis, gradient, num_active, shape.num_rest, scratch, STAGED_REST)
    else:
        clear_rest(grads.rest, rest_start, shape.num_rest)


@part
def sums_row(scratch: Array, field: int) -> Vector:
    """One field of sixteen summed and transposed gradient records."""
    return load16(scratch, ROWS + field * LANES)


@part
def add_to_pose(scratch: Array, index: int, visible: Mask, values: Vector) -> None:
    """Add one component of the pose gradient."""
    place = POSE + index * LANES
    store16(scratch, place, load16(scratch, place) + select(visible, values, 0.0))


@part
def pose_backward(
    scratch: Array, visible: Mask, rotation: Matrix, x: Vector, y: Vector, z: Vector,
    grad_x: Vector, grad_y: Vector, grad_z: Vector, toward_x: Vector, toward_y: Vector, toward_z: Vector
) -> None:  # fmt: skip
    """Add to d loss / d (R, t, camera position); `rotation` is the part of d loss / d R that covariances cause."""
    add_to_pose(scratch, 0, visible, rotation.m00 + grad_x * x)
    add_to_pose(scratch, 1, visible, rotation.m01 + grad_x * y)
    add_to_pose(scratch, 2, visible, rotation.m02 + grad_x * z)
    add_to_pose(scratch, 3, visible, rotation.m10 + grad_y * x)
    add_to_pose(scratch, 4, visible, rotation.m11 + grad_y * y)
    add_to_pose(scratch, 5, visible, rotation.m12 + grad_y * z)
    add_to_pose(scratch, 6, visible, rotation.m20 + grad_z * x)
    add_to_pose(scratch, 7, visible, rotation.m21 + grad_z * y)
    add_to_pose(scratch, 8, visible, rotation.m22 + grad_z * z)
    add_to_pose(scratch, 9, visible, grad_x)
    add_to_pose(scratch, 10, visible, grad_y)
    add_to_pose(scratch, 11, visible, grad_z)
    add_to_pose(scratch, 12, visible, -toward_x)
    add_to_pose(scratch, 13, visible, -toward_y)
    add_to_pose(scratch, 14, visible, -toward_z)


@part
def batch_backward(
    gaussians: Gaussians, shape: Shape, camera: Array, first: int, bits: int, slot: int, projection: Projection,
    grads: Gaussians, pixels: PixelGradients, wants_pose: bool, scratch: Array
) -> None:  # fmt: skip
    """Gradients of sixteen Gaussians, whose summed records are the rows of a table in scratch."""
    x, y, z, qw, qx, qy, qz, raw_0, raw_1, raw_2, raw_opacity = load_batch(gaussians, shape, first, scratch)
    direction_x, direction_y, direction_z, inverse_distance = view_direction(camera, x, y, z)
    if shape.degree >= 1:
        store_basis(shape.degree, direction_x, direction_y, direction_z, scratch, BASIS)
        transpose16(scratch, BASIS)
    visible = lane_number() < 0.0
    for place in range(min(LANES, shape.num_gaussians - first)):
        if (bits >> place) & 1:
            record, sums = load16(projection.records, slot * LANES), load16(scratch, ROWS + place * LANES)
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

    toward_x, toward_y, toward_z = splat(0.0), splat(0.0), splat(0.0)  # d loss / d mean, through the view direction
    if shape.degree >= 1:
        transpose16(scratch, WEIGHTS)
        turn_x, turn_y, turn_z = direction_gradient(
            shape.degree, direction_x, direction_y, direction_z, scratch, WEIGHTS
        )
        radial = turn_x * direction_x + turn_y * direction_y + turn_z * direction_z
        toward_x = (turn_x - radial * direction_x) * inverse_distance
        toward_y = (turn_y - radial * direction_y) * inverse_distance
        toward_z = (turn_z - radial * direction_z) * inverse_distance

    s0, s1, s2, opacity = activate(shape, camera, raw_0, raw_1, raw_2, raw_opacity)
    camera_x, camera_y = camera_row(camera, 0, x, y, z), camera_row(camera, 1, x, y, z)
    inverse_z = 1.0 / camera_row(camera, 2, x, y, z)
    q = unit_quaternion(qw, qx, qy, qz)
    rotation = rotation_matrix(q)
    axes = camera_axes(camera, rotation, s0, s1, s2)
    jacobian = perspective_jacobian(camera, camera_x, camera_y, inverse_z)
    screen = screen_axes(jacobian, axes)
    sharp_xx, xy, sharp_yy, sharp = covariance(screen)
    blur = read(camera, layout.BLUR)
    inverse_determinant = 1.0 / (sharp + blur * (sharp_xx + sharp_yy) + blur * blur)
    a, b, c = (
        (sharp_yy + blur) * inverse_determinant,
        -xy * inverse_determinant,
        (sharp_xx + blur) * inverse_determinant,
    )

    sum_v, sum_dx, sum_dy = (
        sums_row(scratch, layout.SUM_V),
        sums_row(scratch, layout.SUM_V_DX),
        sums_row(scratch, layout.SUM_V_DY),
    )
    mean_x, mean_y = a * sum_dx + b * sum_dy, b * sum_dx + c * sum_dy
    grad_xx, grad_xy, grad_yy = inverse_gradient(
        a,
        b,
        c,
        sums_row(scratch, layout.SUM_V_DX2),
        sums_row(scratch, layout.SUM_V_DX_DY),
        sums_row(scratch, layout.SUM_V_DY2),
    )
    if shape.antialiased:  # opacity is multiplied by the root of the determinants' ratio, sharp over blurred
        inverse_sharp = 1.0 / sharp
        grad_xx += sum_v * (sharp_yy * inverse_sharp - a)
        grad_xy += sum_v * (-xy * inverse_sharp - b)
        grad_yy += sum_v * (sharp_xx * inverse_sharp - c)
    grad_screen = screen_axes_gradient(grad_xx, grad_xy, grad_yy, screen)
    grad_axes = camera_axes_gradient(jacobian, grad_screen)
    grad_x, grad_y, grad_z = position_gradient(
        camera,
        jacobian,
        axes,
        grad_screen,
        camera_x,
        camera_y,
        inverse_z,
        mean_x,
        mean_y,
        sums_row(scratch, layout.SUM_DEPTH),
    )
    world_axes = to_world(camera, grad_axes)
    grad_0, grad_1, grad_2 = scales_gradient(rotation, world_axes)
    modifier = read(camera, layout.SCALE_MODIFIER)
    grad_opacity = sum_v / opacity
    if shape.raw:
        grad_0, grad_1, grad_2, grad_opacity = grad_0 * s0, grad_1 * s1, grad_2 * s2, sum_v * (1.0 - opacity)
    else:
        grad_0, grad_1, grad_2 = grad_0 * modifier, grad_1 * modifier, grad_2 * modifier
    grad_quaternion = quaternion_gradient(q, scale_columns(world_axes, s0, s1, s2))
    grad_mean = (
        toward_x + rotate_back(camera, 0, grad_x, grad_y, grad_z),
        toward_y + rotate_back(camera, 1, grad_x, grad_y, grad_z),
        toward_z + rotate_back(camera, 2, grad_x, grad_y, grad_z),
    )
    store_batch(
        grads, shape, first, visible, grad_mean, grad_quaternion, (grad_0, grad_1, grad_2), grad_opacity, scratch
    )
    store_pairs(pixels.means2d, shape, first, visible, mean_x, mean_y, scratch)
    absolute_x = sums_row(scratch, layout.ABS_X) * layout.LN_2
    absolute_y = sums_row(scratch, layout.ABS_Y) * layout.LN_2
    store_pairs(pixels.absolute, shape, first, visible, absolute_x, absolute_y, scratch)
    if wants_pose:
        turned = times_transposed(grad_axes, scale_columns(rotation, s0, s1, s2))
        pose_backward(scratch, visible, turned, x, y, z, grad_x, grad_y, grad_z, toward_x, toward_y, toward_z)


@part
def backward_chunk(
    gaussians: Gaussians, shape: Shape, camera: Array, chunk: int, projection: Projection, spans: Spans,
    entries: Entries, grads: Gaussians, pixels: PixelGradients, pose: Array, scratch: Array
) -> None:  # fmt: skip
    """Gradients of one chunk of Gaussians; `pose` is the row of pose sums of this chunk, or has size 0."""
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
            store16(scratch, ROWS + place * LANES, sum_entries(entries, entry, end))
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
    """Gradients of all Gaussians. `pose` is [chunks, POSE_SIZE], or [chunks, 0] when it is not wanted."""
    chunk = claim(counter)
    while chunk < projection.counts.shape[0]:
        backward_chunk(
            gaussians, shape, camera, chunk, projection, spans, entries, grads, pixels, pose[chunk], scratch[number]
        )
        chunk = claim(counter)
