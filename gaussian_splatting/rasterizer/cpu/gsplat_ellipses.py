"""One view for `gsplat_call` whose projection has no kernel: other cameras than pinholes, and given covariances.

The projection is the reference's, in float64 and differentiable; ellipses are blended by the kernels of training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding

from gaussian_splatting.rasterizer.batches import View
from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.arguments import PLAIN_COLORS, Images, Shape
from gaussian_splatting.rasterizer.cpu.channel_passes import COLORS, channel_gradients, draw_channels, record_sums
from gaussian_splatting.rasterizer.cpu.ellipse_records import fill_projection
from gaussian_splatting.rasterizer.cpu.frame import Frame, check_size, draw, empty_frame
from gaussian_splatting.rasterizer.cpu.frame_backward import entry_gradients
from gaussian_splatting.rasterizer.cpu.function import NO_FLOATS, background_gradient, flat
from gaussian_splatting.rasterizer.cpu.gsplat_meta import AddAbsolute
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.reference.projection import Ellipses, Lens, covariances_of, project
from gaussian_splatting.rasterizer.reference.shading import view_colors

NO_CAMERA = np.zeros(layout.CAMERA_SIZE, np.float32)


@dataclass
class EllipseView:
    """A projected view, to be blended by `draw`."""

    seen: Ellipses  # float64, but positions
    colors: Tensor  # [M, D], D at least 3
    background: Tensor  # [D]
    settings: RenderSettings

    def draw(self, means2d: Tensor, absolute: AddAbsolute | None) -> tuple[Tensor, ...]:
        """Picture [H, W, D], alphas and depths [H, W] of the ellipses at `means2d` [M, 2]."""
        check_size(self.settings.width, self.settings.height)
        seen = self.seen
        return _Blend.apply(
            self.settings, absolute, means2d, seen.conics, seen.opacities, seen.depths, self.colors, self.background
        )


def ellipse_view(view: View, settings: RenderSettings, lens: Lens, sparse_grad: bool) -> EllipseView:
    """Project one view. Where it has covariances, quats and scales are not looked at."""
    means, opacities, covars = view.means, view.opacities, view.covars
    rows_of = _sparse_rows if sparse_grad else _rows

    def take(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if covars is None:
            assert view.quats is not None and view.scales is not None
            covariances = covariances_of(rows_of(view.scales, ids).double(), rows_of(view.quats, ids).double())
        else:
            # gsplat reads the upper triangle only.
            upper = _rows(covars, ids).double().triu()
            covariances = upper + upper.triu(1).mT
        return rows_of(means, ids).double(), covariances, _rows(opacities, ids).double()

    pose = view.viewmat.double()
    seen = project(means.double(), take, pose, replace(lens, K=lens.K.double()))
    centre = torch.linalg.inv(pose)[:3, 3]
    chosen = _rows(view.colors, seen.ids).double()
    colors = view_colors(chosen, rows_of(means, seen.ids).double(), centre, settings.sh_degree).float()
    return EllipseView(replace(seen, means2d=seen.means2d.float()), colors, view.background, settings)


def _rows(values: Tensor, ids: Tensor) -> Tensor:
    return values.index_select(0, ids)


def _sparse_rows(values: Tensor, ids: Tensor) -> Tensor:
    """The same rows, with a gradient in the COO layout."""
    return embedding(ids, values, sparse=True)


class _Blend(torch.autograd.Function):
    """Ellipses to a picture."""

    @staticmethod
    def forward(ctx: Any, settings: RenderSettings, absolute: AddAbsolute | None, *inputs: Tensor) -> Any:
        means2d, conics, opacities, depths, colors, background = inputs
        height, width, differentiable = settings.height, settings.width, any(ctx.needs_input_grad)
        has_channels = colors.shape[-1] != COLORS
        shape = Shape(len(means2d), COLORS, 0, 0, PLAIN_COLORS, False, False)
        behind = np.zeros(COLORS, np.float32) if has_channels else flat(background)
        frame = empty_frame(shape, NO_CAMERA, width, height, behind, 2)
        values = [value.numpy() for value in (means2d, conics, opacities, depths)]
        fill_projection(frame, values[0], values[1], values[2], values[3], None if has_channels else colors.numpy())
        images = draw(frame, differentiable=differentiable or has_channels)
        picture = images.colors
        if has_channels:
            picture = draw_channels(frame, images.transmittances, flat(colors), flat(background))
        maps = [torch.from_numpy(image).view(height, width) for image in (images.alphas, images.depths)]
        shown, transmittances = torch.from_numpy(picture).view(height, width, -1), torch.from_numpy(images[4])
        ctx.set_materialize_grads(False)
        if differentiable:
            kept = (*inputs, shown, *maps, transmittances.view(height, width), *frame.to_tensors())
            ctx.save_for_backward(*kept)
            ctx.settings, ctx.absolute, ctx.shape = settings, absolute, shape
        return shown, *maps

    @staticmethod
    def backward(ctx: Any, *output_grads: Tensor | None) -> Any:
        _, conics, opacities, _, colors, _, picture, *maps = ctx.saved_tensors[:10]
        frame = Frame.from_tensors(ctx.saved_tensors[10:], ctx.settings, ctx.shape)
        alphas, depth_map, behind = map(flat, maps)
        given = [NO_FLOATS if gradient is None else flat(gradient) for gradient in output_grads]
        absolute_too = ctx.absolute is not None
        if colors.shape[-1] == COLORS:
            images = Images(flat(picture), alphas, depth_map, NO_FLOATS, behind)
            image_grads = Images(given[0], given[1], given[2], NO_FLOATS, NO_FLOATS)
            entries = entry_gradients(frame, images, image_grads, absolute_too=absolute_too)
            sums = torch.from_numpy(record_sums(frame, entries))
            by_color = sums[:, layout.SUM_RED : layout.SUM_BLUE + 1].clone()
        else:
            images = Images(NO_FLOATS, alphas, depth_map, NO_FLOATS, behind)
            image_grads = Images(NO_FLOATS, given[1], given[2], NO_FLOATS, NO_FLOATS)
            entries, by_channel = channel_gradients(
                frame, images, image_grads, flat(colors), flat(picture), given[0], absolute_too=absolute_too
            )
            by_color = torch.from_numpy(by_channel).view(colors.shape)
            sums = torch.from_numpy(record_sums(frame, entries))
        if ctx.absolute is not None:
            ctx.absolute(sums[:, [layout.ABS_X, layout.ABS_Y]] * layout.LN_2)
        by_background = background_gradient(maps[2], output_grads[0]) if ctx.needs_input_grad[7] else None
        return None, None, *_by_ellipse(sums, conics, opacities), by_color, by_background


def _by_ellipse(sums: Tensor, conics: Tensor, opacities: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by position, conic, opacity and depth; ln(alpha) = ln(opacity) - (a dx^2 + 2 b dx dy + c dy^2) / 2."""
    values, (a, b, c) = sums.double(), conics.unbind(-1)
    dx, dy = values[:, layout.SUM_V_DX], values[:, layout.SUM_V_DY]
    by_position = torch.stack([a * dx + b * dy, b * dx + c * dy], dim=-1).float()
    moments = values[:, [layout.SUM_V_DX2, layout.SUM_V_DX_DY, layout.SUM_V_DY2]]
    by_conic = moments * torch.tensor([-0.5, -1.0, -0.5], dtype=torch.float64)
    return by_position, by_conic, values[:, layout.SUM_V] / opacities, values[:, layout.SUM_DEPTH]
