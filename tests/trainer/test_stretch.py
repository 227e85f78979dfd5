"""A run that changes its length on the way: moments and rates ahead move, what lies behind stays."""

from __future__ import annotations

import pytest

from gaussian_splatting.trainer import BaseFastTrainer
from gaussian_splatting.trainer.snapshot import capture, restore
from gaussian_splatting.trainer.stretch import expected_cost, stretch
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

OPTIONS = {
    "budget_from_iter": 10, "budget_until_iter": 60, "budget_interval": 5, "budget_target": 90,
    "position_lr_max_steps": 100, "run_length": 100, "rate_recipe_decay_from_iter": 50,
    "resolution_coarse_until_iter": 15, "resolution_half_until_iter": 80, "resolution_smallest_side": 6,
}  # fmt: skip


def make_trainer() -> BaseFastTrainer:
    return BaseFastTrainer(tiny_model(), TinyDataset(), **OPTIONS)


def test_moments_ahead_move_in_proportion_and_others_stay():
    trainer = make_trainer()
    stretch(trainer, 20, 100, 180)
    assert (trainer.budget.from_iter, trainer.budget.until_iter) == (10, 100)
    assert (trainer.resolution.coarse_until_iter, trainer.resolution.half_until_iter) == (15, 140)
    assert trainer.options["budget"] is trainer.budget
    assert trainer.budget.interval == 5


def test_rates_do_not_jump_and_end_where_they_did():
    trainer, plain = make_trainer(), make_trainer()
    stretch(trainer, 20, 100, 60)
    for name, rate in trainer.schedulers.items():
        assert rate(20) == plain.schedulers[name](20)
        assert rate(60) == pytest.approx(plain.schedulers[name](100))
        assert rate(40) == pytest.approx(plain.schedulers[name](60))


def test_a_second_change_starts_from_the_first():
    once, twice = make_trainer(), make_trainer()
    stretch(once, 20, 100, 140)
    stretch(twice, 20, 100, 180)
    stretch(twice, 20, 180, 140)
    for name, rate in twice.schedulers.items():
        assert rate(77) == pytest.approx(once.schedulers[name](77))
    assert twice.options == once.options


def test_what_the_user_named_stays():
    trainer = make_trainer()
    stretch(trainer, 20, 100, 180, explicit={"budget_until_iter"})
    assert trainer.budget.until_iter == 60


def test_the_same_changes_give_the_same_bits():
    """What a resumed run relies on."""
    first, second = make_trainer(), make_trainer()
    for _ in first.run(TinyDataset(), 20):
        pass
    stretch(first, 20, 100, 50)
    restore(second, capture(first))
    stretch(second, 20, 100, 50)
    for trainer in (first, second):
        for _ in trainer.run(TinyDataset(), 50):
            pass
    one, other = capture(first), capture(second)
    assert all(one[name].equal(other[name]) for name in one)
    assert len(first.model) == 90


def test_the_cost_of_steps_adds_up_and_follows_size_and_number():
    trainer = make_trainer()
    whole = expected_cost(trainer, 0, 100, 10_000)
    assert whole == pytest.approx(expected_cost(trainer, 0, 15, 10_000) + expected_cost(trainer, 15, 100, 10_000))
    assert expected_cost(trainer, 0, 10, 1_000_000) < expected_cost(trainer, 90, 100, 1_000_000)
    assert expected_cost(trainer, 50, 50, 10_000) == 0
