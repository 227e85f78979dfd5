"""How the kernels are compiled: one set of options, cached on disk under a key that covers this whole package.

Numba keys a cached function on its own source file, so that an edit of the intrinsics, of a helper or of the record
layout would leave stale machine code behind. Every cached kernel therefore carries `SIMD_VERSION`, a digest of all
sources of this package: whatever is edited, everything that could depend on it is compiled again.
"""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.extending import intrinsic

logger = logging.getLogger(__name__)

# NaN and infinity keep their meaning: the projection rejects Gaussians by comparing, and raw loads follow.
FAST_MATH = {"nsz", "contract", "arcp"}
OPTIONS: dict[str, Any] = {
    "fastmath": FAST_MATH,
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
    "_nrt": False,  # no reference counts: arrays belong to the caller, and counting them takes longer than projecting
}

KERNEL_OPTIONS: dict[str, Any] = OPTIONS | {"no_cfunc_wrapper": True}
HELPER_OPTIONS: dict[str, Any] = OPTIONS | {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


SIMD_VERSION = _digest_of_sources()
"""Part of the key of every cached kernel."""


class _VersionedCache(FunctionCache):
    """Numba's cache of one function, whose entries are valid for one `SIMD_VERSION` only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, SIMD_VERSION)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled kernel; a full or vanished disk costs the cache, not the training run."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            logger.warning("the compiled kernel %s is not cached: %s", self._name, error)


def operation(function: Callable[..., Any]) -> Any:
    """Define an operation of kernels by the LLVM code that it stands for; its first argument is Numba's own."""
    return intrinsic(function)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a small function that is always inlined into its caller, and that Python cannot call."""
    return njit(**HELPER_OPTIONS)(function)


def part(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of its callers, spliced in before types are inferred.

    Right for a large function with one caller, whose code LLVM then sees once, and for very small ones. Many calls in
    one function cost more than `helper` does.
    """
    return njit(inline="always", **OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, and cache it."""
    return compiled_in_peace(_cached(njit(**KERNEL_OPTIONS)(function)))


def compiled_in_peace(dispatcher: Any) -> Any:
    """The dispatcher, which now compiles with the garbage collector off: it walks all that the compiler holds."""
    compile_for = dispatcher.compile

    def compile_without_collection(signature: Any) -> Any:
        with _without_collection():
            return compile_for(signature)

    dispatcher.compile = compile_without_collection
    return dispatcher


@contextmanager
def _without_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _cached(dispatcher: Any) -> Any:
    try:
        dispatcher._cache = _VersionedCache(dispatcher.py_func)
    except (RuntimeError, AttributeError) as error:  # no writable folder, or a Numba whose cache is built differently
        logger.warning("compiled kernels are not cached and each process compiles them again: %s", error)
    return dispatcher
