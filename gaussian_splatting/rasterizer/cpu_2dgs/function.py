"""The autograd function of the CPU rasteriser of surfels: torch tensors outside, pooled NumPy arrays inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.rasterizer.cpu.arguments import PixelGradients
from gaussian_splatting.rasterizer.cpu.frame import make_camera
from gaussian_splatting.rasterizer.cpu.function import (
    NO_FLOATS,
    as_gaussians,
    flat,
    gradient_buffers,
    sparse_rows,
    viewmat_gradient,
)
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.workspace import workspace
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps
from gaussian_splatting.rasterizer.cpu_2dgs.frame import Frame, backward, render

_NUM_INPUTS = 8


@dataclass
class Rendering:
    """One rendered view that autograd does not know yet, and what the gradient will need."""

    settings: RenderSettings
    inputs: tuple[Tensor | None, ...]
    maps: tuple[Tensor, ...]  # as `Maps`, [H, W] or [H, W, 3]
    radii: Tensor  # [N] or [N, 2] int32 pixels
    means2d: Tensor  # [N, 2] pixels, the middles of the low-pass filters
    frame: Frame
    wants_gradient: bool
    visible: Tensor | None = None  # [M] the rows that the attached leaf has, all when None
    sparse_grad: bool = False  # gradients by means, quats and scales hold the visible rows only

    def attach(self, leaf: Tensor) -> tuple[Tensor, ...]:
        """The maps with the graph attached; the gradient for densification goes to `leaf`."""
        return _Rasterize.apply(self, leaf, *self.inputs) if self.wants_gradient else self.maps


def render_view(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, features: Tensor, features_rest: Tensor | None,
    viewmat: Tensor, background: Tensor, settings: RenderSettings
) -> Rendering:  # fmt: skip
    """Render N surfels. `attach` makes gradients reach every tensor that wants one.

    `features` is [N, 3] (colours), [N, K, 3], or [N, 1, 3] with the other coefficients in `features_rest` [N, K-1, 3].
    """
    inputs = (means, quats, scales, opacities, features, features_rest, viewmat, background)
    surfels, shape = as_gaussians(inputs[:6], settings)
    color = np.ascontiguousarray(background.detach().numpy())
    frame, maps = render(surfels, shape, make_camera(viewmat, settings), settings, color)
    height, width = settings.height, settings.width
    pictures = [torch.from_numpy(array) for array in maps]
    radii = torch.from_numpy(frame.projection.radii)
    return Rendering(
        settings,
        inputs,
        tuple(p.view(height, width, 3) if p.numel() == 3 * height * width else p.view(height, width) for p in pictures),
        radii.view(-1, 2) if settings.radii_stride == 2 else radii,
        torch.from_numpy(frame.projection.means2d).view(-1, 2),
        frame,
        torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs),
    )


class _Rasterize(torch.autograd.Function):
    """Hands the finished maps to autograd, and computes the gradients when they are asked for."""

    @staticmethod
    def forward(ctx: Any, rendering: Rendering, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        # The frame is saved like a tensor, so that its buffers are free again when autograd is done with the graph.
        ctx.save_for_backward(*inputs[1:], *rendering.maps, *rendering.frame.to_tensors())
        ctx.settings, ctx.visible, ctx.sparse_grad = rendering.settings, rendering.visible, rendering.sparse_grad
        return rendering.maps

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> tuple[Any, ...]:
        saved, settings, wants = ctx.saved_tensors, ctx.settings, ctx.needs_input_grad[2:]
        num_maps = len(Maps._fields)
        inputs, maps = saved[:_NUM_INPUTS], Maps(*map(flat, saved[_NUM_INPUTS : _NUM_INPUTS + num_maps]))
        surfels, shape = as_gaussians(inputs[:6], settings)
        frame = Frame.from_tensors(saved[_NUM_INPUTS + num_maps :], settings, shape)
        map_grads = Maps(*(NO_FLOATS if grad is None else flat(grad) for grad in output_grads))
        grads, arrays = gradient_buffers(inputs)
        pixel_grads = PixelGradients(workspace.take("means2d_gradient", 2 * shape.num_gaussians), NO_FLOATS)
        pose = backward(frame, surfels, maps, map_grads, grads, pixel_grads, wants_pose=wants[6])
        by_pixel = torch.from_numpy(pixel_grads.means2d).view(-1, 2)
        if ctx.visible is not None:
            by_pixel = by_pixel[ctx.visible]
        results: list[Tensor | None] = [
            torch.from_numpy(array).view(x.shape) for array, x in zip(arrays, inputs[:6], strict=False)
        ]
        if ctx.sparse_grad:
            results[:3] = [sparse_rows(result[ctx.visible], ctx.visible, len(result)) for result in results[:3]]  # pyright: ignore[reportOptionalSubscript, reportArgumentType]
        results += [None] * (6 - len(results))
        results.append(viewmat_gradient(inputs[6], pose) if wants[6] else None)
        results.append(_background_gradient(saved[_NUM_INPUTS + 1], output_grads[0]) if wants[7] else None)
        return None, by_pixel, *(result if want else None for result, want in zip(results, wants, strict=True))


def _background_gradient(alphas: Tensor, colors_gradient: Tensor | None) -> Tensor | None:
    """d loss / d background [3]."""
    return None if colors_gradient is None else ((1 - alphas)[..., None] * colors_gradient).sum((0, 1))
