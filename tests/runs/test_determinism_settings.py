"""What a run sets for torch, and puts back."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting import GaussianModel
from gaussian_splatting.runs.determinism import cores_for_kernels


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("backend", "within"), [("auto", 1), ("cpu", 1), ("cpu-2dgs", 1), ("reference", 2)])
def test_torch_keeps_to_one_thread_beside_our_kernels(two_threads: None, backend: str, within: int):
    with cores_for_kernels(GaussianModel(1, backend=backend)):
        assert torch.get_num_threads() == within
    assert torch.get_num_threads() == 2


def test_an_error_puts_the_threads_back(two_threads: None):
    with pytest.raises(KeyError), cores_for_kernels(GaussianModel(1, backend="cpu")):
        raise KeyError
    assert torch.get_num_threads() == 2
