"""Absolute screen gradients: those of the float64 reference, what densification sees, and who has none."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer import AbsoluteGradients, BaseTrainer, Budget, compose
from gaussian_splatting.trainer.named import NormalTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class Absolute(AbsoluteGradients):
    """Nothing but absolute gradients."""


def screen_gradients(backend: str, cls: type[BaseTrainer], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The screen gradients [N, 2] of a loss that pulls every way."""
    model = tiny_model().to(dtype)
    model.backend = backend
    cls(model, TinyDataset())
    camera = TinyDataset()[0]
    tensors = {name: value.to(dtype) for name, value in camera._asdict().items() if torch.is_tensor(value)}
    out = model(camera._replace(**tensors))
    weights = torch.randn(out["render"].shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    (out["render"] * weights).sum().backward()
    return out["get_viewspace_grad"](out).double()


def test_they_are_those_of_the_reference_in_double_precision():
    expected = screen_gradients("reference", Absolute, torch.float64)
    found = screen_gradients("cpu", Absolute)
    assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_they_are_at_least_the_sums_with_sign_and_mostly_more():
    plain, absolute = screen_gradients("cpu", BaseTrainer), screen_gradients("cpu", Absolute)
    assert (absolute >= plain.abs() * (1 - 1e-4) - 1e-7).all()
    assert float(absolute.sum() / plain.abs().sum()) > 1.5


def test_a_budget_gathers_them():
    plain = compose(BaseTrainer, [Budget])(tiny_model(), TinyDataset())
    absolute = compose(BaseTrainer, [Budget, AbsoluteGradients])(tiny_model(), TinyDataset())
    for trainer in (plain, absolute):
        next(trainer.run(TinyDataset(), 1))
    assert absolute.seen.gradient.sum() > 1.5 * plain.seen.gradient.sum()  # pyright: ignore[reportAttributeAccessIssue]


def test_training_gradients_are_the_same():
    rows = []
    for cls in (BaseTrainer, Absolute):
        trainer = cls(tiny_model(), TinyDataset())
        next(trainer.run(TinyDataset(), 1))
        rows.append(trainer.model.get_xyz.detach())
    assert torch.equal(*rows)


def test_a_renderer_without_them_is_refused_by_name():
    model = tiny_model(NormalTrainer)
    model.backend = "cpu-2dgs"
    with pytest.raises(TrainingError, match="absolute gradients need a renderer that sums them; 'cpu-2dgs' does not"):
        Absolute(model, TinyDataset())
