"""A start with more Gaussians than there may be is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer


@torch.no_grad()
def keep_most_opaque(trainer: BaseTrainer, count: int, purpose: str) -> None:
    """Keep the `count` most opaque Gaussians, among equals a random choice, which `purpose` names; see `random`.

    For the `setup` of a feature: after one step those are faint that the first view wants less of, and all of a surface
    may be among them.
    """
    opacity = trainer.model.get_opacity[:, 0]
    order = torch.randperm(len(opacity), generator=trainer.random(purpose)).to(opacity.device)
    ranked = opacity[order].sort(descending=True, stable=True).indices
    kept = order[ranked[:count]].sort().values
    trainer.model.change_rows(kept, torch.zeros_like(kept, dtype=torch.bool))
