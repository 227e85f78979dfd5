"""Runs a kernel on several threads: Python threads that stay asleep between kernels, which release the GIL.

A kernel divides its work into units that are fixed by the scene, and its workers draw units from an atomic counter.
So results do not depend on the number of threads, uneven units balance, and a worker that the system wakes up late is
not waited for. No threading layer of Numba is involved: any number of Python threads may render at the same time.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_THREADS = 256

_state: dict[str, int | None] = {"num_threads": None}


def set_num_threads(num_threads: int) -> None:
    """Use this many threads from now on. Results do not depend on it, bit for bit.

    Raises ValueError unless it is from 1 to 256.
    """
    if not 1 <= num_threads <= MAX_THREADS:
        raise ValueError(f"num_threads is {num_threads}; give 1 to {MAX_THREADS}")
    _state["num_threads"] = int(num_threads)


def get_num_threads() -> int:
    """The number of threads that kernels use: what `set_num_threads` was given, else the cores of this process."""
    return _state["num_threads"] or num_cores()


def num_cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    return min(MAX_THREADS, os.cpu_count() or 1)


class _Job:
    """One run of a kernel. Workers enter while it is open; it is done when all that entered have left."""

    def __init__(self, kernel: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.kernel, self.arguments, self.counter = kernel, arguments, np.zeros(1, np.int64)
        self.is_open, self.num_inside = True, 0
        self.error: BaseException | None = None
        self.lock = threading.Lock()
        self.empty = threading.Condition(self.lock)

    def work(self, number: int) -> None:
        """Draw units until there are none left."""
        with self.lock:
            if not self.is_open:
                return
            self.num_inside += 1
        try:
            self.kernel(number, self.counter, *self.arguments)
        except BaseException as error:
            self.error = error
        with self.lock:
            self.num_inside -= 1
            if self.num_inside == 0:
                self.empty.notify()

    def finish(self) -> None:
        """Let nobody else in, and wait for those inside."""
        with self.lock:
            self.is_open = False
            while self.num_inside:
                self.empty.wait()
        self.arguments = ()  # a helper that comes late must not keep buffers alive
        if self.error is not None:
            raise self.error


class _Crew:
    """Sleeping threads, each with a queue of jobs."""

    def __init__(self) -> None:
        self.process, self.queues = os.getpid(), []

    def grow(self, num_helpers: int) -> None:
        """Have at least this many helpers."""
        while len(self.queues) < num_helpers:
            jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
            self.queues.append(jobs)
            name = f"rasterizer-{len(self.queues)}"
            threading.Thread(target=_serve, args=(jobs, len(self.queues)), name=name, daemon=True).start()


def _serve(jobs: queue.SimpleQueue[_Job], number: int) -> None:
    while True:
        jobs.get().work(number)


_crews: list[_Crew] = [_Crew()]
_growing = threading.Lock()


def run(kernel: Any, num_units: int, *arguments: Any) -> None:
    """Call kernel(worker number, counter, *arguments) on as many threads as there are, but not more than units."""
    num_workers = min(get_num_threads(), num_units)
    if num_workers <= 1 or not kernel.signatures:  # the first call compiles, on one thread
        kernel(0, np.zeros(1, np.int64), *arguments)
        return
    job = _Job(kernel, arguments)
    for jobs in _helpers(num_workers - 1):
        jobs.put(job)
    job.work(0)
    job.finish()


def _helpers(num_helpers: int) -> list[Any]:
    with _growing:
        if _crews[0].process != os.getpid():  # threads do not survive a fork
            _crews[0] = _Crew()
        _crews[0].grow(num_helpers)
        return _crews[0].queues[:num_helpers]
