"""Removal of floaters: haze that hovers before a few cameras, and that the other views do not support."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.view_scores import contributions

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

log = logging.getLogger("gaussian_splatting")
MOST_OF_VIEWS = 1 / 6
"""In a scene of few views, less than this part of them is called few: where all views are few, nothing hovers."""


@dataclass(frozen=True, kw_only=True)
class FloaterRemovalOptions(Options):
    """When floaters are looked for, and what is one."""

    from_iter: int = option(3_000, "first step at which floaters are removed", moment=True)
    until_iter: int = option(21_000, "last step at which floaters are removed", moment=True)
    times: int = option(7, "how many times, at even distances; each time all views are looked at", minimum=1)
    nearness: float = option(
        0.6, "depth, times the median depth of a view, below which a Gaussian is near its camera", maximum=0.8
    )
    views: float = option(6.0, "a Gaussian that fewer views than this see is a floater if it is near them")

    def steps(self) -> set[int]:
        """The steps at which floaters are removed."""
        way, gaps = self.until_iter - self.from_iter, max(1, self.times - 1)
        return {self.from_iter + round(place * way / gaps) for place in range(self.times)} if way >= 0 else set()


class FloaterRemoval(BaseTrainer):
    """Adds the removal of Gaussians that are near the cameras that see them, and that few views see.

    What a view sees of a Gaussian is the sum of its blend weights times its squared depth: the area in the scene, so
    that a near view does not count for more than a far one. By these areas the depth is averaged over views, and views
    are counted: (sum of areas)^2 / (sum of squared areas).
    """

    shardable = True
    floater_removal = FloaterRemovalOptions()

    @torch.no_grad()
    def refine(self) -> None:
        """Remove floaters when it is time: before any other feature acts, so that their order does not matter."""
        if self.curr_step in self.floater_removal.steps() and self.dataset is not None and len(self.dataset):
            floats = self.workers.all_rows(self.floats())
            if bool(floats.any()):
                kept = (~floats).nonzero()[:, 0]
                self.workers.change_rows(self.model, kept, torch.zeros_like(kept, dtype=torch.bool))
            log.info("step %d: %d floaters removed", self.curr_step, int(floats.sum()))
        super().refine()

    def floats(self) -> Tensor:
        """Which Gaussians are floaters, as a mask [n]."""
        assert self.dataset is not None
        area, squared, depth = torch.zeros((3, len(self.model)), device=self.model.get_xyz.device)
        for index in range(len(self.dataset)):
            weight = self.workers.same(contributions(self.model, self.dataset, [index], self.workers.share))
            relative = self._relative_depth(self.dataset.geometry(index), weight)
            seen = weight * relative**2
            area, squared, depth = area + seen, squared + seen**2, depth + seen * relative
        num_views = area**2 / squared.clamp_min(torch.finfo(squared.dtype).tiny)
        few = min(self.floater_removal.views, MOST_OF_VIEWS * len(self.dataset))
        return (area > 0) & (depth < self.floater_removal.nearness * area) & (num_views < few)

    def _relative_depth(self, camera: Camera, weight: Tensor) -> Tensor:
        """Depths [n] of the Gaussians, as multiples of the median depth of what the view shows."""
        x, y, z, shift = camera.world_view_transform[:, 2].tolist()
        # Not a matrix product: its last bits depend on how many rows there are, and processes may hold a part of them.
        centre = self.model.get_xyz
        depth = (x * centre[:, 0] + y * centre[:, 1] + z * centre[:, 2] + shift).clamp_min(0)
        depths, weights = self.workers.all_rows(depth), self.workers.all_rows(weight)
        order = depths.argsort(stable=True)
        below = weights[order].double().cumsum(0)
        middle = int(torch.searchsorted(below, below[-1:] / 2).clamp_max(len(order) - 1))
        return depth / depths[order[middle]].clamp_min(1e-12)
