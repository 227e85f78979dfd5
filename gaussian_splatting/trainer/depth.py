"""Depth regularisation: rendered inverse depth follows the depth maps of the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gaussian_splatting.geometry.schedules import exponential
from gaussian_splatting.losses.depth import RescaleMode, inverse_of, relative_depth_error
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer import maps
from gaussian_splatting.trainer.base import BaseTrainer

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera


@dataclass(frozen=True, kw_only=True)
class DepthOptions(Options):
    """Pull the rendered inverse depth towards the depth maps."""

    from_iter: int = option(7_500, "first step at which the depth loss applies", moment=True)
    resize: int | None = option(None, "shrink maps to this many pixels on the longer side first", minimum=2)
    rescale_mode: RescaleMode = option(
        "local", "bring rendered and given depth to one scale in small windows (local), per view (global) or not (none)"
    )
    local_relative_kernel_radius: int = option(8, "half size of the windows in pixels, without the centre", minimum=1)
    local_relative_stride: int = option(4, "pixels from one window to the next", minimum=1)
    l1_weight_init: float = option(1.0, "weight of the depth loss at the start")
    l1_weight_final: float = option(0.01, "weight of the depth loss at the end")
    l1_weight_max_steps: int = option(
        30_000, "step at which the weight of the depth loss reaches its end", minimum=1, moment=True
    )
    ground_truth_is_inversed: bool = option(True, "depth maps hold inverse depth (disparity), not depth")
    opaque_from: float = option(
        1.0, "opacity from which the depth of what is seen counts; 1: what is accumulated", minimum=0.01, maximum=1.0
    )

    def weight(self, step: int) -> float:
        """The weight of the loss at a step: exponential from start to end."""
        names = "depth_l1_weight_init, depth_l1_weight_final"
        return exponential(self.l1_weight_init, self.l1_weight_final, self.l1_weight_max_steps, names=names)(step)


class Depth(BaseTrainer):
    """Adds depth regularisation."""

    shardable = True
    depth = DepthOptions()

    def setup(self) -> None:
        """Say when there are no depth maps."""
        super().setup()
        self.depth.weight(0)
        maps.say_depth_maps(self.dataset)

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and that of the depth where the view has a depth map."""
        yield from super().losses(out, camera)
        if self.curr_step < self.depth.from_iter or camera.ground_truth_depth is None:
            return
        given = camera.ground_truth_depth
        error = relative_depth_error(
            inverse_depth_seen(out, self.depth.opaque_from),
            given if self.depth.ground_truth_is_inversed else inverse_of(given),
            camera.ground_truth_depth_mask,
            self.depth.rescale_mode,
            self.depth.local_relative_kernel_radius,
            self.depth.local_relative_stride,
            self.depth.resize,
        )
        yield "depth", self.depth.weight(self.curr_step) * error


def inverse_depth_seen(out: dict[str, Any], opaque_from: float) -> Tensor:
    """The accumulated inverse depth [1, H, W], over the opacity where that is at least `opaque_from`.

    With 1 a surface that lacks a little to be opaque comes nearer to make up for it, or fills. With less it is where it
    is seen; holes still count as far away, and fill.
    """
    return out["invdepth"] if opaque_from == 1 else out["invdepth"] / out["alpha"].clamp_min(opaque_from)
