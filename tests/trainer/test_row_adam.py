"""Adam for rows of views: Adam itself for a single row, one scale for all rows, and no move for one that is unseen."""

from __future__ import annotations

import math

import pytest
import torch

from gaussian_splatting.trainer.optimizer import NamedAdam
from gaussian_splatting.trainer.row_adam import MOMENTUM


def optimizer_of(parameter: torch.nn.Parameter, rate: float = 0.01, per_row: bool = True) -> NamedAdam:
    optimizer = NamedAdam([{"params": [parameter], "name": "rows", "lr": 0.0, "per_row": per_row}])
    optimizer.param_groups[0]["lr"] = rate
    return optimizer


def step(optimizer: NamedAdam, parameter: torch.nn.Parameter, gradient: torch.Tensor) -> None:
    parameter.grad = gradient
    optimizer.step()


def test_a_single_row_moves_as_with_adam():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(1, 4)) for _ in range(2))
    mine, plain = optimizer_of(ours), torch.optim.Adam([theirs], lr=0.01, betas=(MOMENTUM, 0.999), eps=1e-15)
    for _ in range(20):
        gradient = torch.randn((1, 4), generator=generator)
        step(mine, ours, gradient)
        theirs.grad = gradient.clone()
        plain.step()
    torch.testing.assert_close(ours, theirs)


def test_rows_that_are_not_seen_do_not_drift():
    parameter = torch.nn.Parameter(torch.zeros(3, 4))
    optimizer = optimizer_of(parameter)
    gradient = torch.zeros(3, 4)
    gradient[1] = 1.0
    step(optimizer, parameter, gradient)
    after_first = parameter.detach().clone()
    assert (after_first[1] < 0).all()
    other = torch.zeros(3, 4)
    other[0] = 1.0
    for _ in range(5):
        step(optimizer, parameter, other)
    assert torch.equal(parameter[1:].detach(), after_first[1:])
    assert optimizer.state[parameter]["step"].tolist() == [5, 1, 0]


def test_an_epoch_moves_a_row_as_far_as_adam_over_all_rows_would():
    """The rate keeps its meaning: what plain Adam does by momentum while a row is not seen, the row does at once."""
    num_rows, epochs, moved = 25, 200, []
    for per_row in (True, False):
        parameter = torch.nn.Parameter(torch.zeros(num_rows, 1))
        optimizer = optimizer_of(parameter, 1e-3, per_row)
        for index in range(num_rows * epochs):
            gradient = torch.zeros(num_rows, 1)
            gradient[index % num_rows] = 1.0
            step(optimizer, parameter, gradient)
        moved.append(-parameter.mean().item() / epochs)
    assert moved[0] == pytest.approx(1e-3 * math.sqrt(num_rows), rel=1e-3)
    assert moved[0] == pytest.approx(moved[1], rel=0.15)


def test_a_row_with_a_larger_gradient_takes_longer_steps():
    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    optimizer = optimizer_of(parameter)
    for index in range(40):
        gradient = torch.zeros(2, 3)
        gradient[index % 2] = (1.0, 10.0)[index % 2]
        step(optimizer, parameter, gradient)
    before = parameter.detach().clone()
    for index, slope in ((0, 1.0), (1, 10.0)):
        gradient = torch.zeros(2, 3)
        gradient[index] = slope
        step(optimizer, parameter, gradient)
    moved = (before - parameter.detach())[:, 0]
    assert moved[1] / moved[0] == pytest.approx(10, rel=0.05)


def test_a_step_that_sees_nothing_changes_nothing():
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = optimizer_of(parameter)
    step(optimizer, parameter, torch.ones(2, 3))
    before = {key: value.clone() for key, value in optimizer.state[parameter].items()}
    value = parameter.detach().clone()
    step(optimizer, parameter, torch.zeros(2, 3))
    assert torch.equal(parameter, value)
    assert all(torch.equal(optimizer.state[parameter][key], old) for key, old in before.items())


def test_rows_of_matrices_work_too():
    parameter = torch.nn.Parameter(torch.zeros(2, 3, 4))
    optimizer = optimizer_of(parameter)
    gradient = torch.zeros(2, 3, 4)
    gradient[0, 1, 2] = -2.0
    step(optimizer, parameter, gradient)
    assert parameter[0, 1, 2].item() == pytest.approx(0.01 * math.sqrt(2))
    assert (parameter[1] == 0).all()
