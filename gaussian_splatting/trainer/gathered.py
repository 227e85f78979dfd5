"""Rendering Gaussians that several processes hold: all come together for the picture, and their gradients go back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.rasterizer import get_backend
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.trainer import checks
from gaussian_splatting.trainer.exchange import screen_of

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.trainer.base import BaseTrainer
    from gaussian_splatting.trainer.sharded import Sharded

IN_FIELDS = ("xyz", "rotation", "scaling", "opacity", "f_dc", "f_rest")
"""The parameters in the order of `GaussianParameters`."""
assert set(IN_FIELDS) == set(ATTRIBUTES)


class Gathered:
    """Renders by any backend. For the time of a step every process has the parameters of all, and their gradients."""

    def __init__(self, workers: Sharded, trainer: BaseTrainer) -> None:
        self.workers, self.trainer = workers, trainer
        self.fault: tuple[str, Tensor] | None = None
        """The first gradient of this process that was not finite."""

    def __call__(self, parameters: GaussianParameters, view: RasterView) -> RasterOutput:
        """Render one view, as all processes do at this time, each its own."""
        rows = (
            parameters.means, parameters.quats, parameters.log_scales, parameters.opacity_logits,
            parameters.features_dc, parameters.features_rest,
        )  # fmt: skip
        self.workers.require_known(self.trainer.model)
        self.workers.peers.check_in(self.place("a rendering"))
        whole: Any = _Gather.apply(self, *rows)
        model = self.trainer.model
        return get_backend(model.backend, model.get_xyz.device).render_gaussians(GaussianParameters(*whole), view)

    def place(self, what: str) -> str:
        """Where a process is, for others to compare."""
        return f"{what} at step {self.trainer.curr_step}"

    def screen(self, out: dict[str, Any]) -> Tensor:
        """What the view of this process showed of all Gaussians; see `Together.screen`."""
        return screen_of(out)

    def screens(self, screen: Tensor) -> Tensor:
        """What every view of the step showed [size, n, 3] of the rows held here; `screen` [N, 3] is of its own view."""
        return self.workers.to_owners(screen)

    def require_finite(self, step: str, camera: Camera) -> None:
        """Raise TrainingError where the gradient of this process's own view was not finite."""
        fault, self.fault = self.fault, None
        if fault is not None:
            name, gradient = fault
            checks.refuse_gradient(name, gradient, f"{step}, view {checks.view_name(camera)}")
            raise TrainingError(f"{step}: the gradient of {name!r} overflows")

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes [N, ...]."""
        shards = self.workers.shards
        return shards.in_order(self.workers.peers.gather_rows(rows, shards.counts))

    def give_back(self, gradients: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """The sums over processes, in the order of ranks, of the gradients of the rows held here.

        Nothing is summed when one is not finite anywhere: the process whose view it was raises the error.
        """
        for name, gradient in zip(IN_FIELDS, gradients, strict=True):
            if self.fault is None and gradient is not None and not checks.is_finite(gradient):
                self.fault = name, gradient
        told = self.workers.peers.check_in(
            self.place("gradients"), present=[g is not None for g in gradients], finite=self.fault is None
        )
        if not all(message["finite"] for message in told):
            return [None] * len(gradients)
        anywhere = [any(flags) for flags in zip(*(message["present"] for message in told), strict=True)]
        shapes, num = self.trainer.model.row_shapes(), len(self.workers.shards)
        found: list[Tensor | None] = []
        for name, gradient, present in zip(IN_FIELDS, gradients, anywhere, strict=True):
            if present and gradient is None:
                gradient = self.trainer.model.get_xyz.new_zeros((num, *shapes[name]))  # noqa: PLW2901
            found.append(None if gradient is None else sum_of_parts(self.workers.to_owners(gradient)))
        return found


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, renderer: Gathered, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.renderer = renderer
        ctx.set_materialize_grads(False)
        return tuple(renderer.gather(one.detach()) for one in rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        return None, *ctx.renderer.give_back(gradients)


def sum_of_parts(parts: Tensor) -> Tensor:
    """The sum over the processes of what each has found [size, ...], in the order of ranks."""
    mine, *others = parts.unbind()
    for part in others:
        mine += part
    return mine
