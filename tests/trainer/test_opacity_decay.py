"""Opacity decay: how much, when, and that moments stay."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.trainer import BaseTrainer, OpacityDecay, compose
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class Decaying(OpacityDecay):
    """Nothing but the decay."""


def make_trainer(**options) -> Decaying:
    given = {"opacity_decay_from_iter": 2, "opacity_decay_until_iter": 8, "opacity_decay_interval": 2}
    return Decaying(tiny_model(), TinyDataset(), **(given | options))


def test_opacities_fall_by_the_factor_at_their_steps():
    trainer, found = make_trainer(opacity_decay_factor=0.5), []
    for trainer.curr_step in range(1, 10):
        trainer.after_step()
        found.append(trainer.model.get_opacity[0].item())
    expected = [0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125, 0.0125, 0.0125]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_moments_are_kept():
    trainer = make_trainer(opacity_decay_until_iter=3)
    for _ in trainer.run(TinyDataset(), 2):
        pass
    assert capture(trainer)["moment.opacity.exp_avg"].abs().max() > 0


def test_a_faint_gaussian_stays_finite():
    trainer = make_trainer(opacity_decay_factor=0.001)
    trainer.curr_step = 2
    for _ in range(10):
        trainer.after_step()
    assert torch.isfinite(trainer.model._opacity).all()


def test_decay_and_reset_do_not_combine():
    with pytest.raises(TypeError, match="each is a whole opacity reset; keep one"):
        compose(BaseTrainer, ["opacity_decay", "opacity_reset"])
