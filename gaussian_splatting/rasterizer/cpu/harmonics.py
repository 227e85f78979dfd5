"""Real spherical harmonics to degree 3, for sixteen directions at once.

The basis and its signs are those of the 3DGS PLY format. Evaluation after Peter-Pike Sloan, "Efficient Spherical
Harmonic Evaluation", JCGT 2013.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.cpu.jit import helper
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import Array, Vector, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import load16, store16

DEGREE_0 = 0.2820947917738781
DEGREE_1 = 0.48860251190292
XY, Z2, Z2_OFFSET, X2_Y2 = 1.092548430592079, 0.9461746957575601, 0.3153915652525201, 0.5462742152960395
Z3, Z3_OFFSET, XZ2, XZ2_OFFSET = 1.865881662950577, 1.119528997770346, 2.285228997322329, 0.4570457994644658
XYZ, X3 = 1.445305721320277, 0.5900435899266435
REST = 15
"""Coefficients per channel beyond the constant one."""


@helper
def store_basis(degree: int, x: Vector, y: Vector, z: Vector, basis: Array, at: int) -> None:
    """Write the values of the 15 functions beyond the constant one, one row of lanes each, zero above `degree`."""
    for row in range(LANES):
        store16(basis, at + row * LANES, splat(0.0))
    if degree >= 1:
        store16(basis, at + 0 * LANES, -DEGREE_1 * y)
        store16(basis, at + 1 * LANES, DEGREE_1 * z)
        store16(basis, at + 2 * LANES, -DEGREE_1 * x)
    if degree >= 2:
        cos2, sin2, xz = x * x - y * y, 2.0 * x * y, -XY * z
        store16(basis, at + 3 * LANES, X2_Y2 * sin2)
        store16(basis, at + 4 * LANES, xz * y)
        store16(basis, at + 5 * LANES, Z2 * z * z - Z2_OFFSET)
        store16(basis, at + 6 * LANES, xz * x)
        store16(basis, at + 7 * LANES, X2_Y2 * cos2)
    if degree >= 3:
        cos2, sin2, xz2, xyz = x * x - y * y, 2.0 * x * y, XZ2_OFFSET - XZ2 * z * z, XYZ * z
        store16(basis, at + 8 * LANES, -X3 * (x * sin2 + y * cos2))
        store16(basis, at + 9 * LANES, xyz * sin2)
        store16(basis, at + 10 * LANES, xz2 * y)
        store16(basis, at + 11 * LANES, z * (Z3 * z * z - Z3_OFFSET))
        store16(basis, at + 12 * LANES, xz2 * x)
        store16(basis, at + 13 * LANES, xyz * cos2)
        store16(basis, at + 14 * LANES, -X3 * (x * cos2 - y * sin2))


@helper
def direction_gradient(
    degree: int, x: Vector, y: Vector, z: Vector, weights: Array, at: int
) -> tuple[Vector, Vector, Vector]:
    """Gradient with respect to (x, y, z) of the sum over functions of weight times value; rows as in `store_basis`."""
    grad_x, grad_y, grad_z = splat(0.0), splat(0.0), splat(0.0)
    if degree >= 1:
        grad_x = -DEGREE_1 * load16(weights, at + 2 * LANES)
        grad_y = -DEGREE_1 * load16(weights, at + 0 * LANES)
        grad_z = DEGREE_1 * load16(weights, at + 1 * LANES)
    if degree >= 2:
        a, b, c = load16(weights, at + 3 * LANES), load16(weights, at + 4 * LANES), load16(weights, at + 5 * LANES)
        d, e = load16(weights, at + 6 * LANES), load16(weights, at + 7 * LANES)
        grad_x += 2.0 * X2_Y2 * (x * e + y * a) - XY * z * d
        grad_y += 2.0 * X2_Y2 * (x * a - y * e) - XY * z * b
        grad_z += 2.0 * Z2 * z * c - XY * (x * d + y * b)
    if degree >= 3:
        cos2, sin2, xz2 = x * x - y * y, 2.0 * x * y, XZ2_OFFSET - XZ2 * z * z
        a, b, c = load16(weights, at + 8 * LANES), load16(weights, at + 9 * LANES), load16(weights, at + 10 * LANES)
        d, e = load16(weights, at + 11 * LANES), load16(weights, at + 12 * LANES)
        f, g = load16(weights, at + 13 * LANES), load16(weights, at + 14 * LANES)
        grad_x += xz2 * e + 2.0 * XYZ * z * (x * f + y * b) - 3.0 * X3 * (g * cos2 + a * sin2)
        grad_y += xz2 * c + 2.0 * XYZ * z * (x * b - y * f) + 3.0 * X3 * (g * sin2 - a * cos2)
        grad_z += d * (3.0 * Z3 * z * z - Z3_OFFSET) - 2.0 * XZ2 * z * (x * e + y * c) + XYZ * (f * cos2 + b * sin2)
    return grad_x, grad_y, grad_z
