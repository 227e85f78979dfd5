"""What a run sets for torch, and puts back."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gaussian_splatting import GaussianModel
from gaussian_splatting.runs.determinism import cores_for_kernels, deterministic


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


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
def test_torch_is_deterministic_within_and_as_before_afterwards(mode: str):
    usual = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(mode)
    before = torch.get_deterministic_debug_mode()
    try:
        with pytest.raises(KeyError), deterministic(torch.device("cpu")):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            raise KeyError
        assert torch.get_deterministic_debug_mode() == before
    finally:
        torch.set_deterministic_debug_mode(usual)


def test_no_compiler_of_torch_is_loaded_for_it():
    code = (
        "import sys, torch; from gaussian_splatting.runs.determinism import deterministic\n"
        "with deterministic(torch.device('cpu')): print('torch._inductor.config' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
