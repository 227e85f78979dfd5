"""Adam for parameters with one row per view, of which a step sees one: the other rows stay where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def row_moments(parameter: Tensor) -> dict[str, Tensor]:
    """Fresh moments of a parameter [C, ...]; every row counts its own steps."""
    counts = torch.zeros(parameter.shape[0], device=parameter.device)
    zeros = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
    return {"step": counts, "exp_avg": zeros, "exp_avg_sq": zeros.clone()}


@torch.no_grad()
def step_of_seen_rows(parameter: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
    """One step of Adam (Kingma and Ba 2015) for the rows [C, ...] that have a gradient, each with its own step count.

    Plain Adam moves a row by its old momentum for a while after its view was seen. Over an epoch of C steps with one
    gradient, that adds up to the square root of C times the rate. Here the row makes that move at once when it is seen,
    so that rates mean what they mean elsewhere, and a row whose view is not seen does not drift.
    """
    gradient = parameter.grad
    assert gradient is not None
    beta1, beta2 = group["betas"]
    tail = (1,) * (parameter.ndim - 1)
    seen = (gradient != 0).flatten(1).any(dim=1)  # [C]
    step, first, second = state["step"], state["exp_avg"], state["exp_avg_sq"]
    step += seen
    rows = seen.view(-1, *tail)
    first.copy_(torch.where(rows, beta1 * first + (1 - beta1) * gradient, first))
    second.copy_(torch.where(rows, beta2 * second + (1 - beta2) * gradient * gradient, second))
    count = step.double().clamp_min(1).view(-1, *tail)
    correction1, correction2 = ((1 - beta**count).to(parameter) for beta in (beta1, beta2))
    direction = (first / correction1) / ((second / correction2).sqrt() + group["eps"])
    rate = group["lr"] * math.sqrt(parameter.shape[0])
    parameter.sub_(torch.where(rows, rate * direction, 0))
