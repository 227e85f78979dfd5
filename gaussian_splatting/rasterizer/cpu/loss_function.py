"""The photometric loss of 3DGS, (1 - lambda) L1 + lambda (1 - SSIM), as one autograd function on fused kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.cpu import similarity as kernel
from gaussian_splatting.rasterizer.cpu.frame import scratch
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.threads import run
from gaussian_splatting.rasterizer.cpu.workspace import workspace

CHANNELS = kernel.CHANNELS


def fused_photometric(render_chw: Tensor, target_chw: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss (1 - lambda) L1 + lambda (1 - SSIM), the L1 value and the SSIM value of two pictures [3, H, W].

    The loss is differentiable with respect to the rendering; L1 and SSIM are values to report. A picture that is a
    permuted view of interleaved memory [H, W, 3] is read in place. SSIM has a Gaussian window of 11 pixels, sigma 1.5,
    zeros outside the picture, and is averaged over all pixels and channels. Raises BackendError for other shapes or
    types, or when the target asks for a gradient.
    """
    _check(render_chw, target_chw)
    wants_gradient = torch.is_grad_enabled() and render_chw.requires_grad
    l1, similarity, derivatives = _compare(render_chw, target_chw, wants_gradient)
    values = torch.tensor(
        [(1 - lambda_dssim) * l1 + lambda_dssim * (1 - similarity), l1, similarity], dtype=torch.float32
    )
    loss = values[0]
    if wants_gradient:
        loss = _Photometric.apply(render_chw, target_chw, loss, lambda_dssim, derivatives)
    return loss, values[1], values[2]


def photometric_loss(render: Tensor, target: Tensor, lambda_dssim: float) -> Tensor:
    """The loss of `fused_photometric`, for pictures [3, H, W] or [H, W, 3]."""
    if render.shape[0] != CHANNELS and render.shape[-1] == CHANNELS:
        render, target = render.permute(2, 0, 1), target.permute(2, 0, 1)
    return fused_photometric(render, target, lambda_dssim)[0]


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """The SSIM of two pictures [3, H, W], averaged over pixels and channels; without a gradient."""
    return fused_photometric(x.detach(), y.detach(), 1.0)[2]


def _check(render: Tensor, target: Tensor) -> None:
    for name, picture in (("rendering", render), ("target", target)):
        if picture.dim() != CHANNELS or picture.shape[0] != CHANNELS or picture.numel() == 0:
            raise BackendError(f"photometric loss: the {name} has shape {tuple(picture.shape)}; give [3, H, W]")
        if picture.dtype != torch.float32 or picture.device.type != "cpu":
            raise BackendError(
                f"photometric loss: the {name} is {picture.dtype} on {picture.device}; give float32 on the CPU"
            )
    if render.shape != target.shape:
        raise BackendError(
            f"photometric loss: the rendering has shape {tuple(render.shape)}, the target {tuple(target.shape)}"
        )
    if target.requires_grad and torch.is_grad_enabled():
        raise BackendError("photometric loss: the target asks for a gradient; detach it, or exchange the two pictures")


def interleaved(picture: Tensor) -> Tensor:
    """A picture [3, H, W] as contiguous [H, W, 3], at least 16 floats to a row; a copy only where needed."""
    rows = picture.detach().permute(1, 2, 0)
    missing = -(-LANES // CHANNELS) - rows.shape[1]
    if missing > 0:
        rows = torch.nn.functional.pad(rows, (0, 0, 0, missing))
    return rows.contiguous()


def _buffers(stride: int) -> NDArray[np.float32]:
    return scratch("ssim_rows", 4 * (stride + 2 * kernel.MARGIN))


def _compare(
    render_chw: Tensor, target_chw: Tensor, wants_gradient: bool
) -> tuple[float, float, tuple[NDArray[np.float32], ...]]:
    """Mean absolute difference, SSIM, and (when wanted) the derivatives of SSIM by the filtered maps."""
    valid, height = CHANNELS * render_chw.shape[2], render_chw.shape[1]
    image, target = interleaved(render_chw), interleaved(target_chw)
    stride, size = image.stride(0), image.numel() if wants_gradient else 0
    maps = tuple(workspace.take(f"ssim_{name}", size) for name in ("mean", "square", "product"))
    sums = np.empty(2 * height)
    arrays = image.view(-1).numpy(), target.view(-1).numpy(), *maps, sums, _buffers(stride)
    run(kernel.compare, -(-height // kernel.ROWS), height, stride, valid, *arrays)
    similarity, difference = sums.reshape(height, 2).sum(0) / (height * valid)
    return float(difference), float(similarity), maps


class _Photometric(torch.autograd.Function):
    """Hands the finished loss to autograd, and filters the derivatives once more when the gradient is asked for."""

    @staticmethod
    def forward(
        ctx: Any, render: Tensor, target: Tensor, loss: Tensor, lambda_dssim: float, maps: tuple[NDArray[Any], ...]
    ) -> Tensor:
        ctx.save_for_backward(render, target, *(torch.from_numpy(array) for array in maps))
        ctx.lambda_dssim = lambda_dssim
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor) -> tuple[Tensor | None, ...]:
        render_chw, target_chw, *maps = ctx.saved_tensors
        image, target = interleaved(render_chw), interleaved(target_chw)
        (height, width), (stride, size) = render_chw.shape[1:], (image.stride(0), image.numel())
        gradient = workspace.take("render_gradient", size)
        scale = float(output_grads[0]) / (CHANNELS * height * width)
        run(
            kernel.compare_backward,
            -(-height // kernel.ROWS),
            height,
            stride,
            image.view(-1).numpy(),
            target.view(-1).numpy(),
            *(array.numpy() for array in maps),
            -ctx.lambda_dssim * scale,
            (1.0 - ctx.lambda_dssim) * scale,
            gradient,
            _buffers(stride),
        )
        rows = torch.from_numpy(gradient).view(height, -1, CHANNELS)[:, :width]
        return rows.permute(2, 0, 1), None, None, None, None
