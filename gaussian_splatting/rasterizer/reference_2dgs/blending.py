"""From ray transforms to pixels: front-to-back blending of surfels in differentiable PyTorch.

A ray meets the plane of a surfel at (u, v); the surfel weighs exp(-(u^2 + v^2) / 2) there, and never less than a
low-pass filter around the middle of its box (Huang et al. 2024, equations 10 and 11). What is skipped, clamped and
when a pixel stops is as for 3D Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.reference.blending import CHUNK, MAX_ALPHA, blend_weights, over_tiles
from gaussian_splatting.rasterizer.reference.projection import ALPHA_THRESHOLD
from gaussian_splatting.rasterizer.reference_2dgs.projection import Surfels

FILTER = 2.0  # the inverse variance of the low-pass filter, per square pixel
_FIXED = 16  # values of a surfel before its features: middle 2, rays 9, opacity, depth, normal 3


@dataclass(frozen=True)
class Maps:
    """What surfels show, [H, W, ...]."""

    blended: Tensor  # [H, W, F + 1] features, and the transmittance that is left
    normals: Tensor  # [H, W, 3] camera axes, blended
    distortion: Tensor  # [H, W]
    median: Tensor  # [H, W] depth of the last surfel that begins before half of the light is gone


def blend(surfels: Surfels, rays: Tensor, features: Tensor, size: tuple[int, int], tile: int) -> Maps:
    """Blend the `features` [M, F] of surfels with ray transforms `rays` [M, 3, 3] to a picture of `size`."""
    columns = [surfels.means2d, rays.flatten(1), surfels.opacities[:, None], surfels.depths[:, None], surfels.normals]
    splats = torch.cat([*columns, features], dim=-1)  # [M, 16 + F]
    picture = over_tiles(splats, surfels, *size, tile, _blend_tile)
    num = features.shape[1] + 1
    return Maps(picture[..., :num], picture[..., num : num + 3], picture[..., num + 3], picture[..., num + 4])


def _blend_tile(pixels: Tensor, splats: Tensor, ids: Tensor) -> Tensor:
    """Features, transmittance, normal, distortion and median depth [P, F + 6] at `pixels` [P, 2]."""
    transmittance = torch.ones_like(pixels[:, 0])
    stopped = torch.zeros_like(transmittance, dtype=torch.bool)
    depth_sum, distortion, median = (torch.zeros_like(transmittance) for _ in range(3))
    blended = splats.new_zeros(len(pixels), splats.shape[1] - _FIXED + 3)
    for chunk in splats.split(CHUNK):
        if len(chunk) == 0 or bool(stopped.all()):
            break
        alphas, depths = _alphas(pixels, chunk), chunk[:, 12]
        weights, before, transmittance, stopped = blend_weights(alphas, transmittance, stopped)
        blended = blended + weights @ chunk[:, 13:]
        weighted = weights * depths
        sums = depth_sum[:, None] + weighted.cumsum(dim=1)
        distortion = distortion + 2 * (weighted * (1 - before) - weights * (sums - weighted)).sum(dim=1)
        depth_sum = sums[:, -1]
        median = _median(weights, before, depths, median)
    normals, features = blended[:, :3], blended[:, 3:]
    rest = torch.stack([transmittance, *normals.unbind(-1), distortion, median], dim=-1)
    return torch.cat([features, rest], dim=-1)


def _median(weights: Tensor, before: Tensor, depths: Tensor, previous: Tensor) -> Tensor:
    """Depth [P] of the last surfel that contributes and has more than half of the light before it."""
    counts = (weights > 0) & (before > 0.5)  # [P, M]
    places = torch.arange(1, counts.shape[1] + 1, device=counts.device) * counts
    last = places.amax(dim=1)
    return torch.where(last > 0, depths[(last - 1).clamp_min(0)], previous)


def _alphas(pixels: Tensor, splats: Tensor) -> Tensor:
    """How much of each pixel each surfel covers [P, M], zero below the threshold."""
    rays = splats[:, 2:11].unflatten(1, (3, 3))  # [M, 3, 3]
    # The planes through the camera that show as the column and as the row of the pixel, in the surfel's coordinates.
    column = pixels[:, None, :1] * rays[:, 2] - rays[:, 0]  # [P, M, 3]
    row = pixels[:, None, 1:] * rays[:, 2] - rays[:, 1]
    u, v, w = torch.linalg.cross(column, row, dim=-1).unbind(-1)
    offsets = pixels[:, None] - splats[:, :2]
    filtered = FILTER * (offsets * offsets).sum(dim=-1)
    with torch.no_grad():
        meets = w != 0
        safe = torch.where(meets, w, 1)
        is_ray = meets & ((u / safe) ** 2 + (v / safe) ** 2 <= filtered)
    # Chosen before dividing: what overflows on the other way must not reach the gradient.
    u, v, w = (torch.where(is_ray, value, other) for value, other in ((u, 0), (v, 0), (w, 1)))
    distance = torch.where(is_ray, (u / w) ** 2 + (v / w) ** 2, filtered)
    alphas = (splats[:, 11] * torch.exp(-0.5 * distance)).clamp_max(MAX_ALPHA)
    return torch.where(meets & (alphas >= ALPHA_THRESHOLD), alphas, 0)
