"""Adam for parameters with one row per view, of which a step sees one: the other rows stay where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.5


def row_moments(parameter: Tensor) -> dict[str, Tensor]:
    """Fresh moments of a parameter [C, ...]; every row counts its own steps, and all rows have one second moment."""
    counts = torch.zeros(parameter.shape[0], device=parameter.device)
    zeros = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
    return {"step": counts, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}


@torch.no_grad()
def step_of_seen_rows(parameter: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
    """One step of Adam (Kingma and Ba 2015) for the rows [C, ...] that have a gradient, each with its own momentum.

    Plain Adam moves a row by its old momentum for a while after its view was seen. Over an epoch of C steps with one
    gradient, that adds up to the square root of C times the rate. Here the row makes that move at once when it is seen,
    so that rates mean what they mean elsewhere, and a row whose view is not seen does not drift.

    All rows share their second moment: a view that is far off then takes longer steps than one that has arrived,
    where a moment of its own would make their steps equal. Momentum is short, because the scene changes in the epoch
    that lies between two gradients of a row.
    """
    gradient = parameter.grad
    assert gradient is not None
    beta1, beta2 = MOMENTUM, group["betas"][1]
    tail = (1,) * (parameter.ndim - 1)
    seen = (gradient != 0).flatten(1).any(dim=1)  # [C]
    step, first, second = state["step"], state["exp_avg"], state["exp_avg_sq"]
    step += seen
    rows = seen.view(-1, *tail)
    first.copy_(torch.where(rows, beta1 * first + (1 - beta1) * gradient, first))
    squares = (gradient * gradient).sum(dim=0) / seen.sum().clamp_min(1)
    second.copy_(torch.where(seen.any(), beta2 * second + (1 - beta2) * squares, second))
    correction1 = (1 - beta1 ** step.double().clamp_min(1)).to(parameter).view(-1, *tail)
    correction2 = (1 - beta2 ** step.double().sum().clamp_min(1)).to(parameter)
    direction = (first / correction1) / ((second / correction2).sqrt() + group["eps"])
    rate = group["lr"] * math.sqrt(parameter.shape[0])
    parameter.sub_(torch.where(rows, rate * direction, 0))
