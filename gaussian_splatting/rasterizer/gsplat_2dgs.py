"""The gsplat backend of surface splatting: `gsplat.rasterization_2dgs` on a CUDA card, imported when it is first used.

As in the 3DGS backend of gsplat, the accumulated inverse depth is blended as a fourth colour channel. gsplat 1.5.3 pads
the channels of surfels to a number that it has kernels for with memory that it does not set; what is not finite there
spoils gradients. So the colours come with zeros, up to such a number with the depth.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.rasterizer import gsplat
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.surface import (
    EXTRAS,
    check_surface_view,
    normals_from_depth,
    surface_extras,
    without_surface,
)

__all__ = ["EXTRAS", "rasterization", "rasterization_2dgs", "render_gaussians"]

NAME = "gsplat-2dgs"
VIEW_OPTIONS = frozenset({"radius_clip"})
CHANNELS = 7
"""Of the colours: with the depth, the 8 of one of gsplat's kernels."""


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
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """`gsplat.rasterization_2dgs` itself, with its options; BackendError when it cannot run here.

    Colours [N, D] for all views work, which gsplat 1.5.3 takes but cannot put a depth beside.
    """
    library = gsplat.load_library(means.device, "cpu-2dgs")
    if options.get("sh_degree") is None and colors.ndim == means.ndim and not options.get("packed", False):
        colors = colors[..., None, :, :].expand(*viewmats.shape[:-2], *colors.shape[-2:])
    return library.rasterization_2dgs(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options)


def rasterization(*args: Any, **options: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`rasterization_2dgs` with the arguments and the results of `gsplat.rasterization`; all else is in `meta`."""
    return without_surface(NAME, rasterization_2dgs, args, options)


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters from one view; differentiable in all of them and in the pose.

    `extras` has the keys of `surface.EXTRAS`; `means2d.grad` is the gradient for densification.
    """
    check_surface_view(NAME, view.antialiased)
    library = gsplat.load_library(parameters.means.device, "cpu-2dgs")
    colors = gsplat.color_channels(parameters, view, library.spherical_harmonics)
    pictures, alphas, normals, _, distortion, median, meta = library.rasterization_2dgs(
        parameters.means,
        parameters.quats,
        parameters.log_scales.exp() * view.scale_modifier,
        parameters.opacity_logits.sigmoid()[:, 0],
        pad(colors, (0, CHANNELS - colors.shape[1]))[None],
        view.viewmat[None],
        view.K[None],
        view.width,
        view.height,
        near_plane=view.near_plane,
        far_plane=view.far_plane,
        eps2d=view.eps2d,
        sh_degree=None,
        packed=False,
        radius_clip=view.radius_clip,
        backgrounds=pad(view.background, (0, CHANNELS - 3))[None],
        render_mode="RGB+ED",
        distloss=True,
    )
    alphas, depth = alphas[0, ..., 0], pictures[0, ..., -1]
    return RasterOutput(
        colors=pictures[0, ..., :3],
        alphas=alphas,
        depth=depth,
        inverse_depth=pictures[0, ..., 3],
        radii=meta["radii"][0].amax(dim=-1),
        means2d=_gradient_holder(meta["gradient_2dgs"], meta["means2d"]),
        # Not gsplat's own normals of the depth: beside holes their gradient is about 1e12, and drowns that of the pose.
        extras=surface_extras(
            normals[0],
            normals_from_depth(depth, view.viewmat, view.K),
            alphas,
            distortion[0, ..., 0],
            median[0, ..., 0],
        ),
    )


def _gradient_holder(gradient_2dgs: Tensor, means2d: Tensor) -> Tensor:
    """The screen positions [N, 2]; the backward pass puts the gradient for densification into `.grad`."""
    holder = gsplat.gradient_holder(gradient_2dgs)
    holder.data = means2d[0].detach()
    return holder
