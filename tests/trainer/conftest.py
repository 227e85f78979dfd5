"""The tiny scene is too small for threads: starting them costs more than the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gaussian_splatting.rasterizer import cpu


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch and for the kernels while these tests run."""
    before = torch.get_num_threads(), cpu.get_num_threads()
    torch.set_num_threads(1)
    cpu.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    cpu.set_num_threads(before[1])
