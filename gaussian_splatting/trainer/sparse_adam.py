"""Adam for the rows that a sparse gradient holds: the Gaussians in view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def step_of_sparse_rows(parameter: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> None:
    """One step of Adam (Kingma and Ba 2015) for the rows of `parameter` [N, ...] in its sparse gradient, in place.

    Rows that are not in the gradient stay where they are, with their moments, where Adam would move them by their old
    momentum. The number of steps is that of the run, as in `torch.optim.SparseAdam`.
    """
    gradient = parameter.grad
    assert gradient is not None
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    beta1, beta2 = group["betas"]
    state["step"].add_(1)
    step = state["step"].double()
    first = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - beta1)
    second = state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(values, values, value=1 - beta2)
    state["exp_avg"].index_copy_(0, rows, first)
    state["exp_avg_sq"].index_copy_(0, rows, second)
    scale = second.div_(1 - beta2**step).sqrt_().add_(group["eps"])
    change = first.div_(scale).mul_(group["lr"] / (1 - beta1**step))
    parameter.index_copy_(0, rows, parameter.index_select(0, rows) - change)
