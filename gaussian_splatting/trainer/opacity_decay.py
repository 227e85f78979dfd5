"""Opacity decay: a little less opaque now and then, instead of nearly transparent at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gaussian_splatting.geometry.activations import inverse_sigmoid
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class OpacityDecayOptions(Options):
    """When opacities decay, and how much."""

    from_iter: int = option(3_000, "first step at which opacities decay", moment=True)
    until_iter: int = option(18_000, "opacities decay before this step only", moment=True)
    interval: int = option(50, "steps between two decays", minimum=1)
    factor: float = option(0.98, "what is left of an opacity at a decay", minimum=1e-3, maximum=1.0)


class OpacityDecay(BaseTrainer):
    """Adds a slow decay of the opacities: what no view needs becomes faint and is pruned, and no step is lost.

    After a hard reset the whole scene has to become opaque again. A decay that the gradients of useful Gaussians
    outweigh has the same end (Rota Bulo et al. 2024, "Revising Densification in Gaussian Splatting", section 3.4).
    """

    strategy = "opacity reset"
    shardable = True
    opacity_decay = OpacityDecayOptions()

    @torch.no_grad()
    def after_step(self) -> None:
        """Lower the opacities when it is time; their moments stay, for nothing jumps."""
        super().after_step()
        options = self.opacity_decay
        if not options.from_iter <= self.curr_step < options.until_iter or self.curr_step % options.interval:
            return
        lowered = (self.model.get_opacity * options.factor).clamp(LEAST, 1 - LEAST)
        self.model._opacity.data.copy_(inverse_sigmoid(lowered))
