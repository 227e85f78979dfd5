"""Several processes that train one model: what a step exchanges, and that all end with the same bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from world import World

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.options import flat_options
from gaussian_splatting.trainer import named, rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.channel import PeerError
from gaussian_splatting.trainer.conformance import QUICK
from gaussian_splatting.trainer.digests import digest
from gaussian_splatting.trainer.exchange import Together
from gaussian_splatting.trainer.randomness import view_of_step
from gaussian_splatting.trainer.sh_rest import ShRest
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model
from gaussian_splatting.trainer.workers import ALONE, Alone, join


def make(cls: type[BaseTrainer], workers: Alone = ALONE, backend: str = "auto", **options: Any) -> BaseTrainer:
    known = flat_options(rules.option_groups(cls))
    quick = {name: value for name, value in QUICK.items() if name in known}
    model = tiny_model(cls)
    model.backend = backend if backend != "auto" else model.backend
    trainer = cls(model, tiny_dataset(cls), **{**quick, **options})
    join(trainer, workers)
    return trainer


def train(trainer: BaseTrainer, steps: int) -> BaseTrainer:
    assert trainer.dataset is not None
    for _ in trainer.run(trainer.dataset, steps):
        pass
    return trainer


class Kept(BaseTrainer):
    """Keeps the gradients that the optimiser gets."""

    def refine(self) -> None:
        super().refine()

    def setup(self) -> None:
        super().setup()
        self.gradients: dict[str, Tensor] = {}
        update = self.optimizer.step

        def step() -> None:
            for group in self.optimizer.param_groups:
                self.gradients[group["name"]] = group["params"][0].grad.clone()
            update()

        self.optimizer.step = step  # type: ignore[method-assign]


def gradients_of_view(cls: type[BaseTrainer], number: int) -> dict[str, Tensor]:
    trainer = make(cls)
    trainer.step(trainer.dataset[view_of_step(0, number, 3)])
    return trainer.gradients


def test_sparse_gradients_are_for_one_process():
    trainer = make(BaseTrainer)
    trainer.model.sparse_grad = True
    join(trainer, ALONE)
    errors = World(2).run(lambda workers: join(trainer, workers))
    assert all("--sparse_grad is for one process, and these are 2" in str(error) for error in errors)


@pytest.mark.parametrize("size", [2, 3])
def test_the_gradient_of_a_step_is_the_mean_over_its_views(size):
    trainers = World(size).run(lambda workers: train(make(Kept, workers), 1))
    alone = [gradients_of_view(Kept, number + 1) for number in range(size)]
    for name, found in trainers[0].gradients.items():
        expected = torch.stack([gradients[name] for gradients in alone]).double().mean(dim=0)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-9)
        assert all(torch.equal(found, trainer.gradients[name]) for trainer in trainers)


def test_the_loss_of_a_step_is_the_mean_over_its_views():
    def losses(workers: Together) -> list[float]:
        trainer = make(BaseTrainer, workers)
        return [float(loss) for loss, _ in trainer.run(trainer.dataset, 2)]

    first, second = World(2).run(losses)
    assert first == second
    views = [float(make(BaseTrainer).step(tiny_dataset()[view_of_step(0, number, 3)])[0]) for number in (1, 2)]
    assert first[0] == pytest.approx(sum(views) / 2, rel=1e-6)


class KeptCamera(Kept, named.BaseCameraTrainer):
    """Trains cameras, and keeps the gradients."""


def test_a_view_keeps_the_gradient_of_its_own_parameters():
    first, _ = World(2).run(lambda workers: train(make(KeptCamera, workers), 1))
    for number in (1, 2):
        alone, row = gradients_of_view(KeptCamera, number), view_of_step(0, number, 3)
        for name in ("quaternions", "Ts", "exposures"):
            assert alone[name][row].abs().sum() > 0
            torch.testing.assert_close(first.gradients[name][row], alone[name][row], rtol=1e-6, atol=0)


def test_statistics_are_those_of_all_views():
    cls = named.BaseDensificationTrainer
    first, second = World(2).run(lambda workers: train(make(cls, workers), 1))
    alone = []
    for number in (1, 2):
        trainer = make(cls)
        trainer.step(trainer.dataset[view_of_step(0, number, 3)])
        alone.append(trainer.screen)
    for trainer in (first, second):
        assert torch.equal(trainer.screen.gradient, alone[0].gradient + alone[1].gradient)
        assert torch.equal(trainer.screen.views, alone[0].views + alone[1].views)
        assert torch.equal(trainer.screen.radius, torch.maximum(alone[0].radius, alone[1].radius))
        assert trainer.screen.views.max() == 2


class GatheringTrainer(ShRest, named.BaseDensificationTrainer):
    """Gathers the gradients of the harmonics, and statistics of every view."""


def test_gradients_are_gathered_once_in_a_step():
    first, _ = World(2).run(lambda workers: train(make(GatheringTrainer, workers), 1))
    alone = []
    for number in (1, 2):
        trainer = make(GatheringTrainer)
        trainer.step(trainer.dataset[view_of_step(0, number, 3)])
        alone.append(trainer.gathered.total)
    torch.testing.assert_close(first.gathered.total, (alone[0] + alone[1]) / 2)


RECIPES = [
    named.BaseSHLiftOpacityResetDensificationTrainer,
    named.BaseSHLiftMCMCTrainer,
    named.SHLiftOpacityResetDensificationCameraTrainer,
    named.BaseFastTrainer,
]


@pytest.mark.parametrize("cls", RECIPES, ids=lambda cls: cls.__name__)
def test_all_end_with_the_same_bits_whatever_is_trained(cls):
    def work(workers: Together) -> dict[str, Tensor]:
        trainer = make(cls, workers)
        start = len(trainer.model)
        found = capture(train(trainer, 12))
        assert len(trainer.model) != start, "the number of Gaussians must change on the way"
        return found

    runs = [World(2).run(work), World(2).run(work)]
    for found in (*runs[0], *runs[1]):
        assert not isinstance(found, Exception), found
        assert found.keys() == runs[0][0].keys()
        assert [name for name, value in found.items() if not torch.equal(value, runs[0][0][name])] == []


def test_every_view_is_seen_once_in_an_epoch():
    def seen(workers: Together) -> list[str]:
        trainer = make(BaseTrainer, workers)
        return [out["camera"].custom_data["name"] for _, out in trainer.run(trainer.dataset, 6)]

    first, second = World(2).run(seen)
    order = [name for pair in zip(first, second, strict=True) for name in pair]
    for epoch in range(4):
        assert sorted(order[3 * epoch : 3 * epoch + 3]) == ["tiny_0", "tiny_1", "tiny_2"]


def test_rates_and_betas_follow_the_number_of_views_but_for_what_belongs_to_views():
    cls = named.BaseCameraTrainer
    alone = make(cls)
    (together, *_) = World(4).run(lambda workers: make(cls, workers))
    for before, after in zip(alone.optimizer.param_groups, together.optimizer.param_groups, strict=True):
        name, own_rows = before["name"], before.get("per_row", False)
        factor = 1 if own_rows else 2
        assert together.schedules[name](5) == pytest.approx(factor * alone.schedules[name](5))
        assert after["betas"] == ((0.9, 0.999) if own_rows else (0.9**4, 0.999**4))


class Strays(named.BaseDensificationTrainer):
    """Draws from a generator that is not the trainer's."""

    def after_step(self) -> None:
        super().after_step()
        if self.curr_step == 60:
            self.model._opacity.data[2] += float(self.workers.rank)


