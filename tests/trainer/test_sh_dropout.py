"""Dropout of harmonics: how often, what is left out, and that pictures that are looked at have all degrees."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.trainer import BaseTrainer, SHDropout, SHLift
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class Dropping(SHDropout):
    """Nothing but dropout."""


class DroppingFirst(SHDropout, SHLift):
    """Dropout before the lift in the order of resolution."""


class DroppingLast(SHLift, SHDropout):
    """Dropout after it."""


def degrees(trainer: BaseTrainer, steps: int) -> list[int]:
    """The SH degree that each step renders with."""
    found = []
    for trainer.curr_step in range(1, steps + 1):
        camera = trainer.preprocess(TinyDataset()[0])
        found.append(trainer.model.raster_view(camera).sh_degree)
    return found


def test_steps_draw_their_degree_at_the_rate_asked_for():
    found = degrees(Dropping(tiny_model(), TinyDataset(), sh_dropout_rate=0.5), 400)
    top = max(found)
    # Of the steps that draw, one in top + 1 draws the usual degree.
    lowered = sum(degree < top for degree in found) / len(found)
    assert lowered == pytest.approx(0.5 * top / (top + 1), abs=0.08)
    assert set(found) == set(range(top + 1))


def test_a_rate_of_zero_is_the_plain_trainer():
    plain, never = BaseTrainer(tiny_model(), TinyDataset()), Dropping(tiny_model(), TinyDataset(), sh_dropout_rate=0.0)
    losses = [[float(loss) for loss, _ in trainer.run(TinyDataset(), 3)] for trainer in (plain, never)]
    assert losses[0] == losses[1]


class Views(TinyDataset):
    """The tiny scene with a number of views."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.cameras = (self.cameras * count)[:count]


@pytest.mark.parametrize(
    ("views", "looks", "rate"),
    [(6, 20, 0.05), (6, 100, 0.25), (6, 900, 0.5), (24, 900, 0.5), (36, 900, 0.25), (48, 900, 0.0), (200, 900, 0.0)],
)
def test_the_rate_follows_how_many_views_there_are_and_how_often_they_are_seen(views, looks, rate):
    model = GaussianModel(3).create_from_pcd(torch.rand(5, 3), torch.rand(5, 3))
    trainer = Dropping(model, Views(views), run_length=looks * views)
    assert trainer.dropout_rate() == pytest.approx(rate)


def test_without_a_dataset_the_rate_is_the_highest():
    assert Dropping(tiny_model(), scene_extent=1.0).dropout_rate() == 0.5


def test_degree_zero_leaves_the_harmonics_without_gradient():
    trainer = Dropping(tiny_model(), TinyDataset())
    camera = TinyDataset()[0]
    trainer.model(camera._replace(custom_data={"sh_degree": 0}))["render"].sum().backward()
    gradient = trainer.model._features_rest.grad
    assert gradient is None or not gradient.any()


@pytest.mark.parametrize("cls", [DroppingFirst, DroppingLast])
def test_never_more_than_the_degree_of_the_lift(cls: type[BaseTrainer]):
    found = degrees(cls(tiny_model(), TinyDataset(), sh_dropout_rate=1.0, sh_degree_up_interval=10), 40)
    assert found[:10] == [0] * 10
    assert max(found[10:20]) == 1
    assert found == degrees(
        DroppingFirst(tiny_model(), TinyDataset(), sh_dropout_rate=1.0, sh_degree_up_interval=10), 40
    )


def test_a_picture_that_is_looked_at_has_all_degrees():
    model = tiny_model()
    trainer = Dropping(model, TinyDataset(), sh_dropout_rate=1.0)
    with torch.no_grad():
        model._features_rest.fill_(0.1)
        before = model(TinyDataset()[0])["render"]
        degrees(trainer, 5)
        assert torch.equal(model(TinyDataset()[0])["render"], before)
