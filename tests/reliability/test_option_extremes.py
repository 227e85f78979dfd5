"""Row F7: every numeric option at its extremes is refused with its name and range, or trains to finite values."""

from __future__ import annotations

import itertools
import math
import re
import typing
from typing import Any

import pytest
import torch
from toy import QUICK, ToyDataset, toy_model

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.options import FlatOption, flat_options
from gaussian_splatting.trainer import checks, rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.conformance import QUICK as TINY_QUICK
from gaussian_splatting.trainer.named import NAMED
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 20
EXTREMES = (0, -1, math.nan, 1e30, 1e-30)
# Options that the toy's picture does not depend on are tried on the real rasteriser.
ON_THE_TINY_SCENE = {"depth", "cameras", "exposure", "normal_consistency", "depth_distortion", "photometric"}


def owners() -> dict[str, tuple[type[BaseTrainer], FlatOption]]:
    """Every numeric option, with the smallest named trainer that has it."""
    found: dict[str, tuple[type[BaseTrainer], FlatOption]] = {}
    for cls in sorted(dict.fromkeys(NAMED.values()), key=lambda cls: len(cls.__mro__)):
        for name, entry in flat_options(rules.option_groups(cls)).items():
            if is_number(entry.annotation) and name not in found:
                found[name] = (cls, entry)
    return found


def is_number(annotation: Any) -> bool:
    kinds = typing.get_args(annotation) or (annotation,)
    return (int in kinds or float in kinds) and bool not in kinds


OWNERS = owners()


def make(cls: type[BaseTrainer], options: dict[str, Any]) -> BaseTrainer:
    known = flat_options(rules.option_groups(cls))
    groups = {known[name].group for name in options}
    if groups & ON_THE_TINY_SCENE or cls.model_class is not BaseTrainer.model_class or cls.trains_cameras:
        quick = {name: value for name, value in TINY_QUICK.items() if name in known}
        return cls(tiny_model(cls), tiny_dataset(cls), **(quick | options))
    quick = {name: value for name, value in (TINY_QUICK | QUICK).items() if name in known}
    return cls(toy_model(), ToyDataset(), **(quick | options))


def outcome(cls: type[BaseTrainer], options: dict[str, Any]) -> str:
    """The refusal, or nothing after twenty finite steps."""
    try:
        trainer = make(cls, options)
    except (ValueError, TypeError) as error:
        if isinstance(error, TrainingError) and "surface splatting" in str(error):
            pytest.skip(str(error))
        return str(error)
    assert trainer.dataset is not None
    try:
        for loss, _ in trainer.run(trainer.dataset, STEPS):
            assert torch.isfinite(loss)
    except TrainingError as error:
        assert "were to be pruned" in str(error), f"{options}: {error}"
        return str(error)
    checks.finite_parameters(trainer.optimizer, STEPS)
    return ""


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("name", OWNERS)
def test_extremes_are_refused_by_name_and_range_or_train(name: str, value: float):
    cls, entry = OWNERS[name]
    kinds = typing.get_args(entry.annotation) or (entry.annotation,)
    given = int(value) if int in kinds and math.isfinite(value) else value
    refusal = outcome(cls, {name: given})
    if refusal and "were to be pruned" not in refusal:
        ends = r"\w+_init, \w+_final cannot go from .*: make both ends positive, or both zero"
        assert name in refusal
        assert re.match(
            rf"option {name} is .*; it must be between|option {name} is .*; expected an integer|{ends}", refusal
        )


def test_not_a_number_is_always_refused():
    for name, (cls, _) in OWNERS.items():
        with pytest.raises(ValueError, match=rf"option {name} is nan; "):
            cls(tiny_model(cls), tiny_dataset(cls), **{name: math.nan})


INTERVALS = [name for name in OWNERS if name.endswith("_interval")]
FROM_UNTIL = [
    (name, name.replace("_from_iter", "_until_iter"))
    for name in OWNERS
    if name.endswith("_from_iter") and name.replace("_from_iter", "_until_iter") in OWNERS
]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(INTERVALS, 2)))
def test_pairs_of_intervals_train(first: str, second: str):
    cls = next((c for c in NAMED.values() if {first, second} <= flat_options(rules.option_groups(c)).keys()), None)
    if cls is None:
        pytest.skip("no named trainer has both")
    for one, other in ((1, 1), (3, 2), (2, 3)):
        outcome(cls, {first: one, second: other})


@pytest.mark.parametrize(("first", "last"), FROM_UNTIL)
def test_a_window_may_be_empty_reversed_or_a_point(first: str, last: str):
    cls = OWNERS[first][0]
    for begin, end in ((0, 0), (5, 5), (10, 3)):
        outcome(cls, {first: begin, last: end})


def test_every_numeric_option_is_tried():
    assert len(OWNERS) > 40
