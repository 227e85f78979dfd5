"""Vector-Jacobian products of `geometry`, for sixteen Gaussians at once."""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.geometry import Jacobian, Matrix, Quaternion, ScreenAxes, rotate_back
from gaussian_splatting.rasterizer.cpu.jit import helper
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, select
from gaussian_splatting.rasterizer.cpu.simd_memory import read


@helper
def inverse_gradient(
    a: Vector, b: Vector, c: Vector, moment_xx: Vector, moment_xy: Vector, moment_yy: Vector
) -> tuple[Vector, Vector, Vector]:
    """Twice d loss / d covariance (xx, xy, yy), from the moments of v and the inverse covariance (a, b, c).

    ln(alpha) holds -(a dx^2 + 2 b dx dy + c dy^2) / 2, and d(C^-1) = -C^-1 dC C^-1.
    """
    left_xx, left_xy = a * moment_xx + b * moment_xy, a * moment_xy + b * moment_yy
    left_yx, left_yy = b * moment_xx + c * moment_xy, b * moment_xy + c * moment_yy
    return left_xx * a + left_xy * b, left_xx * b + left_xy * c, left_yx * b + left_yy * c


@helper
def screen_axes_gradient(xx: Vector, xy: Vector, yy: Vector, p: ScreenAxes) -> ScreenAxes:
    """d loss / d P, from twice d loss / d (P P^T)."""
    return ScreenAxes(
        xx * p.x0 + xy * p.y0,
        xx * p.x1 + xy * p.y1,
        xx * p.x2 + xy * p.y2,
        xy * p.x0 + yy * p.y0,
        xy * p.x1 + yy * p.y1,
        xy * p.x2 + yy * p.y2,
    )


@helper
def camera_axes_gradient(j: Jacobian, d: ScreenAxes) -> Matrix:
    """d loss / d M = J^T d loss / d P."""
    return Matrix(
        j.xx * d.x0,
        j.xx * d.x1,
        j.xx * d.x2,
        j.yy * d.y0,
        j.yy * d.y1,
        j.yy * d.y2,
        j.xz * d.x0 + j.yz * d.y0,
        j.xz * d.x1 + j.yz * d.y1,
        j.xz * d.x2 + j.yz * d.y2,
    )


@helper
def position_gradient(
    camera: Array, j: Jacobian, m: Matrix, d: ScreenAxes, x: Vector, y: Vector, inverse_z: Vector,
    mean_x: Vector, mean_y: Vector, depth: Vector
) -> tuple[Vector, Vector, Vector]:  # fmt: skip
    """d loss / d camera-space position, through J, the pixel position (gradient mean_x, mean_y) and the depth."""
    focal_x, focal_y = read(camera, layout.FOCAL_X), read(camera, layout.FOCAL_Y)
    grad_xx = d.x0 * m.m00 + d.x1 * m.m01 + d.x2 * m.m02
    grad_xz = d.x0 * m.m20 + d.x1 * m.m21 + d.x2 * m.m22
    grad_yy = d.y0 * m.m10 + d.y1 * m.m11 + d.y2 * m.m12
    grad_yz = d.y0 * m.m20 + d.y1 * m.m21 + d.y2 * m.m22
    slope_x, slope_y, inverse_z2 = x * inverse_z, y * inverse_z, inverse_z * inverse_z
    through_x = focal_x * grad_xz * inverse_z2
    through_y = focal_y * grad_yz * inverse_z2
    along_x = select(slope_x == j.slope_x, through_x, 0.0)  # zero where the slope was limited
    along_y = select(slope_y == j.slope_y, through_y, 0.0)
    grad_z = depth - (mean_x * focal_x * slope_x + mean_y * focal_y * slope_y) * inverse_z
    grad_z = grad_z - (grad_xx * focal_x + grad_yy * focal_y) * inverse_z2
    grad_z = grad_z + through_x * j.slope_x + through_y * j.slope_y + along_x * slope_x + along_y * slope_y
    return mean_x * focal_x * inverse_z - along_x, mean_y * focal_y * inverse_z - along_y, grad_z


