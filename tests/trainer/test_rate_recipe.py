"""Rates by the length of the run, and their decay."""

from __future__ import annotations

import pytest

from gaussian_splatting.trainer import BaseTrainer, RateRecipe, RateRecipeOptions
from gaussian_splatting.trainer.tiny_scene import tiny_model

PARTS = ("f_dc", "f_rest", "opacity", "scaling", "rotation")


class Recipe(RateRecipe):
    """Nothing but the rates."""


def rates(cls: type[BaseTrainer], step: int, **options) -> dict[str, float]:
    trainer = cls(tiny_model(), scene_extent=1.0, **options)
    return {name: schedule(step) for name, schedule in trainer.schedulers.items()}


def test_short_runs_have_higher_rates_and_the_reference_length_those_of_the_paper():
    factors = [RateRecipeOptions().by_length(steps) for steps in (300, 1_200, 2_000, 7_000, 30_000, 60_000)]
    assert factors[0] == 4
    assert factors[1] == pytest.approx(4, abs=0.02)
    assert factors[-2:] == [1, 1]
    assert factors == sorted(factors, reverse=True)


def test_the_factor_is_on_every_rate():
    plain, doubled = rates(BaseTrainer, 100), rates(Recipe, 100, rate_recipe_factor=2)
    assert doubled == pytest.approx({name: (4 if name == "f_rest" else 2) * rate for name, rate in plain.items()})
    alike = rates(Recipe, 100, rate_recipe_factor=2, rate_recipe_harmonics=1)
    assert alike == pytest.approx({name: 2 * rate for name, rate in plain.items()})


def test_all_but_the_position_fall_in_the_second_half():
    given = {"rate_recipe_factor": 1, "rate_recipe_decay_from_iter": 500, "run_length": 1_000}
    plain, half, end = rates(BaseTrainer, 1), rates(Recipe, 500, **given), rates(Recipe, 1_000, **given)
    for name in PARTS:
        assert half[name] == pytest.approx(plain[name])
        assert end[name] == pytest.approx(0.2 * plain[name])
    assert end["xyz"] == rates(BaseTrainer, 1_000)["xyz"]
