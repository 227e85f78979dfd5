"""The presets of the train command: a named trainer and how long it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gaussian_splatting.trainer import named
from gaussian_splatting.trainer.base import BaseTrainer

USUAL_VIEWS = 50


@dataclass(frozen=True)
class Preset:
    """A recipe: a trainer, and the steps that it takes for a scene of 50 views."""

    trainer: type[BaseTrainer]
    iterations: int
    enough_views: int = 1
    """A scene of fewer views gets fewer steps, in proportion: a long run learns a handful of pictures by heart."""

    def length(self, num_views: int) -> int:
        """Steps for a scene: beyond 50 views they grow with the root of their number, as the budget does."""
        few = min(1.0, num_views / self.enough_views)
        return max(1, round(self.iterations * few * math.sqrt(max(1.0, num_views / USUAL_VIEWS))))


PRESETS = {
    "fast": Preset(named.FastTrainer, 580),
    "default": Preset(named.DefaultTrainer, 1_000),
    "best": Preset(named.BestTrainer, 5_000, enough_views=24),
}
"""Every preset by its name."""
