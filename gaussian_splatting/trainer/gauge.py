"""The gauge of a scene: what all cameras did together since the start, which no picture can tell, and the way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gaussian_splatting.geometry.rotations import (
    matrix_to_quaternion,
    normalize_quaternion,
    quaternion_raw_multiply,
    quaternion_to_matrix,
    standardize_quaternion,
)
from gaussian_splatting.io.rigid_motion import band_rotations

if TYPE_CHECKING:
    from gaussian_splatting.gaussian_rows import GaussianRows

STILL = 1e-6
"""A common motion below this is rounding."""
_ROUNDS = 3


class Poses(NamedTuple):
    """The poses of C cameras, world to camera."""

    quaternions: Tensor  # [C, 4] wxyz, normalised on use
    translations: Tensor  # [C, 3]


def common_motion(poses: Poses, first: Poses, extent: float) -> Tensor:
    """The mean motion [7] of C cameras since their first poses: rotation, shift in extents, and growth. Differentiable.

    The rotation is in radians around the world axes, exact for small angles; all seven numbers are zero exactly when
    the cameras as a whole stayed in place.
    """
    now, before = normalize_quaternion(poses.quaternions), normalize_quaternion(first.quaternions)
    inverse = now * now.new_tensor([1.0, -1.0, -1.0, -1.0])
    turn = 2 * standardize_quaternion(quaternion_raw_multiply(inverse, before))[:, 1:]  # [C, 3]
    start = centres(before, first.translations)
    shift = (centres(now, poses.translations) - start) / extent  # [C, 3]
    arms = (start - start.mean(dim=0)) / extent
    growth = (arms * shift).sum() / (arms * arms).sum().clamp_min(torch.finfo(arms.dtype).eps)
    return torch.cat([turn.mean(dim=0), shift.mean(dim=0), growth[None]])


def centres(quaternions: Tensor, translations: Tensor) -> Tensor:
    """The camera centres [C, 3] of world-to-camera poses."""
    return -(quaternion_to_matrix(quaternions).transpose(1, 2) @ translations[..., None])[..., 0]


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + shift."""

    scale: float
    rotation: Tensor  # [3, 3]
    shift: Tensor  # [3]

    def points(self, values: Tensor) -> Tensor:
        """The points [N, 3] where they are moved to, in their own precision."""
        return self.scale * (values @ self.rotation.to(values).T) + self.shift.to(values)


@torch.no_grad()
def way_home(poses: Poses, first: Poses, extent: float) -> Similarity | None:
    """The similarity of the world that takes away the common motion of the cameras; none when they stayed in place.

    The mean motion is linear in small angles only, so that it is taken away in a few rounds.
    """
    first, now = (Poses(*(values.double() for values in each)) for each in (first, poses))
    middle = centres(normalize_quaternion(first.quaternions), first.translations).mean(dim=0)
    whole = Similarity(1.0, torch.eye(3).to(middle), torch.zeros_like(middle))
    if common_motion(now, first, extent).norm() < STILL:
        return None
    for _ in range(_ROUNDS):
        moved = moved_poses(now, whole)
        motion = common_motion(moved, first, extent)
        scale, rotation = 1 / (1 + float(motion[6])), rotation_of(-motion[:3])
        mean = centres(normalize_quaternion(moved.quaternions), moved.translations).mean(dim=0)
        shift = middle - scale * rotation @ mean
        whole = Similarity(scale * whole.scale, rotation @ whole.rotation, scale * rotation @ whole.shift + shift)
    return whole


def rotation_of(vector: Tensor) -> Tensor:
    """The rotation matrix [3, 3] about a vector [3] by its length in radians."""
    x, y, z = vector
    zero = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3))


def moved_poses(poses: Poses, motion: Similarity) -> Poses:
    """The poses of cameras that are moved along with the world; what they see keeps its place in their pictures."""
    quaternions, translations = (values.double() for values in poses)
    rotations = quaternion_to_matrix(normalize_quaternion(quaternions)) @ motion.rotation.T
    turned = matrix_to_quaternion(rotations)
    turned = torch.where((turned * quaternions).sum(dim=1, keepdim=True) < 0, -turned, turned)
    return Poses(turned, motion.scale * translations - rotations @ motion.shift)


@torch.no_grad()
def move_gaussians(rows: GaussianRows, motion: Similarity) -> None:
    """Move Gaussians, their sizes, orientations and view-dependent colours with the world, in place."""
    rows._xyz.copy_(motion.points(rows._xyz))
    rows._scaling.add_(math.log(motion.scale))
    turn = matrix_to_quaternion(motion.rotation[None]).to(rows._rotation)
    rows._rotation.copy_(quaternion_raw_multiply(turn, rows._rotation))
    rest = rows._features_rest
    bands = band_rotations(motion.rotation.cpu().numpy(), rows.max_sh_degree)[: rows.max_sh_degree]
    for degree, matrix in enumerate(bands, start=1):
        band = slice(degree**2 - 1, (degree + 1) ** 2 - 1)
        rest[:, band] = torch.from_numpy(matrix).to(rest) @ rest[:, band]
