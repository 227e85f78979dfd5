"""3DGS-MCMC: the number grows to the cap and no further, the dead move, the noise spares what is opaque."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from gaussian_splatting.geometry.activations import inverse_sigmoid
from gaussian_splatting.trainer import (
    MCMC,
    BaseDensificationTrainer,
    BaseMCMCTrainer,
    BaseSHLiftMCMCTrainer,
    BaseTrainer,
    compose,
)
from gaussian_splatting.trainer.splitting import long_axis_children
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

EVERY_STEP = {"mcmc_from_iter": 0, "mcmc_interval": 1, "mcmc_growth": 0.05}
STACK = {"mcmc_copies": "stack"}


def make_trainer(opacity: torch.Tensor | None = None, **options) -> BaseMCMCTrainer:
    model = tiny_model()
    if opacity is not None:
        model.adopt_rows(
            {n: v.detach() for n, v in model.rows().items()} | {"opacity": inverse_sigmoid(opacity)[:, None]}
        )
    return BaseMCMCTrainer(model, TinyDataset(), **(EVERY_STEP | {"mcmc_noise_lr": 0.0} | options))


def at_one_place(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Which centres [N, 3] lie exactly at which others [M, 3], as [N, M]."""
    return (first.detach()[:, None] == second.detach()[None]).all(dim=-1)


def refine(trainer: BaseMCMCTrainer) -> None:
    trainer.curr_step += 1
    trainer.refine()


def test_the_number_grows_evenly_to_the_cap_at_the_last_relocation():
    trainer = make_trainer(mcmc_growth=None, mcmc_cap_max=100, mcmc_from_iter=4, mcmc_until_iter=20, mcmc_interval=3)
    expected = [trainer.expected_count(step) for step in range(1, 26)]
    counts = []
    for _ in range(25):
        refine(trainer)
        counts.append(len(trainer.model))
    assert counts == [60] * 5 + [68] * 3 + [76] * 3 + [84] * 3 + [92] * 3 + [100] * 8
    assert expected == counts
    assert trainer.expected_count(30) == 100


def test_the_expected_number_knows_a_fixed_growth_and_the_cap():
    trainer = make_trainer(mcmc_cap_max=80)
    assert [trainer.expected_count(step) for step in (0, 1, 2, 100)] == [60, 63, 66, 80]
    assert make_trainer(mcmc_growth=1e3).expected_count(24_000) == 1_000_000


def test_the_number_grows_by_a_twentieth_and_stops_at_the_cap():
    trainer, counts = make_trainer(mcmc_cap_max=70), []
    for _ in range(6):
        refine(trainer)
        counts.append(len(trainer.model))
    assert counts == [63, 67, 70, 70, 70, 70]


def test_more_gaussians_than_the_cap_lose_the_faintest_and_it_is_said(caplog):
    model = tiny_model()
    opacity = torch.linspace(0.1, 0.9, 60)[:, None]
    model.overwrite_rows("opacity", torch.ones(60, dtype=torch.bool), torch.logit(opacity))
    brightest = model.get_xyz[10:].detach().clone()
    with caplog.at_level(logging.INFO, logger="gaussian_splatting"):
        trainer = BaseMCMCTrainer(model, TinyDataset(), mcmc_init_opacity=None, mcmc_cap_max=50)
    assert "60 Gaussians at the start, more than mcmc_cap_max 50" in caplog.text
    assert torch.equal(trainer.model.get_xyz, brightest)


def test_the_cap_holds_from_the_first_step_on():
    trainer = make_trainer(mcmc_cap_max=50, mcmc_from_iter=500)
    next(trainer.run(TinyDataset(), 1))
    assert len(trainer.model) == 50


def test_the_dead_become_copies_of_the_living():
    opacity = torch.full((60,), 0.5)
    opacity[:5] = 0.004
    trainer = make_trainer(opacity, mcmc_growth=0.0, **STACK)
    dead, living = trainer.model.get_xyz[:5].detach().clone(), trainer.model.get_xyz[5:].detach().clone()
    refine(trainer)
    assert len(trainer.model) == 60
    assert torch.equal(trainer.model.get_xyz[:55], living)
    assert at_one_place(trainer.model.get_xyz[55:], living).any(dim=1).all()
    assert not at_one_place(trainer.model.get_xyz, dead).any()


def test_parents_and_copies_share_the_opacity():
    """All copies of one Gaussian are alike, and together as opaque as it was."""
    trainer = make_trainer(torch.full((60,), 0.6), mcmc_growth=0.5, **STACK)
    before = trainer.model.get_scaling.detach().clone()
    refine(trainer)
    copies = at_one_place(trainer.model.get_xyz, trainer.model.get_xyz).sum(dim=1)
    opacity = trainer.model.get_opacity[:, 0].detach()
    torch.testing.assert_close(1 - (1 - opacity) ** copies, torch.full((90,), 0.6))
    alone = copies[:60] == 1
    assert torch.equal(trainer.model.get_scaling[:60][alone], before[alone])
    assert (trainer.model.get_scaling[:60][~alone] < before[~alone]).all()


