"""COLMAP scenes: their cameras as a dataset, and their sparse points as the start of a model."""

from gaussian_splatting.dataset.colmap.dataset import (
    ColmapCamera,
    ColmapCameraDataset,
    read_colmap_cameras,
    read_colmap_points3D,
)
from gaussian_splatting.dataset.colmap.start import colmap_init
from gaussian_splatting.dataset.trainable import ColmapTrainableCameraDataset

__all__ = [
    "ColmapCamera",
    "ColmapCameraDataset",
    "ColmapTrainableCameraDataset",
    "colmap_init",
    "read_colmap_cameras",
    "read_colmap_points3D",
]
