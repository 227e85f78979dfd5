"""SH lift: view-dependent colour is added degree by degree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class SHLiftOptions(Options):
    """How fast the SH degree rises."""

    up_interval: int = option(
        1_000, "steps between two rises of the SH degree", name="sh_degree_up_interval", minimum=1, moment=True
    )
    initial: int = option(0, "SH degree at the start", name="initial_sh_degree", maximum=4)


class SHLift(BaseTrainer):
    """Adds the rise of the SH degree from low to the model's maximum."""

    shardable = True
    sh_lift = SHLiftOptions()

    def preprocess(self, camera: Camera) -> Camera:
        """Set the degree of this step, a function of the step alone."""
        self.model.active_sh_degree = self.degree(self.curr_step)
        return super().preprocess(camera)

    def degree(self, step: int) -> int:
        """The SH degree that step `step` renders with."""
        risen = self.sh_lift.initial + (step - 1) // self.sh_lift.up_interval
        return min(self.model.max_sh_degree, risen)
