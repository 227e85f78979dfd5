"""Depth distortion of surface splatting: the surfaces that a ray meets move together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.losses.normals import depth_distortion
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer import maps
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class DepthDistortionOptions(Options):
    """Keep what a ray meets close together (Huang et al. 2024, section 5.2)."""

    from_iter: int = option(3_000, "distortion counts after this step", moment=True)
    weight: float = option(0.01, "weight of the distortion")


class DepthDistortion(BaseTrainer):
    """Adds the depth distortion of 2DGS; the backend must render it."""

    trains_surfels = True
    shardable = True
    depth_distortion = DepthDistortionOptions()

    def setup(self) -> None:
        """Refuse a backend without distortion."""
        super().setup()
        maps.require_outputs(self.model, ("render_distort",), "DepthDistortion")

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and the distortion."""
        yield from super().losses(out, camera)
        if self.curr_step > self.depth_distortion.from_iter:
            yield "depth_distortion", self.depth_distortion.weight * depth_distortion(out["render_distort"])
