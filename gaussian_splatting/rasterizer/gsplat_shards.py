"""gsplat in two halves, Gaussians to ellipses on a screen and ellipses to a picture, for processes that share the work.

`gsplat.rasterization(distributed=True)` of 1.5.3 does this in one call, with one size for the views of a step, colours
that do not depend on the view (and so no inverse depth), and what is out of view sent too: its packed mode keeps the
image numbers of before the exchange. These are the same kernels, called in the same order.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.gsplat import color_channels
from gaussian_splatting.rasterizer.gsplat_rows import packed_projection

TILE = 16
COLUMNS = {"means2d": 2, "depths": 1, "conics": 3, "opacities": 1, "colors": 4}
"""What is said of an ellipse, in the order of the columns of `Ellipses.values`."""


class Ellipses(NamedTuple):
    """The Gaussians that a view shows, on its screen."""

    rows: Tensor  # [V] int64, which Gaussians
    radii: Tensor  # [V, 2] int32 pixels
    means2d: Tensor  # [V, 2] pixels, a part of `values`
    values: Tensor  # [V, 11]


def project(library: ModuleType, parameters: GaussianParameters, view: RasterView) -> Ellipses:
    """The Gaussians that a view shows; differentiable in all parameters and in the pose."""
    opacities = parameters.opacity_logits.sigmoid()[:, 0]
    found = packed_projection(library, parameters, view, opacities)
    rows, compensations = found.rows, found.compensations
    opacity = opacities[rows] if compensations is None else opacities[rows] * compensations
    seen = GaussianParameters(*(values[rows] for values in vars(parameters).values()))
    colors = color_channels(seen, view, library.spherical_harmonics) if len(rows) else found.means2d.new_zeros((0, 4))
    values = torch.cat((found.means2d, found.depths[:, None], found.conics, opacity[:, None], colors), dim=1)
    return Ellipses(rows, found.radii, found.means2d, values)


def rasterize(library: ModuleType, radii: Tensor, values: Tensor, view: RasterView) -> RasterOutput:
    """The picture of ellipses, `radii` [M, 2] and `values` [M, 11], whoever projected them."""
    means2d, depths, conics, opacities, colors = values.split(list(COLUMNS.values()), dim=1)
    holder = means2d.detach()
    if len(values) == 0:
        return _empty(values, holder, view)
    across, down = -(-view.width // TILE), -(-view.height // TILE)
    _, keys, order = library.isect_tiles(
        means2d.detach()[None], radii[None], depths.detach()[None, :, 0], TILE, across, down
    )
    offsets = library.isect_offset_encode(keys, 1, across, down).reshape(1, down, across)
    pictures, alphas = library.rasterize_to_pixels(
        means2d[None], conics[None], torch.cat((colors, depths), dim=1)[None], opacities[None, :, 0],
        view.width, view.height, TILE, offsets, order, backgrounds=pad(view.background, (0, 2))[None],
    )  # fmt: skip
    color, inverse_depth, depth = pictures[0].split((3, 1, 1), dim=-1)
    return RasterOutput(
        colors=color,
        alphas=alphas[0, ..., 0],
        depth=(depth / alphas[0].clamp_min(1e-10))[..., 0],
        inverse_depth=inverse_depth[..., 0],
        radii=radii.amax(dim=-1),
        means2d=holder,
    )


def _empty(values: Tensor, means2d: Tensor, view: RasterView) -> RasterOutput:
    """A view that shows nothing, with the gradient that nobody gets."""
    blank = values.sum() + values.new_zeros((view.height, view.width))
    return RasterOutput(
        colors=blank[..., None] + view.background,
        alphas=blank,
        depth=blank,
        inverse_depth=blank,
        radii=values.new_zeros(0, dtype=torch.int32),
        means2d=means2d,
    )
