"""What processes send each other: short messages before everything else, and tensors in a fixed order.

Nothing is exchanged before every process has checked in with a message that says where it is. A process that has failed
checks in with its error instead, so that nobody waits for it in vain.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gaussian_splatting.errors import TrainingError

MESSAGE_BYTES = 4096
LONGEST_ERROR = 1500
FAREWELL = timedelta(seconds=30)


class PeerError(TrainingError):
    """Another process has failed or is gone; it needs not be told."""


class Channel:
    """The other processes of a `group` of the processor."""

    def __init__(self, group: Any) -> None:
        self._control: Any = group
        self._data: Any = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def send_by(self, backend: str) -> None:
        """Send tensors that are not messages by another backend: nccl, for those on cards."""
        self.check_in("the choice of cards")
        self._data = dist.new_group(backend=backend)

    def check_in(self, place: str, **message: Any) -> list[dict[str, Any]]:
        """The messages of all processes by rank, once all have come to this place.

        Raises PeerError when one has failed, is somewhere else, or is gone.
        """
        told = self._swap({**message, "at": place})
        for rank, other in enumerate(told):
            if "error" in other:
                raise PeerError(f"process {rank} of {self.size}: {other['error']}")
        for rank, other in enumerate(told):
            if other["at"] != place:
                raise PeerError(
                    f"process {rank} of {self.size} is at {other['at']!r} while process {self.rank} is at {place!r}; "
                    "give all of them the same command and the same scene"
                )
        return told

    def fail(self, reason: str) -> None:
        """Tell the others that this process cannot go on, as far as they are still there."""
        with contextlib.suppress(PeerError):
            self._swap({"error": reason[:LONGEST_ERROR], "at": "error"}, FAREWELL)

    def wait_for_first(self, patience: timedelta = 2 * FAREWELL) -> None:
        """Stay until the first process has ended: torchrun stops all as soon as one is gone."""
        with contextlib.suppress(RuntimeError):
            work = dist.irecv(torch.empty(1), src=0, group=self._control)
            assert work is not None
            work.wait(patience)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes of a flat tensor, added in the order of ranks and so equal everywhere to the bit.

        The length must be a multiple of their number. `values` is used up: it holds the result.
        """
        parts = torch.empty_like(values)
        with _lost(self.rank):
            dist.all_to_all_single(parts, values, group=self._data)
            mine, *others = parts.view(self.size, -1).unbind()
            for part in others:
                mine += part
            _all_gather(values, mine, group=self._data)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """The tensors of all processes [size, ...]."""
        found = values.new_empty((self.size, *values.shape))
        with _lost(self.rank):
            _all_gather(found.view(-1), values.contiguous().view(-1), group=self._data)
        return found

    def gather_rows(self, values: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all processes [sum of counts, ...], one process after the other; `counts` are what each has."""
        padded = values.new_zeros((max(counts), *values.shape[1:]))
        padded[: len(values)] = values
        return torch.cat([part[:count] for part, count in zip(self.gather(padded), counts, strict=True)])

    def trade(self, values: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Give every process its part of the rows of `values`, `sent` of them each; the rows that come for this one."""
        found = values.new_empty((sum(received), *values.shape[1:]))
        width = math.prod(values.shape[1:])
        with _lost(self.rank):
            dist.all_to_all_single(
                found.view(-1), values.contiguous().view(-1),
                [width * count for count in received], [width * count for count in sent], group=self._data,
            )  # fmt: skip
        return found

    def to_first(self, values: Tensor, counts: Sequence[int]) -> Tensor:
        """As `gather_rows`, in the first process only, of tensors on the processor; elsewhere what was given."""
        if values.numel() and self.rank:
            with _lost(self.rank):
                dist.send(values.contiguous(), dst=0, group=self._control)
        if self.rank:
            return values
        parts = [values]
        for rank, count in enumerate(counts[1:], 1):
            parts.append(values.new_empty((count, *values.shape[1:])))
            if parts[-1].numel():
                with _lost(self.rank):
                    dist.recv(parts[-1], src=rank, group=self._control)
        return torch.cat(parts)

    def from_first(self, values: Tensor) -> Tensor:
        """The tensor of the first process, put into `values`."""
        with _lost(self.rank):
            dist.broadcast(values, src=0, group=self._data)
        return values

    def _swap(self, message: dict[str, Any], patience: timedelta | None = None) -> list[dict[str, Any]]:
        text = json.dumps(message).encode("ascii")
        assert len(text) <= MESSAGE_BYTES, f"a message of {len(text)} bytes"
        mine = torch.frombuffer(bytearray(text.ljust(MESSAGE_BYTES)), dtype=torch.uint8)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with _lost(self.rank):
            work = dist.all_gather(found, mine, group=self._control, async_op=True)
            assert work is not None
            work.wait() if patience is None else work.wait(patience)
        return [json.loads(bytes(one.numpy())) for one in found]


@contextlib.contextmanager
def _lost(rank: int) -> Any:
    """Within, an error of the connection is that another process is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0].partition(". This is typically")[0][:300]
        raise PeerError(
            f"process {rank} has lost the connection to another process, which has ended: {reason}"
        ) from error


def _all_gather(found: Tensor, values: Tensor, group: Any) -> None:
    # The name changed in PyTorch 2.13.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(found, values, group=group)
