"""What the tests on a card share. Run them with `python -m pytest -m gpu tests/gpu`, or `tools/gpu_check.sh`."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session")
def card() -> torch.device:
    """The first CUDA card, with gsplat's kernels built; a reason to skip where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no CUDA card")
    from gaussian_splatting.rasterizer import gsplat

    gsplat.load_library(torch.device("cuda"))
    return torch.device("cuda")
