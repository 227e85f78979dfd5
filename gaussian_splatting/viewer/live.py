"""A training that is watched: copies of its Gaussians between steps, and a pause that changes nothing but the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from gaussian_splatting.camera import Camera, identity_postprocess
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.viewer.scenes import Viewpoint
from gaussian_splatting.viewer.stage import same_values

if TYPE_CHECKING:
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.trainer.base import BaseTrainer

SHARE = 0.05
"""The share of the time of a training that may go into copies."""
SHORTEST = 0.25


class LiveScene:
    """The Gaussians of a trainer as they were after some step. The training thread copies; everybody else looks.

    Nothing here draws random numbers or touches the trainer: with a viewer, the same bytes are trained as without.
    """

    def __init__(
        self, trainer: BaseTrainer, cameras: CameraDataset, iterations: int, name: str,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self._say = say
        self.name, self.background = name, _background(cameras)
        self.first: int | None = None
        self._iterations, self._clock = iterations, time.monotonic
        self._points = [Viewpoint(known, _detached(cameras.geometry(i))) for i, known in enumerate(cameras.names)]
        self._running = threading.Event()
        self._running.set()
        self._wanted = threading.Event()
        self._due = 0.0
        self.finished = False
        self.step = trainer.curr_step
        self._loss = float("nan")
        self._copy = copied(trainer.model)
        self.version = 0

    # Seen from the viewer

    def iterations(self) -> list[int]:
        """None to choose from: there is only now."""
        return []

    def model(self, iteration: int | None) -> GaussianModel:
        """The newest copy."""
        return self._copy

    def viewpoints(self) -> Sequence[Viewpoint]:
        """The training cameras."""
        return self._points

    def want_copy(self) -> None:
        """Somebody is watching: copy the Gaussians when it is time."""
        self._wanted.set()

    @property
    def paused(self) -> bool:
        """Whether the training waits."""
        return not self._running.is_set()

    def set_paused(self, paused: bool) -> None:
        """Have the training wait after the step it is at, or go on."""
        if paused and not self.finished:
            self._running.clear()
        else:
            self._running.set()

    def status(self) -> str:
        """Where the training is, in words."""
        state = "done" if self.finished else "paused" if self.paused else "training"
        return f"{state}: step {self.step} of {self._iterations}, loss {self._loss:.4f}"

    # Seen from the training

    def after_step(self, trainer: BaseTrainer, loss: torch.Tensor, must_stop: Callable[[], bool]) -> float:
        """Between two steps: copy the Gaussians if somebody watches, and wait while paused; the seconds waited."""
        self.step = trainer.curr_step
        if self._wanted.is_set() and (self.paused or self._clock() >= self._due):
            self._take(trainer, loss)
        return self._wait(must_stop) if self.paused else 0.0

    def _wait(self, must_stop: Callable[[], bool]) -> float:
        """Who looks at the terminal, or finds no browser open any more, must see why nothing goes on."""
        self._say(f"paused in the viewer after step {self.step}; Resume there goes on, Ctrl-C saves and ends")
        started = self._clock()
        while self.paused and not must_stop():
            self._running.wait(0.1)
        if not self.paused:
            self._say("resumed in the viewer")
        return self._clock() - started

    def end(self, trainer: BaseTrainer) -> None:
        """The training is over."""
        self.step, self.finished = trainer.curr_step, True
        self._running.set()
        self._copy = copied(trainer.model)
        self.version += 1

    def _take(self, trainer: BaseTrainer, loss: torch.Tensor) -> None:
        started = self._clock()
        self._wanted.clear()
        self._copy, self._loss = copied(trainer.model), float(loss)
        self.version += 1
        self._due = self._clock() + max(SHORTEST, (self._clock() - started) / SHARE)


@torch.no_grad()
def copied(model: GaussianModel) -> GaussianModel:
    """A model with values of its own, equal to those of `model` now."""
    return same_values(model, {name: getattr(model, attribute).clone() for name, attribute in ATTRIBUTES.items()})


def _background(cameras: CameraDataset) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in cameras.geometry(0).bg_color)
    return first, second, third


def _detached(camera: Camera) -> Camera:
    """A camera that is not trained on: no gradients, no pictures, values of its own."""
    camera = camera._replace(ground_truth_image=None, postprocess=identity_postprocess, custom_data={})
    values = camera._asdict().items()
    return camera._replace(
        **{name: value.detach().clone() for name, value in values if isinstance(value, torch.Tensor)}
    )
