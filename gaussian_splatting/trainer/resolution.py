"""A resolution schedule: the pictures are small at first, where there is nothing fine to learn yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.pyramid import Pyramid

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset


@dataclass(frozen=True, kw_only=True)
class ResolutionOptions(Options):
    """When the pictures are a quarter, a half, and all of their size."""

    coarse_until_iter: int = option(4_500, "last step at the coarsest size", moment=True)
    half_until_iter: int = option(25_200, "last step at half the size", moment=True)
    coarsest: int = option(4, "what the coarsest size divides width and height by: a power of two", minimum=1)
    smallest_side: int = option(100, "no picture is made smaller than this many pixels", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarsest & (self.coarsest - 1):
            raise ValueError(f"option resolution_coarsest is {self.coarsest}; it must be a power of two: 1, 2, 4, 8")


class Resolution(BaseTrainer):
    """Adds a schedule of picture sizes from coarse to fine (compare Chen et al. 2025, "DashGaussian").

    A step on a picture of half the size costs a third. Pictures are averaged over areas, so that nothing aliases.
    """

    shardable = True
    resolution = ResolutionOptions()

    def setup(self) -> None:
        """Make place for the small pictures."""
        super().setup()
        self.pyramid = Pyramid()

    def view(self, cameras: Sequence[Camera] | CameraDataset, index: int) -> Camera:
        """The camera, without pictures where the small ones are kept already."""
        geometry = getattr(cameras, "geometry", None)
        if geometry is not None:
            camera = geometry(index)
            factor = self.divisor(self.curr_step + 1, min(camera.image_height, camera.image_width))
            if factor > 1 and self.pyramid.holds(camera, factor):
                return camera
        return super().view(cameras, index)

    def preprocess(self, camera: Camera) -> Camera:
        """The camera at the size of this step."""
        camera = super().preprocess(camera)
        factor = self.divisor(self.curr_step, min(camera.image_height, camera.image_width))
        return camera if factor == 1 else self.pyramid.reduced(camera, factor)

    def picture_share(self, step: int) -> float:
        """The part of the pixels that is left of large pictures."""
        share = super().picture_share(step)
        if self.dataset is None:
            return share
        camera = self.dataset.geometry(0)
        return share / self.divisor(step, min(camera.image_height, camera.image_width)) ** 2

    def divisor(self, step: int, side: int) -> int:
        """What step `step` divides width and height by, for pictures whose shorter side has `side` pixels."""
        options = self.resolution
        wanted = 1 if step > options.half_until_iter else 2 if step > options.coarse_until_iter else options.coarsest
        wanted = min(wanted, options.coarsest)
        while wanted > 1 and side // wanted < options.smallest_side:
            wanted //= 2
        return wanted
