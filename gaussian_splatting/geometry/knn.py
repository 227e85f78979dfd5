"""Distances between neighbouring points, from which the first sizes of the Gaussians are taken."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array

MIN_SQUARED_DISTANCE = 1e-7
NUM_NEIGHBOURS = 3


def mean_squared_neighbour_distance(points: Tensor) -> Tensor:
    """The mean squared distance [N] from each of `points` [N, 3] to its three nearest neighbours.

    Two or three points have one or two neighbours, and the mean is over those. A single point has no scale of its
    own and gets 1. Coincident points are neighbours at distance zero, and nothing falls below 1e-7, so that the
    logarithm of the result is finite; nor is anything above what the type of the points can hold. Points that are
    not finite, or no points at all, are a SceneError.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise SceneError(f"the points must be a tensor [N, 3] with N >= 1, found {list(points.shape)}")
    finite = torch.isfinite(points).all(dim=1)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        first = int((~finite).nonzero()[0])
        raise SceneError(
            f"{bad} of {len(points)} points are not finite, the first is number {first}: {points[first].tolist()}; "
            "remove them from the point cloud"
        )
    if len(points) == 1:
        return torch.ones_like(points[:, 0])
    # A point so far out that the square of its distance overflows is as large as can be, not infinite.
    return _query(points).clamp(MIN_SQUARED_DISTANCE, torch.finfo(points.dtype).max).to(points)


def _query(points: Tensor) -> Tensor:
    from scipy.spatial import KDTree

    coordinates = float64_array(points)
    neighbours = min(NUM_NEIGHBOURS, len(points) - 1)
    # The nearest point is the point itself, or one at the same place: at distance zero either way.
    distances, _ = KDTree(coordinates).query(coordinates, k=neighbours + 1, workers=-1)
    return torch.from_numpy((distances[:, 1:] ** 2).mean(axis=1))
