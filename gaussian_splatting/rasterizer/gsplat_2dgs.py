"""The gsplat backend of surface splatting: `gsplat.rasterization_2dgs` on a CUDA card, imported when it is first used.

As in the 3DGS backend of gsplat, the accumulated inverse depth is blended as a fourth colour channel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.rasterizer import gsplat
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.surface import EXTRAS, check_surface_view, surface_extras, without_surface

__all__ = ["EXTRAS", "rasterization", "rasterization_2dgs", "render_gaussians"]

NAME = "gsplat-2dgs"


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
    """`gsplat.rasterization_2dgs` itself, with its options; BackendError when it cannot run here."""
    library = gsplat.load_library(means.device, "cpu-2dgs")
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
    pictures, alphas, normals, from_depth, distortion, median, meta = library.rasterization_2dgs(
        parameters.means,
        parameters.quats,
        parameters.log_scales.exp() * view.scale_modifier,
        parameters.opacity_logits.sigmoid()[:, 0],
        gsplat.color_channels(parameters, view, library.spherical_harmonics),
        view.viewmat[None],
        view.K[None],
        view.width,
        view.height,
        near_plane=view.near_plane,
        far_plane=view.far_plane,
        eps2d=view.eps2d,
        sh_degree=None,
        packed=False,
        backgrounds=pad(view.background, (0, 1))[None],
        render_mode="RGB+ED",
        distloss=True,
    )
    alphas = alphas[0, ..., 0]
    return RasterOutput(
        colors=pictures[0, ..., :3],
        alphas=alphas,
        depth=pictures[0, ..., 4],
        inverse_depth=pictures[0, ..., 3],
        radii=meta["radii"][0].amax(dim=-1),
        means2d=_gradient_holder(meta["gradient_2dgs"], meta["means2d"]),
        # gsplat drops the first dimension of the normals of the depth when it is 1.
        extras=surface_extras(
            normals[0], from_depth.reshape(normals.shape)[0], alphas, distortion[0, ..., 0], median[0, ..., 0]
        ),
    )


def _gradient_holder(gradient_2dgs: Tensor, means2d: Tensor) -> Tensor:
    """The screen positions [N, 2]; the backward pass puts the gradient for densification into `.grad`."""
    holder = gsplat.gradient_holder(gradient_2dgs)
    holder.data = means2d[0].detach()
    return holder
