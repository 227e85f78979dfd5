"""Which of several processes holds which Gaussian: a table that all of them have, and the order that they agree on."""

from __future__ import annotations

import torch
from torch import Tensor


class Shards:
    """N Gaussians in the order of a run that is not sharded, each held by one process, which has its own in that order.

    >>> shards = Shards(torch.tensor([0, 1, 1, 0, 1]), rank=1, size=2)
    >>> shards.counts, shards.mine.tolist()
    ([2, 3], [1, 2, 4])
    >>> [part.tolist() for part in shards.held(torch.tensor([4, 0, 1, 4]))]
    [[True, False, True, True], [2, 0, 2]]
    >>> shards.in_order(torch.tensor([10, 13, 11, 12, 14])).tolist()
    [10, 11, 12, 13, 14]
    """

    def __init__(self, owner: Tensor, rank: int, size: int) -> None:
        self.owner = owner
        """The process that holds each Gaussian [N]."""
        self.counts: list[int] = torch.bincount(owner.to(torch.int32), minlength=size).tolist()
        """How many each process holds."""
        self.order = owner.sort(stable=True).indices
        """The places [N] of the Gaussians of the first process, then of the second, and so on."""
        start = sum(self.counts[:rank])
        self.mine = self.order[start : start + self.counts[rank]]
        """The places [n] of those that this process holds, ascending."""
        self.rank = rank

    def __len__(self) -> int:
        return len(self.owner)

    def held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the places `rows` [M] this process holds [M] bool, and which rows of its own model [m] they are."""
        here = self.owner[rows] == self.rank
        return here, torch.searchsorted(self.mine, rows[here])

    def in_order(self, values: Tensor) -> Tensor:
        """Rows [N, ...] that came one process after the other, in the order of all."""
        found = torch.empty_like(values)
        found[self.order.to(values.device)] = values
        return found

    def by_process(self, values: Tensor) -> Tensor:
        """Rows [N, ...] in the order of all, put one process after the other."""
        return values[self.order]


def deal(num: int, size: int, device: torch.device) -> Tensor:
    """The process of each of `num` Gaussians, dealt out in turn: neighbours come to different processes.

    Points of a scene come sorted in some way. Dealt out like cards, every process has as many in each part of the
    scene, and the numbers stay close when Gaussians are added where they are needed.
    """
    return (torch.arange(num, device=device) % size).to(torch.int16)
