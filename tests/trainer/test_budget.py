"""Densification to a budget: the curve, who is split, what the children look like, and the bound that always holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from gaussian_splatting.dataset.split import even_choice
from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.options import flat_options
from gaussian_splatting.trainer import Budget, BudgetOptions, named, rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.budget_size import budget_of
from gaussian_splatting.trainer.conformance import QUICK
from gaussian_splatting.trainer.snapshot import capture, restore
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

QUICK_BUDGET = QUICK | {"budget_target": 30, "budget_start": 0.4}
SCHEDULE = {"budget_from_iter": 10, "budget_until_iter": 40, "budget_interval": 10}


class Budgeted(Budget):
    """Nothing but the budget."""


def make_trainer(**options) -> Budgeted:
    return Budgeted(tiny_model(), scene_extent=1.0, **(SCHEDULE | {"budget_target": 100} | options))


def show(trainer: Budgeted, gradient: torch.Tensor, step: int) -> None:
    """Pretend that one view gave these screen gradients, and refine."""
    trainer.seen.gradient.copy_(gradient)
    trainer.seen.views.fill_(1)
    trainer.curr_step = step
    trainer.refine()


def set_raw(trainer: Budgeted, name: str, value: torch.Tensor) -> None:
    trainer.model.overwrite_rows(name, torch.ones(len(trainer.model), dtype=torch.bool), value)


def test_the_number_follows_a_straight_line_to_the_budget():
    trainer, counts = make_trainer(), []
    for step in range(1, 51):
        show(trainer, torch.ones(len(trainer.model)), step)
        counts.append(len(trainer.model))
    assert [counts[step - 1] for step in (9, 10, 20, 30, 40, 50)] == [60, 70, 80, 90, 100, 100]


def test_a_parabola_grows_faster_at_first_and_ends_at_the_same_number():
    straight, curved = make_trainer(), make_trainer(budget_curve="parabolic")
    steps = range(10, 41, 10)
    assert all(curved.allowed(step) >= straight.allowed(step) for step in steps)
    assert curved.allowed(20) > straight.allowed(20)
    assert curved.allowed(40) == straight.allowed(40) == 100


def test_the_best_candidates_are_split_and_nothing_else_changes():
    trainer = make_trainer()
    before = trainer.model.get_xyz.detach().clone()
    show(trainer, torch.arange(60.0), 10)
    assert len(trainer.model) == 70
    assert torch.equal(trainer.model.get_xyz[:50], before[:50])


def test_children_lie_on_both_sides_along_the_longest_axis():
    trainer = make_trainer(budget_target=61)
    set_raw(trainer, "scaling", torch.tensor([0.01, 0.2, 0.02]).log().repeat(60, 1))
    parent = trainer.model.get_xyz[7].detach().clone()
    show(trainer, (torch.arange(60) == 7).float(), 40)
    first, second = trainer.model.get_xyz[-2:].detach()
    torch.testing.assert_close((first + second) / 2, parent)
    torch.testing.assert_close((first - second).abs(), torch.tensor([0.0, 0.28, 0.0]))
    torch.testing.assert_close(trainer.model.get_scaling[-1].detach(), torch.tensor([0.009, 0.11, 0.018]))
    torch.testing.assert_close(trainer.model.get_opacity[-1].detach(), torch.tensor([0.08]))


def test_the_faint_are_removed_and_make_room():
    trainer = make_trainer()
    opacity = torch.full((60, 1), 0.3)
    opacity[:5] = 0.004
    set_raw(trainer, "opacity", torch.logit(opacity))
    faint = trainer.model.get_xyz[:5].detach().clone()
    show(trainer, torch.ones(60), 10)
    assert len(trainer.model) == 70
    assert not (trainer.model.get_xyz[:, None] == faint).all(dim=-1).any()


def test_gaussians_that_no_view_moved_are_not_split():
    trainer = make_trainer()
    show(trainer, (torch.arange(60) < 3).float(), 10)
    assert len(trainer.model) == 63


def test_the_bound_holds_from_the_start_on():
    trainer = make_trainer(budget_upper_bound=40)
    assert len(trainer.model) == 40
    for step in range(1, 60):
        show(trainer, torch.ones(len(trainer.model)), step)
        assert len(trainer.model) <= 40


def test_a_cut_keeps_the_most_opaque():
    model = tiny_model()
    model.overwrite_rows(
        "opacity", torch.ones(60, dtype=torch.bool), torch.logit(torch.linspace(0.9, 0.1, 60))[:, None]
    )
    before = model.get_xyz[:40].detach().clone()
    trainer = Budgeted(model, scene_extent=1.0, **SCHEDULE, budget_target=40)
    assert torch.equal(trainer.model.get_xyz, before)


@pytest.mark.parametrize(
    ("cls", "limits"),
    [(named.FastTrainer, {"budget_target": 30}), (named.BaseMCMCTrainer, {"mcmc_cap_max": 30})],
)
def test_what_the_first_view_wants_less_of_is_not_what_a_cut_leaves_out(cls, limits):
    """After one step opacities are ordered by the signs of one view: a whole surface would be left out."""
    view, model = TinyDataset()[0], tiny_model()
    left = model(view)["means2d"][:, 0] < view.image_width / 2
    places, white = model.get_xyz.detach().clone(), torch.ones(60, 3)
    model = GaussianModel(2).create_from_pcd(places, white)
    dark_left = torch.ones(3, view.image_height, view.image_width)
    dark_left[..., : view.image_width // 2] = 0
    trainer = cls(model, TinyDataset(), **limits)
    trainer.step(view._replace(ground_truth_image=dark_left, ground_truth_image_mask=None))
    assert len(trainer.model) == 30
    kept = torch.cdist(trainer.model.get_xyz.detach(), places).argmin(1)
    assert 10 <= int(left.sum()) <= 50
    assert 0.5 < float(left[kept].float().mean() / left.float().mean()) < 1.5


def test_when_all_are_faint_the_run_ends_with_the_option_to_change():
    trainer = make_trainer(budget_opacity_threshold=0.5)
    with pytest.raises(
        TrainingError, match="all 60 Gaussians were to be pruned at step 10: .*budget_opacity_threshold"
    ):
        show(trainer, torch.ones(60), 10)


def test_statistics_start_again_after_a_refinement():
    trainer = make_trainer()
    show(trainer, torch.ones(60), 10)
    assert not trainer.seen.gradient.any()
    assert not trainer.seen.views.any()


def test_the_budget_follows_pixels_views_and_points():
    class Large(TinyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.cameras = [one._replace(image_width=640, image_height=480) for one in self.cameras] * 3

    pictures = 800 * (640 * 480 * 9) ** 0.2
    assert budget_of(Large(), 60, 800.0) == round(pictures)
    assert budget_of(Large(), 13_000, 800.0) == 16_250
    assert budget_of(Large(), 1_000_000, 800.0) == round(1.25 * pictures)
    assert budget_of(None, 60, 800.0) == 240


@pytest.mark.parametrize(("num_views", "num_looked_at"), [(1, 1), (64, 64), (65, 33), (127, 64), (128, 64), (300, 60)])
def test_no_more_than_64_views_are_looked_at(num_views: int, num_looked_at: int) -> None:
    looked_at: list[int] = []

    class Many(TinyDataset):
        def __len__(self) -> int:
            return num_views

        def geometry(self, index: int):
            looked_at.append(index)
            return super().geometry(index % len(self.cameras))

    budget_of(Many(), 60, 800.0)
    assert looked_at == list(even_choice(num_views, 64))
    assert len(looked_at) == num_looked_at


@pytest.mark.parametrize(("length", "times"), [(580, 1.0), (1_000, 1.0), (4_000, 2.0)])
def test_the_budget_grows_with_the_length_of_the_run(length, times):
    trainer = make_trainer(budget_target=None, run_length=length, budget_length_power=0.5, budget_density=100.0)
    usual = budget_of(trainer.dataset, 60, 100.0)
    assert trainer.seen.final_count == round(times * usual)
    asked = make_trainer(budget_target=77, run_length=length)
    assert asked.seen.final_count == 77


@pytest.mark.parametrize(("length", "power", "split"), [(1_000, 1.0, 12), (4_000, 1.0, 3), (4_000, 0.0, 12)])
def test_the_best_replace_those_that_contribute_least_and_fewer_of_them_in_long_runs(length, power, split):
    options = {"budget_target": 60, "budget_exchange": 0.2, "budget_exchange_power": power, "run_length": length}
    trainer = make_trainer(**options)
    faint = torch.arange(60) < 20
    set_raw(trainer, "opacity", torch.where(faint, 0.0, 2.0)[:, None])
    before = trainer.model.get_xyz.detach().clone()
    show(trainer, torch.arange(60.0), 40)
    left = (trainer.model.get_xyz.detach()[:, None] == before).all(2).any(0)
    assert len(trainer.model) == 60
    assert left.tolist() == [False] * split + [True] * (60 - 2 * split) + [False] * split


def test_the_curve_is_one_of_two():
    with pytest.raises(ValueError, match="budget_curve is 'steep'; expected linear or parabolic"):
        make_trainer(budget_curve="steep")
    assert BudgetOptions().curve == "linear"


def test_the_last_refinement_reaches_the_budget_whatever_the_interval():
    """Between 11 and 49, refinements every 10 steps happen at 20, 30 and 40."""
    trainer = make_trainer(budget_from_iter=11, budget_until_iter=49)
    start = trainer.seen.start_count
    steps = [trainer.allowed(step) for step in (10, 20, 30, 40)]
    assert (steps[0], steps[-1]) == (start, 100)
    growths = [after - before for before, after in pairwise(steps)]
    assert max(growths) - min(growths) <= 1


@pytest.mark.parametrize(("random", "number"), [(True, 20), (False, 40)])
def test_a_random_start_above_the_budget_is_cut_to_a_part_of_it_and_grows(random: bool, number: int):
    model = tiny_model()
    model.started_at_random = random
    trainer = Budgeted(model, scene_extent=1.0, **SCHEDULE, budget_target=40, budget_start=0.5)
    assert len(trainer.model) == number
    for step in (10, 20, 30, 40):
        show(trainer, torch.ones(len(trainer.model)), step)
    assert len(trainer.model) == 40


def test_a_run_whose_start_was_cut_goes_on_with_the_same_bits():
    def make() -> BaseTrainer:
        model = tiny_model()
        model.started_at_random = True
        known = flat_options(rules.option_groups(named.FastTrainer))
        options = {name: value for name, value in QUICK_BUDGET.items() if name in known}
        return named.FastTrainer(model, TinyDataset(), **options)

    whole, first, second = make(), make(), make()
    for _ in whole.run(TinyDataset(), 12):
        pass
    for _ in first.run(TinyDataset(), 5):
        pass
    assert len(second.model) == 12
    restore(second, capture(first))
    for _ in second.run(TinyDataset(), 12):
        pass
    found, expected = capture(second), capture(whole)
    assert len(whole.model) == 30
    assert all(torch.equal(found[name], expected[name]) for name in expected)
