"""The functions of a 2DGS backend, put together from projection, shading and blending."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.arguments import check_background, check_shapes
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.reference.blending import TILE
from gaussian_splatting.rasterizer.reference.layout import Layout
from gaussian_splatting.rasterizer.reference.projection import Lens, rotations_of
from gaussian_splatting.rasterizer.reference.shading import features, finish, view_colors
from gaussian_splatting.rasterizer.reference_2dgs.blending import Maps, blend
from gaussian_splatting.rasterizer.reference_2dgs.projection import Surfels, project
from gaussian_splatting.rasterizer.surface import (
    check_surface_modes,
    check_surface_view,
    normals_from_depth,
    surface_extras,
    without_surface,
    world_normals,
)

NAME = "reference-2dgs"


def rasterization_2dgs(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = False,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    distloss: bool = False,
    depth_mode: str = "expected",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """Render N surfels from C cameras, with the arguments and the results of `gsplat.rasterization_2dgs`.

    Gives pictures [C, H, W, X], alphas [C, H, W, 1], world normals [C, H, W, 3], world normals of the depth
    [C, H, W, 3] (None unless the mode has colours and depth), distortion [C, H, W, 1], median depth [C, H, W, 1] and
    `meta`, which has gsplat's keys except those of its tile lists. After a backward pass `meta["gradient_2dgs"].grad`
    holds the gradient for densification, in pixels. `eps2d` changes nothing, as in gsplat. As there, a surfel is drawn
    on the tiles that its box meets, so that `tile_size` can show at the edges of very small or very near ones.
    """
    check_surface_modes(NAME, render_mode, depth_mode, absgrad, distloss, sparse_grad)
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, sh_degree)
    check_background(backgrounds, len(viewmats), 3 if sh_degree is not None else colors.shape[-1])

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return means[ids], rotations_of(quats[ids]), scales[ids], opacities[ids]

    options = (width, height, near_plane, far_plane, eps2d, radius_clip, False)
    seen = [project(means, take, viewmat, Lens(K, *options)) for viewmat, K in zip(viewmats, Ks, strict=True)]
    visible = [surfels.ids for surfels in seen]
    layout = Layout.packed(visible) if packed else Layout.dense(visible, len(means))
    rays, holder = _hold_rays(layout, seen)
    per_camera = colors.ndim == (3 if sh_degree is None else 4)
    centres = torch.linalg.inv(viewmats)[:, :3, 3]
    views = []
    for index, surfels in enumerate(seen):
        shades = view_colors(
            (colors[index] if per_camera else colors)[surfels.ids], means[surfels.ids], centres[index], sh_degree
        )
        channels = features(shades, surfels.depths, render_mode)
        maps = blend(surfels, rays[layout.rows[index]], channels, (width, height), tile_size)
        background = None if backgrounds is None else backgrounds[index]
        views.append(_view_results(maps, background, viewmats[index], Ks[index], render_mode, depth_mode))
    pictures, alphas, normals, from_depth, distortion, median = (
        None if parts[0] is None else torch.stack(parts) for parts in zip(*views, strict=True)
    )
    meta = _meta(layout, seen, holder) | {"width": width, "height": height, "tile_size": tile_size}
    meta |= {"n_cameras": len(viewmats), "render_distort": distortion}
    meta |= {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    return pictures, alphas, normals, from_depth, distortion, median, meta  # pyright: ignore[reportReturnType]


def rasterization(*args: Any, **options: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`rasterization_2dgs` with the arguments and the results of `gsplat.rasterization`.

    What surfels give besides pictures and alphas is in `meta`; `meta["means2d"].grad` is the gradient for
    densification.
    """
    return without_surface(NAME, rasterization_2dgs, args, options)


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters from one view; differentiable in all of them, in the pose and in the intrinsics.

    The third scale is not used. `extras` has the keys of `surface.EXTRAS`, and `means2d.grad` is the gradient for
    densification.
    """
    check_surface_view(NAME, view.antialiased)
    means = parameters.means

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Rows first, activations second: a scale that overflows but is not visible must not give 0 * inf.
        scales = parameters.log_scales[ids].exp() * view.scale_modifier
        opacities = parameters.opacity_logits[ids, 0].sigmoid()
        return means[ids], rotations_of(parameters.quats[ids]), scales, opacities

    lens = Lens(view.K, view.width, view.height, view.near_plane, view.far_plane, view.eps2d, 0.0, False)
    surfels = project(means, take, view.viewmat, lens)
    layout = Layout((len(means),), [surfels.ids])
    rays, holder = _hold_rays(layout, [surfels])
    ids, depths = surfels.ids, surfels.depths[:, None]
    coefficients = torch.cat([parameters.features_dc[ids], parameters.features_rest[ids]], dim=1)
    centre = torch.linalg.inv(view.viewmat)[:3, 3]
    colors = view_colors(coefficients, means[ids], centre, view.sh_degree)
    channels = torch.cat([colors, depths, 1 / depths], dim=-1)
    maps = blend(surfels, rays[ids], channels, (view.width, view.height), TILE)
    color, depth, inverse_depth, transmittance = maps.blended.split([3, 1, 1, 1], dim=-1)
    alphas = (1 - transmittance)[..., 0]
    expected = depth[..., 0] / alphas.clamp_min(1e-10)
    return RasterOutput(
        colors=color + transmittance * view.background,
        alphas=alphas,
        depth=expected,
        inverse_depth=inverse_depth[..., 0],
        radii=layout.arrange([surfels.radii.amax(dim=-1)]),
        means2d=holder,
        extras=surface_extras(
            world_normals(maps.normals, view.viewmat),
            normals_from_depth(expected, view.viewmat, view.K),
            alphas,
            maps.distortion,
            maps.median,
        ),
    )


def _hold_rays(layout: Layout, seen: list[Surfels]) -> tuple[Tensor, Tensor]:
    """The ray transforms [K, 3, 3], and a holder [..., 2] for the gradient that steers densification.

    That gradient is z times the one by the two elements of the ray transform that place the centre: the gradient by its
    pixel position with the plane held. The holder's own values are those positions.
    """
    rays = layout.arrange([surfels.rays for surfels in seen])
    centres, z = rays.detach()[..., :2, 2], rays.detach()[..., 2:, 2]
    holder = torch.where(z > 0, centres / torch.where(z > 0, z, 1), 0)
    if rays.requires_grad:
        holder.requires_grad_()

        def keep(gradient: Tensor) -> None:
            by_centre = gradient[..., :2, 2] * z
            holder.grad = by_centre if holder.grad is None else holder.grad + by_centre

        rays.register_hook(keep)
    return rays.reshape(-1, 3, 3), holder


def _view_results(
    maps: Maps, background: Tensor | None, viewmat: Tensor, K: Tensor, render_mode: str, depth_mode: str
) -> tuple[Tensor | None, ...]:
    picture, alpha = finish(maps.blended, background, render_mode)
    median = maps.median[..., None]
    from_depth = None
    if render_mode in ("RGB+D", "RGB+ED"):
        depth = maps.median if depth_mode == "median" else picture[..., -1]
        from_depth = normals_from_depth(depth, viewmat, K)
    return picture, alpha, world_normals(maps.normals, viewmat), from_depth, maps.distortion[..., None], median


def _meta(layout: Layout, seen: list[Surfels], holder: Tensor) -> dict[str, Any]:
    packed = len(layout.shape) == 1
    cameras = [torch.full_like(surfels.ids, index) for index, surfels in enumerate(seen)]
    return {
        "camera_ids": torch.cat(cameras) if packed else None,
        "gaussian_ids": torch.cat([surfels.ids for surfels in seen]) if packed else None,
        "radii": layout.arrange([surfels.radii for surfels in seen]),
        "means2d": layout.arrange([surfels.means2d for surfels in seen]),
        "depths": layout.arrange([surfels.depths for surfels in seen]),
        "ray_transforms": layout.arrange([surfels.rays for surfels in seen]),
        "opacities": layout.arrange([surfels.opacities for surfels in seen]),
        "normals": layout.arrange([surfels.normals for surfels in seen]),
        "gradient_2dgs": holder,
    }
