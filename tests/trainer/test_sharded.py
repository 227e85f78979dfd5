"""Gaussians shared out over processes: the same values as when each holds all, from 1/P of what is stored."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from test_workers import make, train
from torch import Tensor
from world import World

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer import named
from gaussian_splatting.trainer.absolute_gradients import AbsoluteGradients
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.exchange import Together
from gaussian_splatting.trainer.opacity_decay import OpacityDecay
from gaussian_splatting.trainer.sh_rest import ShRest
from gaussian_splatting.trainer.sharded import Sharded
from gaussian_splatting.trainer.snapshot import capture, live, restore, row_names
from gaussian_splatting.trainer.workers import ALONE, Alone

STEPS = 12


class ThinningTrainer(ShRest, OpacityDecay, AbsoluteGradients, named.BaseDensificationTrainer):
    """Features that act on rows in ways of their own."""


RECIPES = [
    named.DepthSHLiftOpacityResetDensificationTrainer,
    named.FastTrainer,
    named.SHLiftOpacityResetDensificationCameraTrainer,
    ThinningTrainer,
    named.NormalSHLiftOpacityResetDensificationTrainer,
]


def snapshot(cls: type[BaseTrainer], steps: int = STEPS, **options: Any) -> Any:
    def work(workers: Alone) -> dict[str, Tensor]:
        return capture(train(make(cls, workers, **options), steps))

    return work


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name, value in found.items() if not torch.equal(value, expected[name])]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("cls", RECIPES, ids=lambda cls: cls.__name__)
def test_shards_and_whole_models_come_to_the_same_bits(cls, size):
    expected = World(size).run(snapshot(cls))[0]
    found = World(size).run(snapshot(cls), Sharded)
    assert not [one for one in found if isinstance(one, Exception)], found
    assert len(found[0]["parameter.xyz"]) not in (60, 0), "the number of Gaussians must change on the way"
    assert differences(found[0], expected) == []


@pytest.mark.parametrize("copies", ["split", "spread", "stack"])
def test_mcmc_comes_to_the_same_bits_but_for_means_over_all(copies):
    plain = {"mcmc_opacity_reg": 0.0, "mcmc_scale_reg": 0.0, "mcmc_copies": copies}
    cls = named.BaseSHLiftMCMCTrainer
    expected = World(2).run(snapshot(cls, **plain))[0]
    assert differences(World(2).run(snapshot(cls, **plain), Sharded)[0], expected) == []


STRONG_MCMC = {"mcmc_opacity_reg": 0.5, "mcmc_scale_reg": 0.5}
STRONG_SCALE = {"scale_reg_weight": 5.0, "scale_reg_from_iter": 1, "scale_reg_thr_scale": 0.02}


@pytest.mark.parametrize(
    ("cls", "strong"),
    [(named.BaseSHLiftMCMCTrainer, STRONG_MCMC), (named.BaseScaleRegularizeTrainer, STRONG_SCALE)],
)
def test_means_over_all_gaussians_are_those_of_one_process_but_for_rounding(cls, strong):
    expected, found = (World(3).run(snapshot(cls, 1, **strong), kind)[0] for kind in (Together, Sharded))
    for name in ("xyz", "opacity", "scaling"):
        gradient, other = (run[f"moment.{name}.exp_avg"] for run in (expected, found))
        assert gradient.abs().max() > 1e-5
        torch.testing.assert_close(other, gradient, rtol=1e-5, atol=1e-9)
    weak = strong | {name: 1e-9 for name in strong if name.endswith(("_reg", "_weight"))}
    plain = World(3).run(snapshot(cls, 1, **weak), Sharded)[0]["moment.scaling.exp_avg"]
    assert not torch.allclose(plain, found["moment.scaling.exp_avg"], rtol=0.1, atol=1e-5), "the term must matter"


def test_mcmc_adds_as_many_with_its_means():
    found = World(3).run(snapshot(named.BaseSHLiftMCMCTrainer, 4, **STRONG_MCMC), Sharded)
    assert len(found[0]["parameter.xyz"]) == 61


@pytest.mark.parametrize("score", ["error", "product"])
def test_scores_from_pictures_come_to_the_same_bits(score):
    cls = named.BaseFastTrainer
    expected, found = (World(2).run(snapshot(cls, budget_score=score), kind)[0] for kind in (Together, Sharded))
    assert differences(found, expected) == []


def stored(trainer: BaseTrainer) -> int:
    """Bytes of parameters, moments and statistics."""
    rows = [value for name, value in live(trainer).items() if name in row_names(trainer)]
    return sum(value.untyped_storage().nbytes() for value in rows)


def test_a_process_stores_its_part_only():
    def work(workers: Together) -> tuple[int, int]:
        trainer = train(make(named.BaseDensificationTrainer, workers), 3)
        return len(trainer.model), stored(trainer)

    (num, everything), _ = World(2).run(work)
    parts = World(3).run(work, Sharded)
    assert num == sum(rows for rows, _ in parts) == 60
    assert [size for _, size in parts] == [everything // 3] * 3


def test_new_gaussians_stay_with_their_parents_and_the_numbers_stay_close():
    def work(workers: Sharded) -> list[int]:
        train(make(named.BaseFastTrainer, workers, budget_target=240, budget_upper_bound=240), 12)
        return workers.shards.counts

    first, second, third = World(3).run(work, Sharded)
    assert first == second == third
    assert sum(first) > 200
    assert max(first) < 1.5 * min(first)


def test_a_checkpoint_does_not_depend_on_who_held_what():
    cls = named.FastTrainer

    def begin(workers: Alone) -> dict[str, Tensor]:
        return capture(train(make(cls, workers), 7))

    def end(tensors: dict[str, Tensor]) -> Any:
        def work(workers: Alone) -> dict[str, Tensor]:
            trainer = make(cls, workers)
            restore(trainer, tensors)
            return capture(train(trainer, STEPS))

        return work

    middle, last = World(2).run(begin)[0], World(2).run(snapshot(cls))[0]
    assert differences(World(2).run(begin, Sharded)[0], middle) == []
    assert differences(World(2).run(end(middle), Sharded)[0], last) == []
    assert differences(World(2).run(end(middle))[0], last) == []
    alone, by_three = end(middle)(ALONE), World(3).run(end(middle), Sharded)[0]
    assert differences(by_three, World(3).run(end(middle))[0]) == []
    assert alone["step"] == by_three["step"] == STEPS
    assert len(alone["parameter.xyz"]) == len(by_three["parameter.xyz"])


# What is refused


class Strange(BaseTrainer):
    """Acts on rows and says nothing of shards."""

    def after_step(self) -> None:
        super().after_step()


def test_a_feature_that_does_not_know_of_shards_is_named():
    for error in World(2).run(lambda workers: make(Strange, workers), Sharded):
        assert isinstance(error, TrainingError)
        assert str(error).startswith("--shard: Strange cannot train with the Gaussians shared out over processes.")


class Cuts(BaseTrainer):
    """Removes a row of its own."""

    shardable = True

    def refine(self) -> None:
        super().refine()
        kept = torch.arange(1, len(self.model))
        self.model.change_rows(kept, torch.zeros_like(kept, dtype=torch.bool))


def test_rows_that_are_changed_behind_the_back_of_the_others_are_told():
    for error in World(2).run(lambda workers: train(make(Cuts, workers), 3), Sharded):
        assert "of 2 has 29 Gaussians; 30 are known of; in a sharded run a feature changes their number by" in str(
            error
        )


class Keeps(BaseTrainer):
    """Leaves one Gaussian."""

    shardable = True

    def refine(self) -> None:
        super().refine()
        self.workers.change_rows(self.model, torch.tensor([3]), torch.tensor([False]))


def test_a_process_without_gaussians_is_told():
    for error in World(2).run(lambda workers: train(make(Keeps, workers), 3), Sharded):
        assert str(error).startswith("process 0 of 2 holds none of the 1 Gaussians that are left; train with fewer")


class Poisoned(BaseTrainer):
    """Has a loss that is not finite, or one that is with a gradient that is not, in the second process."""

    shardable = True
    how = "nan"

    def losses(self, out: dict[str, Any], camera: Any) -> Any:
        yield from super().losses(out, camera)
        if self.curr_step == 3 and self.workers.rank == 1:
            yield "poison", {"nan": out["alpha"].sum() * torch.nan, "root": (out["alpha"] * 0).sum().sqrt()}[self.how]


@pytest.mark.parametrize(
    ("how", "what"), [("nan", "the loss term 'poison' is nan"), ("root", "the gradient of 'xyz' is nan at index")]
)
def test_a_poisoned_gradient_is_told_with_its_view_before_it_spreads(how, what):
    trainers: dict[int, BaseTrainer] = {}

    def work(workers: Sharded) -> None:
        trainers[workers.rank] = make(Poisoned, workers)
        trainers[workers.rank].how = how
        train(trainers[workers.rank], 9)

    first, second = World(2).run(work, Sharded)
    assert re.match(rf"step 3, view 'tiny_\d': {what}", str(second)), str(second)
    assert str(first).startswith("process 1 of 2: step 3, view 'tiny_")
    assert [trainer.changing for trainer in trainers.values()] == [False] * 2


class Strays(named.BaseDensificationTrainer):
    """Has another table of shards in one process."""

    shardable = True

    def after_step(self) -> None:
        super().after_step()
        if self.curr_step == 50 and self.workers.rank == 1:
            self.workers.shards.owner[5] += 1


def test_tables_that_come_apart_are_told():
    still = {"densify_until_iter": 1, "prune_until_iter": 1}
    errors = World(2).run(lambda workers: train(make(Strays, workers, **still), 120), Sharded)
    for error in errors:
        assert "step 100: process 1 of 2 does not hold what process 0 does: table of shards" in str(error)
