"""Absolute screen gradients: what pulls a Gaussian to the left and to the right no longer cancels."""

from __future__ import annotations

from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.maps import require_absolute_gradients


class AbsoluteGradients(BaseTrainer):
    """Makes densification see, for each Gaussian, the sum over pixels of the absolute screen gradients.

    A large Gaussian over fine detail is pulled every way, and the sum of the gradients is small though it should be
    split (Ye et al. 2024, "AbsGS"; Yu et al. 2024, "Gaussian Opacity Fields"). Thresholds have to be larger: with
    `densify_grad_threshold` about four times. A budget has no threshold and needs no change.
    """

    shardable = True

    def setup(self) -> None:
        """Ask the renderer for them; TrainingError where it has none."""
        super().setup()
        require_absolute_gradients(self.model)
        self.model.absolute_gradients = True
