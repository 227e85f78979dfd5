"""Opacity reset: every now and then all Gaussians become nearly transparent, and those that matter recover."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gaussian_splatting.geometry.activations import inverse_sigmoid
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

CEILING = 0.01
"""Opacities above this are set to it (Kerbl et al. 2023, section 5.2)."""


@dataclass(frozen=True, kw_only=True)
class OpacityResetOptions(Options):
    """When opacities are reset."""

    from_iter: int = option(3_000, "first step at which opacities are reset", moment=True)
    until_iter: int = option(15_000, "opacities are reset before this step only", moment=True)
    interval: int = option(3_000, "steps between two resets", minimum=1)


class OpacityReset(BaseTrainer):
    """Adds the opacity reset."""

    strategy = "opacity reset"
    shardable = True
    opacity_reset = OpacityResetOptions()

    @torch.no_grad()
    def after_step(self) -> None:
        """Lower the opacities when it is time; their moments start again."""
        super().after_step()
        options = self.opacity_reset
        if not options.from_iter <= self.curr_step < options.until_iter or self.curr_step % options.interval:
            return
        ceiling = inverse_sigmoid(torch.tensor(CEILING, device=self.model._opacity.device))
        everything = torch.ones(len(self.model), dtype=torch.bool, device=self.model._opacity.device)
        self.model.overwrite_rows("opacity", everything, self.model._opacity.clamp_max(ceiling))
