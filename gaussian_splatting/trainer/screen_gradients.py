"""How far each Gaussian is drawn over the screen, gathered over views: what densification looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.trainer.state import State, per_gaussian


@dataclass
class ScreenGradients(State):
    """What the screen showed of every Gaussian since the last change of their number."""

    gradient: Tensor = per_gaussian()
    """Sum over views of the length of the screen gradient."""
    views: Tensor = per_gaussian()
    """Number of views in which it was visible."""

    def gather(self, out: dict[str, Any]) -> None:
        """Add what one view showed; `out` is what rendering gave, after backward."""
        self.gradient += out["get_viewspace_grad"](out).norm(dim=1)
        self.views += out["radii"] > 0

    def mean(self) -> Tensor:
        """The mean length over the views that showed each Gaussian [N]; zero where none did."""
        counts = self.views.clamp_min(1)
        return torch.div(self.gradient, counts, out=counts)
