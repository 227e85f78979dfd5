"""What tells whether two processes hold the same: everything that a trainer holds by name, and a digest of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.trainer.optimizer import MOMENTS

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer

DIGEST_CHUNK = 1 << 22


def everything(trainer: BaseTrainer, rows: bool = True) -> dict[str, Tensor]:
    """Everything that a process holds, by name; without `rows`, what is not one of the Gaussians'."""
    found: dict[str, Tensor] = {}
    for group in trainer.optimizer.param_groups:
        name, parameter = group["name"], group["params"][0]
        of_rows = name in ATTRIBUTES
        if rows or not of_rows:
            found[f"parameter {name}"] = parameter
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            if rows or not (of_rows and key in MOMENTS):
                found[f"moment {key} of {name}"] = value
    for group, state in trainer.states().items():
        for field, value in state.tensors().items():
            if rows or field not in state.row_fields():
                found[f"state {group}.{field}"] = value
    return found


def digest(tensor: Tensor) -> Tensor:
    """Two int64 sums [2] over the bits of a tensor: of the values, and of the values times their places."""
    flat = tensor.detach().contiguous().reshape(-1)
    bits = flat.view(torch.int32) if flat.element_size() in (4, 8) else flat.to(torch.int32)
    sums = torch.zeros(2, dtype=torch.int64, device=bits.device)
    for number, chunk in enumerate(bits.split(DIGEST_CHUNK)):
        values = chunk.to(torch.int64)
        places = torch.arange(len(values), device=bits.device) + number * DIGEST_CHUNK
        sums += torch.stack((values.sum(), (values * (2 * places + 1)).sum()))
    return sums
