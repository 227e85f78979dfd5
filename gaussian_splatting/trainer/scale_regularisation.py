"""Scale regularisation: Gaussians larger than the scene are pulled back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.losses.regularisers import oversize
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class ScaleRegularisationOptions(Options):
    """Keep Gaussians smaller than the scene."""

    from_iter: int = option(3_000, "first step at which large Gaussians cost something", moment=True)
    thr_scale: float = option(1.0, "scale, times extent, from which a Gaussian is too large", minimum=1e-30)
    weight: float = option(0.1, "weight of the mean relative excess of scale")


class ScaleRegularisation(BaseTrainer):
    """Adds scale regularisation."""

    shardable = True
    scale_reg = ScaleRegularisationOptions()

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and the excess of the scales above the limit."""
        yield from super().losses(out, camera)
        if self.curr_step >= self.scale_reg.from_iter:
            limit = self.scale_reg.thr_scale * self.scene_extent
            yield "scale", self.scale_reg.weight * self._oversize(limit)

    def _oversize(self, limit: float) -> Tensor:
        """The mean excess over what is too large, of all Gaussians; see `workers.Alone.weight`."""
        scales = self.model.get_scaling
        mean = oversize(scales, limit)
        if not self.workers.sharded:
            return mean
        above = int((scales > limit).sum())
        return mean * (self.workers.size * above / max(1, self.workers.total(above)))
