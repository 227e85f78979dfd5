"""3D Gaussian Splatting trainers made of composable mixins, fast on a CPU through their own kernels and on GPUs.

The public names below are imported on first use, so that `import gaussian_splatting` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera, build_camera, camera2dict, dict2camera
    from gaussian_splatting.camera_trainable import CameraTrainableGaussianModel
    from gaussian_splatting.dataset import (
        CameraDataset,
        FixedTrainableCameraDataset,
        JSONCameraDataset,
        TrainableCameraDataset,
    )
    from gaussian_splatting.dataset.colmap import ColmapCameraDataset, ColmapTrainableCameraDataset, colmap_init
    from gaussian_splatting.dataset.scenes import open_scene
    from gaussian_splatting.dataset.start import start_gaussians
    from gaussian_splatting.dataset.transforms import TransformsCameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.trainer import (
        BaseBestTrainer,
        BaseCameraTrainer,
        BaseDefaultTrainer,
        BaseDensificationTrainer,
        BaseDepthTrainer,
        BaseFastTrainer,
        BaseMCMCTrainer,
        BaseOpacityResetDensificationCameraTrainer,
        BaseOpacityResetDensificationTrainer,
        BaseScaleRegularizeTrainer,
        BaseSHLiftCameraTrainer,
        BaseSHLiftMCMCTrainer,
        BaseSHLiftOpacityResetDensificationCameraTrainer,
        BaseSHLiftOpacityResetDensificationTrainer,
        BaseSHLiftTrainer,
        BaseTrainer,
        BestTrainer,
        CameraTrainer,
        DefaultTrainer,
        DepthCameraTrainer,
        DepthMCMCTrainer,
        DepthOpacityResetDensificationCameraTrainer,
        DepthOpacityResetDensificationTrainer,
        DepthSHLiftCameraTrainer,
        DepthSHLiftMCMCTrainer,
        DepthSHLiftOpacityResetDensificationCameraTrainer,
        DepthSHLiftOpacityResetDensificationTrainer,
        DepthSHLiftTrainer,
        FastTrainer,
        MCMCTrainer,
        NormalCameraTrainer,
        NormalOpacityResetDensificationCameraTrainer,
        NormalOpacityResetDensificationTrainer,
        NormalSHLiftCameraTrainer,
        NormalSHLiftOpacityResetDensificationCameraTrainer,
        NormalSHLiftOpacityResetDensificationTrainer,
        NormalSHLiftTrainer,
        NormalTrainer,
        OpacityResetDensificationCameraTrainer,
        OpacityResetDensificationTrainer,
        SHLiftCameraTrainer,
        SHLiftMCMCTrainer,
        SHLiftOpacityResetDensificationCameraTrainer,
        SHLiftOpacityResetDensificationTrainer,
        SHLiftTrainer,
        Trainer,
        check_trainer,
        compose,
    )

__version__ = "0.1.0"

_HOMES = {
    "Camera": "camera",
    "build_camera": "camera",
    "camera2dict": "camera",
    "dict2camera": "camera",
    "GaussianModel": "gaussian_model",
    "CameraTrainableGaussianModel": "camera_trainable",
    "CameraDataset": "dataset",
    "JSONCameraDataset": "dataset",
    "TrainableCameraDataset": "dataset",
    "FixedTrainableCameraDataset": "dataset",
    "ColmapCameraDataset": "dataset.colmap",
    "ColmapTrainableCameraDataset": "dataset.colmap",
    "colmap_init": "dataset.colmap",
    "TransformsCameraDataset": "dataset.transforms",
    "open_scene": "dataset.scenes",
    "start_gaussians": "dataset.start",
}
"""Public name -> the module it comes from; every other name in `__all__` comes from `trainer`."""

__all__ = [
    "BaseBestTrainer",
    "BaseCameraTrainer",
    "BaseDefaultTrainer",
    "BaseDensificationTrainer",
    "BaseDepthTrainer",
    "BaseFastTrainer",
    "BaseMCMCTrainer",
    "BaseOpacityResetDensificationCameraTrainer",
    "BaseOpacityResetDensificationTrainer",
    "BaseSHLiftCameraTrainer",
    "BaseSHLiftMCMCTrainer",
    "BaseSHLiftOpacityResetDensificationCameraTrainer",
    "BaseSHLiftOpacityResetDensificationTrainer",
    "BaseSHLiftTrainer",
    "BaseScaleRegularizeTrainer",
    "BaseTrainer",
    "BestTrainer",
    "Camera",
    "CameraDataset",
    "CameraTrainableGaussianModel",
    "CameraTrainer",
    "ColmapCameraDataset",
    "ColmapTrainableCameraDataset",
    "DefaultTrainer",
    "DepthCameraTrainer",
    "DepthMCMCTrainer",
    "DepthOpacityResetDensificationCameraTrainer",
    "DepthOpacityResetDensificationTrainer",
    "DepthSHLiftCameraTrainer",
    "DepthSHLiftMCMCTrainer",
    "DepthSHLiftOpacityResetDensificationCameraTrainer",
    "DepthSHLiftOpacityResetDensificationTrainer",
    "DepthSHLiftTrainer",
    "FastTrainer",
    "FixedTrainableCameraDataset",
    "GaussianModel",
    "JSONCameraDataset",
    "MCMCTrainer",
    "NormalCameraTrainer",
    "NormalOpacityResetDensificationCameraTrainer",
    "NormalOpacityResetDensificationTrainer",
    "NormalSHLiftCameraTrainer",
    "NormalSHLiftOpacityResetDensificationCameraTrainer",
    "NormalSHLiftOpacityResetDensificationTrainer",
    "NormalSHLiftTrainer",
    "NormalTrainer",
    "OpacityResetDensificationCameraTrainer",
    "OpacityResetDensificationTrainer",
    "SHLiftCameraTrainer",
    "SHLiftMCMCTrainer",
    "SHLiftOpacityResetDensificationCameraTrainer",
    "SHLiftOpacityResetDensificationTrainer",
    "SHLiftTrainer",
    "TrainableCameraDataset",
    "Trainer",
    "TransformsCameraDataset",
    "build_camera",
    "camera2dict",
    "check_trainer",
    "colmap_init",
    "compose",
    "dict2camera",
    "open_scene",
    "start_gaussians",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'trainer')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
