"""A limit on angular size: no Gaussian is larger than a part of its distance to the nearest camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.dataset.split import even_choice
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset

MOST_CAMERAS = 128
MOST_AT_ONCE = 1 << 24


@dataclass(frozen=True, kw_only=True)
class AngularSizeOptions(Options):
    """How large a Gaussian may be for the cameras."""

    limit: float = option(
        0.33, "largest standard deviation, divided by the distance to the nearest camera", minimum=1e-3, maximum=1e6
    )
    interval: int = option(50, "steps between two looks at all Gaussians", minimum=1)


class AngularSize(BaseTrainer):
    """Adds a limit on the standard deviations of Gaussians, by their distance to the nearest training camera.

    The projection of a Gaussian is linearised at its centre, which holds where it is small against its depth (Zwicker
    et al. 2001, "EWA Volume Splatting", section 4.3). A wall far away can grow needles many times as long as the scene:
    each training view is made right by others, and a view between them sees a smear across the whole picture.
    """

    shardable = True
    angular_size = AngularSizeOptions()

    @torch.no_grad()
    def after_step(self) -> None:
        """Shorten what is too long when it is time; moments stay."""
        super().after_step()
        if self.dataset is None or self.curr_step % self.angular_size.interval:
            return
        centres = self._centres(self.dataset)
        at_once = max(1, MOST_AT_ONCE // len(centres))
        for first in range(0, len(self.model), at_once):
            rows = slice(first, first + at_once)
            largest = self.angular_size.limit * nearest(self.model.get_xyz[rows], centres)
            scaling = self.model._scaling.data[rows]
            scaling.copy_(torch.minimum(scaling, largest.clamp_min(torch.finfo(largest.dtype).tiny).log()[:, None]))

    def _centres(self, dataset: CameraDataset) -> Tensor:
        """Where the cameras are [C, 3], of many an even choice."""
        views = [dataset.geometry(index) for index in even_choice(len(dataset), MOST_CAMERAS)]
        return torch.stack([view.camera_center for view in views]).detach().to(self.model.get_xyz)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The distance [N] of every point [N, 3] to the nearest of the centres [C, 3], in their unit."""
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
