"""The pictures that a single camera names, for those who build cameras one by one instead of through a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.camera import Camera, Resize
from gaussian_splatting.dataset.decode import read_colors, read_depth, read_header, read_mask
from gaussian_splatting.dataset.load import turned
from gaussian_splatting.dataset.sizes import turned_size
from gaussian_splatting.errors import SceneError


def with_pictures(camera: Camera, resize: Resize | None) -> Camera:
    """The camera with the files of its paths loaded; alpha channels are dropped.

    A missing image is a `SceneError`, a missing mask or depth map a warning. `resize(image, height, width)` is called
    for a picture of another size; without it such a picture is a `SceneError`.
    """
    image = None
    if camera.ground_truth_image_path is not None:
        path = Path(camera.ground_truth_image_path)
        if not path.exists():
            raise SceneError(f"{path}: the image of the camera does not exist; correct the path, or pass none")
        image = _fitted(_upright(path, camera), path, camera, resize)
    mask = _optional(camera.ground_truth_image_mask_path, read_mask, camera, resize)
    depth = _optional(camera.ground_truth_depth_path, read_depth, camera, resize)
    depth_mask = _optional(camera.ground_truth_depth_mask_path, read_mask, camera, resize)
    if depth is not None:
        valid = torch.isfinite(depth) & (depth >= 0)
        if not valid.all():
            depth = torch.where(valid, depth, 0.0)
            depth_mask = valid.float() if depth_mask is None else depth_mask * valid
    return camera._replace(
        ground_truth_image=image,
        ground_truth_image_mask=mask,
        ground_truth_depth=depth,
        ground_truth_depth_mask=depth_mask,
    )


def _upright(path: Path, camera: Camera) -> np.ndarray:
    """The colours of a picture, turned as EXIF asks only when that is what gives it the camera's size."""
    header = read_header(path)
    stored, wanted = (header.width, header.height), (camera.image_width, camera.image_height)
    turn = header.orientation if stored != wanted == turned_size(stored, header.orientation) else 1
    if header.orientation != 1:
        done = "applied" if turn != 1 else "not applied: the pixels are used as stored"
        warnings.warn(f"{path}: EXIF orientation {header.orientation} is {done}", stacklevel=2)
    return turned(read_colors(path)[0], turn)


def _optional(
    path: str | None, read: Callable[[Path], np.ndarray], camera: Camera, resize: Resize | None
) -> Tensor | None:
    if path is None:
        return None
    if not Path(path).exists():
        warnings.warn(f"{path} does not exist; the camera goes without it", stacklevel=2)
        return None
    return _fitted(read(Path(path))[..., None], Path(path), camera, resize)[0]


def _fitted(values: np.ndarray, path: Path, camera: Camera, resize: Resize | None) -> Tensor:
    """[C, H, W] float32 of the camera's size, bytes divided by 255."""
    device: Any = camera.K.device
    image = torch.from_numpy(values).to(device).to(torch.float32).permute(2, 0, 1)
    image = image.div(255) if values.dtype == np.uint8 else image
    found, wanted = (values.shape[0], values.shape[1]), (camera.image_height, camera.image_width)
    if found == wanted:
        return image
    if resize is None:
        raise SceneError(
            f"{path}: {found[1]} x {found[0]} pixels, but the camera has {wanted[1]} x {wanted[0]}; "
            "scale the picture, or pass resize_if_mismatch"
        )
    sizes = f"{found[1]} x {found[0]} pixels, resized to the camera's {wanted[1]} x {wanted[0]}"
    warnings.warn(f"{path}: {sizes}", stacklevel=2)
    return resize(image, *wanted)
