"""Penalties on sizes and opacities."""

import pytest
import torch

from gaussian_splatting.losses.regularisers import mean_opacity, mean_scale, oversize


def test_only_scales_above_the_limit_count():
    scales = torch.tensor([[0.5, 2.0, 1.0], [4.0, 0.1, 0.2]], requires_grad=True)
    penalty = oversize(scales, 1.0)
    assert penalty.item() == pytest.approx(((2 - 1) + (4 - 1)) / 2)
    penalty.backward()
    assert scales.grad.tolist() == [[0, 0.5, 0], [0.5, 0, 0]]


def test_the_penalty_does_not_depend_on_the_unit():
    scales = torch.rand(20, 3) * 3
    torch.testing.assert_close(oversize(scales * 7, 7.0), oversize(scales, 1.0))


def test_small_scales_cost_nothing():
    scales = torch.full((4, 3), 0.5, requires_grad=True)
    penalty = oversize(scales, 1.0)
    penalty.backward()
    assert penalty.item() == 0
    assert (scales.grad == 0).all()


def test_means():
    assert float(mean_scale(torch.tensor([[1.0, 2.0, 6.0]]))) == 3.0
    assert float(mean_opacity(torch.tensor([[0.25], [0.75]]))) == 0.5
