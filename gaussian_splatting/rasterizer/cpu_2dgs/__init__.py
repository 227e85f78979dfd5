"""The CPU backend of surface splatting (2DGS): Numba kernels on the foundation of the CPU backend of 3D Gaussians.

Importing this package is cheap; the kernels are imported, and compiled once per machine, at the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.rasterizer.surface import EXTRAS

if TYPE_CHECKING:
    from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

__all__ = ["EXTRAS", "rasterization", "rasterization_2dgs", "render_gaussians"]


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters, with their activations fused into the kernels.

    Gradients reach every parameter but the third scale, `view.viewmat` and `view.background`; after the backward pass
    `means2d.grad` is the gradient for densification. Tensors are float32 on the CPU (BackendError otherwise).
    """
    from gaussian_splatting.rasterizer.cpu_2dgs.model_call import render_gaussians as implementation

    return implementation(parameters, view)


def rasterization_2dgs(
    *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """`gsplat.rasterization_2dgs` on CPU tensors; see `gsplat_call.rasterization_2dgs` for arguments and results."""
    from gaussian_splatting.rasterizer.cpu_2dgs.gsplat_call import rasterization_2dgs as implementation

    return implementation(*args, **kwargs)


def rasterization(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`rasterization_2dgs` with the arguments and the results of `gsplat.rasterization`; all else is in `meta`."""
    from gaussian_splatting.rasterizer.surface import without_surface

    return without_surface("cpu-2dgs", rasterization_2dgs, args, kwargs)
