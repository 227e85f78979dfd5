"""How the kernels of surfels are compiled: as those of the CPU backend, under a key that also covers this package."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

from gaussian_splatting.rasterizer.cpu.jit import OPTIONS, SIMD_VERSION, _VersionedCache, compiled_in_peace, helper

__all__ = ["helper", "kernel"]

logger = logging.getLogger(__name__)


def _digest_of_sources() -> str:
    digest = hashlib.sha256(SIMD_VERSION.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_VERSION = _digest_of_sources()


class _Cache(_VersionedCache):
    """A cache whose entries are valid for one version of both packages only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, _VERSION)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, and cache it."""
    dispatcher: Any = njit(**OPTIONS)(function)
    try:
        dispatcher._cache = _Cache(dispatcher.py_func)
    except (RuntimeError, AttributeError) as error:  # no writable folder, or a Numba whose cache is built differently
        logger.warning("compiled kernels are not cached and each process compiles them again: %s", error)
    return compiled_in_peace(dispatcher)
