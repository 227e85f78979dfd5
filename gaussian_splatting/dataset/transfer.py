"""Pictures on their way to a card: from pinned memory, on a stream of their own, while the step before still runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch

from gaussian_splatting.dataset.load import Pictures

log = logging.getLogger(__name__)


class Transfer:
    """Copies pictures to `device`: `start` begins one, `take` gives it, begun or not."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._coming: dict[int, tuple[Pictures, torch.cuda.Event]] = {}

    def start(self, index: int, pictures: Callable[[], Pictures], keep: set[int]) -> None:
        """Begin to copy the pictures of a view unless they are coming; those of no index in `keep` are dropped."""
        for stale in self._coming.keys() - keep:
            del self._coming[stale]
        if index not in self._coming:
            source, arrival = pictures(), torch.cuda.Event()
            with torch.cuda.stream(self._stream):
                self._coming[index] = source.to(self.device), arrival
                arrival.record()

    def take(self, index: int, pictures: Callable[[], Pictures]) -> Pictures:
        """The pictures of a view on the device; work begun after this call finds them there."""
        if index not in self._coming:
            return pictures().to(self.device)
        found, arrival = self._coming.pop(index)
        current = torch.cuda.current_stream(self.device)
        current.wait_event(arrival)
        for field in fields(found):
            tensor = getattr(found, field.name)
            if tensor is not None:
                tensor.record_stream(current)  # its memory is of the other stream, and must not be reused too early
        return found


def pinned(pictures: Pictures) -> Pictures:
    """The same pictures in memory that a card reads by itself; as they are where the system grants no more of it."""
    moved: dict[str, Any] = {field.name: getattr(pictures, field.name) for field in fields(pictures)}
    try:
        return Pictures(**{name: None if tensor is None else tensor.pin_memory() for name, tensor in moved.items()})
    except RuntimeError as error:
        log.info("pictures are not pinned: %s", str(error).strip().splitlines()[0])
        return pictures
