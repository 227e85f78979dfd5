"""`check_trainer`: what every trainer promises, checked on a tiny scene. Run it on your own subclass."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.options import flat_options, parse
from gaussian_splatting.trainer import rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.hook_probe import check_chains
from gaussian_splatting.trainer.snapshot import capture, restore
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model

STEPS = 12
QUICK: dict[str, int] = {
    "run_length": STEPS,
    "densify_from_iter": 2,
    "densify_interval": 4,
    "densify_target_lower_bound": 0,
    "densify_target_upper_bound": 90,
    "prune_from_iter": 2,
    "prune_interval": 4,
    "opacity_reset_from_iter": 5,
    "opacity_reset_interval": 5,
    "sh_degree_up_interval": 3,
    "depth_from_iter": 3,
    "depth_local_relative_kernel_radius": 2,
    "scale_reg_from_iter": 2,
    "normal_consistency_from_iter": 2,
    "depth_distortion_from_iter": 2,
    "mcmc_from_iter": 2,
    "mcmc_interval": 4,
    "mcmc_cap_max": 65,
    "budget_from_iter": 2,
    "budget_until_iter": 11,
    "budget_interval": 3,
    "budget_target": 80,
    "budget_upper_bound": 90,
    "resolution_coarse_until_iter": 3,
    "resolution_half_until_iter": 7,
    "resolution_smallest_side": 6,
    "rate_recipe_decay_from_iter": 4,
    "opacity_decay_from_iter": 3,
    "opacity_decay_interval": 2,
    "sh_rest_interval": 5,
    "floater_removal_from_iter": 2,
    "floater_removal_until_iter": 10,
    "floater_removal_times": 3,
}
"""Options that make every feature act within a dozen steps."""

Maker = Callable[..., BaseTrainer]


def check_trainer(cls: type[BaseTrainer], **options: Any) -> list[str]:
    """Check that `cls` keeps the promises of a trainer; gives the names of the checks that passed.

    Raises AssertionError that says which promise is broken and how to keep it. Options are those of the trainer;
    moments that lie beyond a dozen steps are brought forward so that every feature acts.
    """
    known = flat_options(rules.option_groups(cls))
    options = {name: value for name, value in QUICK.items() if name in known} | options

    def make(kind: type[BaseTrainer] = cls, **changes: Any) -> BaseTrainer:
        return kind(tiny_model(kind), tiny_dataset(kind), **(options | changes))

    checks = (
        _options, _unknown_option, _hooks, _arguments_unchanged, _global_randomness,
        _declared_state, _state_follows_rows, _order, _resume,
    )  # fmt: skip
    for check in checks:
        check(cls, make)
    return [check.__name__.lstrip("_") for check in checks]


def _options(cls: type[BaseTrainer], make: Maker) -> None:
    """Options round-trip through keyword arguments and through text; what is none may be filled in from the data."""
    known = flat_options(rules.option_groups(cls))
    defaults = {name: entry.default for name, entry in known.items()}
    again = cls(tiny_model(cls), tiny_dataset(cls), **defaults)
    found = {name: entry.default for name, entry in flat_options(again.options).items()}
    found |= {name: None for name, value in defaults.items() if value is None}
    assert found == defaults, f"{cls.__name__}: options change on their way through keyword arguments"
    for name, entry in known.items():
        read = parse(name, str(entry.default), entry.annotation)
        assert read == entry.default, f"{cls.__name__}: {name}={entry.default} is read back from text as {read}"


def _unknown_option(cls: type[BaseTrainer], make: Maker) -> None:
    """Unknown options are refused."""
    try:
        make(surely_no_such_option=1)
    except TypeError as error:
        assert "surely_no_such_option" in str(error), f"{cls.__name__} refuses an unknown option without naming it"
        return
    raise AssertionError(f"{cls.__name__} accepts an option it does not have; do not take **kwargs")


def _hooks(cls: type[BaseTrainer], make: Maker) -> None:
    """Every class acts once at each of its hooks, and N changes in `refine` only."""
    check_chains(cls, make, STEPS)


def _arguments_unchanged(cls: type[BaseTrainer], make: Maker) -> None:
    """A step leaves the camera as it was, and no loss changes what was rendered."""

    class Probe(cls):
        def losses(self, out: dict[str, Any], camera: Any) -> Iterator[tuple[str, Tensor]]:
            before = _tensors(out)
            yield from super().losses(out, camera)
            _assert_unchanged(before, _tensors(out), cls, "out")

    trainer = make(Probe)
    assert trainer.dataset is not None
    for camera in list(trainer.dataset):
        before = _tensors(camera._asdict())
        trainer.step(camera)
        _assert_unchanged(before, _tensors(camera._asdict()), cls, "camera")


def _tensors(values: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in values.items() if torch.is_tensor(value)}


def _assert_unchanged(before: dict[str, Tensor], after: dict[str, Tensor], cls: type, what: str) -> None:
    assert before.keys() == after.keys(), f"{cls.__name__} adds or removes entries of {what}; work on a copy"
    for name, value in before.items():
        assert torch.equal(value, after[name]), f"{cls.__name__} changes {what} {name} in place; work on a copy"


def _global_randomness(cls: type[BaseTrainer], make: Maker) -> None:
    """Training draws from `self.random` only."""
    before = _global_states()
    _train(make())
    for name, state in _global_states().items():
        kept = np.array_equal(state, before[name])
        assert kept, f"{cls.__name__} draws from {name} global generator; use generator=self.random(purpose)"


def _global_states() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state()
    pythons = [*random.getstate()[1], random.getstate()[2] or 0.0]
    return {
        "torch's": torch.get_rng_state().numpy(),
        "Python's": pythons,
        "numpy's": [*numpy_state[1], *numpy_state[2:]],
    }


def _declared_state(cls: type[BaseTrainer], make: Maker) -> None:
    """What a feature remembers is in its State groups, and every trainer has its own."""
    trainer, shared = make(), rules.collect(cls, rules.State)
    _train(trainer)
    for name, value in vars(trainer).items():
        kept = isinstance(value, Tensor)
        assert not kept, (
            f"{cls.__name__} keeps a tensor in self.{name}; declare it in a State, or it is lost at a resume"
        )
    for name, state in trainer.states().items():
        assert state is not shared[name], f"{cls.__name__}: the state {name} is shared between trainers"


def _state_follows_rows(cls: type[BaseTrainer], make: Maker) -> None:
    """Per-Gaussian statistics have one row per Gaussian, always, and move with their Gaussians."""
    trainer = make()
    for _ in trainer.run(tiny_dataset(cls), STEPS):
        for group, state in trainer.states().items():
            for field in state.row_fields():
                rows = getattr(state, field).shape[0]
                assert rows == len(trainer.model), f"{cls.__name__}: {group}.{field} has {rows} rows, N is another"
    backwards = torch.arange(len(trainer.model)).flip(0)
    before = {group: _tensors(vars(state)) for group, state in trainer.states().items()}
    trainer.model.change_rows(backwards, torch.zeros_like(backwards, dtype=torch.bool))
    for group, state in trainer.states().items():
        for field in state.row_fields():
            moved = torch.equal(getattr(state, field), before[group][field][backwards])
            assert moved, (
                f"{cls.__name__}: {group}.{field} does not follow its Gaussians; declare it with per_gaussian()"
            )


def _order(cls: type[BaseTrainer], make: Maker) -> None:
    """The order of features changes no bit."""
    features = [owner for owner in cls.__mro__ if owner.__bases__ == (BaseTrainer,)]
    if len(features) < 2:
        return
    groups = {name: group for name, group in vars(cls).items() if isinstance(group, rules.Options)}
    expected = None
    for order in (features, features[::-1]):
        body = groups | {"model_class": cls.model_class}
        result = _train(make(type("Permuted" + cls.__name__, tuple(order), body)))
        expected = expected or result
        _assert_same(expected, result, f"{cls.__name__}: the order of {', '.join(f.__name__ for f in order)} matters")


def _resume(cls: type[BaseTrainer], make: Maker) -> None:
    """A run restored at any step goes on with the same bits."""
    expected = _train(make())
    for middle in (1, STEPS // 2, STEPS - 1):
        first = make()
        _train(first, middle)
        second = make()
        restore(second, capture(first))
        what = f"{cls.__name__}: a run resumed at step {middle} differs; declare what it remembers as State"
        _assert_same(expected, _train(second), what)


def _train(trainer: BaseTrainer, steps: int = STEPS) -> dict[str, Tensor]:
    assert trainer.dataset is not None
    for _ in trainer.run(trainer.dataset, steps):
        pass
    return capture(trainer)


def _assert_same(expected: dict[str, Tensor], found: dict[str, Tensor], message: str) -> None:
    assert expected.keys() == found.keys(), f"{message} (other tensors)"
    for name, value in expected.items():
        assert torch.equal(value, found[name]), f"{message} (first difference in {name})"
