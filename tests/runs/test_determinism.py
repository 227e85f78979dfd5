"""Deterministic algorithms are on during a run, as they were before after it, and loading them takes no time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gaussian_splatting.runs.determinism import deterministic

CPU = torch.device("cpu")


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
def test_torch_is_deterministic_within_and_as_before_afterwards(mode: str):
    usual = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(mode)
    before = torch.get_deterministic_debug_mode()
    try:
        with pytest.raises(KeyError), deterministic(CPU):
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
