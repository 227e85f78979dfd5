"""The call that a model makes: raw parameters in, everything a training step needs out."""

from __future__ import annotations

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.cpu.model_call import _check_shapes
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps
from gaussian_splatting.rasterizer.cpu_2dgs.function import render_view
from gaussian_splatting.rasterizer.surface import check_surface_view, normals_from_depth, surface_extras

NAME = "cpu-2dgs"


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters, with their activations fused into the kernels.

    Raises BackendError for tensors that are not float32 on the CPU, or whose shapes do not belong together.
    """
    check_surface_view(NAME, view.antialiased)
    _check_shapes(parameters, view)
    settings = RenderSettings(
        intrinsics=view.K.detach().double().numpy(),
        width=view.width,
        height=view.height,
        sh_degree=view.sh_degree,
        raw=True,
        near_plane=view.near_plane,
        far_plane=view.far_plane,
        scale_modifier=view.scale_modifier,
    )
    rendering = render_view(
        parameters.means,
        parameters.quats,
        parameters.log_scales,
        parameters.opacity_logits,
        parameters.features_dc,
        parameters.features_rest,
        view.viewmat,
        view.background,
        settings,
    )
    means2d = rendering.means2d.requires_grad_(rendering.wants_gradient)
    maps = Maps(*rendering.attach(means2d))
    from_depth = normals_from_depth(maps.depths, view.viewmat, view.K.to(maps.depths.dtype))
    return RasterOutput(
        maps.colors,
        maps.alphas,
        maps.depths,
        maps.inverse_depths,
        rendering.radii,
        means2d,
        surface_extras(maps.normals, from_depth, maps.alphas, maps.distortions, maps.medians),
    )
