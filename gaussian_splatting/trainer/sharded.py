"""Sharded training: each of several processes holds a part of the Gaussians, with their moments and statistics.

A step is that of data-parallel training: every process renders a view of its own, of all Gaussians. What concerns the
whole scene (who is split, how many, random draws) every process decides for itself from a few numbers per Gaussian,
gathered in the order of a run that is not sharded; it then makes the values of the rows that it holds. So both kinds of
run come to the same values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.rasterizer import resolve_backend
from gaussian_splatting.trainer import rules
from gaussian_splatting.trainer.digests import everything
from gaussian_splatting.trainer.exchange import Peers, Together
from gaussian_splatting.trainer.gathered import Gathered
from gaussian_splatting.trainer.projected import Projected
from gaussian_splatting.trainer.shards import Shards, deal
from gaussian_splatting.trainer.workers import SeenView

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.trainer.base import BaseTrainer


class Sharded(Together):
    """One of several processes that share out the Gaussians."""

    sharded = True
    shards: Shards

    def __init__(self, peers: Peers) -> None:
        super().__init__(peers)
        self.share = 1.0 if self.rank == 0 else 0.0

    def divide(self, trainer: BaseTrainer) -> None:
        """Keep the rows of this process. Raises TrainingError where a feature does not know of shards, by name."""
        require_shardable(type(trainer))
        model = trainer.model
        self._take(deal(len(model), self.size, model.get_xyz.device))
        mine = self.shards.mine
        model.change_rows(mine, torch.zeros_like(mine, dtype=torch.bool))
        backend = resolve_backend(model.backend, model.get_xyz.device)
        self.renderer = (Projected if backend == "gsplat" else Gathered)(self, trainer)
        model.renderer = self.renderer

    def exchange(
        self, trainer: BaseTrainer, loss: Tensor, out: dict[str, Any], camera: Camera
    ) -> tuple[Tensor, Iterable[SeenView]]:
        """The mean loss, and what each view showed of the rows held here.

        Rows have the sum of their gradients over all views since the backward pass; here it becomes the mean.
        """
        self.renderer.require_finite(f"step {trainer.curr_step}", camera)
        for parameter in trainer.model.rows().values():
            if parameter.grad is not None:
                parameter.grad /= self.size
        return super().exchange(trainer, loss, out, camera)

    def summed_groups(self, trainer: BaseTrainer) -> list[dict[str, Any]]:
        """All but the rows."""
        return [group for group in trainer.optimizer.param_groups if group["name"] not in ATTRIBUTES]

    def screen(self, out: dict[str, Any]) -> Tensor:
        """What the renderer knows of the views of the step."""
        return self.renderer.screen(out)

    def screens(self, screen: Tensor) -> Tensor:
        """What every view of the step showed [size, n, 3] of the rows held here."""
        return self.renderer.screens(screen)

    def held_alike(self, trainer: BaseTrainer) -> dict[str, Tensor]:
        """All tensors but those of rows, and who holds which."""
        return everything(trainer, rows=False) | {"table of shards": self.shards.owner.to(torch.int32)}

    def same(self, value: Tensor) -> Tensor:
        """The tensor itself: nobody else has computed these rows."""
        return value

    # Rows

    def count(self, model: GaussianModel) -> int:
        """The number of Gaussians of all processes together."""
        return len(self.shards)

    def all_rows(self, values: Tensor) -> Tensor:
        """Values of all Gaussians [N, ...], of those of this process [n, ...]."""
        self.peers.check_in(f"rows of {list(values.shape[1:])}")
        return self.shards.in_order(self.peers.gather_rows(values, self.shards.counts))

    def to_owners(self, values: Tensor) -> Tensor:
        """What every process has computed of the rows held here [size, n, ...]; `values` [N, ...] are of all rows.

        For the course of an exchange: the processes must have checked in.
        """
        counts = self.shards.counts
        received = [counts[self.rank]] * self.size
        found = self.peers.trade(self.shards.by_process(values), counts, received)
        return found.view(self.size, counts[self.rank], *values.shape[1:])

    def own_rows(self, values: Tensor) -> Tensor:
        """Values of the Gaussians of this process [n, ...], of those of all [N, ...]."""
        return values[self.shards.mine]

    def held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of `rows` [M] among all Gaussians this process holds [M] bool, and where its model has them [m]."""
        return self.shards.held(rows)

    def change_rows(
        self, model: GaussianModel, parents: Tensor, fresh: Tensor, values: Mapping[str, Tensor] | None = None
    ) -> None:
        """Change the rows held here, and the table of who holds which."""
        here, own = self.held(parents)
        owner = self.shards.owner[parents]
        model.change_rows(own, fresh[here], values)
        self._take(owner)

    def require_known(self, model: GaussianModel) -> None:
        """Raise TrainingError where the number of rows was changed and the other processes do not know."""
        if len(model) != len(self.shards.mine):
            raise TrainingError(
                f"process {self.rank} of {self.size} has {len(model)} Gaussians; {len(self.shards.mine)} are known of; "
                "in a sharded run a feature changes their number by self.workers.change_rows()"
            )

    def weight(self, model: GaussianModel) -> float:
        """The factor on a mean over the rows held here that makes the mean over processes one over all Gaussians."""
        return self.size * len(model) / len(self.shards)

    def total(self, number: int) -> int:
        """The sum over processes of a number that concerns the rows held here."""
        told = self.peers.check_in("a number of rows", number=number)
        return sum(message["number"] for message in told)

    def _take(self, owner: Tensor) -> None:
        shards = Shards(owner, self.rank, self.size)
        if 0 in shards.counts:
            raise TrainingError(
                f"process {shards.counts.index(0)} of {self.size} holds none of the {len(owner)} Gaussians that are "
                "left; train with fewer processes, or without --shard"
            )
        self.shards = shards

    # Checkpoints and files

    def whole(self, name: str, rows: Tensor) -> Tensor:
        """Rows of all Gaussians, on the processor, in the first process."""
        self.peers.check_in(f"all rows of {name}")
        found = self.peers.to_first(rows, self.shards.counts)
        return self.shards.in_order(found) if self.rank == 0 else found

    def dealt(self, tensors: Mapping[str, Tensor], row_names: Collection[str]) -> Mapping[str, Tensor]:
        """Deal out the rows of a checkpoint anew, whoever held them when it was written."""
        num, device = len(tensors["parameter.xyz"]), self.shards.owner.device
        self._take(deal(num, self.size, device))
        mine = self.shards.mine.cpu()
        return {name: tensor[mine] if name in row_names else tensor for name, tensor in tensors.items()}

    def whole_model(self, model: GaussianModel) -> GaussianModel:
        """A model on the processor that has all Gaussians, in the first process, for a file."""
        rows = {name: self.whole(name, parameter.detach().cpu()) for name, parameter in model.rows().items()}
        found = type(model)(model.max_sh_degree)
        for name, value in vars(model).items():
            if isinstance(value, (bool, int, float, str)):
                setattr(found, name, value)
        found.set_rows(rows)
        return found


def require_shardable(cls: type[BaseTrainer]) -> None:
    """Raise TrainingError naming the features that act on rows and do not say that they may see a part of them only."""
    acting = [owner for owner in cls.__mro__ if any(hook in vars(owner) for hook in rules.HOOKS)]
    strange = [owner.__name__ for owner in acting if not vars(owner).get("shardable", False)]
    if strange:
        raise TrainingError(
            f"--shard: {', '.join(strange)} cannot train with the Gaussians shared out over processes. Leave the "
            "feature or --shard out; a feature of your own says `shardable = True` once it knows that self.model holds "
            "a part of the rows only (see docs/gpu.md)"
        )