def test_processes_that_come_apart_are_told_which_value_differs():
    errors = World(3).run(lambda workers: train(make(Strays, workers), 120))
    for error in errors:
        assert isinstance(error, TrainingError)
        assert "step 100: process 1 of 3 does not hold what process 0 does: parameter " in str(error)


class Grows(BaseTrainer):
    """Removes a Gaussian in one process only."""

    def refine(self) -> None:
        super().refine()
        if self.curr_step == 2 and self.workers.rank == 1:
            kept = torch.arange(1, len(self.model))
            self.model.change_rows(kept, torch.zeros_like(kept, dtype=torch.bool))


def test_another_number_of_gaussians_is_told_at_once():
    errors = World(2).run(lambda workers: train(make(Grows, workers), 9))
    assert [str(error) for error in errors] == [
        "step 3: process 1 of 2 has 59 Gaussians, process 0 has 60; what changes their number must come out the same "
        "everywhere"
    ] * 2


class Fails(BaseTrainer):
    """Fails in one process."""

    def preprocess(self, camera: Any) -> Any:
        if self.curr_step == 3 and self.workers.rank == 1:
            raise TrainingError("step 3: enough")
        return super().preprocess(camera)


def test_the_failure_of_one_is_told_to_all_before_anything_changes():
    trainers: dict[int, BaseTrainer] = {}

    def work(workers: Together) -> None:
        trainers[workers.rank] = make(Fails, workers)
        train(trainers[workers.rank], 9)

    first, second, third = World(3).run(work)
    assert str(second) == "step 3: enough"
    for error in (first, third):
        assert isinstance(error, PeerError)
        assert str(error) == "process 1 of 3: step 3: enough"
    assert [trainer.changing for trainer in trainers.values()] == [False] * 3


