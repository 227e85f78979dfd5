"""Coloured points from a rendered view and its inverse depth."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussian_splatting.camera import Camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.projection import unproject


class PointCloud(NamedTuple):
    """Points [M, 3] and their colours [M, 3] in [0, 1]."""

    points: Tensor
    colors: Tensor

    def in_world(self, camera: Camera) -> PointCloud:
        """The points of this camera's frame in world coordinates."""
        return PointCloud((self.points - camera.T.to(self.points)) @ camera.R.to(self.points), self.colors)


def build_pcd(color: Tensor, invdepth: Tensor, mask: Tensor | None, K: Tensor) -> PointCloud:
    """Points in the camera's frame from a picture [3, H, W] and its inverse depth [1, H, W].

    A point lies on the ray through the centre of its pixel. Pixels with an inverse depth of 0, or outside the mask
    [H, W], give no point.
    """
    inverse = invdepth.reshape(invdepth.shape[-2:])
    valid = inverse > 0
    if mask is not None:
        valid &= mask.reshape(inverse.shape) > 0.5
    points = unproject(GaussianModel.inverse_depth(inverse), K)  # [H, W, 3]
    return PointCloud(points[valid], color.permute(1, 2, 0)[valid])


def build_pcd_rescale(
    color: Tensor,
    color_gt: Tensor,
    invdepth: Tensor,
    invdepth_gt: Tensor,
    mask: Tensor | None,
    K: Tensor,
    rescale_depth_gt: bool = True,
) -> tuple[PointCloud, PointCloud, Tensor]:
    """The points of a render, those of its depth map, and that depth map [H, W] in the units of the render.

    Depth maps from monocular networks have a free scale and shift: unless told otherwise, the map is given the mean and
    the standard deviation that the render has over the valid pixels.
    """
    rendered = invdepth.reshape(invdepth.shape[-2:])
    given = invdepth_gt.reshape(rendered.shape).to(rendered)
    if rescale_depth_gt:
        given = matched(given, rendered, mask)
    return build_pcd(color, rendered, mask, K), build_pcd(color_gt, given, mask, K), given


def matched(values: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """`values` [H, W] shifted and scaled to the mean and standard deviation of `target` over the valid pixels."""
    valid = torch.ones_like(target, dtype=torch.bool) if mask is None else mask.reshape(target.shape) > 0.5
    valid &= torch.isfinite(values) & torch.isfinite(target)
    if int(valid.sum()) < 2:
        return values
    spread = values[valid].std().clamp_min(torch.finfo(values.dtype).eps)
    return (values - values[valid].mean()) / spread * target[valid].std() + target[valid].mean()
