"""Clamping to [0, 1]: the values and gradients of PyTorch's own."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.geometry.clamping import clamped_to_unit

ENDS = [0.0, -0.0, 1.0, -1e-45, 1e-45, 1 + 2**-23, 1 - 2**-24, -1.0, 2.0, 0.5, float("inf"), -float("inf")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_clamp(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(3, 20, 30, generator=generator, dtype=dtype) * 2 - 0.5
    for values in (torch.tensor(ENDS, dtype=dtype), random, random.permute(1, 2, 0)):
        ours, theirs = (values.clone().requires_grad_() for _ in range(2))
        weights = torch.arange(1.0, values.numel() + 1, dtype=dtype).reshape(values.shape)
        first, second = clamped_to_unit(ours), theirs.clamp(0, 1)
        assert torch.equal(first, second)
        (first * weights).sum().backward()
        (second * weights).sum().backward()
        assert torch.equal(ours.grad, theirs.grad)


def test_what_is_no_number_stays_none():
    assert torch.isnan(clamped_to_unit(torch.tensor([float("nan")]))).all()