def test_processes_at_different_places_are_told():
    def work(workers: Together) -> None:
        workers.peers.check_in("the end" if workers.rank else "step 7")

    first, second = World(2).run(work)
    assert "process 1 of 2 is at 'the end' while process 0 is at 'step 7'" in str(first)
    assert "process 0 of 2 is at 'step 7' while process 1 is at 'the end'" in str(second)


def test_a_step_outside_of_run_is_refused():
    def work(workers: Together) -> None:
        trainer = make(BaseTrainer, workers)
        trainer.step(trainer.dataset[0])

    assert all("trainer.run(cameras, steps) only" in str(error) for error in World(2).run(work))


class Looks(BaseTrainer):
    """Looks at the picture after backward."""

    def after_backward(self, out: dict[str, Any], camera: Any) -> None:
        super().after_backward(out, camera)
        out["render"]


def test_what_is_not_exchanged_is_named():
    (error, _) = World(2).run(lambda workers: train(make(Looks, workers), 1))
    assert "out['render'] is not there in after_backward() when several processes train" in str(error)


def test_decisions_tensors_and_signals_are_those_of_the_first():
    def work(workers: Together) -> tuple[Any, ...]:
        trainer = make(BaseTrainer, workers)
        workers.wish = lambda: 15 if workers.rank == 1 else None
        train(trainer, 1)
        decided = workers.first(lambda: {"length": 7 + workers.rank})
        return decided, workers.same(torch.full((2,), float(workers.rank))).tolist(), workers.agreed(None)

    assert World(2).run(work) == [({"length": 7}, [0.0, 0.0], 15)] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.bool, torch.uint8, torch.float64])
def test_a_digest_tells_values_and_places(dtype):
    values = torch.tensor([0, 1, 1, 0, 1]).to(dtype)
    swapped = values[[1, 0, 2, 3, 4]]
    changed = torch.tensor([0, 1, 0, 0, 1]).to(dtype)
    assert torch.equal(digest(values), digest(values.clone()))
    assert not torch.equal(digest(values), digest(swapped))
    assert not torch.equal(digest(values), digest(changed))


def test_a_digest_does_not_depend_on_chunks(monkeypatch):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    whole = digest(values)
    monkeypatch.setattr("gaussian_splatting.trainer.digests.DIGEST_CHUNK", 64)
    assert torch.equal(digest(values), whole)
