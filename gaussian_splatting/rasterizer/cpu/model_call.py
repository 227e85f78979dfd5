"""The call that a model makes: raw parameters in, everything a training step needs out."""

from __future__ import annotations

import torch

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.cpu.function import check_inputs, render_view
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings

MAX_DEGREE = 3


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters, with their activations fused into the kernels.

    Raises BackendError for tensors that are not float32 on the CPU, or whose shapes do not belong together.
    """
    _check_shapes(parameters, view)
    settings = RenderSettings(
        intrinsics=view.K.detach().double().numpy(),
        width=view.width,
        height=view.height,
        sh_degree=view.sh_degree,
        raw=True,
        antialiased=view.antialiased,
        near_plane=view.near_plane,
        far_plane=view.far_plane,
        eps2d=view.eps2d,
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
    if view.absgrad and rendering.wants_gradient:
        rendering.absolute = torch.zeros_like(means2d)
        means2d.absgrad = rendering.absolute  # pyright: ignore[reportAttributeAccessIssue]
    colors, alphas, depth, inverse_depth = rendering.attach(means2d)
    return RasterOutput(colors, alphas, depth, inverse_depth, rendering.radii, means2d)


def _check_shapes(parameters: GaussianParameters, view: RasterView) -> None:
    check_inputs(viewmat=view.viewmat, background=view.background, **vars(parameters))
    num = parameters.means.shape[0]
    num_rest = parameters.features_rest.shape[1]
    expected = {
        "means": (num, 3),
        "quats": (num, 4),
        "log_scales": (num, 3),
        "opacity_logits": (num, 1),
        "features_dc": (num, 1, 3),
        "features_rest": (num, num_rest, 3),
    }
    for name, shape in expected.items():
        found = tuple(getattr(parameters, name).shape)
        if found != shape:
            raise BackendError(f"cpu rasteriser: {name} has shape {found}; means have {num} rows, so give {shape}")
    if not 0 <= view.sh_degree <= MAX_DEGREE or (view.sh_degree + 1) ** 2 > num_rest + 1:
        raise BackendError(
            f"cpu rasteriser: sh_degree is {view.sh_degree} with {num_rest + 1} coefficients per channel; "
            f"degree d needs (d + 1)^2 of them, and at most degree {MAX_DEGREE} is supported"
        )
