"""Scenes described by a `transforms.json`: nerfstudio, instant-ngp, and Blender-synthetic (NeRF)."""

from gaussian_splatting.dataset.transforms.dataset import TransformsCameraDataset
from gaussian_splatting.dataset.transforms.points import transforms_points

__all__ = ["TransformsCameraDataset", "transforms_points"]
