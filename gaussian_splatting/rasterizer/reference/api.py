"""The two functions of a backend, put together from projection, shading and blending."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.arguments import check_background, check_modes, check_shapes, refuse_gsplat_only
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.reference.blending import blend
from gaussian_splatting.rasterizer.reference.layout import Layout
from gaussian_splatting.rasterizer.reference.projection import Lens, covariances_of, project
from gaussian_splatting.rasterizer.reference.shading import features, finish, view_colors


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
    **gsplat_only: object,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians from C cameras, with the arguments and the results of `gsplat.rasterization`.

    Gives the pictures [C, H, W, X], the alphas [C, H, W, 1] and `meta`, which has gsplat's keys except those of its
    tile lists (`isect_ids`, `isect_offsets`, `flatten_ids`, `tiles_per_gauss`). After a backward pass
    `meta["means2d"].grad` is in pixels, and `.absgrad` is there when asked for. `tile_size` and `channel_chunk` do not
    change the result. What is not supported is a BackendError that names it.
    """
    check_modes("reference", render_mode, rasterize_mode, camera_model, sparse_grad)
    refuse_gsplat_only("reference", gsplat_only)
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, sh_degree)
    check_background(backgrounds, len(viewmats), 3 if sh_degree is not None else colors.shape[-1])
    options = (width, height, near_plane, far_plane, eps2d, radius_clip, rasterize_mode == "antialiased")

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        covariances = covariances_of(scales[ids], quats[ids]) if covars is None else covars[ids]
        return means[ids], covariances, opacities[ids]

    views = [(viewmat, Lens(K, *options)) for viewmat, K in zip(viewmats, Ks, strict=True)]
    seen = [project(means, take, *view) for view in views]
    visible = [ellipses.ids for ellipses in seen]
    layout = Layout.packed(visible) if packed else Layout.dense(visible, len(means))
    means2d, seen = layout.hold_positions(seen)
    sums = torch.zeros_like(means2d) if absgrad else None
    if sums is not None:
        means2d.absgrad = sums  # pyright: ignore[reportAttributeAccessIssue]
    centres = torch.linalg.inv(viewmats)[:, :3, 3]
    per_camera = colors.ndim == (3 if sh_degree is None else 4)
    pictures, alphas = [], []
    for index, ellipses in enumerate(seen):
        ids = ellipses.ids
        chosen = (colors[index] if per_camera else colors)[ids]
        shades = view_colors(chosen, means[ids], centres[index], sh_degree)
        record = None if sums is None else (sums.view(-1, 2), layout.rows[index])
        blended = blend(ellipses, features(shades, ellipses.depths, render_mode), width, height, record)
        picture, alpha = finish(blended, None if backgrounds is None else backgrounds[index], render_mode)
        pictures.append(picture)
        alphas.append(alpha)
    meta = layout.meta(seen) | {"means2d": means2d, "n_batches": 1, "n_cameras": len(viewmats)}
    meta |= {"width": width, "height": height, "tile_size": tile_size}
    meta |= {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    return torch.stack(pictures), torch.stack(alphas), meta


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters from one view; differentiable in all of them, in the pose and in the intrinsics."""
    means = parameters.means
    planes = (view.near_plane, view.far_plane)
    lens = Lens(view.K, view.width, view.height, *planes, view.eps2d, view.radius_clip, view.antialiased)

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Rows first, activations second: a scale that overflows but is not visible must not give 0 * inf.
        scales = parameters.log_scales[ids].exp() * view.scale_modifier
        return means[ids], covariances_of(scales, parameters.quats[ids]), parameters.opacity_logits[ids, 0].sigmoid()

    ellipses = project(means, take, view.viewmat, lens)
    layout = Layout((len(means),), [ellipses.ids])
    means2d, (ellipses,) = layout.hold_positions([ellipses])
    record = None
    if view.absgrad and means2d.requires_grad:
        sums = torch.zeros_like(means2d)
        means2d.absgrad = sums  # pyright: ignore[reportAttributeAccessIssue]
        record = sums, layout.rows[0]
    ids, depths = ellipses.ids, ellipses.depths[:, None]
    coefficients = torch.cat([parameters.features_dc[ids], parameters.features_rest[ids]], dim=1)
    centre = -view.viewmat[:3, :3].T @ view.viewmat[:3, 3]  # by contract the pose is rigid
    colors = view_colors(coefficients, means[ids], centre, view.sh_degree)
    blended = blend(ellipses, torch.cat([colors, depths, 1 / depths], dim=-1), view.width, view.height, record)
    color, depth, inverse_depth, transmittance = blended.split([3, 1, 1, 1], dim=-1)
    alphas = 1 - transmittance
    return RasterOutput(
        colors=color + transmittance * view.background,
        alphas=alphas[..., 0],
        depth=(depth / alphas.clamp_min(1e-10))[..., 0],
        inverse_depth=inverse_depth[..., 0],
        radii=layout.arrange([ellipses.radii.amax(dim=-1)]),
        means2d=means2d,
    )
