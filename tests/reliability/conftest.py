"""What the tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from zygote import Zygote

from gaussian_splatting.rasterizer import cpu


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Pictures of a few pixels are drawn fastest by one thread."""
    before, kernels = torch.get_num_threads(), cpu.get_num_threads()
    torch.set_num_threads(1)
    cpu.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    cpu.set_num_threads(kernels)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One that forks for all tests of a module."""
    found = Zygote()
    yield found
    found.close()
