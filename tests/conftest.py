"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same cases on every run: a change fails for what it changed.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Two threads of torch on two busy cores wait for each other: small operations get ten times slower.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Pictures of a few pixels are drawn fastest by one thread."""
    from gaussian_splatting.rasterizer import cpu

    before, kernels = torch.get_num_threads(), cpu.get_num_threads()
    torch.set_num_threads(1)
    cpu.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    cpu.set_num_threads(kernels)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scenes beside the checkout; their licences do not allow shipping them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real scenes are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def demo_scene() -> Path:
    """The scene that the repository ships."""
    return REPOSITORY / "assets" / "demo"
