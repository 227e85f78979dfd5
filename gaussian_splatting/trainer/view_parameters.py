"""The parameters that belong to views, found in the dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from gaussian_splatting.errors import TrainingError

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset


def view_parameter(dataset: CameraDataset | None, name: str, purpose: str) -> nn.Parameter:
    """The parameter `name` of a dataset, one row per view; TrainingError when its cameras are not trainable."""
    parameter = getattr(dataset, name, None)
    if not isinstance(parameter, nn.Parameter):
        found = "no dataset" if dataset is None else f"a {type(dataset).__name__}"
        raise TrainingError(
            f"{purpose} needs cameras that can be trained, found {found}; pass dataset=TrainableCameraDataset(dataset) "
            "and train on the cameras of that dataset"
        )
    return parameter


def held(values: Tensor, index: int, row: Tensor) -> Tensor:
    """The values [C, ...] as constants, with `row` and its gradient at `index`."""
    rows = values.detach().clone()
    rows[index] = row
    return rows
