"""The kernel of the windowed depth error: against autograd in float64, whatever the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussian_splatting.losses.depth_windows import windowed_error
from gaussian_splatting.rasterizer import cpu

SHAPES = [(135, 180), (17, 40), (50, 17), (33, 16)]
WINDOWS = [(8, 4), (3, 2), (2, 5), (1, 1), (20, 3)]
CASES = [(shape, *window) for shape in SHAPES for window in WINDOWS if min(shape) > 2 * window[0]]


def maps(shape: tuple[int, int], masked: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(shape[0])
    depth, noise, chance = (torch.rand(shape, generator=generator) for _ in range(3))
    weights = torch.where(chance > 0.3, chance, 0.0) if masked else torch.ones(shape)
    return depth, 0.7 * depth + 0.1 + 0.1 * noise, weights


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "radius", "stride"), CASES)
def test_value_and_gradient_are_those_of_float64(shape: tuple[int, int], radius: int, stride: int, masked: bool):
    found = []
    for kind in (torch.float32, torch.float64):
        depth, target, weights = (values.to(kind) for values in maps(shape, masked))
        depth.requires_grad_()
        error = windowed_error(depth, target, weights, radius, stride)
        error.backward()
        found.append((error.detach().double(), depth.grad.double()))
    (value, gradient), (true_value, true_gradient) = found
    torch.testing.assert_close(value, true_value, rtol=1e-6, atol=0)
    # A pixel that lies on the fitted line to rounding may get the other sign.
    assert float((gradient - true_gradient).norm() / true_gradient.norm()) < 5e-4


def test_the_bytes_do_not_depend_on_the_threads():
    depth, target, weights = (values.numpy() for values in maps((135, 180), True))
    before, found = cpu.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            cpu.set_num_threads(threads)
            total, gradient = cpu.windowed_error(depth, target, weights, 0.5, 8, 4)
            found.append((total, gradient.tobytes()))
    finally:
        cpu.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    assert np.isfinite(total)


def test_a_window_whose_centre_is_not_valid_counts_as_zero():
    depth, target, weights = maps((17, 17), False)
    weights[8, 8] = 0
    total, gradient = cpu.windowed_error(depth.numpy(), target.numpy(), weights.numpy(), 1.0, 8, 4)
    assert total == 0
    assert not gradient.any()
