"""Row E9: saved after every step and resumed, every named trainer ends with the same bits."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.io.checkpoint import read_checkpoint, write_checkpoint
from gaussian_splatting.options import flat_options
from gaussian_splatting.runs.resume import put_back
from gaussian_splatting.trainer import rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.conformance import QUICK
from gaussian_splatting.trainer.named import NAMED, BaseDensificationTrainer
from gaussian_splatting.trainer.snapshot import capture, restore
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 200
QUICK_STEPS = 40
AHEAD = 2
# Every schedule acts several times within the run, and the last moments lie inside it.
SCHEDULE: dict[str, Any] = QUICK | {
    "densify_interval": 7,
    "densify_until_iter": 150,
    "prune_interval": 5,
    "prune_until_iter": 170,
    "opacity_reset_interval": 40,
    "opacity_reset_until_iter": 130,
    "sh_degree_up_interval": 30,
    "position_lr_max_steps": 180,
    "mcmc_interval": 9,
    "mcmc_until_iter": 150,
}
TRAINERS = list(dict.fromkeys(NAMED.values()))
# A run of every step, saved at each, for the recipes that hold every feature; the rest for fewer steps.
LONG = {"DepthSHLiftOpacityResetDensificationCameraTrainer", "DepthSHLiftMCMCTrainer", "BaseScaleRegularizeTrainer"}


def make(cls: type[BaseTrainer]) -> BaseTrainer:
    known = flat_options(rules.option_groups(cls))
    options = {name: value for name, value in SCHEDULE.items() if name in known}
    if "prune_opacity_threshold" in known:  # a little below the opacity at the start, or after a reset
        options["prune_opacity_threshold"] = 0.008 if "opacity_reset_interval" in known else 0.08
    return cls(tiny_model(cls), tiny_dataset(cls), **options)


def made_or_skipped(cls: type[BaseTrainer]) -> BaseTrainer:
    try:
        return make(cls)
    except TrainingError as error:
        pytest.skip(str(error))


def go_on(trainer: BaseTrainer, until: int) -> dict[str, Tensor]:
    assert trainer.dataset is not None
    for _ in trainer.run(trainer.dataset, until):
        pass
    return capture(trainer)


def first_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    if one.keys() != other.keys():
        return f"other tensors: {sorted(one.keys() ^ other.keys())}"
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            return name
    return None


def states_of(trainer: BaseTrainer, steps: int) -> list[dict[str, Tensor]]:
    """The run itself: what is captured after each of its steps, from step 0."""
    assert trainer.dataset is not None
    return [capture(trainer), *(capture(trainer) for _ in trainer.run(trainer.dataset, steps))]


@pytest.mark.parametrize("cls", TRAINERS, ids=lambda cls: cls.__name__)
def test_a_run_resumed_after_any_step_goes_on_with_the_same_bits(cls: type[BaseTrainer]):
    resume_after_every_step(cls, STEPS if cls.__name__ in LONG else QUICK_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("cls", TRAINERS, ids=lambda cls: cls.__name__)
def test_every_trainer_resumed_after_each_of_200_steps(cls: type[BaseTrainer]):
    resume_after_every_step(cls, STEPS)


def resume_after_every_step(cls: type[BaseTrainer], steps: int) -> None:
    """Each step is resumed in a new trainer and followed for two steps; equal bits there give equal bits at the end."""
    states = states_of(made_or_skipped(cls), steps)
    for step in range(steps):
        resumed = make(cls)
        restore(resumed, states[step])
        until = min(step + AHEAD, steps)
        difference = first_difference(go_on(resumed, until), states[until])
        assert difference is None, f"resumed after step {step}, step {until} differs in {difference}"


@pytest.mark.parametrize("cls", TRAINERS, ids=lambda cls: cls.__name__)
def test_a_run_resumed_from_files_again_and_again_ends_with_the_same_bits(cls: type[BaseTrainer], tmp_path: Path):
    expected = go_on(made_or_skipped(cls), QUICK_STEPS)
    trainer = make(cls)
    for step in (1, 7, 8, 21, 35):
        write_checkpoint(tmp_path / str(step), go_on(trainer, step), {"step": step})
        trainer = make(cls)
        put_back(trainer, read_checkpoint(tmp_path / str(step)))
    assert first_difference(go_on(trainer, QUICK_STEPS), expected) is None


def test_the_run_holds_every_kind_of_step():
    """The test above proves nothing about growth, pruning and resets unless they happen."""
    counts = [len(state["parameter.xyz"]) for state in states_of(make(NAMED["BaseDensificationTrainer"]), QUICK_STEPS)]
    assert any(after > before for before, after in itertools.pairwise(counts))
    assert any(after < before for before, after in itertools.pairwise(counts))


class Forgetful(BaseDensificationTrainer):
    """Remembers something outside its State."""

    def after_step(self) -> None:
        super().after_step()
        self.count = getattr(self, "count", 0) + 1
        if self.count % 5 == 0:
            self.model._xyz.data += 1e-3


def test_a_trainer_that_forgets_fails_the_same_test():
    """The control."""
    states = states_of(make(Forgetful), 12)
    different = 0
    for step in range(1, 10):
        resumed = make(Forgetful)
        restore(resumed, states[step])
        different += first_difference(go_on(resumed, step + AHEAD), states[step + AHEAD]) is not None
    assert different > 0
