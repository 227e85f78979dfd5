"""How the values of the visible Gaussians of several cameras lie in `meta`: gsplat's packed or dense arrangement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.rasterizer.reference.projection import Ellipses


@dataclass(frozen=True)
class Layout:
    """Where the ellipses of each camera go: rows of an array with these leading dimensions."""

    shape: tuple[int, ...]
    rows: list[Tensor]  # [M] for each camera

    @staticmethod
    def packed(ids: list[Tensor]) -> Layout:
        """One row for each visible Gaussian of each camera, [nnz, ...]."""
        counts, device = [len(own) for own in ids], ids[0].device
        return Layout((sum(counts),), list(torch.arange(sum(counts), device=device).split(counts)))

    @staticmethod
    def dense(ids: list[Tensor], num: int) -> Layout:
        """One row for each Gaussian in each camera, [C, N, ...]; zeros where it is not visible."""
        return Layout((len(ids), num), [own + index * num for index, own in enumerate(ids)])

    def arrange(self, values: list[Tensor]) -> Tensor:
        """The values [M, ...] of each camera in one tensor of this layout."""
        joined = torch.cat(values)
        rows = joined.new_zeros(prod(self.shape), *joined.shape[1:]).index_copy(0, torch.cat(self.rows), joined)
        return rows.reshape(*self.shape, *joined.shape[1:])

    def hold_positions(self, seen: list[Ellipses]) -> tuple[Tensor, list[Ellipses]]:
        """The screen positions in this layout, and ellipses that depend on it, so that it gets a gradient."""
        positions = self.arrange([ellipses.means2d for ellipses in seen])
        if positions.requires_grad:
            positions.retain_grad()
        flat = positions.reshape(-1, 2)
        return positions, [
            replace(ellipses, means2d=flat[rows]) for ellipses, rows in zip(seen, self.rows, strict=True)
        ]

    def meta(self, seen: list[Ellipses]) -> dict[str, Any]:
        """The part of `meta` that describes the Gaussians, without `means2d`."""

        def column(value: Callable[[Ellipses], Tensor]) -> Tensor:
            return self.arrange([value(ellipses) for ellipses in seen])

        ids: dict[str, Tensor | None] = dict.fromkeys(("batch_ids", "camera_ids", "gaussian_ids"))
        if len(self.shape) == 1:
            gaussian_ids = torch.cat([ellipses.ids for ellipses in seen])
            cameras = [torch.full_like(ellipses.ids, index) for index, ellipses in enumerate(seen)]
            ids = {
                "batch_ids": torch.zeros_like(gaussian_ids),
                "camera_ids": torch.cat(cameras),
                "gaussian_ids": gaussian_ids,
            }
        return ids | {
            "radii": column(lambda ellipses: ellipses.radii),
            "depths": column(lambda ellipses: ellipses.depths),
            "conics": column(lambda ellipses: ellipses.conics),
            "opacities": column(lambda ellipses: ellipses.opacities),
        }
