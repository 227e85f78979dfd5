"""Infrequent updates of the view-dependent colour: gradients are gathered, and the optimiser acts now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.state import State, per_gaussian

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class ShRestOptions(Options):
    """How often the harmonics above degree 0 are updated."""

    from_iter: int = option(0, "first step at which they are updated at all", moment=True)
    interval: int = option(16, "steps between two updates", minimum=1)


@dataclass
class GatheredGradients(State):
    """The gradients of the harmonics since their last update."""

    total: Tensor = per_gaussian()
    """Their sum [N, K - 1, 3]."""


class ShRest(BaseTrainer):
    """Adds updates of the harmonics above degree 0 in every 16th step only, with the mean gradient of those steps.

    They are 45 of the 59 numbers of a Gaussian, and change slowly: updated rarely they cost little, and the mean over
    views is a better gradient than that of one (Mallick et al. 2024, "Taming 3DGS", section 4).
    """

    shardable = True
    sh_rest = ShRestOptions()
    gathered = GatheredGradients()

    def setup(self) -> None:
        """Make place for the gradients."""
        super().setup()
        self.gathered.total = torch.zeros_like(self.model._features_rest.detach())

    @torch.no_grad()
    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Keep the gradient from the optimiser, or hand over the mean of those that were kept."""
        super().after_backward(out, camera)
        parameter, options = self.model._features_rest, self.sh_rest
        if parameter.grad is None or parameter.numel() == 0:
            return
        if self.curr_step < options.from_iter:
            parameter.grad = None
            return
        gradient, parameter.grad = parameter.grad, None
        self.gathered.total += gradient
        if self.curr_step % options.interval == 0:
            room = None if gradient.is_sparse else gradient
            parameter.grad = torch.div(self.gathered.total, options.interval, out=room)
            self.gathered.clear()
