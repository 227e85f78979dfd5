"""Floaters: what is near the few cameras that see it goes, and nothing else does."""

from __future__ import annotations

import logging

import pytest
import torch
from test_sharded import differences, snapshot
from world import World

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.trainer import Densify, FloaterRemoval, check_trainer, compose, named
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.exchange import Together
from gaussian_splatting.trainer.floater_removal import FloaterRemovalOptions
from gaussian_splatting.trainer.sharded import Sharded
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.stretch import stretch
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

QUICK = {"floater_removal_from_iter": 2, "floater_removal_until_iter": 8, "floater_removal_times": 3}


class Removing(FloaterRemoval):
    """Nothing but the removal."""


class Corridor(TinyDataset):
    """Twelve cameras in a row, one unit apart, that look at a wall four units away."""

    def __init__(self, number: int = 12) -> None:
        super().__init__()
        picture = torch.full((3, 24, 32), 0.5)
        self.cameras = [
            pinhole_camera(24, 32, 30.0, 30.0, torch.eye(3), torch.tensor([-float(place), 0.0, 0.0]))._replace(
                ground_truth_image=picture
            )
            for place in range(number)
        ]


def wall_and(*others: tuple[float, float, float], opacity: float = 0.9) -> GaussianModel:
    """A wall of Gaussians at depth 4, and after it small ones at other places."""
    x, y = torch.meshgrid(torch.arange(-3.0, 15.0, 0.5), torch.arange(-2.0, 2.5, 0.5), indexing="ij")
    wall = torch.stack((x.flatten(), y.flatten(), torch.full((x.numel(),), 4.0)), dim=1)
    points = torch.cat((wall, torch.tensor(others).reshape(-1, 3)))
    model = GaussianModel(0, backend="cpu").create_from_pcd(points, torch.full_like(points, 0.5))
    size, logit = torch.full((len(points), 1), 0.3), torch.tensor(opacity).logit()
    size[len(wall) :] = 0.03
    model._scaling.data.copy_(size.log().expand(-1, 3))
    model._opacity.data.fill_(float(logit))
    return model


def found(model: GaussianModel, dataset: TinyDataset | None = None, **options) -> list[int]:
    """Which Gaussians are floaters, counted from the end of the wall."""
    floats = Removing(model, dataset or Corridor(), scene_extent=1.0, **options).floats()
    return (floats.nonzero()[:, 0] - len(wall_and())).tolist()


def test_what_hovers_before_one_camera_is_a_floater_and_the_wall_is_none():
    assert found(wall_and((5.0, 0.0, 0.5), (5.0, 0.0, 3.5))) == [0]


def test_what_is_near_is_kept_where_many_views_see_it():
    """A camera sees half a unit to either side for each unit of depth: three see the first, one the second."""
    near = wall_and((5.0, 0.0, 2.0), (6.1, 0.0, 0.5))
    assert found(near, floater_removal_views=1.5) == [1]
    assert found(near, Corridor(40)) == [0, 1]


def test_nearness_is_a_part_of_the_median_depth():
    model = wall_and((5.0, 0.0, 0.5), (5.0, 0.1, 1.5))
    assert found(model, floater_removal_nearness=0.2, floater_removal_views=9.0) == [0]
    assert found(model, Corridor(40), floater_removal_nearness=0.5) == [0, 1]


def test_with_few_views_nothing_is_a_floater():
    assert found(wall_and((2.0, 0.0, 0.5)), Corridor(6)) == []


def test_what_no_view_sees_is_left_to_others():
    assert found(wall_and((5.0, 0.0, -3.0), (5.0, 0.0, 9.0))) == []


def test_the_steps_are_at_even_distances():
    assert FloaterRemovalOptions().steps() == {3_000, 6_000, 9_000, 12_000, 15_000, 18_000, 21_000}
    assert FloaterRemovalOptions(times=1).steps() == {3_000}
    assert FloaterRemovalOptions(from_iter=5, until_iter=4).steps() == set()


def test_floaters_are_removed_at_their_steps_and_what_is_left_keeps_its_moments(caplog):
    trainer = Removing(wall_and((5.0, 0.0, 0.5)), Corridor(), scene_extent=1.0, **QUICK)
    before = len(trainer.model)
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        counts = [len(trainer.model) for _ in trainer.run(Corridor(), 3)]
    assert counts == [before, before - 1, before - 1]
    assert "step 2: 1 floaters removed" in caplog.text
    assert capture(trainer)["moment.xyz.exp_avg"].shape == (before - 1, 3)


def test_the_moments_follow_the_length_of_the_run():
    trainer = Removing(tiny_model(), TinyDataset(), **QUICK)
    stretch(trainer, 2, 12, 22)
    assert trainer.floater_removal.steps() == {2, 8, 14}


class DensifyingTrainer(FloaterRemoval, Densify):
    """Both change the number of Gaussians, at the same steps."""


DENSE = {"densify_from_iter": 2, "densify_interval": 2, "densify_grad_threshold": 0.0, "prune_from_iter": 2}


@pytest.mark.parametrize("bases", [(FloaterRemoval, Densify), (Densify, FloaterRemoval)])
def test_floaters_go_before_anything_is_split(bases):
    """None of their children stay: the order of the features does not matter."""
    cls = type("EitherTrainer", bases, {})
    trainer = cls(wall_and((5.0, 0.0, 0.5)), Corridor(), scene_extent=1.0, **QUICK | DENSE)
    for _ in trainer.run(Corridor(), 2):
        pass
    assert len(trainer.model) > len(wall_and())
    assert trainer.model.get_xyz[:, 2].min() > 2.0


@pytest.mark.parametrize("cls", [named.BaseDensificationTrainer, named.FastTrainer, named.BaseSHLiftMCMCTrainer])
def test_the_removal_keeps_the_promises_of_a_trainer(cls):
    views = {"floater_removal_nearness": 0.8, "floater_removal_views": 50.0}
    assert "order" in check_trainer(compose(cls, ["floater_removal"]), **QUICK | views)


class Everywhere(FloaterRemoval):
    """Calls much a floater, so that the tiny scene has some."""

    floater_removal = FloaterRemovalOptions(from_iter=2, until_iter=8, times=3, nearness=0.8, views=50.0)

    def floats(self) -> torch.Tensor:
        """The nearest ones as well."""
        depth = self.model.get_xyz[:, 2]
        return super().floats() | (depth < -0.4)


def test_shards_and_whole_models_remove_the_same():
    cls: type[BaseTrainer] = compose(named.BaseDensificationTrainer, [Everywhere])
    expected, shards = (World(2).run(snapshot(cls, 8), kind)[0] for kind in (Together, Sharded))
    assert differences(shards, expected) == []
    removed, plain = (World(2).run(snapshot(one, 2))[0]["parameter.xyz"] for one in (cls, cls.__bases__[-1]))
    assert 0 < len(removed) < len(plain)
