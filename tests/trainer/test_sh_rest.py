"""Infrequent updates of the harmonics: their steps, and that the gradient is the mean of those between."""

from __future__ import annotations

import itertools

import pytest
import torch

from gaussian_splatting.trainer import BaseTrainer, ShRest
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class Seldom(ShRest):
    """Nothing but seldom updates."""


def run(trainer: BaseTrainer, steps: int) -> list[torch.Tensor]:
    """The harmonics after every step."""
    return [trainer.model._features_rest.detach().clone() for _ in trainer.run(TinyDataset(), steps)]


def test_the_harmonics_change_at_their_steps_only():
    states = run(Seldom(tiny_model(), TinyDataset(), sh_rest_interval=3), 7)
    changed = [bool((after != before).any()) for before, after in itertools.pairwise(states)]
    assert changed == [False, True, False, False, True, False]
    assert not states[0].any()


def test_the_gradient_is_the_mean_of_those_between():
    trainer = Seldom(tiny_model(), TinyDataset(), sh_rest_interval=2)
    given = [torch.full_like(trainer.model._features_rest, value) for value in (1.0, 4.0)]
    for trainer.curr_step, gradient in enumerate(given, 1):
        trainer.model._features_rest.grad = gradient.clone()
        trainer.after_backward({}, TinyDataset()[0])
    kept = trainer.model._features_rest.grad
    assert kept is not None
    torch.testing.assert_close(kept, torch.full_like(kept, 2.5))
    assert not trainer.gathered.total.any()


def test_every_step_is_what_the_plain_trainer_does():
    plain, every = BaseTrainer(tiny_model(), TinyDataset()), Seldom(tiny_model(), TinyDataset(), sh_rest_interval=1)
    assert torch.equal(run(plain, 4)[-1], run(every, 4)[-1])


def test_they_begin_when_asked_to():
    states = run(Seldom(tiny_model(), TinyDataset(), sh_rest_interval=1, sh_rest_from_iter=4), 5)
    assert [bool(state.any()) for state in states] == [False, False, False, True, True]


def test_an_interval_of_zero_is_refused():
    with pytest.raises(ValueError, match="sh_rest_interval is 0"):
        Seldom(tiny_model(), TinyDataset(), sh_rest_interval=0)
