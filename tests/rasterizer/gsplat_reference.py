"""What `gsplat.rasterization` is, put together from gsplat's own PyTorch functions in float64.

gsplat 1.5.3 has the projection, the harmonics and the covariances in PyTorch (`gsplat.cuda._torch_impl`). Its blending
in PyTorch needs CUDA to find the pixels of each Gaussian; here all pixels are tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from gsplat.cuda._torch_impl import (
    _fully_fused_projection,
    _isect_offset_encode,
    _isect_tiles,
    _quat_scale_to_covar_preci,
    _spherical_harmonics,
)
from torch import Tensor

KNIFE_EDGE = 3e-5  # relative distance to a threshold within which float32 may decide either way
ALPHA, MAX_ALPHA, TRANSMITTANCE = 1 / 255, 0.999, 1e-4


@dataclass
class Result:
    """Pictures, alphas, projected values [..., C, N, X] with zeros where culled, and pixels that are hard to decide."""

    picture: Tensor
    alphas: Tensor
    meta: dict[str, Tensor]
    edges: Tensor  # [..., C, H, W]
    offsets: list[Tensor] = field(default_factory=list)  # per view [P, M, 2], for absolute gradients

    def absgrad(self) -> Tensor:
        """Sums over pixels of the absolute gradients by screen positions [..., C, N, 2], after a backward pass."""
        shape = self.meta["means2d"].shape
        views = zip(self.offsets, self.meta["radii"].reshape(-1, *shape[-2:]), strict=True)
        sums = torch.zeros(len(self.offsets), *shape[-2:], dtype=torch.float64)
        for own, (offsets, radii) in zip(sums, views, strict=True):
            if offsets.grad is not None:
                own[(radii > 0).all(-1)] = offsets.grad.abs().sum(0)
        return sums.reshape(shape)


def rasterization(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, far_plane=1e10,
    radius_clip=0.0, eps2d=0.3, sh_degree=None, backgrounds=None, render_mode="RGB", rasterize_mode="classic",
    camera_model="pinhole", covars=None,
) -> Result:  # fmt: skip
    """As `gsplat.rasterization`."""
    if covars is None:
        covars = _quat_scale_to_covar_preci(quats, scales, True, False)[0]
    else:  # `gsplat.rasterization` reads the upper triangle
        covars = covars.triu() + covars.triu(1).mT
    antialiased = rasterize_mode == "antialiased"
    radii, means2d, depths, conics, compensations = _fully_fused_projection(
        means, covars, viewmats, Ks, width, height, eps2d, near_plane, far_plane, antialiased, camera_model
    )
    opacities = opacities[..., None, :].expand(depths.shape)
    opacities = opacities if compensations is None else opacities * compensations
    radii = tight_radii(radii, conics.detach(), opacities.detach(), means2d.detach(), radius_clip, width, height)
    num_batch_dims = means.dim() - 2
    if sh_degree is None:
        shades = colors if colors.dim() == num_batch_dims + 3 else colors[..., None, :, :]
        shades = shades.expand(*depths.shape, shades.shape[-1])
    else:
        towards = means[..., None, :, :] - torch.inverse(viewmats)[..., None, :3, 3]
        shs = colors if colors.dim() == num_batch_dims + 4 else colors[..., None, :, :, :]
        shs = shs.expand(*depths.shape, *shs.shape[-2:])
        shades = (_spherical_harmonics(sh_degree, towards, shs) + 0.5).clamp_min(0)
    channels = [shades] if render_mode.startswith("RGB") else []
    behind = backgrounds if render_mode.startswith("RGB") else None
    if render_mode.endswith("D"):
        channels.append(depths[..., None])
        behind = None if behind is None else torch.cat([behind, torch.zeros_like(behind[..., :1])], -1)
    features = torch.cat(channels, -1)
    result = blend_views(means2d, conics, opacities, features, radii, depths, behind, width, height)
    if render_mode.endswith("ED"):
        depth = result.picture[..., -1:] / result.alphas.clamp_min(1e-10)
        result.picture = torch.cat([result.picture[..., :-1], depth], -1)
    result.meta = {"radii": radii, "means2d": means2d, "depths": depths, "conics": conics, "opacities": opacities}
    return result


def tight_radii(radii, conics, opacities, means2d, radius_clip, width, height) -> Tensor:
    """gsplat's CUDA code, unlike its PyTorch code, bounds by opacity and clips small radii."""
    covariance = torch.linalg.inv(conics[..., [0, 1, 1, 2]].unflatten(-1, (2, 2)))
    extent = (2 * (opacities / ALPHA).clamp_min(1).log()).sqrt().clamp_max(3.33)
    tight = (extent[..., None] * covariance.diagonal(dim1=-2, dim2=-1).sqrt()).ceil()
    inside = ((means2d + tight > 0) & (means2d - tight < torch.tensor([width, height]))).all(-1)
    kept = (radii > 0).all(-1) & (opacities >= ALPHA) & (tight > radius_clip).any(-1) & inside & (tight > 0).all(-1)
    return torch.where(kept[..., None], tight, 0).int()


