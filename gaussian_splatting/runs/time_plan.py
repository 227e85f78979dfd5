"""Training to a time instead of to a number of steps: a first length from a few trial steps, corrected on the way.

Two such runs on one machine do not take the same steps, so a time budget cannot give the same bytes twice. What was
decided is in every checkpoint, and from there a run goes on as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.runs.determinism import cores_for_kernels
from gaussian_splatting.trainer.stretch import expected_cost, stretch

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.io.checkpoint import Checkpoint
    from gaussian_splatting.trainer.base import BaseTrainer

TRIAL_LENGTH = 1_000
WARM_UP, TRIED = 2, 3
LEFT_FOR_SURPRISES = 0.97
REVIEW = 0.08
"""A plan is looked at again whenever this fraction of the steps that were left is done."""
CLOSE_ENOUGH = 0.01
LARGEST_CHANGE = 2.0
ROUNDS = 3


class TimePlan:
    """Revises the length of a run so that training ends after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0
        """Seconds that the trial took."""
        self._review_at = 0
        self._mark: tuple[int, float] | None = None

    def revised(self, trainer: BaseTrainer, cameras: CameraDataset, length: int, elapsed: float) -> int:
        """The length that fits the time after the present step; the same length when nothing needs to change."""
        step = trainer.curr_step
        if step >= length or step < self._review_at:
            return length
        self._review_at = step + max(1, round(REVIEW * (length - step)))
        if self._mark is None:
            self._mark = step, elapsed
            return length
        pixels = pixels_of(cameras)
        speed = (elapsed - self._mark[1]) / expected_cost(trainer, self._mark[0], step, pixels)
        needed = expected_cost(trainer, step, length, pixels) * speed
        left = max(0.0, self.seconds - elapsed)
        self._mark = step, elapsed
        if abs(needed - left) < CLOSE_ENOUGH * self.seconds:
            return length
        factor = min(LARGEST_CHANGE, max(1 / LARGEST_CHANGE, left / max(needed, 1e-9))) if left > 0 else 0.0
        return max(step + (left > 0), step + round((length - step) * factor))


def pixels_of(cameras: CameraDataset) -> int:
    """The pixels of a picture."""
    camera = cameras.geometry(0)
    return camera.image_height * camera.image_width


def first_length(make: Callable[[int], BaseTrainer], cameras: CameraDataset, seconds: float) -> tuple[int, float]:
    """The number of steps that fits `seconds`, and the seconds of them that finding it took.

    It follows from some steps of a trial trainer at the start and the end of a run; `make(length)` gives one that is
    thrown away. Its very first step comes before the time: it does what is done once, such as compiling kernels.
    """
    cameras.preload()
    with hushed():
        trainer, pixels = make(TRIAL_LENGTH), pixels_of(cameras)
    with cores_for_kernels(trainer.model):
        next(trainer.run(cameras, 1))
    started = time.monotonic()
    whole = expected_cost(trainer, 0, TRIAL_LENGTH, pixels)
    measured = expected = 0.0
    for first in (0, TRIAL_LENGTH - WARM_UP - TRIED):
        trainer.curr_step = first
        with cores_for_kernels(trainer.model):
            for number, _ in enumerate(trainer.run(cameras, first + WARM_UP + TRIED)):
                if number == WARM_UP - 1:
                    measured -= time.monotonic()
            measured += time.monotonic()
        num = trainer.workers.count(trainer.model)
        expected += expected_cost(trainer, first + WARM_UP, first + WARM_UP + TRIED, pixels, num)
    left = LEFT_FOR_SURPRISES * seconds - (time.monotonic() - started)
    fits = max(1, round(TRIAL_LENGTH * left * expected / (measured * whole)))
    length = longer_run(make, pixels, fits, left * expected / measured)
    return length, time.monotonic() - started


def longer_run(make: Callable[[int], BaseTrainer], pixels: int, length: int, affordable: float) -> int:
    """The length that costs what is affordable, where that of a short run is `length`.

    Where a longer run has more Gaussians, each of its steps costs more. The cost grows with a power of the length
    between 1 and 1.5, so that every round leaves a quarter of the error or less.
    """
    for _ in range(ROUNDS if length > TRIAL_LENGTH else 0):
        with hushed():
            cost = expected_cost(make(length), 0, length, pixels)
        length = max(1, round(length * (affordable / cost) ** 0.8))
        if abs(cost / affordable - 1) < CLOSE_ENOUGH:
            break
    return length


@contextmanager
def hushed() -> Iterator[None]:
    """Within, only warnings are logged: a trainer that is thrown away has nothing to say."""
    log = logging.getLogger("gaussian_splatting")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def decisions_in(description: Mapping[str, Any], path: object) -> list[tuple[int, int]]:
    """The decisions that a checkpoint holds. Raises CheckpointError where they cannot be any."""
    found = description.get("plan", [])
    pairs = isinstance(found, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in found)
    if not pairs or not all(type(number) is int and number >= 0 for pair in found for number in pair):
        raise CheckpointError(f"{path}: the decisions of its time plan are not pairs of step and length")
    return [(step, length) for step, length in found]


def follow(trainer: BaseTrainer, checkpoint: Checkpoint, explicit: Collection[str] = ()) -> list[tuple[int, int]]:
    """Decide again what was decided before the checkpoint was written, and give the decisions.

    Raises CheckpointError for decisions that no run can have made.
    """
    decisions = decisions_in(checkpoint.description, checkpoint.path)
    length = checkpoint.description.get("schedule_length", 0)
    for step, new in decisions:
        if not step < length or not step <= new:
            raise CheckpointError(f"{checkpoint.path}: its time plan goes from {length} to {new} at step {step}")
        stretch(trainer, step, length, new, explicit)
        length = new
    return decisions
