"""Datasets: sequences of cameras with their pictures."""

from gaussian_splatting.dataset.dataset import CameraDataset, ViewDataset
from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
from gaussian_splatting.dataset.pictures import PictureLimits, PictureStore
from gaussian_splatting.dataset.split import split_indices
from gaussian_splatting.dataset.trainable import FixedTrainableCameraDataset, TrainableCameraDataset
from gaussian_splatting.dataset.view import View

__all__ = [
    "CameraDataset",
    "FixedTrainableCameraDataset",
    "JSONCameraDataset",
    "PictureLimits",
    "PictureStore",
    "TrainableCameraDataset",
    "View",
    "ViewDataset",
    "split_indices",
]
