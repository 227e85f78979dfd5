"""A run that becomes longer or shorter on the way: what lies ahead is stretched, what lies behind stays."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from gaussian_splatting.options import flat_options

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer

FIXED, PER_PIXEL, PER_GAUSSIAN = 5.2e-3, 5.7e-8, 2.4e-7
"""Seconds of a step on two cores, fitted to runs of the presets on four scenes; for plans only their ratios count."""
SAMPLES = 200


def stretch(trainer: BaseTrainer, step: int, old: int, new: int, explicit: Collection[str] = ()) -> None:
    """Make a run planned for `old` steps one of `new` steps, from `step` on.

    The moments of all options that lie ahead move in proportion to the way left, and so do the learning rates: none
    jumps. Those named in `explicit` stay. Equal calls give equal trainers.
    """
    assert step < old
    assert step <= new
    factor = (new - step) / (old - step)
    for group, options in trainer.options.items():
        moved = {
            entry.field: step + round((entry.default - step) * factor)
            for name, entry in flat_options({group: options}).items()
            if entry.moment and entry.default is not None and entry.default > step and name not in explicit
        }
        if moved:
            trainer.options[group] = replace(options, **moved)
            setattr(trainer, group, trainer.options[group])
    for name, rate in trainer.schedules.items():
        trainer.schedules[name] = _stretched(rate, step, factor)


def _stretched(rate: Callable[[int], float], step: int, factor: float) -> Callable[[int], float]:
    """The rate of the step of the old plan that a step of the new one stands for; not always a whole step."""
    if factor == 0:
        return rate

    def of_new_step(now: int) -> float:
        return rate(now if now <= step else step + (now - step) / factor)  # pyright: ignore[reportArgumentType]

    return of_new_step


def expected_cost(trainer: BaseTrainer, first: int, last: int, pixels: int, num: int | None = None) -> float:
    """How long the steps after `first` up to `last` take on pictures of `pixels`, in units that the machine decides.

    With `num` Gaussians; without, with as many as are expected at each step.
    """
    count = last - first
    if count <= 0:
        return 0.0
    samples = min(count, SAMPLES)
    steps = [first + 1 + (2 * index + 1) * count // (2 * samples) for index in range(samples)]
    costs = [
        FIXED
        + PER_PIXEL * pixels * trainer.picture_share(step)
        + PER_GAUSSIAN * (trainer.expected_count(step) if num is None else num)
        for step in steps
    ]
    return count * sum(costs) / samples
