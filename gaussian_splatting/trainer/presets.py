"""The presets of the train command: a named trainer and how long it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gaussian_splatting.trainer import named
from gaussian_splatting.trainer.base import BaseTrainer

FEW_VIEWS = 50


@dataclass(frozen=True)
class Preset:
    """A recipe: a trainer, and the steps that it takes for a scene of few views."""

    trainer: type[BaseTrainer]
    iterations: int

    def length(self, num_views: int) -> int:
        """Steps for a scene: they grow with the root of the number of views beyond 50, as the budget does."""
        return round(self.iterations * math.sqrt(max(1.0, num_views / FEW_VIEWS)))


PRESETS = {
    "fast": Preset(named.FastTrainer, 650),
    "default": Preset(named.DefaultTrainer, 1_000),
    "best": Preset(named.BestTrainer, 5_000),
}
"""Every preset by its name."""
