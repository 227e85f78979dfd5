"""Several processes in the threads of one: one runs at a time, until all have come to an exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.trainer.channel import Channel, PeerError
from gaussian_splatting.trainer.exchange import Together


class World:
    """`size` workers whose channels pass values through memory."""

    def __init__(self, size: int) -> None:
        self.size, self.turn = size, threading.Lock()
        self.meeting, self.values = threading.Barrier(size), [None] * size

    def run(self, work: Callable[[Any], Any], kind: type[Together] = Together) -> list[Any]:
        """What `work` gives for every worker, or the error that it raises."""
        found: list[Any] = [None] * self.size

        def main(rank: int) -> None:
            channel = ThreadChannel(self, rank)
            with self.turn:
                try:
                    found[rank] = work(kind(channel))
                except Exception as error:
                    found[rank] = error
                    if not isinstance(error, PeerError):
                        channel.fail(str(error))

        threads = [threading.Thread(target=main, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def swap(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.turn.release()
        try:
            self.meeting.wait(timeout=20)
            values = list(self.values)
            self.meeting.wait(timeout=20)
        finally:
            self.turn.acquire()
        return values


class ThreadChannel(Channel):
    """A channel of a world."""

    def __init__(self, world: World, rank: int) -> None:
        self.world, self.rank, self.size = world, rank, world.size

    def sum(self, values: Tensor) -> Tensor:
        parts = self.world.swap(self.rank, values.clone())
        return values.copy_(sum(parts[1:], start=parts[0].clone()))

    def gather(self, values: Tensor) -> Tensor:
        return torch.stack(self.world.swap(self.rank, values.clone()))

    def trade(self, values: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        assert sum(sent) == len(values)
        found = [parts[self.rank] for parts in self.world.swap(self.rank, values.clone().split(list(sent)))]
        assert [len(part) for part in found] == list(received)
        return torch.cat(found)

    def to_first(self, values: Tensor, counts: Sequence[int]) -> Tensor:
        parts = self.world.swap(self.rank, values.clone())
        assert [len(part) for part in parts] == list(counts)
        return values if self.rank else torch.cat(parts)

    def from_first(self, values: Tensor) -> Tensor:
        return values.copy_(self.world.swap(self.rank, values.clone())[0])

    def _swap(self, message: dict[str, Any], patience: Any = None) -> list[dict[str, Any]]:
        return self.world.swap(self.rank, message)
