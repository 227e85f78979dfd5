"""Dropout of harmonics: some steps render with fewer degrees, so that low degrees alone must come near the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

HIGHEST, LOOKS, ENOUGH_VIEWS = 0.5, 200, 3
"""The rate, after how many looks at every view a run needs it, and how many views for a coefficient never need it."""


@dataclass(frozen=True, kw_only=True)
class SHDropoutOptions(Options):
    """How often harmonics are left out."""

    rate: float | None = option(
        None, "part of the steps that draw their SH degree from 0 to the usual one; none: by the number of views",
        maximum=1.0,
    )  # fmt: skip


class SHDropout(BaseTrainer):
    """Adds steps of a lower SH degree.

    With few views, or in long runs, high degrees learn each view by heart: a Gaussian may have any colour where no
    training view looks. What low degrees can say is left to them when the high ones are missing now and then (Fang et
    al. 2026, "Dropping Anchor and Spherical Harmonics for Sparse-view Gaussian Splatting", where a part of the
    Gaussians lose them in every step). In short runs nothing is learned by heart, and it would only slow them down.
    Splats and held-out views always have all degrees.
    """

    shardable = True
    sh_dropout = SHDropoutOptions()

    def preprocess(self, camera: Camera) -> Camera:
        """The camera, with the SH degree that it is rendered with where that is not the usual one."""
        camera = super().preprocess(camera)
        generator = self.random("harmonics dropout")
        if float(torch.rand((), generator=generator)) >= self.dropout_rate():
            return camera
        usual = self.model.active_sh_degree
        degree = int(torch.randint(usual + 1, (), generator=generator))
        return camera._replace(custom_data={**camera.custom_data, "sh_degree": degree})

    def dropout_rate(self) -> float:
        """The part of the steps that draw their degree: more in long runs and with few views, at most half.

        What a run has seen often it learns by heart; but a colour of K coefficients is well determined by 3 K views.
        """
        options, views = self.sh_dropout, 0 if self.dataset is None else len(self.dataset)
        if options.rate is not None:
            return options.rate
        if views == 0:
            return HIGHEST
        looks = self.run_length.steps * self.workers.size / views
        enough = ENOUGH_VIEWS * (self.model.max_sh_degree + 1) ** 2
        return HIGHEST * min(1.0, looks / LOOKS) * min(1.0, max(0.0, 2 - 2 * views / enough))
