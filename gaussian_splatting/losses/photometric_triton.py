"""The photometric loss on a card, by Triton kernels of our own; PyTorch's operations where Triton cannot run."""

from __future__ import annotations

import contextlib
import logging
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.losses.metrics import l1_loss
from gaussian_splatting.losses.ssim import WINDOW_SIZE, ssim, window_weights

log = logging.getLogger("gaussian_splatting")
BLOCK = 256
MAPS, SLOPES = 5, 3
MOST_VALUES = (1 << 31) // MAPS
"""Values of a picture up to which places in the maps fit the kernels' 32-bit integers."""


def suits(render: Tensor, target: Tensor) -> bool:
    """Whether the kernels can compare these two pictures, on a card where they have been seen to work."""
    plain = render.is_cuda and render.dtype == target.dtype == torch.float32 and render.shape == target.shape
    fits = render.ndim == 3 and 0 < render.numel() < MOST_VALUES and not target.requires_grad
    return plain and fits and works_on(render.device)


def photometric_on_card(render: Tensor, target: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss (1 - lambda) L1 + lambda (1 - SSIM), its L1 and its SSIM, of two pictures [C, H, W] in float32.

    The loss is differentiable by the rendering. The host does not wait for the card.
    """
    return _Photometric.apply(render, target, lambda_dssim)  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=16)
def works_on(device: torch.device) -> bool:
    """Whether the kernels build and agree with PyTorch on a card; tried once, and said once when they do not."""
    generator = torch.Generator().manual_seed(0)
    render, target = torch.rand((2, 3, 24, 40), generator=generator).to(device).unbind()
    reason = ""
    try:
        found = _loss_and_gradient(render, target, fused=True)
    except Exception as error:  # Triton has errors of many kinds: no compiler, no driver, another card
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
    else:
        expected = _loss_and_gradient(render, target, fused=False)
        if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-7) for a, b in zip(found, expected, strict=True)):
            reason = "its result is not that of PyTorch"
    if reason:
        log.info("the fused loss of Triton does not run here (%s): PyTorch computes it, a little slower", reason)
    return not reason


def _loss_and_gradient(render: Tensor, target: Tensor, *, fused: bool) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = render.detach().clone().requires_grad_()
        if fused:
            loss = photometric_on_card(leaf, target, 0.2)[0]
        else:
            loss = 0.8 * l1_loss(leaf, target) + 0.2 * (1 - ssim(leaf, target))
        (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient


class _Photometric(torch.autograd.Function):
    """Keeps the slopes of SSIM by the filtered maps, and filters them once more when the gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, render: Tensor, target: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
        kernels = _kernels()
        height, width = render.shape[1:]
        weights, grid = window_weights(WINDOW_SIZE, torch.float32, render.device), _grid(render)
        plane = render.numel()
        maps = render.new_empty(MAPS * plane)
        slopes = render.new_empty(SLOPES * plane if ctx.needs_input_grad[0] else 1)
        sums = render.new_empty((grid[0] * grid[1], 2))
        strides = (*render.stride(), *target.stride())
        with _on(render):
            kernels.along_rows[grid](
                render, target, weights, maps, height, width, plane, *strides, WINDOW=WINDOW_SIZE, BLOCK=BLOCK
            )
            kernels.along_columns[grid](
                render, target, weights, maps, slopes, sums, height, width, plane, *strides,
                WINDOW=WINDOW_SIZE, BLOCK=BLOCK, WITH_SLOPES=ctx.needs_input_grad[0],
            )  # fmt: skip
        l1, similarity = (sums.sum(dim=0, dtype=torch.float64) / plane).float().unbind()
        ctx.save_for_backward(render, target, slopes)
        ctx.lambda_dssim = lambda_dssim
        ctx.mark_non_differentiable(l1, similarity)
        return (1 - lambda_dssim) * l1 + lambda_dssim * (1 - similarity), l1, similarity

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor) -> tuple[Tensor | None, ...]:
        kernels = _kernels()
        render, target, slopes = ctx.saved_tensors
        height, width = render.shape[1:]
        weights, grid = window_weights(WINDOW_SIZE, torch.float32, render.device), _grid(render)
        plane = render.numel()
        maps, gradient = torch.empty_like(slopes), torch.empty_like(render)
        share = output_grads[0] / plane
        scales = torch.stack(((1 - ctx.lambda_dssim) * share, -ctx.lambda_dssim * share))
        with _on(render):
            kernels.slopes_along_rows[grid](slopes, weights, maps, width, plane, WINDOW=WINDOW_SIZE, BLOCK=BLOCK)
            kernels.gradient_along_columns[grid](
                render, target, weights, maps, scales, gradient, height, width, plane,
                *render.stride(), *target.stride(), *gradient.stride(), WINDOW=WINDOW_SIZE, BLOCK=BLOCK,
            )  # fmt: skip
        return gradient, None, None


def _kernels() -> Any:
    return import_module("gaussian_splatting.losses.triton_kernels")


def _grid(picture: Tensor) -> tuple[int, int]:
    """One program for every part of every row."""
    channels, height, width = picture.shape
    return channels * height, -(-width // BLOCK)


def _on(picture: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Within, kernels start on the card of a picture."""
    return torch.cuda.device(picture.device) if picture.is_cuda else contextlib.nullcontext()
