"""Densification as Markov chain Monte Carlo: dead Gaussians move to live ones, and noise explores (Kheradmand 2024).

Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", NeurIPS 2024. Defaults are those of gsplat, but
for three. `copies`: Gaussians that lie at one place get all but the same gradient, and what is opaque gets no noise, so
that they stay together for thousands of steps. `births`: opacity does not say where Gaussians are wanting. `growth`:
what is born late is born where the picture still needs it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gaussian_splatting.geometry.activations import inverse_sigmoid, place_independent_sigmoid
from gaussian_splatting.geometry.rotations import build_scaling_rotation
from gaussian_splatting.losses.regularisers import mean_opacity, mean_scale
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.cutting import keep_most_opaque
from gaussian_splatting.trainer.randomness import normal
from gaussian_splatting.trainer.relocation import draw_copies, relocated, spread
from gaussian_splatting.trainer.screen_gradients import ScreenGradients
from gaussian_splatting.trainer.splitting import long_axis_children

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

log = logging.getLogger("gaussian_splatting")
NOISE_STEEPNESS = 100.0
NOISE_OPACITY = 0.005
"""Gaussians well above this opacity get no noise; the steepness says how sharply it falls (equation 9 of the paper)."""


@dataclass(frozen=True, kw_only=True)
class MCMCOptions(Options):
    """Relocation, noise and regularisers of 3DGS-MCMC."""

    from_iter: int = option(500, "Gaussians are relocated and added after this step", moment=True)
    until_iter: int = option(25_000, "Gaussians are relocated and added before this step", moment=True)
    interval: int = option(100, "steps between two relocations", minimum=1)
    cap_max: int = option(1_000_000, "number of Gaussians to grow to, never exceeded", minimum=1)
    growth: float | None = option(
        None,
        "fraction by which the number grows at each relocation (published: 0.05); none: evenly, to the cap at the end",
        maximum=1e3,
    )
    births: Literal["gradient", "opacity"] = option(
        "gradient",
        "new Gaussians are copies of those drawn by opacity times screen gradient, or by opacity alone (as published)",
    )
    copies: Literal["split", "spread", "stack"] = option(
        "split",
        "copies of a Gaussian are its halves along the longest axis where there are two (split), pieces spread over it "
        "(spread), or fainter at its centre (stack, as published)",
    )
    min_opacity: float = option(0.005, "opacity up to which a Gaussian is dead and relocated", maximum=0.5)
    noise_lr: float = option(5e5, "strength of the noise, times the position rate")
    opacity_reg: float = option(0.01, "weight of the mean opacity")
    scale_reg: float = option(0.01, "weight of the mean scale")
    init_opacity: float | None = option(
        None, "opacity of all Gaussians at the start; none: as they are", minimum=1e-6, maximum=0.999
    )
    init_scale: float | None = option(None, "factor on all scales at the start; none: as they are", minimum=1e-6)


class MCMC(BaseTrainer):
    """Adds relocation, growth to a cap, noise and regularisers of 3DGS-MCMC."""

    strategy = "densification"
    shardable = True
    mcmc = MCMCOptions()
    pulled = ScreenGradients()

    @torch.no_grad()
    def setup(self) -> None:
        """Set the opacities and scales that the options ask for."""
        super().setup()
        everything = torch.ones(len(self.model), dtype=torch.bool, device=self.model.get_xyz.device)
        if self.mcmc.init_opacity is not None:
            logit = math.log(self.mcmc.init_opacity / (1 - self.mcmc.init_opacity))
            self.model.overwrite_rows("opacity", everything, torch.full_like(self.model._opacity, logit))
        if self.mcmc.init_scale is not None:
            self.model.overwrite_rows("scaling", everything, self.model._scaling + math.log(self.mcmc.init_scale))
        if len(self.model) > self.mcmc.cap_max:
            log.info(
                "%d Gaussians at the start, more than mcmc_cap_max %d: the faintest are left out",
                len(self.model), self.mcmc.cap_max,
            )  # fmt: skip
            keep_most_opaque(self, self.mcmc.cap_max, "mcmc cap")

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and the mean opacity and scale."""
        yield from super().losses(out, camera)
        weight = self.workers.weight(self.model)
        if self.mcmc.opacity_reg:
            yield "mcmc_opacity", weight * self.mcmc.opacity_reg * mean_opacity(self.model.get_opacity)
        if self.mcmc.scale_reg:
            yield "mcmc_scale", weight * self.mcmc.scale_reg * mean_scale(self.model.get_scaling)

    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Gather the screen gradients of the visible Gaussians."""
        super().after_backward(out, camera)
        if self.mcmc.births == "gradient" and self.curr_step < self.mcmc.until_iter:
            self.pulled.gather(out)

    @torch.no_grad()
    def refine(self) -> None:
        """Relocate and add when it is time; shake the faint ones in every step."""
        super().refine()
        options = self.mcmc
        if options.from_iter < self.curr_step < options.until_iter and self.curr_step % options.interval == 0:
            self._relocate()
        if options.noise_lr:
            self._shake()

    def expected_count(self, step: int) -> int:
        """The number that the growth leads to."""
        last = self.mcmc.until_iter - 1
        done, left = (self._relocations(self.curr_step, end) for end in (min(step, last), last))
        num, cap, growth = self.workers.count(self.model), self.mcmc.cap_max, self.mcmc.growth
        if growth is None:
            return min(cap, num + (cap - num) * done // max(1, left))
        return min(cap, round(num * math.exp(min(50.0, done * math.log1p(growth)))))

    def _relocations(self, after: int, last: int) -> int:
        """The number of relocations in the steps behind `after` up to `last`."""
        first = max(after, self.mcmc.from_iter)
        return max(0, last // self.mcmc.interval - first // self.mcmc.interval)

    def _target(self) -> int:
        """The number of Gaussians after the relocation of this step."""
        num, cap, growth = self.workers.count(self.model), self.mcmc.cap_max, self.mcmc.growth
        if growth is not None:
            return min(cap, num + math.ceil(growth * num))
        return min(cap, num + math.ceil((cap - num) / self._relocations(self.curr_step - 1, self.mcmc.until_iter - 1)))

    def _relocate(self) -> None:
        """Make the dead, and new Gaussians up to the target, copies of live ones."""
        opacity = self.workers.all_rows(self.model.get_opacity[:, 0])
        alive = (opacity > self.mcmc.min_opacity).nonzero()[:, 0]
        target = self._target()
        if len(alive) == 0:
            return
        chosen = self._drawn(opacity, alive, target)
        parents = torch.cat((alive, chosen))
        copies = torch.bincount(chosen, minlength=len(opacity)) + 1  # [N]
        fresh = copies[parents] > 1
        rows = parents[fresh]
        values = {"split": self._split, "spread": self._spread, "stack": self._stacked}[self.mcmc.copies](
            *self.workers.held(rows), copies[rows]
        )
        self.workers.change_rows(self.model, parents, fresh, values)
        self.pulled.clear()

    def _drawn(self, opacity: Tensor, alive: Tensor, target: int) -> Tensor:
        """The rows that the dead, drawn by opacity, and new Gaussians up to `target` copy; all of them `alive`."""
        missing = target - len(alive)
        births = min(missing, max(0, target - len(opacity)))
        opacity = opacity[alive]
        weights = {"opacity": lambda: opacity, "gradient": lambda: opacity * self._pull()[alive]}[self.mcmc.births]()
        moved = draw_copies(opacity, missing - births, self.random("mcmc relocation"))
        return alive[torch.cat((moved, draw_copies(weights, births, self.random("mcmc birth"))))]

    def _pull(self) -> Tensor:
        """The mean screen gradient of every Gaussian [N]; ones when no view has shown any."""
        mean = self.workers.all_rows(self.pulled.mean())
        return mean if bool((mean > 0).any()) else torch.ones_like(mean)

    def _split(self, here: Tensor, rows: Tensor, copies: Tensor) -> dict[str, Tensor]:
        """Values of pieces [m] of the Gaussians at `rows`: both halves, or spread where there are more than two.

        They are those of M pieces that are `here` [M] bool; `copies` [M] says of how many each is one.
        """
        values = self._spread(here, rows, copies) | {"opacity": self.model._opacity[rows].clone()}
        copies = copies[here]
        order = rows.sort(stable=True).indices
        first, second = order[copies[order] == 2].view(-1, 2).unbind(dim=1)
        halves = long_axis_children(self.model, rows[first])
        for name, value in values.items():
            value[torch.cat((first, second))] = halves[name]
        return values

    def _spread(self, here: Tensor, rows: Tensor, copies: Tensor) -> dict[str, Tensor]:
        """Values of pieces [m] of the Gaussians at `rows`, with that many pieces each."""
        shrink, reach = spread(copies[here])
        noise = torch.randn((len(here), 3), generator=self.random("mcmc copies")).to(rows.device)[here] * reach[:, None]
        factor = build_scaling_rotation(self.model.get_scaling[rows], self.model._rotation[rows])
        return {
            "xyz": self.model._xyz[rows] + (factor @ noise[..., None])[..., 0],
            "scaling": self.model._scaling[rows] + shrink.log()[:, None],
        }

    def _stacked(self, here: Tensor, rows: Tensor, copies: Tensor) -> dict[str, Tensor]:
        """Values of copies [m] at the centres of the Gaussians at `rows`, with that many copies each."""
        faded, shrink = relocated(self.model.get_opacity[rows, 0], copies[here])
        faded = faded.clamp(self.mcmc.min_opacity, 1 - torch.finfo(faded.dtype).eps)
        return {
            "opacity": inverse_sigmoid(faded)[:, None],
            "scaling": self.model._scaling[rows] + shrink.log()[:, None],
        }

    def _shake(self) -> None:
        """Move centres by noise shaped like the Gaussians: none where they are opaque (equation 9)."""
        model = self.model
        noise = self.workers.own_rows(
            normal((self.workers.count(model), 3), model._xyz.device, self.seed, self.curr_step, "mcmc noise")
        )
        faint = place_independent_sigmoid(NOISE_STEEPNESS * (NOISE_OPACITY - model.get_opacity))  # [N, 1]
        strength = self.mcmc.noise_lr * self.schedules["xyz"](self.curr_step)
        factor = build_scaling_rotation(model.get_scaling, model._rotation)  # [N, 3, 3]
        local = factor.transpose(1, 2) @ (noise * faint * strength)[..., None]
        model._xyz.data += (factor @ local)[..., 0]
