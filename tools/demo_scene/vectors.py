"""Three-vectors as tuples for the compiled code: the compiler keeps them in registers."""

from __future__ import annotations

import math

from numba import njit


@njit(inline="always")
def dot(a, b):
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(inline="always")
def add_scaled(a, scale, b):
    """`a + scale * b`."""
    return (a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2])


@njit(inline="always")
def scaled(scale, a):
    """`scale * a`."""
    return (scale * a[0], scale * a[1], scale * a[2])


@njit(inline="always")
def product(a, b):
    """Component by component."""
    return (a[0] * b[0], a[1] * b[1], a[2] * b[2])


@njit(inline="always")
def normalised(a):
    """The unit vector along `a`."""
    return scaled(1.0 / math.sqrt(dot(a, a)), a)


@njit(inline="always")
def row(array, index):
    """One row of an [N, 3] array."""
    return (array[index, 0], array[index, 1], array[index, 2])


@njit(inline="always")
def rotated_back(rotation, a):
    """`rotation.T @ a` for a matrix [3, 3]."""
    return (
        rotation[0, 0] * a[0] + rotation[1, 0] * a[1] + rotation[2, 0] * a[2],
        rotation[0, 1] * a[0] + rotation[1, 1] * a[1] + rotation[2, 1] * a[2],
        rotation[0, 2] * a[0] + rotation[1, 2] * a[1] + rotation[2, 2] * a[2],
    )


@njit(inline="always")
def tangents(n):
    """Two unit vectors that complete `n` to a frame (Duff et al., JCGT 2017, without branches)."""
    sign = math.copysign(1.0, n[2])
    a = -1.0 / (sign + n[2])
    b = n[0] * n[1] * a
    return (1.0 + sign * n[0] * n[0] * a, sign * b, -sign * n[0]), (b, sign + n[1] * n[1] * a, -n[1])
