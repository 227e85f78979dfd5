"""The fused Adam update against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussian_splatting.rasterizer import cpu


@pytest.mark.parametrize("size", [0, 1, 15, 16, 1000, 200_003])
def test_steps_are_those_of_torch(size: int) -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=random)
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([parameter], lr=0.01, eps=1e-15)
    own, mean, square = start.clone().numpy(), np.zeros(size, np.float32), np.zeros(size, np.float32)
    for step in range(1, 6):
        gradient = torch.randn(size, generator=random) * 10.0 ** -(step * 2)
        parameter.grad = gradient.clone()
        optimizer.step()
        cpu.adam_step(own, gradient.numpy(), mean, square, 0.01, 0.9, 0.999, 1e-15, 1 - 0.9**step, 1 - 0.999**step)
    np.testing.assert_allclose(own, parameter.detach().numpy(), rtol=1e-6, atol=1e-7)


def test_a_zero_gradient_from_the_start_changes_nothing() -> None:
    arrays = [np.ones(40, np.float32), *(np.zeros(40, np.float32) for _ in range(3))]
    cpu.adam_step(*arrays, 0.1, 0.9, 0.999, 1e-15, 0.1, 0.001)
    assert (arrays[0] == 1).all()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("gradient", np.zeros(5, np.float32)), ("exp_avg", np.zeros(4)), ("exp_avg_sq", np.zeros(8, np.float32)[::2])],
)
def test_arrays_that_do_not_fit_are_refused_by_name(name: str, wrong: np.ndarray) -> None:
    arrays = {key: np.zeros(4, np.float32) for key in ("parameter", "gradient", "exp_avg", "exp_avg_sq")}
    with pytest.raises(ValueError, match=f"adam_step: {name} is"):
        cpu.adam_step(**(arrays | {name: wrong}), lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, bias_correction1=0.1,
                      bias_correction2=0.1)  # fmt: skip
