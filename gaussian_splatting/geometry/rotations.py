"""Rotations as quaternions (w, x, y, z) and as matrices, and the covariances they build."""

from __future__ import annotations

import torch
from torch import Tensor


def normalize_quaternion(quaternion: Tensor) -> Tensor:
    """The unit quaternion [..., 4] in the direction of `quaternion`; a zero quaternion becomes the identity.

    Any length works, also one whose square would underflow. A zero quaternion, or one of denormal numbers, whose
    gradient would overflow, gets a zero gradient.
    """
    # A rotation does not depend on the length, so dividing by a constant first leaves the gradient exact.
    largest = quaternion.detach().abs().amax(dim=-1, keepdim=True)
    zero = has_no_direction(quaternion)[..., None]
    scaled = quaternion / torch.where(zero, 1.0, largest)
    squared = (scaled * scaled).sum(dim=-1, keepdim=True)
    unit = scaled / torch.where(zero, 1.0, squared).sqrt()
    return torch.where(zero, _identity_like(quaternion), unit)


def has_no_direction(quaternion: Tensor) -> Tensor:
    """Whether a quaternion [..., 4] is zero, or of denormal numbers."""
    return quaternion.detach().abs().amax(dim=-1) < torch.finfo(quaternion.dtype).tiny


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """The rotation matrix [..., 3, 3] of `quaternion` [..., 4], which is normalised first."""
    w, x, y, z = normalize_quaternion(quaternion).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


# The name that 3DGS code uses.
build_rotation = quaternion_to_matrix


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """The unit quaternion [..., 4] with w >= 0 of the rotation `matrix` [..., 3, 3].

    Accurate for every angle: of the four algebraically equal formulas, the one that divides by the largest number is
    taken (Shepperd 1978).
    """
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = (row.unbind(-1) for row in matrix.unbind(-2))
    # Row i is the quaternion times four times its own i-th component.
    candidates = torch.stack([
        torch.stack([1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01], dim=-1),
        torch.stack([r21 - r12, 1 + r00 - r11 - r22, r10 + r01, r02 + r20], dim=-1),
        torch.stack([r02 - r20, r10 + r01, 1 - r00 + r11 - r22, r21 + r12], dim=-1),
        torch.stack([r10 - r01, r02 + r20, r21 + r12, 1 - r00 - r11 + r22], dim=-1),
    ], dim=-2)  # [..., 4, 4]  # fmt: skip
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)  # [...]
    chosen = candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return standardize_quaternion(normalize_quaternion(chosen))


def standardize_quaternion(quaternion: Tensor) -> Tensor:
    """Of the two quaternions [..., 4] of a rotation, the one with w >= 0."""
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_raw_multiply(first: Tensor, second: Tensor) -> Tensor:
    """The Hamilton product [..., 4]: the rotation `second` followed by `first`. Nothing is normalised."""
    aw, ax, ay, az = first.unbind(-1)
    bw, bx, by, bz = second.unbind(-1)
    product = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return torch.stack(product, dim=-1)


def build_scaling_rotation(scales: Tensor, quaternion: Tensor) -> Tensor:
    """R S [..., 3, 3] of `scales` [..., 3] and a raw `quaternion` [..., 4]: a factor of the covariance."""
    return quaternion_to_matrix(quaternion) * scales[..., None, :]


def strip_symmetric(matrix: Tensor) -> Tensor:
    """The upper triangle (xx, xy, xz, yy, yz, zz) [..., 6] of symmetric matrices [..., 3, 3]."""
    rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    return matrix[..., rows, columns]


def build_covariance_from_scaling_rotation(scaling: Tensor, scaling_modifier: float, rotation: Tensor) -> Tensor:
    """Covariances R S S^T R^T as upper triangles [N, 6] (xx, xy, xz, yy, yz, zz)."""
    factor = build_scaling_rotation(scaling_modifier * scaling, rotation)
    return strip_symmetric(factor @ factor.transpose(1, 2))


def _identity_like(quaternion: Tensor) -> Tensor:
    identity = torch.zeros_like(quaternion)
    identity[..., 0] = 1
    return identity