@helper
def to_world(camera: Array, d: Matrix) -> Matrix:
    """R^T times a matrix."""
    return Matrix(
        rotate_back(camera, 0, d.m00, d.m10, d.m20),
        rotate_back(camera, 0, d.m01, d.m11, d.m21),
        rotate_back(camera, 0, d.m02, d.m12, d.m22),
        rotate_back(camera, 1, d.m00, d.m10, d.m20),
        rotate_back(camera, 1, d.m01, d.m11, d.m21),
        rotate_back(camera, 1, d.m02, d.m12, d.m22),
        rotate_back(camera, 2, d.m00, d.m10, d.m20),
        rotate_back(camera, 2, d.m01, d.m11, d.m21),
        rotate_back(camera, 2, d.m02, d.m12, d.m22),
    )


@helper
def scales_gradient(rotation: Matrix, d: Matrix) -> tuple[Vector, Vector, Vector]:
    """d loss / d scales, from d loss / d (Q S)."""
    return (
        d.m00 * rotation.m00 + d.m10 * rotation.m10 + d.m20 * rotation.m20,
        d.m01 * rotation.m01 + d.m11 * rotation.m11 + d.m21 * rotation.m21,
        d.m02 * rotation.m02 + d.m12 * rotation.m12 + d.m22 * rotation.m22,
    )


@helper
def scale_columns(m: Matrix, s0: Vector, s1: Vector, s2: Vector) -> Matrix:
    """A matrix times a diagonal one."""
    return Matrix(
        m.m00 * s0, m.m01 * s1, m.m02 * s2, m.m10 * s0, m.m11 * s1, m.m12 * s2, m.m20 * s0, m.m21 * s1, m.m22 * s2
    )


@helper
def quaternion_gradient(q: Quaternion, d: Matrix) -> tuple[Vector, Vector, Vector, Vector]:
    """d loss / d unnormalised quaternion, from d loss / d rotation matrix."""
    w, x, y, z = q.w, q.x, q.y, q.z
    skew_x, skew_y, skew_z = d.m21 - d.m12, d.m02 - d.m20, d.m10 - d.m01
    both_xy, both_xz, both_yz = d.m01 + d.m10, d.m02 + d.m20, d.m12 + d.m21
    grad_w = 2.0 * (x * skew_x + y * skew_y + z * skew_z)
    grad_x = 2.0 * (w * skew_x + y * both_xy + z * both_xz - 2.0 * x * (d.m11 + d.m22))
    grad_y = 2.0 * (w * skew_y + x * both_xy + z * both_yz - 2.0 * y * (d.m00 + d.m22))
    grad_z = 2.0 * (w * skew_z + x * both_xz + y * both_yz - 2.0 * z * (d.m00 + d.m11))
    radial = grad_w * w + grad_x * x + grad_y * y + grad_z * z
    n = q.inverse_norm
    return (grad_w - radial * w) * n, (grad_x - radial * x) * n, (grad_y - radial * y) * n, (grad_z - radial * z) * n


@helper
def times_transposed(left: Matrix, right: Matrix) -> Matrix:
    """left times the transpose of right."""
    return Matrix(
        left.m00 * right.m00 + left.m01 * right.m01 + left.m02 * right.m02,
        left.m00 * right.m10 + left.m01 * right.m11 + left.m02 * right.m12,
        left.m00 * right.m20 + left.m01 * right.m21 + left.m02 * right.m22,
        left.m10 * right.m00 + left.m11 * right.m01 + left.m12 * right.m02,
        left.m10 * right.m10 + left.m11 * right.m11 + left.m12 * right.m12,
        left.m10 * right.m20 + left.m11 * right.m21 + left.m12 * right.m22,
        left.m20 * right.m00 + left.m21 * right.m01 + left.m22 * right.m02,
        left.m20 * right.m10 + left.m21 * right.m11 + left.m22 * right.m12,
        left.m20 * right.m20 + left.m21 * right.m21 + left.m22 * right.m22,
    )
