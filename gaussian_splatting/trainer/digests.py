"""What tells whether two processes hold the same: everything that a trainer holds by name, and a digest of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.trainer.snapshot import live, row_names

if TYPE_CHECKING:
    from gaussian_splatting.trainer.base import BaseTrainer

DIGEST_CHUNK = 1 << 22


def everything(trainer: BaseTrainer, rows: bool = True) -> dict[str, Tensor]:
    """Everything that a process holds, by name; without `rows`, what is not one of the Gaussians'."""
    left_out = {"step"} if rows else {"step", *row_names(trainer)}
    return {_spoken(name): value for name, value in live(trainer).items() if name not in left_out}


def _spoken(name: str) -> str:
    """The name of a tensor of a checkpoint, in words."""
    kind, _, rest = name.partition(".")
    if kind != "moment":
        return f"{kind} {rest}"
    parameter, _, key = rest.rpartition(".")
    return f"moment {key} of {parameter}"


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