def blend_views(means2d, conics, opacities, features, radii, depths, backgrounds, width, height) -> Result:
    """Blend every view by trying every Gaussian on every pixel."""
    leading, num_views = depths.shape[:-1], depths[..., 0].numel()
    flat = [value.reshape(num_views, *value.shape[len(leading) :]) for value in (
        means2d, conics, opacities, features, radii, depths)]  # fmt: skip
    behind = None if backgrounds is None else backgrounds.reshape(num_views, -1)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).double().reshape(-1, 1, 2)
    pictures, alphas, edges, every = [], [], [], []
    for view, (means, conic, opacity, feature, radius, depth) in enumerate(zip(*flat, strict=True)):
        ids = (radius > 0).all(-1).nonzero()[:, 0]
        offsets = pixels - means[ids]
        if offsets.requires_grad:
            offsets.retain_grad()
        order = depth[ids].detach().argsort()
        near_in_depth = (depth[ids].detach()[order].diff() < 1e-6 * depth[ids].detach()[order][1:]).any()
        dx, dy = offsets[:, order].unbind(-1)
        a, b, c = conic[ids[order]].unbind(-1)
        alpha = opacity[ids[order]] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        limited = alpha.clamp_max(MAX_ALPHA)
        kept = torch.where(alpha >= ALPHA, limited, 0)
        after = (1 - kept).cumprod(-1)
        before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], -1)
        alive = after > TRANSMITTANCE
        weights = torch.where(alive, kept * before, 0)
        through = 1 - weights.sum(-1, keepdim=True)
        picture = weights @ feature[ids[order]]
        pictures.append(picture if behind is None else picture + through * behind[view])
        alphas.append(1 - through)
        matters = before > TRANSMITTANCE * (1 - KNIFE_EDGE)
        close = [(value / limit - 1).abs() < KNIFE_EDGE for value, limit in (
            (alpha, ALPHA), (alpha, MAX_ALPHA), (after, TRANSMITTANCE))]  # fmt: skip
        edges.append(((close[0] | close[1] | close[2]) & matters).any(-1) | near_in_depth)
        every.append(offsets)
    shape = (*leading, height, width)
    return Result(
        torch.stack(pictures).reshape(*shape, -1), torch.stack(alphas).reshape(*shape, 1), {},
        torch.stack(edges).reshape(shape), every
    )  # fmt: skip


def tile_lists(meta: dict, tile_size: int) -> tuple[Tensor, ...]:
    """gsplat's lists `tiles_per_gauss`, `isect_ids`, `flatten_ids` and `isect_offsets` of dense values."""
    columns, rows = meta["tile_width"], meta["tile_height"]
    means2d = meta["means2d"].detach()
    per_gauss, ids, flat = _isect_tiles(means2d, meta["radii"], meta["depths"].detach(), tile_size, columns, rows)
    offsets = _isect_offset_encode(ids, meta["n_batches"] * meta["n_cameras"], columns, rows)
    return per_gauss, ids, flat, offsets.reshape(*means2d.shape[:-2], rows, columns)
