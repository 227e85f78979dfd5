"""The limit on angular size: who is shortened, when, and that everything else stays."""

from __future__ import annotations

import math

import pytest
import torch

from gaussian_splatting.trainer import AngularSize
from gaussian_splatting.trainer.angular_size import nearest
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class Limited(AngularSize):
    """Nothing but the limit."""


def centres() -> torch.Tensor:
    """Where the cameras of the tiny scene are [V, 3]."""
    data = TinyDataset()
    return torch.stack([data.geometry(index).camera_center for index in range(len(data))])


def test_the_distance_is_that_to_the_nearest_camera():
    points = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    found = nearest(points, torch.tensor([[3.0, 4.0, 1.0], [0.0, 2.0, 0.0]]))
    assert found.tolist() == [2.0, 1.0]


def test_what_is_too_long_is_shortened_to_the_limit_and_nothing_else_changes():
    model = tiny_model()
    trainer = Limited(model, TinyDataset(), angular_size_limit=0.5, angular_size_interval=1)
    with torch.no_grad():
        model._scaling[0, 1] = math.log(1e3)
    before = model._scaling.detach().clone()
    trainer.curr_step = 1
    trainer.after_step()
    positions, scales = model.get_xyz.detach(), model.get_scaling.detach()
    distances = torch.linalg.vector_norm(positions[:, None] - centres(), dim=2).amin(1)
    assert float(scales[0, 1]) == pytest.approx(0.5 * float(distances[0]), rel=1e-5)
    assert (scales <= 0.5 * distances[:, None] * (1 + 1e-5)).all()
    allowed = before.exp() <= 0.5 * distances[:, None]
    assert torch.equal(model._scaling[allowed], before[allowed])


def test_it_waits_for_its_interval():
    model = tiny_model()
    trainer = Limited(model, TinyDataset(), angular_size_interval=4)
    with torch.no_grad():
        model._scaling[0, 1] = math.log(1e3)
    long = []
    for trainer.curr_step in range(1, 6):
        trainer.after_step()
        long.append(float(model.get_scaling[0, 1].detach()) > 999)
    assert long == [True, True, True, False, False]


def test_a_gaussian_at_a_camera_stays_finite():
    model = tiny_model()
    trainer = Limited(model, TinyDataset(), angular_size_interval=1)
    with torch.no_grad():
        model._xyz[0] = centres()[0]
    trainer.curr_step = 1
    trainer.after_step()
    assert torch.isfinite(model._scaling).all()


def test_without_a_dataset_there_is_no_limit():
    model = tiny_model()
    trainer = Limited(model, scene_extent=1.0, angular_size_interval=1)
    before = model._scaling.detach().clone()
    trainer.curr_step = 1
    trainer.after_step()
    assert torch.equal(model._scaling, before)
