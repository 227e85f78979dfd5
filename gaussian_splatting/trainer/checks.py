"""The first non-finite loss or gradient stops the run before the update, so that nothing is spoilt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.options import flat_options

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.trainer.base import BaseTrainer

KEPT = "The parameters are those of the step before. Lower the learning rates, or look at this view's pictures."
LIMITS = ("densify_target_upper_bound", "mcmc_cap_max", "budget_upper_bound")
PLANNED = frozenset({"mcmc_cap_max", "budget_upper_bound"})
"""Limits of recipes whose number of Gaussians is known beforehand, and mostly far below the limit."""


def finite_step(losses: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, step: int, camera: Camera) -> None:
    """Raise TrainingError naming the step, the view and the first non-finite loss term or gradient.

    On CUDA the whole step is judged at once without waiting for the device, by `torch._assert_async`.
    """
    where = f"step {step}, view {view_name(camera)}"
    gradients = {group["name"]: group["params"][0].grad for group in optimizer.param_groups}
    present = {
        name: gradient.coalesce().values() if gradient.is_sparse else gradient
        for name, gradient in gradients.items()
        if gradient is not None and gradient.numel()
    }
    if any(term.is_cuda for term in losses.values()):
        sums = [gradient.float().sum().reshape(1) for gradient in present.values()]
        verdict = torch.isfinite(
            torch.cat([*(term.detach().float().reshape(1) for term in losses.values()), *sums])
        ).all()
        torch._assert_async(verdict, f"{where}: a loss term or a gradient is not finite. {KEPT}")
        return
    for name, term in losses.items():
        if not torch.isfinite(term.detach()).all():
            cause = _poisoned(optimizer)
            raise TrainingError(f"{where}: the loss term {name!r} is {float(term.detach().sum())}.{cause} {KEPT}")
    for name, gradient in present.items():
        if not _seems_finite(gradient):
            refuse_gradient(name, gradient, where, _poisoned(optimizer))


def refuse_gradient(name: str, gradient: Tensor, where: str, cause: str = "") -> None:
    """Raise TrainingError naming parameter, index and count, if any value of the gradient is not finite."""
    fault = _first_fault(gradient)
    if fault is not None:
        raise TrainingError(f"{where}: the gradient of {name!r} is {fault}.{cause} {KEPT}")


def finite_parameters(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Raise TrainingError where a trained value is not finite: before anything is saved under a final name."""
    for group in optimizer.param_groups:
        fault = _first_fault(group["params"][0].detach())
        if fault is not None:
            raise TrainingError(f"step {step}: parameter {group['name']!r} is {fault}; it is not saved.")


def not_empty(num: int, step: int) -> None:
    """Raise TrainingError when no Gaussian is left."""
    if num == 0:
        raise TrainingError(
            f"all Gaussians were pruned at step {step}; nothing is left to train. Lower prune_opacity_threshold, "
            "raise prune_percent_too_big, or check the scene's scale"
        )


def limit_on_gaussians(trainer: BaseTrainer) -> tuple[str, int] | None:
    """The option that bounds the number of Gaussians, and its value; None when nothing does."""
    options = flat_options(trainer.options)
    for name in LIMITS:
        if name in options and options[name].default is not None:
            return name, int(options[name].default)
    return None


def most_gaussians(trainer: BaseTrainer, iterations: int) -> tuple[str | None, int]:
    """How many Gaussians there are at most up to a step, and the option that says so; none where the recipe does."""
    limit, num = limit_on_gaussians(trainer), trainer.workers.count(trainer.model)
    if limit is None:
        return None, num
    name, most = limit
    if name not in PLANNED:
        return name, max(num, most)
    planned = trainer.expected_count(iterations)
    return name if planned == most else None, max(num, planned)


def view_name(camera: Camera) -> str:
    """How a message calls a view."""
    return repr(str(camera.custom_data.get("name") or camera.ground_truth_image_path or "without a picture"))


def _first_fault(values: Tensor) -> str | None:
    """The first value that is not finite, its index and how many there are, in words."""
    if values.numel() == 0 or _seems_finite(values):
        return None
    bad = ~torch.isfinite(values)
    count = int(bad.sum())
    if count == 0:
        return None
    index = bad.nonzero()[0].tolist()
    return f"{float(values[tuple(index)])} at index {index} ({count} such values)"


def is_finite(values: Tensor) -> bool:
    """Whether all values are finite."""
    return _first_fault(values) is None


def _seems_finite(values: Tensor) -> bool:
    """False where a value is not finite, or where finite ones overflow: then the exact look decides, which is slow."""
    if values.device.type != "cpu" or values.dtype != torch.float32 or not values.is_contiguous():
        return bool(torch.isfinite(values.sum()))
    # One pass at the speed of the memory, without waking the threads of torch.
    flat = values.detach().reshape(-1).numpy()
    with np.errstate(all="ignore"):
        return math.isfinite(np.dot(flat, flat))


def _poisoned(optimizer: torch.optim.Optimizer) -> str:
    """The first parameter that is itself not finite, as the cause of what was found."""
    for group in optimizer.param_groups:
        fault = _first_fault(group["params"][0].detach())
        if fault is not None:
            return f" Its cause: parameter {group['name']!r} is {fault}."
    return ""
