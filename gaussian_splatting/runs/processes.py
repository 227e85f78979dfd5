"""Several processes that `torchrun` started: who this one is, how it finds the others, and how all of them end."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from gaussian_splatting.environment import Place, place
from gaussian_splatting.errors import BackendError, TrainingError
from gaussian_splatting.trainer.workers import ALONE, Alone

if TYPE_CHECKING:
    from gaussian_splatting.trainer.channel import Channel

PATIENCE = timedelta(days=1)
"""How long one process waits for the others: a viewer may pause a run. A process that ends is noticed at once."""


def own_device(device: str) -> str:
    """The device of this process, when `device` is what the flags ask for. Raises BackendError where there is none."""
    import torch

    here = place()
    if here.size == 1 or not device.startswith("cuda"):
        return device
    if device != "cuda":
        raise BackendError(
            f"--device {device} is one card for {here.size} processes; leave the flag out, and each takes its own"
        )
    cards = torch.cuda.device_count()
    if here.local_size > cards:
        raise BackendError(
            f"torchrun started {here.local_size} processes on a machine where torch sees {cards} cards; "
            f"give torchrun --nproc_per_node {cards}"
        )
    torch.cuda.set_device(here.local_rank)
    return f"cuda:{here.local_rank}"


@contextlib.contextmanager
def joined(
    device: Callable[[], str], is_expected: Callable[[Exception], bool] = lambda error: True, shard: bool = False
) -> Iterator[Alone]:
    """Within, this process works with the others that torchrun started; alone when there are none.

    With `shard` they share out the Gaussians; see `trainer.sharded`.

    An error of one ends all: the first process raises it, the others leave silently with status 2, but for the
    traceback of an error that is not `is_expected`. All wait for the first, which writes.
    """
    here = place()
    if here.size == 1:
        yield ALONE
        return
    channel = _connected(here)
    from gaussian_splatting.trainer.exchange import Together
    from gaussian_splatting.trainer.sharded import Sharded

    workers = (Sharded if shard else Together)(channel)
    try:
        if own_device(device()).startswith("cuda"):
            channel.send_by("nccl")
        yield workers
        channel.check_in("the end")
    except BaseException as error:
        _leave(error, workers, channel, is_expected)
        raise
    _disconnect()


def _connected(here: Place) -> Channel:
    import torch.distributed as dist

    from gaussian_splatting.trainer.channel import Channel

    try:
        dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise TrainingError(
            f"process {here.rank} of {here.size} cannot reach the others: {reason}; check that all were started by one "
            "torchrun, and that the machines reach each other"
        ) from error
    return Channel(dist.group.WORLD)


def _leave(error: BaseException, workers: Alone, channel: Channel, is_expected: Callable[[Exception], bool]) -> None:
    """Tell the others, unless they know; those that follow wait for the first and end here."""
    from gaussian_splatting.trainer.channel import PeerError

    is_error = isinstance(error, Exception)
    is_bug = is_error and not is_expected(error)
    stopped = getattr(workers, "signal", None) is not None and not is_error
    if not stopped and not isinstance(error, PeerError):
        kind = "" if is_error and not is_bug else f"{type(error).__name__}: "
        channel.fail(f"{kind}{error}".strip())
    if workers.rank == 0:
        return
    if is_bug:
        traceback.print_exception(error, file=sys.stderr)
    channel.wait_for_first()
    if is_error:
        raise SystemExit(2) from error


def _disconnect() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()
