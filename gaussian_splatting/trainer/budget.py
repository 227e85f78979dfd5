"""Densification to a budget: the best candidates are split, as many as a curve allows, and nothing is cloned."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.budget_size import budget_of
from gaussian_splatting.trainer.cutting import keep_most_opaque
from gaussian_splatting.trainer.rates import long_run_factor
from gaussian_splatting.trainer.screen_gradients import ScreenGradients
from gaussian_splatting.trainer.splitting import long_axis_children
from gaussian_splatting.trainer.view_scores import contributions, error_scores, some_views

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

log = logging.getLogger("gaussian_splatting")


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(Options):
    """How many Gaussians there are at which step, and which are split to get there."""

    from_iter: int = option(4_500, "first step at which Gaussians may be split or removed", moment=True)
    until_iter: int = option(18_000, "last step of it, at which the budget is reached", moment=True)
    interval: int = option(60, "steps between two refinements", minimum=1)
    target: int | None = option(
        None, "number of Gaussians to grow to; none: from the pictures, the points and the length of the run", minimum=1
    )
    upper_bound: int = option(10_000_000, "never exceed this many Gaussians", minimum=1)
    density: float = option(
        2_300.0, "the budget of 1000 steps, divided by the fifth root of the pixels of all views together", maximum=1e9
    )
    length_power: float = option(
        0.5, "power of the length by which the budget is larger in runs of more than 1000 steps", maximum=2.0
    )
    start: float = option(
        0.2, "a start from more random points than the budget is cut to this fraction of it", minimum=0.01, maximum=1.0
    )
    curve: Literal["linear", "parabolic"] = option(
        "linear", "how the number grows: by as many at every refinement, or faster at first"
    )
    score: Literal["gradient", "error", "product"] = option(
        "gradient", "who is split: where the screen gradient is large, where the error of some views is, or both"
    )
    score_views: int = option(10, "number of views that are looked at for errors and contributions", minimum=1)
    exchange: float = option(
        0.0, "fraction of the Gaussians that is split at least, in place of those that contribute least", maximum=0.5
    )
    exchange_power: float = option(
        1.0, "in runs of more than 1000 steps that fraction is (1000 / length) to this power of itself", maximum=2.0
    )
    opacity_threshold: float = option(0.005, "opacity below which a Gaussian is removed", maximum=1.0)


@dataclass
class BudgetStatistics(ScreenGradients):
    """What the views showed of every Gaussian since the last refinement."""

    start_count: int = 0
    """Number of Gaussians at the start of the run."""
    final_count: int = 0
    """The budget."""


class Budget(BaseTrainer):
    """Adds splitting along a curve to a fixed number of Gaussians, best candidates first.

    The number at every step is known beforehand, and with it memory and time (Mallick et al. 2024, "Taming 3DGS"). A
    threshold on gradients is not needed, and so one setting fits every scene.
    """

    strategy = "densification"
    shardable = True
    budget = BudgetOptions()
    seen = BudgetStatistics()

    def setup(self) -> None:
        """Cut a start above the budget, and say what it is."""
        super().setup()
        final, found = self._final_count(), len(self.model)
        # Most random points are nowhere near a surface; Gaussians that are split where they are missed are.
        part = self.budget.start if self.model.started_at_random else 1.0
        start = found if found <= final else max(1, round(part * final))
        self.seen.start_count, self.seen.final_count = start, final
        log.info("the budget is %d Gaussians, %d of %d at the start", final, start, found)
        if start < found:
            keep_most_opaque(self, start, "budget")

    def _final_count(self) -> int:
        options, wanted = self.budget, self.budget.target
        if wanted is None:
            room = long_run_factor(self.run_length.steps, options.length_power)
            wanted = round(budget_of(self.dataset, len(self.model), options.density) * room)
        return min(wanted, options.upper_bound)

    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Gather the screen gradients of the visible Gaussians."""
        super().after_backward(out, camera)
        if self.curr_step > self.budget.until_iter:
            return
        self.seen.gather(out)

    @torch.no_grad()
    def refine(self) -> None:
        """Remove the faint and split the best candidates when it is time; keep to the budget always."""
        super().refine()
        options = self.budget
        if options.from_iter <= self.curr_step <= options.until_iter and self.curr_step % options.interval == 0:
            self._refine_now()

    def allowed(self, step: int) -> int:
        """The number of Gaussians that the curve allows after the refinement of a step."""
        options, interval = self.budget, self.budget.interval
        first = -(-options.from_iter // interval) * interval
        last = max(first, options.until_iter // interval * interval)
        done = min(1.0, max(0.0, (step - first + interval) / (last - first + interval)))
        risen = done if options.curve == "linear" else done * (2 - done)
        start, final = self.seen.start_count, self.seen.final_count
        return start + round((final - start) * risen)

    def expected_count(self, step: int) -> int:
        """The number that the curve allows."""
        return self.allowed(step)

    def _refine_now(self) -> None:
        all_rows = self.workers.all_rows
        keep = all_rows(self.model.get_opacity[:, 0]) >= self.budget.opacity_threshold
        kept = int(keep.sum())
        if kept == 0:
            raise TrainingError(
                f"all {len(keep)} Gaussians were to be pruned at step {self.curr_step}: their opacities are below "
                f"{self.budget.opacity_threshold:g}. Lower budget_opacity_threshold, or check the scene"
            )
        allowed = self.allowed(self.curr_step)
        score = torch.where(keep, all_rows(self.score()), -1.0)
        exchanged = self.budget.exchange * long_run_factor(self.run_length.steps, -self.budget.exchange_power)
        wanted = max(allowed - kept, int(exchanged * allowed))
        split = best(score, min(wanted, int((score > 0).sum())))
        surplus = kept + int(split.sum()) - allowed
        if surplus > 0:
            contribution = all_rows(self.contribution())
            keep = keep & ~best(torch.where(keep & ~split, -contribution, -torch.inf), surplus)
        self._rebuild(keep & ~split, split)
        self.seen.clear()

    def score(self) -> Tensor:
        """How much every Gaussian asks to be split [n]."""
        gradient = self.seen.mean()
        if self.budget.score == "gradient" or self.dataset is None:
            return gradient
        views, share = self._views("errors"), self.workers.share
        error = self.workers.same(error_scores(self.model, self.dataset, views, share))
        return error if self.budget.score == "error" else gradient * error.sqrt()

    def contribution(self) -> Tensor:
        """How much every Gaussian shows in some views [n]; its opacity where there are no views to look at."""
        if self.dataset is None:
            return self.model.get_opacity[:, 0]
        views, share = self._views("contributions"), self.workers.share
        return self.workers.same(contributions(self.model, self.dataset, views, share))

    def _views(self, purpose: str) -> list[int]:
        assert self.dataset is not None
        return some_views(self.dataset, self.budget.score_views, self.random(f"budget {purpose}"))

    def _rebuild(self, keep: Tensor, split: Tensor) -> None:
        kept, parts = keep.nonzero()[:, 0], split.nonzero()[:, 0]
        parents = torch.cat((kept, parts, parts))
        fresh = torch.arange(len(parents), device=parents.device) >= len(kept)
        _, parts = self.workers.held(parts)
        self.workers.change_rows(self.model, parents, fresh, long_axis_children(self.model, parts))


def best(score: Tensor, count: int) -> Tensor:
    """The `count` Gaussians of the highest score [N] as a mask [N]; among equals the first ones."""
    chosen = torch.zeros(len(score), dtype=torch.bool, device=score.device)
    chosen[score.sort(descending=True, stable=True).indices[:count]] = True
    return chosen
