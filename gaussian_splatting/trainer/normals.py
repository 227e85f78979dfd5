"""Normal consistency of surface splatting: rendered normals agree with those of the rendered depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.losses.normals import normal_consistency
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer import maps
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class NormalConsistencyOptions(Options):
    """Make rendered normals agree with the depth (Huang et al. 2024, section 5.2)."""

    from_iter: int = option(7_000, "normals count after this step", moment=True)
    weight: float = option(0.05, "weight of the disagreement of the normals")


class NormalConsistency(BaseTrainer):
    """Adds the normal consistency of 2DGS; the backend must render normals."""

    trains_surfels = True
    shardable = True
    normal_consistency = NormalConsistencyOptions()

    def setup(self) -> None:
        """Refuse a backend without normals."""
        super().setup()
        maps.require_outputs(self.model, ("render_normals", "normals_from_depth", "render_alphas"), "NormalConsistency")

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and the disagreement of the normals."""
        yield from super().losses(out, camera)
        if self.curr_step > self.normal_consistency.from_iter:
            error = normal_consistency(out["render_normals"], out["normals_from_depth"], out["render_alphas"])
            yield "normal_consistency", self.normal_consistency.weight * error
