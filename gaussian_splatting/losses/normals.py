"""Losses of surface splatting (2DGS, Huang et al. 2024): normals that agree with the depth, and thin surfaces."""

from __future__ import annotations

from torch import Tensor


def normal_consistency(normals: Tensor, normals_from_depth: Tensor, alpha: Tensor) -> Tensor:
    """The mean of 1 - n · m alpha over the picture: rendered normals against those of the depth map.

    Both are [3, H, W] in world axes, and `normals` is blended, so its length is the coverage; `alpha` [1, H, W] brings
    the other to the same length and gets no gradient.
    """
    expected = normals_from_depth * alpha.detach()
    return (1 - (normals * expected).sum(dim=-3)).mean()


def depth_distortion(distortion: Tensor) -> Tensor:
    """The mean [] of the rendered distortion map [1, H, W], the spread of the blended depths along each ray."""
    return distortion.mean()
