"""From ellipses to pixels: front-to-back alpha blending in differentiable PyTorch, one tile after another.

A pixel skips what has alpha below 1/255, clamps alpha to 0.999, and stops before the first Gaussian that would take its
transmittance to 1e-4 or less. The transmittance after each Gaussian is a cumulative product that never rises, so the
Gaussians before the stop are exactly those whose product is still above 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gaussian_splatting.rasterizer.reference.projection import ALPHA_THRESHOLD, Ellipses

MAX_ALPHA = 0.999
MIN_TRANSMITTANCE = 1e-4
TILE = 16  # pixels
CHUNK = 4096  # Gaussians of a tile that are blended at once
_KEEP_PAIRS = 1 << 22  # with more (pixel, Gaussian) pairs than this, the backward pass computes each tile again


Record = tuple[Tensor, Tensor]  # where absolute gradients are added [K, 2], and the row of each ellipse there [M]

# What pixels [P, 2] show [P, X] of the splats [M, F] in the rows `ids` [M], nearest first.
BlendTile = Callable[[Tensor, Tensor, Tensor], Tensor]


class Boxes(Protocol):
    """Splats with a bounding box on the picture."""

    @property
    def means2d(self) -> Tensor:
        """Middles [M, 2], pixels."""
        ...

    @property
    def radii(self) -> Tensor:
        """Half-sizes [M, 2], pixels."""
        ...

    @property
    def depths(self) -> Tensor:
        """Camera z [M], which orders them."""
        ...


def blend(ellipses: Ellipses, features: Tensor, width: int, height: int, absgrad: Record | None = None) -> Tensor:
    """The picture [H, W, F + 1]: the blended `features` [M, F] of the ellipses, and the transmittance that is left.

    With `absgrad`, the backward pass adds to it the sums over pixels of the absolute gradients of the screen positions
    (AbsGS, Ye et al. 2024).
    """
    splats = torch.cat([ellipses.means2d, ellipses.conics, ellipses.opacities[:, None], features], dim=-1)  # [M, 6 + F]

    def blend_tile(pixels: Tensor, values: Tensor, ids: Tensor) -> Tensor:
        return _blend_tile(pixels, values, ids, absgrad)

    return over_tiles(splats, ellipses, width, height, TILE, blend_tile)


def over_tiles(splats: Tensor, boxes: Boxes, width: int, height: int, tile: int, blend_tile: BlendTile) -> Tensor:
    """A picture [H, W, X] made tile by tile: `blend_tile` gets the `splats` [M, F] whose box meets the tile."""
    # gsplat orders by the float32 depth, and by row where that is equal.
    order = boxes.depths.detach().float().argsort(stable=True)
    means2d, radii = boxes.means2d.detach()[order], boxes.radii[order]
    low, high = means2d - radii, means2d + radii  # [M, 2]
    if splats.requires_grad and _num_pairs(low, high, width, height, tile) > _KEEP_PAIRS:
        blend_tile = _recomputed(blend_tile)
    rows = []
    for top in range(0, height, tile):
        in_row = ((low[:, 1] < top + tile) & (high[:, 1] > top)).nonzero()[:, 0]
        left, right = low[in_row, 0], high[in_row, 0]
        tiles = [order[in_row[(left < x + tile) & (right > x)]] for x in range(0, width, tile)]
        rows.append(_blend_row(splats, tiles, (width, min(tile, height - top), top, tile), blend_tile))
    return torch.cat(rows, dim=0)


def _recomputed(blend_tile: BlendTile) -> BlendTile:
    def again(pixels: Tensor, values: Tensor, ids: Tensor) -> Tensor:
        return checkpoint(blend_tile, pixels, values, ids, use_reentrant=False, preserve_rng_state=False)

    return again


def _num_pairs(low: Tensor, high: Tensor, width: int, height: int, tile: int) -> int:
    """About how many (pixel, Gaussian) pairs the tiles hold."""
    size = torch.tensor([width, height], device=low.device)
    spans = (high / tile).ceil().clamp_max(size / tile + 1) - (low / tile).floor().clamp_min(0)
    return int(spans.clamp_min(0).prod(dim=-1).sum()) * tile * tile


def _blend_row(splats: Tensor, tiles: list[Tensor], strip: tuple[int, int, int, int], blend_tile: BlendTile) -> Tensor:
    """One row of tiles [h, W, X]; `tiles` holds the rows of `splats` of each, `strip` is (width, h, top, tile)."""
    width, height, top, tile = strip
    y = torch.arange(top, top + height, dtype=splats.dtype, device=splats.device) + 0.5
    # One gather for the whole row: its backward pass fills a tensor of the size of `splats`.
    gathered = splats[torch.cat(tiles)].split([len(ids) for ids in tiles])
    pictures = []
    for index, (ids, values) in enumerate(zip(tiles, gathered, strict=True)):
        left, right = index * tile, min(index * tile + tile, width)
        x = torch.arange(left, right, dtype=splats.dtype, device=splats.device) + 0.5
        pixels = torch.cartesian_prod(y, x).flip(-1)  # [P, 2]
        pictures.append(blend_tile(pixels, values, ids).reshape(height, right - left, -1))
    return torch.cat(pictures, dim=1)


def _blend_tile(pixels: Tensor, splats: Tensor, ids: Tensor, absgrad: Record | None) -> Tensor:
    """Blended features and transmittance [P, F + 1] at `pixels` [P, 2] of `splats` [M, 6 + F], nearest first."""
    transmittance = torch.ones_like(pixels[:, 0])
    stopped = torch.zeros_like(transmittance, dtype=torch.bool)
    blended = splats.new_zeros(len(pixels), splats.shape[1] - 6)
    for chunk, chunk_ids in zip(splats.split(CHUNK), ids.split(CHUNK), strict=True):
        if len(chunk) == 0 or bool(stopped.all()):
            break
        alphas = _alphas(pixels, chunk, chunk_ids, absgrad)
        weights, _, transmittance, stopped = blend_weights(alphas, transmittance, stopped)
        blended = blended + weights @ chunk[:, 6:]
    return torch.cat([blended, transmittance[:, None]], dim=-1)


def _alphas(pixels: Tensor, splats: Tensor, ids: Tensor, absgrad: Record | None) -> Tensor:
    """How much of each pixel each Gaussian covers [P, M], zero below the threshold."""
    offsets = pixels[:, None] - splats[:, :2]  # [P, M, 2]
    if absgrad is not None and offsets.requires_grad:
        sums, rows = absgrad
        offsets.register_hook(lambda gradient: _add_absolute(sums, rows[ids], gradient))
    dx, dy = offsets.unbind(-1)
    xx, xy, yy, opacities = splats[:, 2:6].unbind(-1)
    exponent = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alphas = (opacities * torch.exp(-exponent)).clamp_max(MAX_ALPHA)
    return torch.where((exponent >= 0) & (alphas >= ALPHA_THRESHOLD), alphas, 0)


def blend_weights(alphas: Tensor, transmittance: Tensor, stopped: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blending weights of `alphas` and the transmittance before each [P, M]; transmittance and stop [P] behind all."""
    start = torch.where(stopped, 0, transmittance)[:, None]
    after = start * (1 - alphas).cumprod(dim=1)  # [P, M]
    before = torch.cat([start, after[:, :-1]], dim=1)
    kept = after > MIN_TRANSMITTANCE
    count = kept.sum(dim=1)  # the kept ones come first
    last = after.gather(1, (count - 1).clamp_min(0)[:, None])[:, 0]
    weights = torch.where(kept, alphas * before, 0)
    return weights, before, torch.where(count > 0, last, transmittance), stopped | (count < alphas.shape[1])


def _add_absolute(sums: Tensor, rows: Tensor, gradient: Tensor) -> None:
    sums.index_add_(0, rows, gradient.detach().abs().sum(dim=0))
