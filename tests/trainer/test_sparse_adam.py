"""Adam of the rows in view: torch's own sparse Adam is the measure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer import checks
from gaussian_splatting.trainer.named import BaseTrainer
from gaussian_splatting.trainer.optimizer import NamedAdam
from gaussian_splatting.trainer.sh_rest import ShRest
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

RATE = 0.01


def sparse(rows: list[int], values: Tensor, num: int) -> Tensor:
    return torch.sparse_coo_tensor([rows], values, (num, *values.shape[1:]), is_coalesced=True, check_invariants=True)


def gradients(num: int, steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(steps):
        rows = torch.randperm(num, generator=generator)[: num // 3].sort().values.tolist()
        found.append(sparse(rows, torch.randn((len(rows), 2, 3), generator=generator), num))
    return found


def test_the_rows_of_a_sparse_gradient_move_as_by_torch():
    start = torch.randn((12, 2, 3), generator=torch.Generator().manual_seed(2))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone().double())
    mine = NamedAdam([{"params": [ours], "name": "xyz", "lr": RATE}])
    exact = torch.optim.SparseAdam([theirs], lr=RATE, eps=1e-15)
    for gradient in gradients(12, 30):
        before, rows = ours.detach().clone(), gradient.indices()[0]
        ours.grad, theirs.grad = gradient, gradient.double()
        mine.step()
        exact.step()
        still = torch.ones(12, dtype=torch.bool)
        still[rows] = False
        assert torch.equal(ours[still], before[still])
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-5)


def test_rows_given_twice_are_added():
    parameters = [torch.nn.Parameter(torch.zeros(4, 1)) for _ in range(2)]
    twice = torch.sparse_coo_tensor([[1, 1, 3]], torch.tensor([[1.0], [2.0], [-1.0]]), (4, 1), check_invariants=True)
    for parameter, gradient in zip(parameters, (twice, twice.coalesce()), strict=True):
        parameter.grad = gradient
        NamedAdam([{"params": [parameter], "name": "xyz", "lr": RATE}]).step()
    assert torch.equal(*parameters)
    assert parameters[0][:, 0].tolist() == pytest.approx([0, -RATE, 0, RATE])


def test_dense_and_sparse_gradients_take_turns():
    parameter = torch.nn.Parameter(torch.zeros(3, 1))
    adam = NamedAdam([{"params": [parameter], "name": "xyz", "lr": RATE}])
    for gradient in (torch.ones(3, 1), sparse([1], torch.ones(1, 1), 3), torch.ones(3, 1)):
        parameter.grad = gradient
        adam.step()
    assert int(adam.state[parameter]["step"]) == 3
    assert parameter[1] < parameter[0] == parameter[2]


class InView(BaseTrainer):
    """Keeps of every gradient the rows in view, as gsplat gives them with `sparse_grad`."""

    shardable = False

    def after_backward(self, out: dict[str, Any], camera: Any) -> None:
        rows = out["radii"].nonzero()[:, 0].tolist()
        for parameter in self.model.rows().values():
            assert parameter.grad is not None
            parameter.grad = sparse(rows, parameter.grad[rows], len(parameter))
        super().after_backward(out, camera)


class InViewShRest(InView, ShRest):
    """And harmonics now and then."""

    shardable = False


def test_harmonics_are_gathered_from_sparse_gradients():
    trainer = InViewShRest(tiny_model(), TinyDataset(), sh_rest_interval=3)
    before = trainer.model._features_rest.detach().clone()
    moved = []
    for _ in trainer.run(trainer.dataset, 6):
        moved.append(not torch.equal(trainer.model._features_rest, before))
        before = trainer.model._features_rest.detach().clone()
    assert moved == [False, False, True, False, False, True]


def test_a_fault_in_a_sparse_gradient_is_found():
    parameter = torch.nn.Parameter(torch.zeros(3, 1))
    parameter.grad = sparse([2], torch.full((1, 1), float("nan")), 3)
    adam = NamedAdam([{"params": [parameter], "name": "xyz", "lr": RATE}])
    with pytest.raises(TrainingError, match="the gradient of 'xyz' is nan"):
        checks.finite_step({"a": torch.zeros(())}, adam, 1, TinyDataset()[0])
