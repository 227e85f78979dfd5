"""The `meta` dictionary of gsplat's `rasterization`, from what the projections of all views found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.cpu.gsplat_tiles import LISTS, LazyMeta, tile_lists
from gaussian_splatting.rasterizer.reference.layout import Layout
from gaussian_splatting.rasterizer.reference.projection import Ellipses

AddAbsolute = Callable[[Tensor], Any]
"""Takes the sums over pixels of the absolute gradients [M, 2] of the positions of the visible Gaussians of a view."""


@dataclass(frozen=True)
class Arrangement:
    """How the views of B batches and C cameras lie in `meta`: packed [nnz, ...] or dense [..., C, N, ...]."""

    seen: list[Ellipses]  # of all B * C views
    packed: bool
    leading: tuple[int, ...]  # [..., C]
    num_gaussians: int

    def arrange(self, values: list[Tensor]) -> Tensor:
        """The values [M, ...] of all views in one tensor, with zeros where nothing is visible."""
        if self.packed:
            return torch.cat(values)
        ids = [ellipses.ids for ellipses in self.seen]
        dense = Layout.dense(ids, self.num_gaussians).arrange(values)
        return dense.reshape(*self.leading, self.num_gaussians, *dense.shape[2:])

    def split(self, arranged: Tensor) -> list[Tensor]:
        """The parts [M, ...] of `arranged` for each view."""
        if self.packed:
            return list(arranged.split([len(ellipses.ids) for ellipses in self.seen]))
        views = arranged.reshape(len(self.seen), self.num_gaussians, arranged.shape[-1]).unbind()
        return [view.index_select(0, ellipses.ids) for view, ellipses in zip(views, self.seen, strict=True)]

    def adders(self, sums: Tensor) -> list[AddAbsolute | None]:
        """For each view the function that adds [M, 2] to its part of `sums`."""
        parts = sums.split([len(own.ids) for own in self.seen]) if self.packed else None
        dense = sums.view(len(self.seen), self.num_gaussians, 2) if parts is None else sums
        adders: list[AddAbsolute | None] = []
        for index, own in enumerate(self.seen):
            part = dense[index] if parts is None else parts[index]
            rows = own.ids if parts is None else torch.arange(len(own.ids))
            adders.append(partial(part.index_add_, 0, rows))
        return adders

    def ids(self) -> dict[str, Tensor | None]:
        """Batch, camera and row of each packed Gaussian."""
        if not self.packed:
            return dict.fromkeys(("batch_ids", "camera_ids", "gaussian_ids"))
        views = torch.arange(len(self.seen)).repeat_interleave(torch.tensor([len(own.ids) for own in self.seen]))
        rows = torch.cat([ellipses.ids for ellipses in self.seen])
        cameras = self.leading[-1]
        return {"batch_ids": views // cameras, "camera_ids": views % cameras, "gaussian_ids": rows}


def describe(arrangement: Arrangement, width: int, height: int, tile_size: int) -> LazyMeta:
    """Everything that gsplat reports. The tile lists are made when they are asked for."""
    seen, ids, (*batches, cameras) = arrangement.seen, arrangement.ids(), arrangement.leading
    meta: dict[str, Any] = ids | {
        "radii": arrangement.arrange([own.radii for own in seen]),
        "means2d": arrangement.arrange([own.means2d for own in seen]),
        "depths": arrangement.arrange([own.depths.float() for own in seen]),
        "conics": arrangement.arrange([own.conics.float() for own in seen]),
        "opacities": arrangement.arrange([own.opacities.float() for own in seen]),
    }
    tiles = {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    meta |= tiles | {"width": width, "height": height, "tile_size": tile_size}
    meta |= {"n_batches": prod(batches), "n_cameras": cameras}
    batch_ids, camera_ids = ids["batch_ids"], ids["camera_ids"]
    images = None if batch_ids is None or camera_ids is None else batch_ids * cameras + camera_ids
    shape = (*arrangement.leading, tiles["tile_height"], tiles["tile_width"])
    if meta["means2d"].requires_grad:
        meta["means2d"].retain_grad()
    means2d, radii, depths = (meta[name].detach() for name in ("means2d", "radii", "depths"))
    return LazyMeta(meta, LISTS, lambda: tile_lists(means2d, radii, depths, images, shape, tile_size))
