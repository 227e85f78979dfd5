"""The CPU backend: Numba kernels over contiguous float32 arrays, wrapped in autograd functions.

Importing this package is cheap; the kernels are imported, and compiled once per machine, at the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.rasterizer.cpu.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

ABSOLUTE_GRADIENTS = True
"""Whether `render_gaussians` knows `RasterView.absgrad`."""

__all__ = [
    "ABSOLUTE_GRADIENTS",
    "adam_step",
    "fused_photometric",
    "get_num_threads",
    "photometric_loss",
    "rasterization",
    "rasterization_2dgs",
    "release_workspace",
    "render_gaussians",
    "set_num_threads",
    "ssim",
    "windowed_error",
]


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters, with their activations fused into the kernels.

    Gradients reach every parameter, `view.viewmat` and `view.background`; after the backward pass `means2d.grad` holds
    d loss / d pixel position. Tensors are float32 on the CPU (BackendError otherwise).
    """
    from gaussian_splatting.rasterizer.cpu.model_call import render_gaussians as implementation

    return implementation(parameters, view)


def rasterization(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`gsplat.rasterization` on CPU tensors; see `gsplat_call.rasterization` for arguments and results."""
    from gaussian_splatting.rasterizer.cpu.gsplat_call import rasterization as implementation

    return implementation(*args, **kwargs)


def rasterization_2dgs(
    *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """`gsplat.rasterization_2dgs` on CPU tensors; see `cpu_2dgs.gsplat_call.rasterization_2dgs`.

    As in gsplat 1.5.3 the normals of the depth of a single camera come without the leading dimension.
    """
    from gaussian_splatting.rasterizer.cpu_2dgs import rasterization_2dgs as implementation

    results = implementation(*args, **kwargs)
    from_depth = None if results[3] is None else results[3].squeeze(0)
    return *results[:3], from_depth, *results[4:]


def fused_photometric(render_chw: Tensor, target_chw: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss (1 - lambda) L1 + lambda (1 - SSIM), the L1 value and the SSIM value of two pictures [3, H, W].

    The loss is differentiable with respect to the rendering. Permuted views of interleaved memory are read in place.
    """
    from gaussian_splatting.rasterizer.cpu.loss_function import fused_photometric as implementation

    return implementation(render_chw, target_chw, lambda_dssim)


def photometric_loss(render: Tensor, target: Tensor, lambda_dssim: float) -> Tensor:
    """The loss of `fused_photometric`, for pictures [3, H, W] or [H, W, 3]."""
    from gaussian_splatting.rasterizer.cpu.loss_function import photometric_loss as implementation

    return implementation(render, target, lambda_dssim)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """The SSIM of two pictures [3, H, W], averaged over pixels and channels; without a gradient."""
    from gaussian_splatting.rasterizer.cpu.loss_function import ssim as implementation

    return implementation(x, y)


def windowed_error(
    depth: NDArray[np.float32],
    target: NDArray[np.float32],
    weights: NDArray[np.float32],
    slope: float,
    radius: int,
    stride: int,
) -> tuple[float, NDArray[np.float32]]:
    """The sum of the errors of all windows of two depth maps, and its derivative; see `depth_windows`."""
    from gaussian_splatting.rasterizer.cpu.depth_windows import windowed_error as implementation

    return implementation(depth, target, weights, slope, radius, stride)


def adam_step(
    parameter: NDArray[np.float32],
    gradient: NDArray[np.float32],
    exp_avg: NDArray[np.float32],
    exp_avg_sq: NDArray[np.float32],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    bias_correction1: float,
    bias_correction2: float,
) -> None:
    """Update parameter and moments (flat float32 arrays) in place as `torch.optim.Adam` does; see `adam.adam_step`."""
    from gaussian_splatting.rasterizer.cpu.adam import adam_step as implementation

    implementation(parameter, gradient, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, bias_correction1, bias_correction2)


def release_workspace() -> None:
    """Give the buffers that nobody uses back to the system."""
    from gaussian_splatting.rasterizer.cpu.workspace import workspace

    workspace.release()
