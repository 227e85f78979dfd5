"""The module name under which users of the packaged 3DGS import trainable cameras; see `dataset.trainable`."""

from __future__ import annotations

from gaussian_splatting.dataset.trainable import (
    FixedTrainableCameraDataset,
    TrainableCameraDataset,
    exposure_postprocess,
)

__all__ = ["FixedTrainableCameraDataset", "TrainableCameraDataset", "exposure_postprocess"]
