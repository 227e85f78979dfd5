"""One pinhole view for `gsplat_call`, by the kernels of training: projection, colours and their gradients are fused.

gsplat hands out what its projection found as part of the graph. Here the picture depends on the parameters directly,
and the positions on the screen only pass their gradient by, for densification. So that a loss on `meta` reaches the
parameters all the same, its values come from a function whose gradient is that of all that came on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.geometry.rotations import build_scaling_rotation
from gaussian_splatting.rasterizer.batches import View
from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import Entries, Gaussians, Images, PixelGradients, Shape
from gaussian_splatting.rasterizer.cpu.channel_passes import COLORS, channel_gradients, draw_channels
from gaussian_splatting.rasterizer.cpu.frame import Frame, make_camera, render
from gaussian_splatting.rasterizer.cpu.frame_backward import entry_gradients, gaussian_gradients
from gaussian_splatting.rasterizer.cpu.function import (
    NO_FLOATS,
    as_gaussians,
    background_gradient,
    flat,
    gradient_buffers,
    sparse_rows,
    viewmat_gradient,
)
from gaussian_splatting.rasterizer.cpu.gsplat_meta import AddAbsolute
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.workspace import workspace
from gaussian_splatting.rasterizer.reference.projection import Ellipses, Lens, ellipses_of

NUM_INPUTS = 7


@dataclass
class _Link:
    """What the two functions of one view know of each other. It must not refer to the tensors that they give."""

    settings: RenderSettings
    lens: Lens
    sparse_grad: bool
    ids: Tensor  # [M] rows of the visible Gaussians
    delivered: Tensor | None = None  # the gradient by positions [M, 2] that already reached the parameters


@dataclass
class FusedView:
    """A rendered view."""

    inputs: tuple[Tensor, ...]  # means, quats, scales, opacities, features [N, K, 3] or [N, D], viewmat, background
    frame: Frame
    images: tuple[Tensor, ...]  # the picture [H, W, D]; alphas, expected depths and transmittances [H, W]
    seen: Ellipses
    wants_gradient: bool
    link: _Link

    def draw(self, means2d: Tensor, absolute: AddAbsolute | None) -> tuple[Tensor, ...]:
        """Picture, alphas and depths with the graph attached.

        Their gradient goes by way of `means2d` [M, 2], too; its magnitudes go to `absolute`.
        """
        if not self.wants_gradient:
            return self.images[:3]
        maps = (*self.images, *self.frame.to_tensors())
        return _Draw.apply(self.link, maps, absolute, means2d, *self.inputs)


def fused_view(view: View, settings: RenderSettings, lens: Lens, sparse_grad: bool) -> FusedView:
    """Render one view. Its colours are harmonics if the settings have a degree, else three channels or more."""
    assert view.quats is not None and view.scales is not None
    features, viewmat, background = view.colors, view.viewmat, view.background
    inputs = (view.means, view.quats, view.scales, view.opacities, features, viewmat, background)
    wants_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    gaussians, shape = _gaussians(inputs, settings)
    has_channels = _has_channels(features, settings)
    behind = np.zeros(COLORS, np.float32) if has_channels else flat(background)
    height, width = settings.height, settings.width
    frame, images = render(
        gaussians, shape, make_camera(viewmat, settings), width, height, behind, radii_stride=2,
        differentiable=wants_gradient or has_channels
    )  # fmt: skip
    picture = images.colors
    if has_channels:
        picture = draw_channels(frame, images.transmittances, flat(features), flat(background))
    maps = [torch.from_numpy(image).view(height, width) for image in (images.alphas, images.depths)]
    behind = torch.from_numpy(images.transmittances).view(height, width)
    shown = torch.from_numpy(picture).view(height, width, -1)
    ids, seen = _seen(frame)
    link = _Link(settings, lens, sparse_grad, ids)
    if wants_gradient:
        values = (seen.means2d, seen.conics, seen.depths, seen.opacities)
        means2d, conics, depths, opacities = _Seen.apply(link, values, *inputs[:4], viewmat)
        seen = Ellipses(ids, means2d, conics, depths, opacities, seen.radii)
    return FusedView(inputs, frame, (shown, *maps, behind), seen, wants_gradient, link)


def _has_channels(features: Tensor, settings: RenderSettings) -> bool:
    return settings.sh_degree is None and features.shape[-1] != COLORS


def _gaussians(inputs: Sequence[Tensor], settings: RenderSettings) -> tuple[Gaussians, Shape]:
    features = inputs[4]
    if _has_channels(features, settings):
        features = features.new_zeros(features.shape[0], COLORS)
    return as_gaussians((*inputs[:4], features, None), settings)


def _seen(frame: Frame) -> tuple[Tensor, Ellipses]:
    """The visible Gaussians, by increasing row."""
    counts, projection = frame.projection.counts, frame.projection
    slots = np.flatnonzero((np.arange(layout.PROJECT_CHUNK)[None] < counts[:, None]).ravel())
    ids = torch.from_numpy(projection.ids[slots]).long()
    records = torch.from_numpy(projection.records).view(-1, layout.LANES)[torch.from_numpy(slots)]
    conics = records[:, layout.CONIC_XX : layout.CONIC_YY + 1] * torch.tensor([2.0, 1.0, 2.0]) * layout.LN_2
    means2d, depths = records[:, [layout.MEAN_X, layout.MEAN_Y]], records[:, layout.DEPTH].clone()
    radii = torch.from_numpy(projection.radii).view(-1, 2)[ids]
    return ids, Ellipses(ids, means2d, conics, depths, records[:, layout.LOG_OPACITY].exp2(), radii)


class _Draw(torch.autograd.Function):
    """Hands the finished picture to autograd, and computes the gradients when they are asked for."""

    @staticmethod
    def forward(
        ctx: Any, link: _Link, maps: tuple[Tensor, ...], absolute: AddAbsolute | None, means2d: Tensor, *inputs: Tensor
    ) -> Any:
        ctx.set_materialize_grads(False)
        # The frame is saved like a tensor, so that its buffers are free again when autograd is done with the graph.
        ctx.save_for_backward(*inputs, *maps)
        ctx.link, ctx.absolute = link, absolute
        return maps[:3]

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> Any:
        link, saved, wants = ctx.link, ctx.saved_tensors, ctx.needs_input_grad[4:]
        inputs, (picture, *maps) = saved[:NUM_INPUTS], saved[NUM_INPUTS : NUM_INPUTS + 4]
        gaussians, shape = _gaussians(inputs, link.settings)
        frame = Frame.from_tensors(saved[NUM_INPUTS + 4 :], link.settings, shape)
        has_channels, size = _has_channels(inputs[4], link.settings), 2 * shape.num_gaussians
        alphas, depths, behind = map(flat, maps)
        images = Images(NO_FLOATS if has_channels else flat(picture), alphas, depths, NO_FLOATS, behind)
        given = [NO_FLOATS if gradient is None else flat(gradient) for gradient in output_grads]
        absolute_too = ctx.absolute is not None
        by_channel = None
        if has_channels:
            image_grads = Images(NO_FLOATS, given[1], given[2], NO_FLOATS, NO_FLOATS)
            entries, by_channel = channel_gradients(
                frame, images, image_grads, flat(inputs[4]), flat(picture), given[0], absolute_too=absolute_too
            )
        else:
            image_grads = Images(given[0], given[1], given[2], NO_FLOATS, NO_FLOATS)
            entries = entry_gradients(frame, images, image_grads, absolute_too=absolute_too)
        pixel_grads = PixelGradients(
            workspace.take("means2d_gradient", size), workspace.take("absolute_gradient", size * absolute_too)
        )
        results, pose = _parameter_gradients(frame, gaussians, inputs, entries, pixel_grads, wants_pose=wants[5])
        if by_channel is not None:
            results[4] = torch.from_numpy(by_channel).view(inputs[4].shape)
        by_pixel = torch.from_numpy(pixel_grads.means2d).view(-1, 2)[link.ids]
        if ctx.absolute is not None:
            ctx.absolute(torch.from_numpy(pixel_grads.absolute).view(-1, 2)[link.ids])
        link.delivered = by_pixel
        if link.sparse_grad:
            results[:3] = [sparse_rows(result[link.ids], link.ids, len(result)) for result in results[:3]]
        results.append(viewmat_gradient(inputs[5], pose) if wants[5] else None)
        results.append(background_gradient(maps[2], output_grads[0]) if wants[6] else None)
        return (
            None,
            None,
            None,
            by_pixel,
            *(result if want else None for result, want in zip(results, wants, strict=True)),
        )


def _parameter_gradients(
    frame: Frame, gaussians: Gaussians, inputs: Sequence[Tensor], entries: Entries, pixel_grads: PixelGradients,
    *, wants_pose: bool
) -> tuple[list[Any], Any]:  # fmt: skip
    """Dense gradients by the first five inputs, and the sums of the pose gradient."""
    features = inputs[4] if inputs[4].dim() == 3 or inputs[4].shape[-1] == COLORS else inputs[4][:, :COLORS]
    grads, arrays = gradient_buffers((*inputs[:4], features))
    pose = gaussian_gradients(frame, gaussians, entries, grads, pixel_grads, wants_pose=wants_pose)
    tensors = [torch.from_numpy(array) for array in arrays]
    return [x.view(value.shape) for x, value in zip(tensors, (*inputs[:4], features), strict=True)], pose


class _Seen(torch.autograd.Function):
    """What the projection found, with the gradient of everything but the picture."""

    @staticmethod
    def forward(ctx: Any, link: _Link, values: tuple[Tensor, ...], *inputs: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        ctx.link = link
        return values

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> Any:
        link, (by_pixel, *others) = ctx.link, output_grads
        delivered, link.delivered = link.delivered, None
        if by_pixel is not None and delivered is not None:
            by_pixel = None if torch.equal(by_pixel, delivered) else by_pixel - delivered
        grads = (by_pixel, *others)
        wants = ctx.needs_input_grad[2:]
        if all(gradient is None for gradient in grads):
            return (None,) * (2 + len(wants))
        *by_row, by_pose = _projection_gradients(ctx.saved_tensors, link, grads)
        results = []
        for index, (values, found) in enumerate(zip(ctx.saved_tensors, by_row, strict=False)):
            rows, sparse = found.to(values.dtype), link.sparse_grad and index < 3
            if sparse:
                results.append(sparse_rows(rows, link.ids, len(values)))
            else:
                results.append(torch.zeros_like(values).index_copy(0, link.ids, rows))
        results.append(by_pose.to(ctx.saved_tensors[-1].dtype))
        return None, None, *(result if want else None for result, want in zip(results, wants, strict=True))


def _projection_gradients(inputs: Sequence[Tensor], link: _Link, grads: Sequence[Tensor | None]) -> list[Tensor]:
    """The gradients of the projection in float64: by the visible rows of means, quats, scales, opacities, and pose."""
    with torch.enable_grad():
        leaves = [value[link.ids].double() for value in inputs[:4]] + [inputs[4].double()]
        means, quats, scales, opacities, viewmat = (leaf.detach().requires_grad_() for leaf in leaves)
        half = build_scaling_rotation(scales, quats)
        every = torch.arange(len(link.ids))
        found = ellipses_of(every, lambda _: (means, half @ half.mT, opacities), viewmat, link.lens)
        outputs = (found.means2d, found.conics, found.depths, found.opacities)
        used = [(output, g.double()) for output, g in zip(outputs, grads, strict=True) if g is not None]
        return list(torch.autograd.grad(
            [output for output, _ in used], [means, quats, scales, opacities, viewmat], [g for _, g in used],
            materialize_grads=True
        ))  # fmt: skip
