"""What every test may ask for."""

from __future__ import annotations

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
