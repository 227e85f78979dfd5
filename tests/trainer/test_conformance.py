"""Every named trainer keeps its promises, and a trainer that breaks one is found out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from gaussian_splatting.trainer import (
    FEATURES,
    BaseTrainer,
    Depth,
    SHLift,
    check_trainer,
    compose,
)
from gaussian_splatting.trainer.named import NAMED
from gaussian_splatting.trainer.state import State, per_gaussian

CHECKS = [
    "options", "unknown_option", "hooks", "arguments_unchanged", "global_randomness", "declared_state",
    "state_follows_rows", "order", "resume",
]  # fmt: skip
DISTINCT = {cls.__name__: cls for cls in NAMED.values()}


@pytest.mark.parametrize("name", sorted(DISTINCT))
def test_a_named_trainer_keeps_its_promises(name):
    assert check_trainer(DISTINCT[name]) == CHECKS


STRATEGIES = {"budget", "densify", "mcmc"}
SURFELS = {"distortion", "normals"}


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_everything_that_combines_keeps_its_promises(strategy):
    chosen = set(FEATURES) - STRATEGIES - {"absolute_gradients", "opacity_decay"} | {strategy}
    assert check_trainer(compose(BaseTrainer, sorted(chosen))) == CHECKS


def test_everything_that_combines_with_absolute_gradients_keeps_its_promises():
    chosen = set(FEATURES) - SURFELS - {"densify", "mcmc", "opacity_reset"}
    assert check_trainer(compose(BaseTrainer, sorted(chosen))) == CHECKS


def broken(message: str, cls: type[BaseTrainer]) -> None:
    with pytest.raises(AssertionError, match=message):
        check_trainer(cls)


def test_a_hook_that_calls_super_twice_is_found():
    class Twice(SHLift):
        def after_step(self):
            super().after_step()
            super().after_step()

    broken(r"BaseTrainer\.after_step\(\) ran 24 times instead of 12", Twice)


def test_a_hook_that_calls_super_now_and_then_is_found():
    class Sometimes(BaseTrainer):
        def refine(self):
            if self.curr_step % 2:
                super().refine()

    broken(r"BaseTrainer\.refine\(\) ran 6 times instead of 12", Sometimes)


def test_a_change_of_n_elsewhere_is_found():
    class Early(BaseTrainer):
        def after_step(self):
            super().after_step()
            self.model.update_points_remove(torch.arange(len(self.model)) == 0)

    broken(r"Early\.after_step\(\) changes the number of Gaussians; only refine\(\) may", Early)


def test_a_change_of_the_camera_is_found():
    class Painter(BaseTrainer):
        def preprocess(self, camera):
            camera.ground_truth_image[:, 0] = 0
            return super().preprocess(camera)

    broken("changes camera ground_truth_image in place; work on a copy", Painter)


def test_a_change_of_the_render_is_found():
    class Painter(BaseTrainer):
        def losses(self, out, camera):
            yield from super().losses(out, camera)
            out["depth"].data[:] = 0

    broken("changes out depth in place; work on a copy", Painter)


@pytest.mark.parametrize(
    ("draw", "whose"),
    [
        (lambda: torch.rand(1), "torch's"),
        (random.random, "Python's"),
        (lambda: np.random.rand(), "numpy's"),
    ],
)
def test_global_randomness_is_found(draw, whose):
    class Gambler(BaseTrainer):
        def after_step(self):
            super().after_step()
            draw()

    broken(f"draws from {whose} global generator", Gambler)


def test_a_tensor_outside_of_state_is_found():
    class Hoarder(BaseTrainer):
        def after_backward(self, out, camera):
            super().after_backward(out, camera)
            self.last = out["render"].detach()

    broken(r"keeps a tensor in self\.last; declare it in a State", Hoarder)


def test_state_that_does_not_follow_its_gaussians_is_found():
    @dataclass
    class Counts(State):
        seen: Tensor = per_gaussian()

        def prepare_rows(self, parents, fresh):
            self.seen = torch.arange(len(parents), dtype=torch.float32)
            return lambda parameters: None

    class Counting(BaseTrainer):
        counts = Counts()

        def after_backward(self, out, camera):
            super().after_backward(out, camera)
            self.counts.seen += torch.arange(len(self.model))

    broken(r"counts\.seen does not follow its Gaussians", Counting)


def test_what_is_remembered_outside_of_state_is_found():
    class Forgetful(BaseTrainer):
        def setup(self):
            super().setup()
            self.count = 0

        def losses(self, out, camera):
            self.count += 1
            for name, value in super().losses(out, camera):
                yield name, value * self.count

    broken("a run resumed at step 1 differs; declare what it remembers as State", Forgetful)


def test_a_number_remembered_in_state_passes():
    @dataclass
    class Memory(State):
        count: int = 0
        mean: Tensor = field(default_factory=lambda: torch.zeros(3))

    class Mindful(BaseTrainer):
        memory = Memory()

        def losses(self, out, camera):
            self.memory.count += 1
            self.memory.mean = 0.9 * self.memory.mean + 0.1 * out["render"].detach().mean(dim=(1, 2))
            for name, value in super().losses(out, camera):
                yield name, value * (self.memory.count + self.memory.mean.sum())

    assert check_trainer(Mindful) == CHECKS


def test_an_order_that_matters_is_found():
    class Doubling(BaseTrainer):
        @torch.no_grad()
        def after_step(self):
            super().after_step()
            self.model._opacity.data *= 1.5

    class Adding(BaseTrainer):
        @torch.no_grad()
        def after_step(self):
            super().after_step()
            self.model._opacity.data += 0.5

    broken("the order of (Doubling, Adding|Adding, Doubling) matters", type("Both", (Doubling, Adding), {}))


def test_an_option_that_text_cannot_spell_is_found():
    from gaussian_splatting.options import Options, option

    @dataclass(frozen=True, kw_only=True)
    class Odd(Options):
        label: str = option("'quoted'", "a text that loses its quotes")

    class Labelled(Depth):
        odd = Odd()

    broken("odd_label='quoted' is read back from text as quoted", Labelled)
