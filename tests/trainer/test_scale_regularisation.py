"""Scale regularisation: only what is larger than the scene pays."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.trainer import BaseScaleRegularizeTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def term(trainer: BaseScaleRegularizeTrainer) -> torch.Tensor | None:
    camera = TinyDataset()[0]
    return dict(trainer.losses(trainer.model(camera), camera)).get("scale")


def make_trainer(scale: float, **options) -> BaseScaleRegularizeTrainer:
    model = tiny_model()
    everything = torch.zeros(60, dtype=torch.bool)
    everything[0] = True
    model.overwrite_rows("scaling", everything, torch.tensor([[scale, scale, 0.01]]).log())
    trainer = BaseScaleRegularizeTrainer(model, scene_extent=2.0, **options)
    trainer.curr_step = 3000
    return trainer


def test_the_excess_over_the_limit_costs_and_pulls_only_the_large():
    trainer = make_trainer(3.0)
    value = term(trainer)
    assert value.item() == pytest.approx(0.1 * (3.0 / 2.0 - 1), rel=1e-5)
    value.backward()
    gradient = trainer.model._scaling.grad
    assert (gradient[0, :2] > 0).all()
    assert gradient[0, 2] == 0
    assert (gradient[1:] == 0).all()


def test_small_gaussians_cost_nothing():
    value = term(make_trainer(1.0))
    assert value.item() == 0
    value.backward()


def test_the_threshold_is_in_extents():
    assert term(make_trainer(3.0, scale_reg_thr_scale=2.0)).item() == 0
    assert term(make_trainer(3.0, scale_reg_thr_scale=0.5)).item() == pytest.approx(0.1 * 2.0, rel=1e-5)


def test_it_applies_from_its_first_step_on():
    trainer = make_trainer(3.0)
    trainer.curr_step = 2999
    assert term(trainer) is None
