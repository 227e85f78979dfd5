"""State of a feature: what must survive a change of N and a resumed run. Declared once, like options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from gaussian_splatting.gaussian_rows import Commit, rows_moved


def per_gaussian(*shape: int, dtype: torch.dtype = torch.float32) -> Any:
    """A field with one row of `shape` per Gaussian. It starts at zero, and so do the rows of new Gaussians."""
    return field(default=None, metadata={"row_shape": shape, "dtype": dtype})


@dataclass
class State:
    """Base of every state group. Fields are per-Gaussian tensors, whole tensors, or plain numbers."""

    def row_fields(self) -> set[str]:
        """Names of the per-Gaussian fields."""
        return {item.name for item in fields(self) if "row_shape" in item.metadata}

    def allocate(self, num: int, device: torch.device) -> None:
        """Start the per-Gaussian fields at zero for `num` Gaussians."""
        for item in fields(self):
            if "row_shape" in item.metadata:
                shape = (num, *item.metadata["row_shape"])
                setattr(self, item.name, torch.zeros(shape, dtype=item.metadata["dtype"], device=device))

    def clear(self) -> None:
        """Set the per-Gaussian fields to zero in place."""
        for item in fields(self):
            if "row_shape" in item.metadata:
                getattr(self, item.name).zero_()

    def prepare_rows(self, parents: Tensor, fresh: Tensor) -> Commit:
        """Follow a change of N; see `GaussianRows.change_rows`."""
        moved: dict[str, Tensor] = {}
        for item in fields(self):
            if "row_shape" in item.metadata:
                moved[item.name] = rows_moved(getattr(self, item.name), parents, fresh)

        def commit(_: Mapping[str, nn.Parameter]) -> None:
            for name, value in moved.items():
                setattr(self, name, value)

        return commit

    def rows_overwritten(self, name: str, rows: Tensor) -> None:
        """Statistics are kept when a parameter is overwritten."""

    def tensors(self) -> dict[str, Tensor]:
        """Every field as a tensor, for a checkpoint."""
        return {item.name: torch.as_tensor(getattr(self, item.name)) for item in fields(self)}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take the fields of a checkpoint; names and shapes were checked by the reader."""
        for item in fields(self):
            present, value = getattr(self, item.name), tensors[item.name]
            setattr(self, item.name, value.to(device) if isinstance(present, Tensor) else type(present)(value.item()))
