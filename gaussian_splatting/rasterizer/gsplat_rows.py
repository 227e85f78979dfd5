"""Which Gaussians a view of gsplat shows, and their parameters with gradients of those rows only."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView


class PackedProjection(NamedTuple):
    """The V Gaussians that a view shows, on its screen."""

    rows: Tensor  # [V] int64, which Gaussians, ascending
    radii: Tensor  # [V, 2] int32 pixels
    means2d: Tensor  # [V, 2] pixels
    depths: Tensor  # [V]
    conics: Tensor  # [V, 3]
    compensations: Tensor | None  # [V], factors on opacities, of antialiased views


def packed_projection(
    library: ModuleType, parameters: GaussianParameters, view: RasterView, opacities: Tensor
) -> PackedProjection:
    """Project all Gaussians, of `opacities` [N], and keep those that the view shows."""
    found = library.fully_fused_projection(
        parameters.means, None, parameters.quats, parameters.log_scales.exp() * view.scale_modifier,
        view.viewmat[None], view.K[None], view.width, view.height,
        eps2d=view.eps2d, near_plane=view.near_plane, far_plane=view.far_plane, radius_clip=view.radius_clip,
        packed=True, calc_compensations=view.antialiased, opacities=opacities,
    )  # fmt: skip
    # gsplat 1.6 has one result more, between the rows and the radii.
    return PackedProjection(found[2].long(), *found[-5:])


@torch.no_grad()
def visible_rows(library: ModuleType, parameters: GaussianParameters, view: RasterView) -> Tensor:
    """The rows [V] int64 of the Gaussians that the view shows; one where there is none, since gsplat needs some."""
    rows = packed_projection(library, parameters, view, parameters.opacity_logits.sigmoid()[:, 0]).rows
    return rows if len(rows) else rows.new_zeros(1)


def taken_rows(parameters: GaussianParameters, rows: Tensor) -> GaussianParameters:
    """The parameters of some Gaussians, `rows` [V] unique and ascending; gradients arrive as sparse tensors (COO)."""
    return GaussianParameters(*_TakenRows.apply(rows, *vars(parameters).values()))  # pyright: ignore[reportArgumentType]


class _TakenRows(torch.autograd.Function):
    """All parameters at once, so that each gets its gradient in one piece, without a sum of sparse tensors."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.rows, ctx.num = rows[None], len(values[0])
        return tuple(value.index_select(0, rows) for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # A gradient that nobody else holds would be taken apart for a parameter, and lose the word that its rows are
        # unique, without which they have to be sorted.
        ctx.kept = tuple(_of_rows(ctx.rows, gradient, ctx.num) for gradient in gradients)
        return None, *ctx.kept


def _of_rows(rows: Tensor, values: Tensor, num: int) -> Tensor:
    size = (num, *values.shape[1:])
    return torch.sparse_coo_tensor(rows, values, size, is_coalesced=True, check_invariants=False)
