"""A resolution schedule: the pictures are small at first, where there is nothing fine to learn yet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gaussian_splatting.gaussian_model import screen_blur
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.detail import kept_detail, share_of_run
from gaussian_splatting.trainer.pyramid import Pyramid
from gaussian_splatting.trainer.rates import long_run_factor

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset

log = logging.getLogger("gaussian_splatting")

HALF, COARSE = 0.84, 0.15
"""Parts of a run at these sizes where there are no pictures to look at."""
COARSE_PART = 0.6
"""Of the part that the coarsest pictures would be good for: a run starts far from anything."""
LONGEST_FULL_BLUR = 2_000
"""Steps of a run up to which small pictures are blurred as full ones are."""


@dataclass(frozen=True, kw_only=True)
class ResolutionOptions(Options):
    """When the pictures are a quarter, a half, and all of their size."""

    coarse_until_iter: int | None = option(
        None, "last step at the coarsest size; none: by how much detail the pictures keep at it", moment=True
    )
    half_until_iter: int | None = option(
        None, "last step at half the size; none: by how much detail the pictures keep at it", moment=True
    )
    share: float = option(
        1.0, "factor on the parts of the run that small pictures are found to be good enough for", maximum=1.0
    )
    share_power: float = option(
        0.18, "in runs of more than 1000 steps that part is (1000 / length) to this power of itself", maximum=1.0
    )
    blur: Literal["full", "usual"] | None = option(
        None,
        "what blurs Gaussians in small pictures: what does so in the mean of full ones, or 0.3 pixels^2 as usual; "
        "none: full in runs of up to 2000 steps",
    )
    coarsest: int = option(4, "what the coarsest size divides width and height by: a power of two", minimum=1)
    smallest_side: int = option(100, "no picture is made smaller than this many pixels", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarsest & (self.coarsest - 1):
            raise ValueError(f"option resolution_coarsest is {self.coarsest}; it must be a power of two: 1, 2, 4, 8")


class Resolution(BaseTrainer):
    """Adds a schedule of picture sizes from coarse to fine (compare Chen et al. 2025, "DashGaussian").

    A step on a picture of half the size costs a third. Pictures are averaged over areas, so that nothing aliases, and a
    Gaussian is blurred on the small screen as it is in the mean of the full one. How long small pictures are good
    enough follows from the detail that they keep; longer runs find more in the full ones.
    """

    shardable = True
    resolution = ResolutionOptions()

    def setup(self) -> None:
        """Make place for the small pictures, and find out how long they are good enough."""
        super().setup()
        self.pyramid = Pyramid()
        options = self.resolution
        blur = options.blur or ("usual" if self.run_length.steps > LONGEST_FULL_BLUR else "full")
        half = self._last_step(options.half_until_iter, 2, 1.0, HALF)
        coarse = min(half, self._last_step(options.coarse_until_iter, options.coarsest, COARSE_PART, COARSE))
        self.resolution = replace(options, half_until_iter=half, coarse_until_iter=coarse, blur=blur)
        self.options["resolution"] = self.resolution
        log.info("pictures are 1/%d of their size until step %d, half until %d", options.coarsest, coarse, half)

    def _last_step(self, asked: int | None, factor: int, part: float, usual: float) -> int:
        if asked is not None:
            return asked
        kept = None if self.dataset is None or factor == 1 else kept_detail(self.dataset, factor)
        share = usual if kept is None else self.resolution.share * part * share_of_run(kept)
        steps = self.run_length.steps
        return round(share * long_run_factor(steps, -self.resolution.share_power) * steps)

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
        if factor == 1:
            return camera
        small = self.pyramid.reduced(camera, factor)
        if self.resolution.blur == "full":
            return small
        return small._replace(custom_data={**small.custom_data, "eps2d": screen_blur(camera)})

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
        assert options.half_until_iter is not None
        assert options.coarse_until_iter is not None
        wanted = 1 if step > options.half_until_iter else 2 if step > options.coarse_until_iter else options.coarsest
        wanted = min(wanted, options.coarsest)
        while wanted > 1 and side // wanted < options.smallest_side:
            wanted //= 2
        return wanted
