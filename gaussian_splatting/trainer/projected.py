"""Rendering Gaussians that several processes hold, on cards: each projects its own, and ellipses are exchanged.

Every process puts its Gaussians on the screens of all views of the step, and sends each process what its view shows: 52
bytes of a Gaussian in view, instead of the 236 of every Gaussian. Gradients go the way back. (Zhao et al. 2024, "On
Scaling Up 3D Gaussian Splatting Training", section 4.1.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.rasterizer import gsplat, gsplat_shards
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.gsplat_shards import Ellipses
from gaussian_splatting.trainer import checks
from gaussian_splatting.trainer.gathered import Gathered, sum_of_parts


class Projected(Gathered):
    """Renders by gsplat."""

    def __call__(self, parameters: GaussianParameters, view: RasterView) -> RasterOutput:
        """Render one view, as all processes do at this time, each its own."""
        if view.absgrad:
            raise TrainingError(
                "--shard on cards does not exchange absolute gradients; leave out --shard, or the feature "
                "absolute_gradients"
            )
        library = gsplat.load_library(parameters.means.device)
        peers = self.workers.peers
        self.workers.require_known(self.trainer.model)
        told = peers.check_in(self.place("a rendering"), size=[view.width, view.height])
        views = self._views(view, [message["size"] for message in told])
        ellipses = [gsplat_shards.project(library, parameters, one) for one in views]
        self.shown = [Shown(one, found) for one, found in zip(views, ellipses, strict=True)]
        sent = [len(found.rows) for found in ellipses]
        told = peers.check_in(self.place("ellipses"), sent=sent)
        received = [message["sent"][peers.rank] for message in told]
        radii = peers.trade(torch.cat([found.radii for found in ellipses]), sent, received)
        values: Any = _Trade.apply(self, sent, received, torch.cat([found.values for found in ellipses]))
        return gsplat_shards.rasterize(library, radii, values, view)

    def screen(self, out: dict[str, Any]) -> Tensor:
        """What each view showed [size, n, 3] of the rows held here: nothing is left to send."""
        return torch.stack([one.screen(len(self.trainer.model)) for one in self.shown])

    def screens(self, screen: Tensor) -> Tensor:
        """They are all there."""
        return screen

    def give_back_ellipses(self, gradient: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor | None:
        """The gradients of the ellipses that this process sent, from those of the ellipses that it got."""
        if not checks.is_finite(gradient):
            self.fault = "what is seen", gradient
        told = self.workers.peers.check_in(self.place("gradients"), finite=self.fault is None)
        if not all(message["finite"] for message in told):
            return None
        return self.workers.peers.trade(gradient, received, sent)

    def _views(self, view: RasterView, sizes: Sequence[Sequence[int]]) -> list[RasterView]:
        """The views of all processes; the pose of each has a gradient where this one's has."""
        cameras: Any = _Cameras.apply(self, view.viewmat, view.K)
        return [
            replace(view, viewmat=viewmat, K=K, width=width, height=height)
            for viewmat, K, (width, height) in zip(*cameras, sizes, strict=True)
        ]


class Shown:
    """What a view shows of the rows held here, and after the backward pass how it pulls at them."""

    def __init__(self, view: RasterView, ellipses: Ellipses) -> None:
        self.size, self.rows, self.radii = (view.width, view.height), ellipses.rows, ellipses.radii
        self.pull: Tensor | None = None
        if ellipses.means2d.requires_grad:
            ellipses.means2d.register_hook(self._keep)

    def screen(self, num: int) -> Tensor:
        """Screen gradients and radii [num, 3] as bits; see `exchange.screen_of`."""
        found = torch.zeros((num, 3), dtype=torch.int32, device=self.rows.device)
        found[self.rows, 2] = self.radii.amax(dim=1).to(torch.int32)
        if self.pull is not None:
            half = torch.tensor(self.size, dtype=self.pull.dtype, device=self.pull.device) * 0.5
            found[self.rows, :2] = (self.pull * half).float().view(torch.int32)
        return found

    def _keep(self, gradient: Tensor) -> None:
        self.pull = gradient


class _Trade(torch.autograd.Function):
    """The rows [sum of sent, ...] go to the processes; those that come [sum of received, ...]."""

    @staticmethod
    def forward(ctx: Any, renderer: Projected, sent: list[int], received: list[int], values: Tensor) -> Tensor:
        ctx.renderer, ctx.sent, ctx.received = renderer, sent, received
        return renderer.workers.peers.trade(values.detach(), sent, received)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, None, ctx.renderer.give_back_ellipses(*gradients, ctx.sent, ctx.received)


class _Cameras(torch.autograd.Function):
    """The poses [size, 4, 4] and intrinsics [size, 3, 3] of all processes."""

    @staticmethod
    def forward(ctx: Any, renderer: Projected, viewmat: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
        ctx.peers = renderer.workers.peers
        return ctx.peers.gather(viewmat.detach()), ctx.peers.gather(K.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ones = [1] * ctx.peers.size
        return None, sum_of_parts(ctx.peers.trade(gradients[0], ones, ones)), None