def born_beside(births: str) -> torch.Tensor:
    """Which of 60 Gaussians got copies, when the screen pulls at the first ten and the last ten are opaque."""
    opacity = torch.full((60,), 0.3)
    opacity[50:] = 0.9
    trainer = make_trainer(opacity, mcmc_growth=1.0, mcmc_births=births, mcmc_copies="stack")
    before = trainer.model.get_xyz.detach().clone()
    trainer.pulled.views += 2
    trainer.pulled.gradient[:10] = 1.0
    trainer.pulled.gradient[10:] = 1e-4
    refine(trainer)
    assert not trainer.pulled.gradient.any()
    return at_one_place(before, trainer.model.get_xyz).sum(dim=1) - 1


def test_gaussians_are_born_where_the_screen_pulls():
    assert born_beside("gradient")[:10].sum() > 55


def test_published_births_follow_the_opacity_alone():
    counts = born_beside("opacity")
    assert counts.sum() == 60
    assert 15 < counts[50:].sum() < 40, "ten of 24 expected weights, each three times the others"
    assert counts[:10].sum() < 20


def test_births_weigh_the_gradient_by_the_opacity():
    opacity = torch.full((60,), 0.1)
    opacity[:30] = 0.9
    trainer = make_trainer(opacity, mcmc_growth=5.0, **STACK)
    before = trainer.model.get_xyz.detach().clone()
    trainer.pulled.gradient += 1.0
    trainer.pulled.views += 1
    refine(trainer)
    counts = at_one_place(before, trainer.model.get_xyz).sum(dim=1) - 1
    assert 240 < counts[:30].sum() < 295, "0.9 of 300"


def test_the_dead_are_relocated_by_opacity_whatever_the_screen_shows():
    opacity = torch.full((60,), 0.5)
    opacity[:20] = 0.004
    trainer = make_trainer(opacity, mcmc_growth=0.0, **STACK)
    before = trainer.model.get_xyz.detach().clone()
    trainer.pulled.views += 1
    trainer.pulled.gradient[59] = 1.0
    refine(trainer)
    assert at_one_place(before[20:], trainer.model.get_xyz).sum(dim=1)[:39].sum() > 39 + 10


def test_screen_gradients_are_gathered_from_the_views():
    trainer = make_trainer(mcmc_from_iter=10)
    _, out = trainer.step(TinyDataset()[0])
    assert torch.equal(trainer.pulled.views, (out["radii"] > 0).float())
    assert (trainer.pulled.gradient > 0).sum() > 30
    published = make_trainer(mcmc_from_iter=10, mcmc_births="opacity")
    published.step(TinyDataset()[0])
    assert not published.pulled.views.any()


def test_relocated_gaussians_start_with_zero_moments():
    trainer = make_trainer(**STACK)
    trainer.step(TinyDataset()[0])
    moments = trainer.optimizer.state[trainer.model._xyz]["exp_avg"]
    assert moments.shape[0] == len(trainer.model) == 63
    shared = at_one_place(trainer.model.get_xyz, trainer.model.get_xyz).sum(dim=1) > 1
    assert (moments[shared] == 0).all()
    assert (moments[~shared] != 0).any()


@pytest.mark.parametrize(("copies", "limit"), [("stack", 0.01), ("spread", 0.03), ("split", 0.03)])
def test_the_picture_survives_a_relocation(copies, limit):
    trainer = make_trainer(torch.full((60,), 0.3), mcmc_growth=0.2, mcmc_copies=copies)
    camera = TinyDataset()[0]
    with torch.no_grad():
        before = trainer.model(camera)["render"]
        refine(trainer)
        after = trainer.model(camera)["render"]
    assert len(trainer.model) == 72
    assert (after - before).abs().mean() < limit


def test_spread_copies_lie_apart_and_are_smaller_and_as_opaque():
    trainer = make_trainer(torch.full((60,), 0.6), mcmc_growth=0.5, mcmc_copies="spread")
    before = {name: rows.detach().clone() for name, rows in trainer.model.rows().items()}
    refine(trainer)
    centres = trainer.model.get_xyz.detach()
    assert len(centres) == 90
    assert torch.equal(at_one_place(centres, centres).sum(dim=1), torch.ones(90, dtype=torch.int64))
    moved = ~at_one_place(centres[:60], before["xyz"]).any(dim=1)
    assert 15 < int(moved.sum()) <= 30
    shrunk = (trainer.model._scaling[:60] - before["scaling"])[moved]
    assert (shrunk <= -0.5 * math.log(2) + 1e-5).all()
    assert torch.equal(trainer.model._scaling[:60][~moved], before["scaling"][~moved])
    torch.testing.assert_close(trainer.model.get_opacity, torch.full((90, 1), 0.6))


