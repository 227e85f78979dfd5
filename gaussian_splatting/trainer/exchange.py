"""Data-parallel training: every process holds all Gaussians and takes a view of its own in every step.

Gradients and what the views showed are exchanged between backward and the update, in an order that does not change, and
from there on every process computes the same. What each holds is compared now and then.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer import randomness, rules
from gaussian_splatting.trainer.digests import digest, everything
from gaussian_splatting.trainer.workers import Alone, SeenView

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.trainer.base import BaseTrainer

VERIFY_INTERVAL = 100
Value = TypeVar("Value")


class Peers(Protocol):
    """How processes reach each other; see `channel.Channel`."""

    rank: int
    size: int

    def check_in(self, place: str, **message: Any) -> list[dict[str, Any]]: ...  # noqa: D102
    def sum(self, values: Tensor) -> Tensor: ...  # noqa: D102
    def gather(self, values: Tensor) -> Tensor: ...  # noqa: D102
    def from_first(self, values: Tensor) -> Tensor: ...  # noqa: D102
    def gather_rows(self, values: Tensor, counts: Sequence[int]) -> Tensor: ...  # noqa: D102
    def trade(self, values: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor: ...  # noqa: D102
    def to_first(self, values: Tensor, counts: Sequence[int]) -> Tensor: ...  # noqa: D102


class Together(Alone):
    """One of several processes."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.rank, self.size = peers.rank, peers.size
        self.signal: signal.Signals | None = None
        self._due = False
        self._cameras: Sequence[Camera] | CameraDataset | None = None

    def begin(self, cameras: Sequence[Camera] | CameraDataset) -> None:
        """The views of the steps that follow come from these cameras."""
        self._cameras = cameras

    def exchange(
        self, trainer: BaseTrainer, loss: Tensor, out: dict[str, Any], camera: Camera
    ) -> tuple[Tensor, Iterable[SeenView]]:
        """Put the gradient of all views of the step into every process; the mean loss, and what each view showed.

        What is shown of the views is `radii`, `visibility_filter` and `get_viewspace_grad`, with cameras that have no
        pictures. While one view after the other is handed out, the gradient of the step is there with the last only.
        """
        if self._cameras is None:
            raise TrainingError(
                "several processes train with trainer.run(cameras, steps) only: step() does not know the others' views"
            )
        groups = [group for group in self.summed_groups(trainer) if group["params"][0].numel()]
        flat, screen = _flattened(groups, loss, self.size), self._screen(trainer, out)
        present = [group["params"][0].grad is not None for group in groups]
        told = self.peers.check_in(
            f"step {trainer.curr_step}", num=self.count(trainer.model), present=present, wish=self.wish(),
            due=self.is_due(),
        )  # fmt: skip
        self._require_equal_counts(trainer, told)
        self._due = told[0]["due"]
        received = [message["wish"] for message in told if message["wish"] is not None]
        self.signal = signal.Signals(received[0]) if received else None
        self.peers.sum(flat)
        anywhere = [any(flags) for flags in zip(*(message["present"] for message in told), strict=True)]
        mean_loss = _put_back(groups, flat, anywhere, self.size)
        shown = [(out, camera)] if screen is None else self._views(trainer, self.screens(screen))
        return mean_loss, shown

    def verify(self, trainer: BaseTrainer) -> None:
        """Raise TrainingError naming process, step and value where the processes have come apart."""
        step = trainer.curr_step
        if step != 1 and step % VERIFY_INTERVAL:
            return
        found = self.held_alike(trainer)
        names, device = list(found), trainer.model.get_xyz.device
        digests = torch.stack([digest(value).to(device) for value in found.values()])
        self.peers.check_in(f"the end of step {step}")
        first, *others = self.peers.gather(digests).cpu()
        for rank, found in enumerate(others, 1):
            different = [
                name for name, equal in zip(names, (found == first).all(dim=1).tolist(), strict=True) if not equal
            ]
            if different:
                more = f" and {len(different) - 1} more" if len(different) > 1 else ""
                raise TrainingError(
                    f"step {step}: process {rank} of {self.size} does not hold what process 0 does: "
                    f"{different[0]}{more}. They must compute the same: use cards of one kind, and one version of "
                    "torch and gsplat on all of them; a feature of your own must draw from self.random() only"
                )

    def same(self, value: Tensor) -> Tensor:
        """The tensor as the first process has it."""
        self.peers.check_in(f"a tensor of {list(value.shape)}")
        return self.peers.from_first(value.contiguous())

    def first(self, decide: Callable[[], Value]) -> Value:
        """What the first process decides."""
        decided = decide() if self.rank == 0 else None
        return self.peers.check_in("a decision", value=decided)[0]["value"]

    def agreed(self, received: signal.Signals | None) -> signal.Signals | None:
        """The signal that one of the processes knew of when this step was exchanged."""
        return self.signal

    def agreed_due(self) -> bool:
        """Whether the first process found when this step was exchanged that it is time for a checkpoint."""
        return self._due

    # What is different where each process holds a part of the Gaussians

    def summed_groups(self, trainer: BaseTrainer) -> list[dict[str, Any]]:
        """The parameter groups whose gradients are still those of this process's own view."""
        return trainer.optimizer.param_groups

    def screen(self, out: dict[str, Any]) -> Tensor:
        """What the view of this process showed, to be exchanged; see `screen_of`."""
        return screen_of(out)

    def screens(self, screen: Tensor) -> Tensor:
        """What every view of the step showed [size, n, 3] of the Gaussians held here; `screen` is of its own view."""
        return self.peers.gather(screen)

    def held_alike(self, trainer: BaseTrainer) -> dict[str, Tensor]:
        """By name, all tensors that every process must hold the same of."""
        return everything(trainer)

    def _screen(self, trainer: BaseTrainer, out: dict[str, Any]) -> Tensor | None:
        """What the view showed, as `screen_of`, if any feature looks at it."""
        return None if len(rules.hook_chain(type(trainer), "after_backward")) == 1 else self.screen(out)

    def _views(self, trainer: BaseTrainer, screens: Tensor) -> Iterator[SeenView]:
        """Every view of the step in the order of ranks, the gradient of the step hidden but for the last."""
        assert self._cameras is not None
        parameters = [group["params"][0] for group in trainer.optimizer.param_groups]
        gradients = [parameter.grad for parameter in parameters]
        for rank, screen in enumerate(screens):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient if rank == self.size - 1 else None
            number = (trainer.curr_step - 1) * self.size + rank + 1
            index = randomness.view_of_step(trainer.seed, number, len(self._cameras))
            geometry = getattr(self._cameras, "geometry", self._cameras.__getitem__)
            with torch.no_grad():
                camera = geometry(index)
            yield ShownView(screen), camera

    def _require_equal_counts(self, trainer: BaseTrainer, told: Sequence[Mapping[str, Any]]) -> None:
        for rank, message in enumerate(told):
            if message["num"] != told[0]["num"]:
                raise TrainingError(
                    f"step {trainer.curr_step}: process {rank} of {self.size} has {message['num']} Gaussians, "
                    f"process 0 has {told[0]['num']}; what changes their number must come out the same everywhere"
                )


