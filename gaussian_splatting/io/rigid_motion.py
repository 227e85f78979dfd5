"""Gaussians moved as one body: positions, orientations, sizes, and the spherical harmonics that turn with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.gaussian_arrays import Floats, GaussianArrays
from gaussian_splatting.io.quantised import gaussians_from, unit_quaternions

_MOST_DEGREE = 4


def moved(
    gaussians: GaussianArrays, rotation: NDArray[np.float64], scale: float, translation: NDArray[np.float64]
) -> GaussianArrays:
    """The Gaussians at `scale * rotation @ position + translation`, with a rotation matrix [3, 3] and scale > 0.

    The picture of a camera that is moved along stays the same: view-dependent colours turn too.
    """
    turn = matrix_to_quaternion(rotation)
    unit = unit_quaternions(gaussians.rotation).astype(np.float64)
    return gaussians_from(
        (gaussians.xyz.astype(np.float64) @ rotation.T * scale + translation).astype(np.float32),
        gaussians.features_dc,
        rotated_harmonics(gaussians.features_rest, rotation),
        gaussians.opacity,
        gaussians.scaling + np.float32(np.log(scale)),
        _product(turn, unit).astype(np.float32),
    )


def rotated_harmonics(features_rest: Floats, rotation: NDArray[np.float64]) -> Floats:  # [N, K-1, 3]
    """Coefficients of the function that is turned: its value at `rotation @ d` is the old value at `d`."""
    turned = np.empty_like(features_rest)
    start, degree = 0, 1
    for matrix in band_rotations(rotation, _MOST_DEGREE):
        stop = start + 2 * degree + 1
        if stop > features_rest.shape[1]:
            break
        turned[:, start:stop] = np.einsum("ij,njc->nic", matrix.astype(np.float32), features_rest[:, start:stop])
        start, degree = stop, degree + 1
    return turned


def band_rotations(rotation: NDArray[np.float64], degree: int) -> list[NDArray[np.float64]]:
    """The matrices [2 l + 1, 2 l + 1] that turn the coefficients of degree l = 1 … `degree`.

    By the recursion of Ivanic and Ruedenberg (J. Phys. Chem. 1996, 100, 6342, with the additions of 1998), in the signs
    of 3DGS files.
    """
    order = [1, 2, 0]  # y, z, x
    first = rotation[np.ix_(order, order)]
    bands = [first]
    for band in range(2, degree + 1):
        bands.append(_next_band(first, bands[-1], band))
    return [_with_phase(matrix) for matrix in bands]


def _with_phase(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the harmonics of the paper, (y, z, x) in degree 1, to those of the files, (-y, z, -x)."""
    half = len(matrix) // 2
    phase = np.array([(-1.0) ** m for m in range(-half, half + 1)])
    return phase[:, None] * matrix * phase[None, :]


def _next_band(first: NDArray[np.float64], before: NDArray[np.float64], band: int) -> NDArray[np.float64]:
    size = 2 * band + 1
    matrix = np.zeros((size, size))
    for m in range(-band, band + 1):
        for n in range(-band, band + 1):
            matrix[m + band, n + band] = _entry(first, before, band, m, n)
    return matrix


def _entry(first: NDArray[np.float64], before: NDArray[np.float64], band: int, m: int, n: int) -> float:
    def product(i: int, mu: int) -> float:
        """P of the paper: an entry of the first band times one of the band before."""
        row, column = first[i + 1], before[mu + band - 1]
        if n == band:
            return row[2] * column[2 * band - 2] - row[0] * column[0]
        if n == -band:
            return row[2] * column[0] + row[0] * column[2 * band - 2]
        return row[1] * column[n + band - 1]

    width = (band + n) * (band - n) if abs(n) < band else 2 * band * (2 * band - 1)
    zero, size = int(m == 0), abs(m)
    u = np.sqrt((band + m) * (band - m) / width)
    v = np.sqrt((1 + zero) * (band + size - 1) * (band + size) / width) / 2 * (1 - 2 * zero)
    w = -np.sqrt(max((band - size - 1) * (band - size), 0) / width) / 2 * (1 - zero)
    total = u * product(0, m) if u else 0.0
    total += v * _second_term(product, m) if v else 0.0
    total += w * _third_term(product, m) if w else 0.0
    return float(total)


def _second_term(product: Callable[[int, int], float], m: int) -> float:
    one = int(abs(m) == 1)
    if m == 0:
        return product(1, 1) + product(-1, -1)
    if m > 0:
        return product(1, m - 1) * np.sqrt(1 + one) - product(-1, 1 - m) * (1 - one)
    return product(1, m + 1) * (1 - one) + product(-1, -m - 1) * np.sqrt(1 + one)


def _third_term(product: Callable[[int, int], float], m: int) -> float:
    if m > 0:
        return product(1, m + 1) + product(-1, -m - 1)
    return product(1, m - 1) - product(-1, 1 - m)


def matrix_to_quaternion(matrix: NDArray[np.float64]) -> NDArray[np.float64]:  # [3, 3] -> [4]
    """The unit quaternion wxyz of a rotation matrix (the eigenvector of Bar-Itzhack 2000: accurate at every angle)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = matrix
    symmetric = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return -quaternion if quaternion[0] < 0 else quaternion


def _product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:  # [4], [N, 4] -> [N, 4]
    """Hamilton products: the rotation `second`, then `first`."""
    w, x, y, z = first
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return second @ left.T
