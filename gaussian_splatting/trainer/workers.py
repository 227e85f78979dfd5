"""Several processes that train one model together, as a trainer sees them; one process alone is the ordinary case."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError

if TYPE_CHECKING:
    import signal

    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.trainer.base import BaseTrainer

Value = TypeVar("Value")
SeenView = tuple[dict[str, Any], "Camera"]


class Alone:
    """One process: it has nobody to ask. `Together` is the same for several."""

    rank = 0
    """The number of this process."""
    size = 1
    """How many processes there are, and with them views in a step."""

    wish: Callable[[], int | None] = staticmethod(lambda: None)
    """The number of the signal that this process was asked to stop with, if any; a run sets it."""
    is_due: Callable[[], bool] = staticmethod(lambda: False)
    """Whether it is time for a checkpoint; a run sets it."""
    sharded = False
    """Whether each process holds a part of the Gaussians only; see `sharded.Sharded`."""
    share = 1.0
    """The weight of what this process adds to a sum that all of them add the same to: all of them together are 1."""

    def begin(self, cameras: Sequence[Camera] | CameraDataset) -> None:
        """The views of the steps that follow come from these cameras."""

    def sample(self, step: int) -> int:
        """Which view of the run, counted from 1, this process takes at a step."""
        return (step - 1) * self.size + self.rank + 1

    def exchange(
        self, trainer: BaseTrainer, loss: Tensor, out: dict[str, Any], camera: Camera
    ) -> tuple[Tensor, Iterable[SeenView]]:
        """Between backward and the update: the loss of the step, and what every one of its views showed."""
        return loss.detach(), [(out, camera)]

    def verify(self, trainer: BaseTrainer) -> None:
        """After a step: raise TrainingError where a process holds other values than the first, now and then."""

    def same(self, value: Tensor) -> Tensor:
        """The tensor as the first process has it: for what was rendered, whose last bits may differ between cards."""
        return value

    def first(self, decide: Callable[[], Value]) -> Value:
        """What the first process decides, as a plain JSON value."""
        return decide()

    def agreed(self, received: signal.Signals | None) -> signal.Signals | None:
        """The signal that all processes stop for after this step; `received` is what this one knows of."""
        return received

    def agreed_due(self) -> bool:
        """Whether the first process found after this step that it is time for a checkpoint."""
        return self.is_due()

    # The rows of the model. In a sharded run the model of a process has n of N; all agree on an order of the N.

    def divide(self, trainer: BaseTrainer) -> None:
        """Leave each process the rows of a new trainer that it will hold."""

    def count(self, model: GaussianModel) -> int:
        """The number N of Gaussians of all processes together."""
        return len(model)

    def all_rows(self, values: Tensor) -> Tensor:
        """Values of all Gaussians [N, ...], of those of this process [n, ...]."""
        return values

    def own_rows(self, values: Tensor) -> Tensor:
        """Values of the Gaussians of this process [n, ...], of those of all [N, ...]."""
        return values

    def held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of `rows` [M] among all Gaussians this process holds [M] bool, and where its model has them [m]."""
        return torch.ones_like(rows, dtype=torch.bool), rows

    def change_rows(
        self, model: GaussianModel, parents: Tensor, fresh: Tensor, values: Mapping[str, Tensor] | None = None
    ) -> None:
        """`GaussianModel.change_rows` where `parents` and `fresh` are of all Gaussians, `values` of the rows held here.

        A new Gaussian is held by the process that holds its parent.
        """
        model.change_rows(parents, fresh, values)

    def weight(self, model: GaussianModel) -> float:
        """The factor on a mean over the rows held here that makes the mean over processes one over all Gaussians."""
        return 1.0

    def total(self, number: int) -> int:
        """The sum over processes of a number that concerns the rows held here."""
        return number

    def whole(self, name: str, rows: Tensor) -> Tensor:
        """Rows of all Gaussians, on the processor, in the first process; elsewhere anything."""
        return rows

    def dealt(self, tensors: Mapping[str, Tensor], row_names: Collection[str]) -> Mapping[str, Tensor]:
        """A checkpoint with those rows of the tensors in `row_names` that this process will hold."""
        return tensors

    def whole_model(self, model: GaussianModel) -> GaussianModel:
        """A model with all Gaussians, in the first process; elsewhere anything."""
        return model


ALONE = Alone()


def join(trainer: BaseTrainer, workers: Alone) -> None:
    """Make a new trainer one of several equal ones, each on its own view in every step.

    The gradient of a step is the mean over its B views. Its noise is smaller, and the way to go is the same, so the
    rates of Adam are multiplied by the square root of B, and its betas are raised to the power B (Zhao et al. 2024, "On
    Scaling Up 3D Gaussian Splatting Training", section 4.3; Malladi et al. 2022, "On the SDEs and Scaling Rules for
    Adaptive Gradient Algorithms"; gsplat has the rates, and 1 - B (1 - beta)). Parameters of single views stay as they
    are: each still gets one gradient in every pass over the views.

    Raises TrainingError for sparse gradients, see `require_dense`.
    """
    if trainer.model.sparse_grad:
        require_dense(workers)
    trainer.workers = workers
    if workers.size == 1:
        return
    workers.divide(trainer)
    for group in trainer.optimizer.param_groups:
        if not group.get("per_row"):
            rate = trainer.schedules[group["name"]]
            trainer.schedules[group["name"]] = _times(rate, math.sqrt(workers.size))
            group["betas"] = tuple(beta**workers.size for beta in group["betas"])


def require_dense(workers: Alone) -> None:
    """Raise TrainingError where several processes would have to add sparse gradients, each of the rows in its view."""
    if workers.size > 1:
        raise TrainingError(
            f"--sparse_grad is for one process, and these are {workers.size}; leave it out (--packed works with any)"
        )


def _times(rate: Callable[[int], float], factor: float) -> Callable[[int], float]:
    return lambda step: factor * rate(step)