class ShownView(dict[str, Any]):
    """What a view of another process showed: an `out` with the statistics of densification only."""

    def __init__(self, screen: Tensor) -> None:
        gradient, radii = screen[:, :2].contiguous().view(torch.float32), screen[:, 2]
        super().__init__(radii=radii, get_viewspace_grad=lambda out: gradient)

    def __missing__(self, key: str) -> Any:
        if key == "visibility_filter":  # found when asked for: the host waits for a card to know how many there are
            return self.setdefault(key, self["radii"].nonzero())
        raise TrainingError(
            f"out[{key!r}] is not there in after_backward() when several processes train: of the views of the others "
            f"it has radii, visibility_filter, get_viewspace_grad only; train with one process, or take it from a loss"
        )


def screen_of(out: dict[str, Any]) -> Tensor:
    """Screen gradients and radii [N, 3] of a view, as bits."""
    gradient = out["get_viewspace_grad"](out).detach().float().contiguous()
    radii = out["radii"].detach().to(torch.int32)
    return torch.cat((gradient.view(torch.int32), radii[:, None]), dim=1)


def _flattened(groups: Sequence[Mapping[str, Any]], loss: Tensor, size: int) -> Tensor:
    """All gradients and the loss in one row of memory, padded to a multiple of `size`."""
    parts = []
    for group in groups:
        parameter = group["params"][0]
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parts.append(gradient.detach().reshape(-1))
    parts.append(loss.detach().reshape(1))
    missing = -sum(part.numel() for part in parts) % size
    return torch.cat([*parts, loss.new_zeros(missing)])


def _put_back(groups: Sequence[Mapping[str, Any]], flat: Tensor, anywhere: Sequence[bool], size: int) -> Tensor:
    """Take the gradients from the row of memory: means over views, or sums where each view has rows of its own."""
    place = 0
    for group, present in zip(groups, anywhere, strict=True):
        parameter = group["params"][0]
        part = flat[place : place + parameter.numel()].view(parameter.shape)
        place += parameter.numel()
        parameter.grad = part if present else None
        if not group.get("per_row"):
            part /= size
    return flat[place] / size
