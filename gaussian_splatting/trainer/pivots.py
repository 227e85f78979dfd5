"""The point that each camera turns about while its pose is trained.

A camera that turns on the spot and one that moves sideways change their pictures alike, and an optimiser that knows
both moves as separate coordinates creeps along the valley between them. A turn about a point in the middle of what the
camera sees leaves the picture in place, and the two moves come apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset

MOST_POINTS = 10_000


@torch.no_grad()
def pivots_of(dataset: CameraDataset, points: Tensor) -> Tensor:
    """For each of C cameras the point [C, 3] on its axis at the median depth of those `points` [N, 3] that it sees.

    A camera that sees none turns on the spot.
    """
    points = points.detach()[:: max(1, len(points) // MOST_POINTS)]
    return torch.stack([_pivot(dataset.geometry(index), points) for index in range(len(dataset))])


def _pivot(camera: Camera, points: Tensor) -> Tensor:
    local = points @ camera.R.T + camera.T  # [N, 3] camera axes
    pixels = local @ camera.K.T
    x, y, z = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2], local[:, 2]
    seen = (z > 0) & (x > 0) & (x < camera.image_width) & (y > 0) & (y < camera.image_height)
    depth = z[seen].median() if bool(seen.any()) else z.new_zeros(())
    return camera.camera_center + depth * camera.R[2]