def test_two_copies_are_the_halves_and_more_are_spread():
    trainer = make_trainer(torch.full((60,), 0.6), mcmc_growth=0.5, mcmc_copies="split")
    before = {name: rows.detach().clone() for name, rows in trainer.model.rows().items()}
    halves = long_axis_children(trainer.model, torch.arange(60))
    refine(trainer)
    centres, opacity = trainer.model.get_xyz.detach(), trainer.model.get_opacity[:, 0].detach()
    old = at_one_place(centres, before["xyz"]).any(dim=1)
    one, other = (at_one_place(centres, side) for side in halves["xyz"].detach().view(2, 60, 3))
    assert torch.equal(one.any(dim=0), other.any(dim=0)), "both halves or none"
    half = one.any(dim=1) | other.any(dim=1)
    assert half.sum() > 20
    scaling = trainer.model._scaling.detach()
    torch.testing.assert_close(scaling[half], halves["scaling"].detach()[:60][(one | other)[half].int().argmax(dim=1)])
    torch.testing.assert_close(opacity[half], torch.full_like(opacity[half], 0.48))
    spread = ~old & ~half
    assert spread.sum() >= 3
    torch.testing.assert_close(opacity[~half], torch.full_like(opacity[~half], 0.6))


def test_noise_moves_the_faint_and_spares_the_opaque():
    opacity = torch.full((60,), 0.9)
    opacity[:30] = 0.002
    trainer = make_trainer(opacity, mcmc_noise_lr=5e5, mcmc_until_iter=0)
    before = trainer.model.get_xyz.detach().clone()
    refine(trainer)
    moved = (trainer.model.get_xyz.detach() - before).norm(dim=1)
    assert moved[:30].min() > 0
    assert moved[30:].max() < 1e-6 * moved[:30].median()


def test_noise_has_the_shape_of_the_gaussian():
    trainer = make_trainer(torch.full((60,), 0.001), mcmc_noise_lr=1e4, mcmc_until_iter=0)
    everything = torch.ones(60, dtype=torch.bool)
    trainer.model.overwrite_rows("scaling", everything, torch.tensor([0.1, 1e-4, 1e-4]).log().expand(60, 3))
    before = trainer.model.get_xyz.detach().clone()
    refine(trainer)
    moved = (trainer.model.get_xyz.detach() - before).abs()
    assert moved[:, 1:].max() < 1e-4 * moved[:, 0].median()


def test_nothing_moves_outside_its_time():
    trainer = make_trainer(mcmc_from_iter=10, mcmc_until_iter=20)
    for step, expected in ((10, 60), (11, 63), (19, 67), (20, 67)):
        trainer.curr_step = step - 1
        refine(trainer)
        assert len(trainer.model) == expected


def test_regularisers_lower_opacity_and_scale():
    trainer = make_trainer(mcmc_opacity_reg=1.0, mcmc_scale_reg=1.0, lambda_dssim=0.0)
    camera = TinyDataset()[0]
    terms = dict(trainer.losses(trainer.model(camera), camera))
    assert terms["mcmc_opacity"].item() == pytest.approx(0.1, rel=1e-4)
    assert terms["mcmc_scale"].item() == pytest.approx(trainer.model.get_scaling.mean().item(), rel=1e-5)


def test_the_start_from_points_is_half_opaque():
    plain = tiny_model()
    trainer = BaseSHLiftMCMCTrainer(tiny_model(), TinyDataset())
    torch.testing.assert_close(trainer.model.get_opacity, torch.full((60, 1), 0.5))
    assert torch.equal(trainer.model.get_scaling, plain.get_scaling)
    given = BaseMCMCTrainer(tiny_model(), TinyDataset())
    assert torch.equal(given.model.get_opacity, plain.get_opacity)


def test_scales_at_the_start_are_multiplied_when_asked():
    trainer = make_trainer(mcmc_init_scale=0.1)
    torch.testing.assert_close(trainer.model.get_scaling, 0.1 * tiny_model().get_scaling)


def test_all_dead_gaussians_are_left_alone():
    trainer = make_trainer(torch.full((60,), 0.001))
    before = trainer.model.get_xyz.detach().clone()
    refine(trainer)
    assert torch.equal(trainer.model.get_xyz, before)


def test_two_densification_strategies_do_not_combine():
    with pytest.raises(TypeError, match="combines MCMC and BaseDensificationTrainer|combines MCMC and Densify"):
        compose(BaseDensificationTrainer, ["mcmc"])
    assert issubclass(compose(BaseTrainer, ["mcmc"]), MCMC)
