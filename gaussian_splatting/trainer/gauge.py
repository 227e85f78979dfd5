"""The gauge of a scene: what all cameras did together since the start, which no picture can tell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussian_splatting.geometry.rotations import (
    normalize_quaternion,
    quaternion_raw_multiply,
    quaternion_to_matrix,
    standardize_quaternion,
)


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
