"""Densification of the 3DGS recipe: clone, split and prune (Kerbl et al. 2023, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.geometry.rotations import build_rotation
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.screen_gradients import ScreenGradients
from gaussian_splatting.trainer.state import per_gaussian

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

SPLIT_SHRINK = 1.6
"""A split child's scale is its parent's divided by this: 0.8 times the number of children."""


@dataclass(frozen=True, kw_only=True)
class DensifyOptions(Options):
    """When and where Gaussians are cloned and split."""

    from_iter: int = option(500, "first step at which Gaussians may be added", moment=True)
    until_iter: int = option(15_000, "last step at which Gaussians may be added", moment=True)
    interval: int = option(100, "steps between two densifications", minimum=1)
    grad_threshold: float = option(2e-4, "mean screen gradient (NDC) from which a Gaussian is cloned or split")
    percent_dense: float = option(0.01, "largest scale, times extent, up to which it is cloned instead of split")
    percent_too_big: float = option(0.8, "scale, times extent, above which it is always split")
    min_scale: float = option(1e-6, "smallest scale of a split child, in world units", minimum=1e-30)
    limit_n: int | None = option(None, "densify only while there are fewer Gaussians than this", minimum=1)
    target_lower_bound: int = option(10_000, "densify at least up to this many Gaussians, best candidates first")
    target_upper_bound: int = option(10_000_000, "never exceed this many Gaussians", minimum=1)


@dataclass(frozen=True, kw_only=True)
class PruneOptions(Options):
    """When and which Gaussians are removed."""

    from_iter: int = option(1_000, "first step at which Gaussians may be removed", moment=True)
    until_iter: int = option(15_000, "last step at which Gaussians may be removed", moment=True)
    interval: int = option(100, "steps between two prunings", minimum=1)
    screensize_threshold: int = option(20, "screen radius in pixels above which a Gaussian is removed; 0: never")
    screensize_from_iter: int = option(
        3_000, "first step of the rule on screen radii, in short runs too: large Gaussians need as long to shrink"
    )
    percent_too_big: float = option(1.0, "scale, times extent, above which a Gaussian is removed", minimum=1e-30)
    opacity_threshold: float = option(0.005, "opacity below which a Gaussian is removed", maximum=1.0)


@dataclass
class ScreenStatistics(ScreenGradients):
    """What the screen showed of every Gaussian since the last densification."""

    radius: Tensor = per_gaussian(dtype=torch.int32)
    """Largest screen radius in pixels."""


class Densify(BaseTrainer):
    """Adds clone, split and prune, within bounds on the number of Gaussians."""

    strategy = "densification"
    shardable = True
    densify = DensifyOptions()
    prune = PruneOptions()
    screen = ScreenStatistics()

    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Gather screen gradients and radii of the visible Gaussians."""
        super().after_backward(out, camera)
        if self.curr_step > max(self.densify.until_iter, self.prune.until_iter):
            return
        self.screen.gather(out)
        torch.maximum(self.screen.radius, out["radii"].to(torch.int32), out=self.screen.radius)

    @torch.no_grad()
    def refine(self) -> None:
        """Clone, split and prune when it is time."""
        super().refine()
        densify, prune = due(self.densify, self.curr_step), due(self.prune, self.curr_step)
        if not densify and not prune:
            return
        num = self.workers.count(self.model)
        nothing = torch.zeros(num, dtype=torch.bool, device=self.model.get_xyz.device)
        clone, split = self.growth(nothing) if densify else (nothing, nothing)
        doomed, doomed_child = self.doomed() if prune else (nothing, nothing)
        if bool((clone | split | doomed).any()):
            clone, split, keep = clone & ~doomed, split & ~doomed_child, ~split & ~doomed
            if not bool((clone | split | keep).any()):
                raise TrainingError(self._why_empty())
            self._rebuild(clone, split, keep)
        if densify:
            self.screen.clear()

    def growth(self, nothing: Tensor) -> tuple[Tensor, Tensor]:
        """Which Gaussians are cloned and which are split, as masks [N]."""
        limit = self.densify.limit_n
        if limit is not None and len(nothing) >= limit:
            return nothing, nothing
        largest = self._largest_scale()
        too_big = largest > self.densify.percent_too_big * self.scene_extent
        chosen = self._within_bounds(self.workers.all_rows(self.screen.mean()), too_big)
        small = largest <= self.densify.percent_dense * self.scene_extent
        return chosen & small & ~too_big, chosen & (~small | too_big)

    def _within_bounds(self, gradient: Tensor, too_big: Tensor) -> Tensor:
        """The Gaussians to grow: too big ones and those above the threshold, within the bounds on N, best first."""
        num, options = len(gradient), self.densify
        candidates = (gradient > 0) | too_big
        wanted = int((candidates & ((gradient >= options.grad_threshold) | too_big)).sum())
        lowest = max(0, options.target_lower_bound - num)
        highest = max(0, options.target_upper_bound - num)
        count = min(max(wanted, lowest), highest, int(candidates.sum()))
        score = torch.where(too_big, torch.inf, torch.where(candidates, gradient, -1.0))
        chosen = torch.zeros_like(candidates)
        chosen[score.sort(descending=True, stable=True).indices[:count]] = True
        return chosen

    def doomed(self) -> tuple[Tensor, Tensor]:
        """Which Gaussians are removed [N], and of which the split children would be [N]."""
        options, largest = self.prune, self._largest_scale()
        faint = self._opacity() < options.opacity_threshold
        limit = options.percent_too_big * self.scene_extent
        doomed = faint | (largest > limit)
        if options.screensize_threshold and self.curr_step >= options.screensize_from_iter:
            doomed = doomed | (self.workers.all_rows(self.screen.radius) > options.screensize_threshold)
        return doomed, faint | (largest / SPLIT_SHRINK > limit)

    def _largest_scale(self) -> Tensor:
        """Of every Gaussian of the scene [N]."""
        return self.workers.all_rows(self.model.get_scaling.amax(dim=1))

    def _opacity(self) -> Tensor:
        """Of every Gaussian of the scene [N]."""
        return self.workers.all_rows(self.model.get_opacity[:, 0])

    def _why_empty(self) -> str:
        options, limit = self.prune, self.prune.percent_too_big * self.scene_extent
        opacity, radius = self._opacity(), self.workers.all_rows(self.screen.radius)
        faint = int((opacity < options.opacity_threshold).sum())
        large = int((self._largest_scale() > limit).sum())
        wide = int((radius > options.screensize_threshold).sum()) if options.screensize_threshold else 0
        return (
            f"all {len(opacity)} Gaussians were to be pruned at step {self.curr_step}: {faint} of opacity < "
            f"{options.opacity_threshold:g}, {large} of scale > {limit:g}, {wide} with a radius > "
            f"{options.screensize_threshold} pixels; nothing would be left to train. Lower prune_opacity_threshold, "
            "raise prune_percent_too_big or prune_screensize_threshold, or check the scale of the scene"
        )

    def _rebuild(self, clone: Tensor, split: Tensor, keep: Tensor) -> None:
        kept, cloned, parts = (mask.nonzero()[:, 0] for mask in (keep, clone, split))
        parents = torch.cat((kept, cloned, parts, parts))
        fresh = torch.arange(len(parents), device=parents.device) >= len(kept)
        here, children = self.workers.held(torch.cat((parts, parts)))
        offsets = self._offsets(children, here)
        _, cloned = self.workers.held(cloned)
        born = torch.cat((cloned, children))
        values = {name: parameter.detach()[born] for name, parameter in self._changing().items()}
        shrunk = (self.model.get_scaling[children] / SPLIT_SHRINK).clamp_min(self.densify.min_scale)
        values["xyz"][len(cloned) :] += offsets
        values["scaling"][len(cloned) :] = shrunk.log()
        self.workers.change_rows(self.model, parents, fresh, values)

    def _changing(self) -> dict[str, Tensor]:
        rows = self.model.rows()
        return {"xyz": rows["xyz"], "scaling": rows["scaling"]}

    def _offsets(self, rows: Tensor, here: Tensor) -> Tensor:
        """Draws [m, 3] from the Gaussians at `rows`, relative to their centres: those of M that are `here` [M]."""
        noise = torch.randn((len(here), 3), generator=self.random("densify")).to(rows.device)[here]
        local = noise * self.model.get_scaling[rows]
        return (build_rotation(self.model._rotation[rows]) @ local[..., None])[..., 0]


def due(options: DensifyOptions | PruneOptions, step: int) -> bool:
    """Whether this step is one of the group's steps."""
    return options.from_iter <= step <= options.until_iter and step % options.interval == 0
