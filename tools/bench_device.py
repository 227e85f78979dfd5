"""Times steps by device events, with the memory that each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Step = Callable[[], Any]
WARM_UP = 5


def milliseconds(step: Step, device: str) -> float:
    """The time of one call, by device events where there are any."""
    if device != "cuda":
        start = time.perf_counter()
        step()
        return (time.perf_counter() - start) * 1e3
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def medians(steps: Mapping[str, Step], device: str, repeats: int) -> tuple[dict[str, float], dict[str, int]]:
    """Milliseconds of each step, medians over `repeats` turns of all, and on a card the MiB that it had at most."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    memory: dict[str, int] = {}
    for turn in range(WARM_UP + repeats):
        for name, step in steps.items():
            before = _reset(device)
            took = milliseconds(step, device)
            if turn >= WARM_UP:
                times[name].append(took)
            if device == "cuda":
                memory[name] = (torch.cuda.max_memory_allocated() - before) >> 20
    return {name: statistics.median(values) for name, values in times.items()}, memory


def _reset(device: str) -> int:
    """Forget the peak so far; the bytes that are in use."""
    if device != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()
