"""Buffers that are used again and again without anybody noticing.

Touching fresh memory costs as much as a kernel, so buffers stay with a pool. A buffer is free when nobody but the
pool refers to it: NumPy views and torch tensors made from a buffer refer to it as long as they live, so a tensor that
a user keeps, or that autograd saved for a backward pass, is never handed out a second time.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 64
"""Bytes of a cache line and of a vector."""
SLACK = 8
"""A new buffer is larger by this fraction, so that a growing scene does not need a new one at every step."""
SPARES = 2
"""Free buffers kept under one name beyond the one in use."""


class _Buffer:
    """Aligned memory, and the array through which it is handed out."""

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        raw = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self.array = raw[start : start + size * dtype.itemsize].view(dtype)

    # Counted here and nowhere else, so that the interpreter's own references are the same in every count.
    def num_references(self) -> int:
        """References to the memory, the pool's own included."""
        owner: Any = self.array.base
        return sys.getrefcount(owner)

    def is_free(self) -> bool:
        """Whether only the pool refers to the memory."""
        return self.num_references() <= _UNSHARED


_UNSHARED = 0
_UNSHARED = _Buffer(1, np.dtype(np.uint8)).num_references()


class Workspace:
    """A pool of buffers by name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, np.dtype[Any]], list[_Buffer]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, size: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """A one-dimensional array of arbitrary content, free again when nobody refers to it or to a view of it."""
        kind = np.dtype(dtype)
        with self._lock:
            buffers = self._buffers.setdefault((name, kind), [])
            free = sorted((buffer for buffer in buffers if buffer.is_free()), key=lambda buffer: buffer.array.size)
            fitting = [buffer for buffer in free if buffer.array.size >= size]
            chosen = fitting[0] if fitting else _Buffer(size + size // SLACK + 1, kind)
            dropped = [buffer for buffer in free if buffer is not chosen]
            dropped = dropped[: -SPARES or None] if fitting else dropped
            self._buffers[name, kind] = [*(b for b in buffers if b not in dropped and b is not chosen), chosen]
            return chosen.array[:size]

    def release(self) -> None:
        """Give all free buffers back to the system."""
        with self._lock:
            for key, buffers in self._buffers.items():
                self._buffers[key] = [buffer for buffer in buffers if not buffer.is_free()]

    def num_bytes(self) -> int:
        """Bytes held, in use or free."""
        with self._lock:
            return sum(buffer.array.nbytes for buffers in self._buffers.values() for buffer in buffers)


workspace = Workspace()
"""The pool of this process."""
