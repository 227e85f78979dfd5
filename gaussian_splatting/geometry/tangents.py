"""Which way the surface runs through each of many points, told by their neighbours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.geometry.rotations import matrix_to_quaternion

NUM_NEIGHBOURS = 12
"""Enough to average the noise of sparse points, and near enough to follow an edge."""


def tangent_frames(points: Tensor) -> Tensor:
    """Unit quaternions [N, 4] that lay the first two axes into the surface through `points` [N, 3], the third across.

    The axes are those along which a point and its twelve nearest neighbours spread most, less and least (Hoppe et al.
    1992, section 3.1). Which side the third looks to is arbitrary. Fewer than four points have no surface: they, and
    points whose neighbours all lie at one place, get the identity.
    """
    identity = torch.zeros((len(points), 4), dtype=points.dtype, device=points.device)
    identity[:, 0] = 1
    if len(points) < 4:
        return identity
    spread, axes = (torch.from_numpy(values) for values in np.linalg.eigh(_covariances(points)))  # ascending
    across, along = axes[:, :, 0], axes[:, :, 2]
    frames = torch.stack((along, torch.linalg.cross(across, along), across), dim=-1)  # [N, 3, 3] right-handed
    flat = (spread[:, 2] > 0)[:, None].to(points.device)
    return torch.where(flat, matrix_to_quaternion(frames).to(points), identity)


def _covariances(points: Tensor) -> np.ndarray:
    """The covariance [N, 3, 3] of each point and its neighbours."""
    from scipy.spatial import KDTree

    coordinates = float64_array(points)
    _, neighbours = KDTree(coordinates).query(coordinates, k=min(NUM_NEIGHBOURS + 1, len(points)), workers=-1)
    around = coordinates[neighbours]  # [N, K, 3]
    around = around - around.mean(axis=1, keepdims=True)
    return np.einsum("nki,nkj->nij", around, around) / around.shape[1]
