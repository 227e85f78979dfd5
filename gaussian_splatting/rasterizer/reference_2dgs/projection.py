"""From surfels in the world to ray transforms on the picture, in differentiable PyTorch.

A surfel is the plane spanned by its first two axes. The ray transform K W H [3, 3] takes a point (u, v, 1) of that
plane, in standard deviations, to (x z, y z, z) on the picture (Huang et al. 2024, equation 9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.reference.projection import Lens

MAX_EXTENT = 3.33  # standard deviations
MIN_VARIANCE = 1e-4  # square pixels
_LARGEST_RADIUS = 2.0**30

# Means [M, 3], rotations [M, 3, 3], scales [M, 3] and opacities [M] of the rows [M].
Take = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Surfels:
    """The M surfels that one camera sees."""

    ids: Tensor  # [M] their rows
    means2d: Tensor  # [M, 2] pixels, the middle of the bounding box
    rays: Tensor  # [M, 3, 3] ray transforms
    depths: Tensor  # [M] camera z of the centre
    normals: Tensor  # [M, 3] camera axes, towards the camera
    opacities: Tensor  # [M]
    radii: Tensor  # [M, 2] int32 half-sizes of the bounding box, pixels


def project(means: Tensor, take: Take, viewmat: Tensor, lens: Lens) -> Surfels:
    """Those of the surfels with `means` [N, 3] that are visible through `lens`; `take` gives their values.

    The others take no part in the graph, so that their gradients are exactly zero whatever their values are.
    """
    with torch.no_grad():
        z = means @ viewmat[2, :3] + viewmat[2, 3]
        ids = ((z > lens.near_plane) & (z < lens.far_plane)).nonzero()[:, 0]
        ids = ids[_visible(_surfels(ids, take, viewmat, lens), lens)]
    return _surfels(ids, take, viewmat, lens)


def _surfels(ids: Tensor, take: Take, viewmat: Tensor, lens: Lens) -> Surfels:
    means, rotations, scales, opacities = take(ids)
    points = means @ viewmat[:3, :3].T + viewmat[:3, 3]  # [M, 3]
    axes = viewmat[:3, :3] @ rotations  # [M, 3, 3] camera axes
    plane = torch.cat([axes[:, :, :2] * scales[:, None, :2], points[:, :, None]], dim=-1)  # [M, 3, 3]
    rays = lens.K @ plane
    means2d, half_sizes = _bounding_box(rays)
    normals = axes[:, :, 2]
    towards = torch.where((normals.detach() * points.detach()).sum(dim=-1) < 0, 1, -1)
    return Surfels(ids, means2d, rays, points[:, 2], normals * towards[:, None], opacities, _radii(half_sizes.detach()))


def _bounding_box(rays: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and half-size [M, 2] of the box around the outline of one standard deviation.

    A line x = p of the picture is the line p rays[2] - rays[0] of the plane; the two that touch the unit circle solve
    a quadratic equation in p.
    """
    signs = rays.new_tensor([1, 1, -1])
    distance = (rays[:, 2] * rays[:, 2] * signs).sum(dim=-1)  # [M]; 0: the camera plane touches the circle
    factors = (signs / distance[:, None])[:, None]  # [M, 1, 3]
    middle = (rays[:, :2] * rays[:, 2:] * factors).sum(dim=-1)
    variance = middle * middle - (rays[:, :2] * rays[:, :2] * factors).sum(dim=-1)
    return middle, variance.detach().clamp_min(MIN_VARIANCE).sqrt()


def _radii(half_sizes: Tensor) -> Tensor:
    radii = (MAX_EXTENT * half_sizes).ceil()
    usable = radii.isfinite().all(dim=-1, keepdim=True)
    return torch.where(usable, radii.clamp_max(_LARGEST_RADIUS), 0).to(torch.int32)


def _visible(surfels: Surfels, lens: Lens) -> Tensor:
    x, y = surfels.means2d.unbind(-1)
    radius_x, radius_y = surfels.radii.unbind(-1)
    large = (surfels.radii > lens.radius_clip).any(dim=-1)
    inside_x = (x + radius_x > 0) & (x - radius_x < lens.width)
    inside_y = (y + radius_y > 0) & (y - radius_y < lens.height)
    finite = surfels.rays.isfinite().flatten(1).all(dim=-1) & surfels.means2d.isfinite().all(dim=-1)
    return large & (surfels.radii > 0).all(dim=-1) & inside_x & inside_y & finite
