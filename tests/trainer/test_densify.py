"""Clone, split and prune: who grows, what the children look like, and the bounds on N."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.trainer import BaseDensificationTrainer, BaseOpacityResetDensificationTrainer
from gaussian_splatting.trainer.conformance import tiny_model
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import TinyDataset

NO_BOUND = {"densify_target_lower_bound": 0}


def make_trainer(**options) -> BaseDensificationTrainer:
    given = {"densify_from_iter": 1, "densify_interval": 1, "prune_from_iter": 1, "prune_interval": 1}
    return BaseDensificationTrainer(tiny_model(), scene_extent=1.0, **(given | NO_BOUND | options))


def show(trainer: BaseDensificationTrainer, gradient: torch.Tensor) -> None:
    """Pretend that one view gave these screen gradients."""
    trainer.screen.gradient.copy_(gradient)
    trainer.screen.views.fill_(1)
    trainer.curr_step += 1


def set_scales(trainer: BaseDensificationTrainer, scale: torch.Tensor) -> None:
    everything = torch.ones(len(trainer.model), dtype=torch.bool)
    trainer.model.overwrite_rows("scaling", everything, scale[:, None].repeat(1, 3).log())


def test_small_gaussians_with_large_gradients_are_cloned_in_place():
    trainer = make_trainer()
    set_scales(trainer, torch.full((60,), 0.005))
    hot = torch.arange(60) < 4
    before = trainer.model.get_xyz.detach().clone()
    show(trainer, hot * 3e-4)
    trainer.refine()
    assert len(trainer.model) == 64
    assert torch.equal(trainer.model.get_xyz[60:], before[:4])
    assert torch.equal(trainer.model.get_xyz[:60], before)


def test_large_gaussians_are_replaced_by_two_smaller_ones():
    trainer = make_trainer()
    set_scales(trainer, torch.full((60,), 0.1))
    show(trainer, (torch.arange(60) < 4) * 3e-4)
    parents = trainer.model.get_xyz[:4].detach().clone()
    trainer.refine()
    assert len(trainer.model) == 64
    children = trainer.model.get_xyz[56:].detach()
    assert torch.allclose(trainer.model.get_scaling[56:], torch.tensor(0.1 / 1.6))
    offsets = (children.reshape(2, 4, 3) - parents).norm(dim=-1)
    assert ((offsets > 0) & (offsets < 0.1 * 5)).all()


def test_new_gaussians_start_with_zero_moments_and_statistics():
    trainer = make_trainer()
    trainer.optimizer.moments(trainer.model._xyz)["exp_avg"].fill_(1.0)
    set_scales(trainer, torch.full((60,), 0.005))
    show(trainer, (torch.arange(60) < 4) * 3e-4)
    trainer.refine()
    moments = trainer.optimizer.state[trainer.model._xyz]["exp_avg"]
    assert torch.equal(moments.mean(dim=1), torch.tensor([1.0] * 60 + [0.0] * 4))
    assert trainer.screen.gradient.shape == (64,)


@pytest.mark.parametrize("cap", [60, 61, 75, 119])
def test_the_upper_bound_is_never_exceeded_and_the_best_grow_first(cap):
    trainer = make_trainer(densify_target_upper_bound=cap)
    set_scales(trainer, torch.full((60,), 0.005))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    show(trainer, 3e-4 + order * 1e-5)
    before = trainer.model.get_xyz.detach().clone()
    trainer.refine()
    assert len(trainer.model) == cap
    best = order.argsort(descending=True)[: cap - 60].sort().values
    assert torch.equal(trainer.model.get_xyz[60:], before[best])


def test_the_lower_bound_takes_the_best_of_the_visible_only():
    trainer = make_trainer(densify_target_lower_bound=1_000)
    set_scales(trainer, torch.full((60,), 0.005))
    show(trainer, (torch.arange(60) < 7) * 1e-6)
    trainer.refine()
    assert len(trainer.model) == 67


def test_faint_large_and_wide_gaussians_are_pruned():
    trainer = make_trainer(prune_screensize_threshold=20, prune_screensize_from_iter=1)
    scales = torch.full((60,), 0.005)
    scales[0] = 1.5
    set_scales(trainer, scales)
    trainer.model._opacity.data[1] = -6.0
    trainer.screen.radius[2] = 21
    survivors = trainer.model.get_xyz[3:].detach().clone()
    trainer.curr_step = 1
    trainer.screen.views.fill_(1)
    trainer.refine()
    kept = trainer.model.get_xyz[:57]
    assert torch.equal(kept, survivors)


@pytest.mark.parametrize("off", [{"prune_screensize_threshold": 0}, {"prune_screensize_from_iter": 2}])
def test_the_screen_rule_can_be_turned_off_or_delayed(off):
    trainer = make_trainer(densify_until_iter=0, **({"prune_screensize_from_iter": 1} | off))
    set_scales(trainer, torch.full((60,), 0.005))
    trainer.screen.radius.fill_(500)
    trainer.curr_step = 1
    trainer.refine()
    assert len(trainer.model) == 60


def test_pruning_everything_is_one_clear_error():
    trainer = make_trainer(prune_opacity_threshold=0.9999)
    with pytest.raises(TrainingError, match="all 60 Gaussians were to be pruned at step 1: 60 of opacity < 0.9999"):
        trainer.step(TinyDataset()[0])


def test_opacity_reset_lowers_opacities_and_clears_their_moments():
    options = {"opacity_reset_from_iter": 1, "opacity_reset_interval": 2, "densify_from_iter": 10}
    trainer = BaseOpacityResetDensificationTrainer(tiny_model(), TinyDataset(), **options)
    for _ in trainer.run(TinyDataset(), 2):
        pass
    assert trainer.model.get_opacity.max() <= 0.0100001
    assert not trainer.optimizer.state[trainer.model._opacity]["exp_avg"].any()


def test_the_seed_decides_everything():
    def final(seed: int) -> dict[str, torch.Tensor]:
        options = {"densify_from_iter": 2, "densify_interval": 3, "densify_target_lower_bound": 80}
        trainer = BaseDensificationTrainer(tiny_model(), TinyDataset(), seed=seed, **options)
        for _ in trainer.run(TinyDataset(), 8):
            pass
        return capture(trainer)

    first, again, other = final(1), final(1), final(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["parameter.xyz"], other["parameter.xyz"])


def test_both_call_styles():
    dataset = TinyDataset()
    one = BaseDensificationTrainer(tiny_model(), dataset)
    other = BaseDensificationTrainer(tiny_model(), scene_extent=dataset.scene_extent())
    assert one.scene_extent == other.scene_extent > 0
    with pytest.raises(TypeError, match="needs a dataset, or scene_extent="):
        BaseDensificationTrainer(tiny_model())
    with pytest.raises(ValueError, match="the model has no Gaussians"):
        BaseDensificationTrainer(GaussianModel(1), dataset)
