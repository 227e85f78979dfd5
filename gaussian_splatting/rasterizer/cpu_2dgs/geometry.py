"""How a surfel shows on the picture, for sixteen at once: what projection and its gradient share.

The plane of a surfel is spanned by its axes t_0 and t_1 (camera axes, scaled) at the centre (x, y, z). With
a_j = f_x (t_jz x / z - t_jx), b_j = f_y (t_jz y / z - t_jy) and m_j = t_jz, a ray through the pixel at d from the
projected centre meets the plane at u = z (a_1 dy - b_1 dx) / w and v = z (b_0 dx - a_0 dy) / w with
w = (m_0 b_1 - m_1 b_0) dx + (a_0 m_1 - a_1 m_0) dy + a_0 b_1 - a_1 b_0. That is the cross product of Huang et al. 2024,
equation 10, relative to the centre, where nothing large cancels.
"""

from __future__ import annotations

from typing import NamedTuple

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.geometry import Matrix
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector
from gaussian_splatting.rasterizer.cpu.simd_memory import read
from gaussian_splatting.rasterizer.cpu_2dgs.jit import helper


class Plane(NamedTuple):
    """A surfel's plane as its projected centre sees it."""

    a0: Vector
    a1: Vector
    b0: Vector
    b1: Vector
    m0: Vector
    m1: Vector
    slope_x: Vector
    slope_y: Vector
    z: Vector


class Meeting(NamedTuple):
    """The coefficients of (u, v) = (U d, V d) / (W d + W_0)."""

    ux: Vector
    uy: Vector
    vx: Vector
    vy: Vector
    wx: Vector
    wy: Vector
    w0: Vector


class Outline(NamedTuple):
    """The picture of the circle of one standard deviation: its middle relative to the projected centre, and moments."""

    am: Vector
    bm: Vector
    inverse_front: Vector  # 1 / (z^2 - m.m): positive when the circle is in front of the camera


@helper
def screen_plane(camera: Array, axes: Matrix, x: Vector, y: Vector, z: Vector) -> Plane:
    """The plane spanned by the first two columns of `axes` at a point."""
    focal_x, focal_y = read(camera, layout.FOCAL_X), read(camera, layout.FOCAL_Y)
    inverse_z = 1.0 / z
    slope_x, slope_y = x * inverse_z, y * inverse_z
    return Plane(
        focal_x * (slope_x * axes.m20 - axes.m00),
        focal_x * (slope_x * axes.m21 - axes.m01),
        focal_y * (slope_y * axes.m20 - axes.m10),
        focal_y * (slope_y * axes.m21 - axes.m11),
        axes.m20,
        axes.m21,
        slope_x,
        slope_y,
        z,
    )


@helper
def meeting(camera: Array, axes: Matrix, s0: Vector, s1: Vector, p: Plane) -> Meeting:
    """Where rays meet the plane; `axes` has the first two columns scaled by s0 and s1, and the normal as the third."""
    # The same as a_0 b_1 - a_1 b_0, with more digits when the plane is seen edge-on.
    facing = axes.m02 * p.slope_x + axes.m12 * p.slope_y + axes.m22
    focal = read(camera, layout.FOCAL_X) * read(camera, layout.FOCAL_Y)
    return Meeting(
        -(p.z * p.b1),
        p.z * p.a1,
        p.z * p.b0,
        -(p.z * p.a0),
        p.m0 * p.b1 - p.m1 * p.b0,
        p.a0 * p.m1 - p.a1 * p.m0,
        (focal * s0) * s1 * facing,
    )


@helper
def outline(p: Plane) -> Outline:
    """The outline of one standard deviation."""
    front = p.z * p.z - (p.m0 * p.m0 + p.m1 * p.m1)
    return Outline(p.a0 * p.m0 + p.a1 * p.m1, p.b0 * p.m0 + p.b1 * p.m1, 1.0 / front)


@helper
def meeting_gradient(p: Plane, d: Meeting) -> Plane:
    """d loss / d plane, slopes left at zero, from d loss / d coefficients."""
    return Plane(
        p.m1 * d.wy + p.b1 * d.w0 - p.z * d.vy,
        p.z * d.uy - p.m0 * d.wy - p.b0 * d.w0,
        p.z * d.vx - p.m1 * d.wx - p.a1 * d.w0,
        p.m0 * d.wx + p.a0 * d.w0 - p.z * d.ux,
        p.b1 * d.wx - p.a1 * d.wy,
        p.a0 * d.wy - p.b0 * d.wx,
        0.0 * p.z,
        0.0 * p.z,
        p.a1 * d.uy - p.b1 * d.ux + p.b0 * d.vx - p.a0 * d.vy,
    )


@helper
def middle_gradient(p: Plane, o: Outline, middle_x: Vector, middle_y: Vector) -> Plane:
    """d loss / d plane, slopes left at zero, from that by the middle of the outline relative to the centre."""
    grad_am, grad_bm = middle_x * o.inverse_front, middle_y * o.inverse_front
    grad_front = -(grad_am * o.am + grad_bm * o.bm) * o.inverse_front
    return Plane(
        grad_am * p.m0,
        grad_am * p.m1,
        grad_bm * p.m0,
        grad_bm * p.m1,
        grad_am * p.a0 + grad_bm * p.b0 - 2.0 * p.m0 * grad_front,
        grad_am * p.a1 + grad_bm * p.b1 - 2.0 * p.m1 * grad_front,
        0.0 * p.z,
        0.0 * p.z,
        2.0 * p.z * grad_front,
    )
