"""How a 3D Gaussian becomes a 2D one, for sixteen at once: the parts that projection and its gradient share.

With the camera rotation R, the Gaussian's rotation Q and scales S, the axes M = R Q S give the camera-space covariance
M M^T; the perspective Jacobian J gives the screen axes P = J M and the screen covariance P P^T (Zwicker et al., "EWA
Splatting", 2002). Working with axes instead of covariances keeps float32 accurate for needles and discs.
"""

from __future__ import annotations

from typing import NamedTuple

from gaussian_splatting.rasterizer.cpu.jit import helper
from gaussian_splatting.rasterizer.cpu.layout import (
    FOCAL_X,
    FOCAL_Y,
    ROTATION,
    SLOPE_HIGH_X,
    SLOPE_HIGH_Y,
    SLOPE_LOW_X,
    SLOPE_LOW_Y,
    TRANSLATION,
)
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, maximum, minimum, square_root
from gaussian_splatting.rasterizer.cpu.simd_memory import read


class Quaternion(NamedTuple):
    """A unit quaternion and the factor that made it one."""

    w: Vector
    x: Vector
    y: Vector
    z: Vector
    inverse_norm: Vector


class Matrix(NamedTuple):
    """A 3x3 matrix, row by row."""

    m00: Vector
    m01: Vector
    m02: Vector
    m10: Vector
    m11: Vector
    m12: Vector
    m20: Vector
    m21: Vector
    m22: Vector


class Jacobian(NamedTuple):
    """Derivative of the pixel position with respect to the camera-space position, and the slopes it was taken at."""

    xx: Vector
    xz: Vector
    yy: Vector
    yz: Vector
    slope_x: Vector
    slope_y: Vector


class ScreenAxes(NamedTuple):
    """Screen-space axes of a Gaussian: a 2x3 matrix whose product with its transpose is the covariance."""

    x0: Vector
    x1: Vector
    x2: Vector
    y0: Vector
    y1: Vector
    y2: Vector


@helper
def unit_quaternion(w: Vector, x: Vector, y: Vector, z: Vector) -> Quaternion:
    """The normalised quaternion; zero gives NaN."""
    inverse_norm = 1.0 / square_root(w * w + x * x + y * y + z * z)
    return Quaternion(w * inverse_norm, x * inverse_norm, y * inverse_norm, z * inverse_norm, inverse_norm)


@helper
def rotation_matrix(q: Quaternion) -> Matrix:
    """Rotation matrix of a unit quaternion."""
    w, x, y, z = q.w, q.x, q.y, q.z
    return Matrix(
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - w * z),
        2.0 * (x * z + w * y),
        2.0 * (x * y + w * z),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - w * x),
        2.0 * (x * z - w * y),
        2.0 * (y * z + w * x),
        1.0 - 2.0 * (x * x + y * y),
    )


@helper
def rotate_row(camera: Array, row: int, x: Vector, y: Vector, z: Vector) -> Vector:
    """One row of the camera rotation times a vector."""
    first = ROTATION + 3 * row
    return read(camera, first) * x + read(camera, first + 1) * y + read(camera, first + 2) * z


@helper
def rotate_back(camera: Array, column: int, x: Vector, y: Vector, z: Vector) -> Vector:
    """One row of the transposed camera rotation times a vector."""
    first = ROTATION + column
    return read(camera, first) * x + read(camera, first + 3) * y + read(camera, first + 6) * z


@helper
def camera_row(camera: Array, row: int, x: Vector, y: Vector, z: Vector) -> Vector:
    """One camera-space coordinate of a point."""
    return rotate_row(camera, row, x, y, z) + read(camera, TRANSLATION + row)


@helper
def camera_axes(camera: Array, q: Matrix, s0: Vector, s1: Vector, s2: Vector) -> Matrix:
    """The axes M = R Q S of a Gaussian in camera space."""
    return Matrix(
        rotate_row(camera, 0, q.m00, q.m10, q.m20) * s0,
        rotate_row(camera, 0, q.m01, q.m11, q.m21) * s1,
        rotate_row(camera, 0, q.m02, q.m12, q.m22) * s2,
        rotate_row(camera, 1, q.m00, q.m10, q.m20) * s0,
        rotate_row(camera, 1, q.m01, q.m11, q.m21) * s1,
        rotate_row(camera, 1, q.m02, q.m12, q.m22) * s2,
        rotate_row(camera, 2, q.m00, q.m10, q.m20) * s0,
        rotate_row(camera, 2, q.m01, q.m11, q.m21) * s1,
        rotate_row(camera, 2, q.m02, q.m12, q.m22) * s2,
    )


@helper
def perspective_jacobian(camera: Array, x: Vector, y: Vector, inverse_z: Vector) -> Jacobian:
    """The Jacobian J, at a slope limited to slightly outside the image as in the 3DGS paper's code."""
    focal_x, focal_y = read(camera, FOCAL_X), read(camera, FOCAL_Y)
    slope_x = minimum(maximum(x * inverse_z, read(camera, SLOPE_LOW_X)), read(camera, SLOPE_HIGH_X))
    slope_y = minimum(maximum(y * inverse_z, read(camera, SLOPE_LOW_Y)), read(camera, SLOPE_HIGH_Y))
    xx, yy = focal_x * inverse_z, focal_y * inverse_z
    return Jacobian(xx, -(xx * slope_x), yy, -(yy * slope_y), slope_x, slope_y)


@helper
def screen_axes(j: Jacobian, m: Matrix) -> ScreenAxes:
    """The screen axes P = J M."""
    return ScreenAxes(
        j.xx * m.m00 + j.xz * m.m20,
        j.xx * m.m01 + j.xz * m.m21,
        j.xx * m.m02 + j.xz * m.m22,
        j.yy * m.m10 + j.yz * m.m20,
        j.yy * m.m11 + j.yz * m.m21,
        j.yy * m.m12 + j.yz * m.m22,
    )


@helper
def covariance(p: ScreenAxes) -> tuple[Vector, Vector, Vector, Vector]:
    """Entries xx, xy, yy of P P^T and its determinant, as a sum of squared minors that cannot cancel."""
    xx = p.x0 * p.x0 + p.x1 * p.x1 + p.x2 * p.x2
    xy = p.x0 * p.y0 + p.x1 * p.y1 + p.x2 * p.y2
    yy = p.y0 * p.y0 + p.y1 * p.y1 + p.y2 * p.y2
    minor_0 = p.x0 * p.y1 - p.x1 * p.y0
    minor_1 = p.x0 * p.y2 - p.x2 * p.y0
    minor_2 = p.x1 * p.y2 - p.x2 * p.y1
    return xx, xy, yy, minor_0 * minor_0 + minor_1 * minor_1 + minor_2 * minor_2
