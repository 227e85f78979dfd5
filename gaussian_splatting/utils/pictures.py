"""Single picture files as tensors, for code that reads its own; datasets decode theirs through `PictureStore`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.dataset import decode

if TYPE_CHECKING:
    from PIL.Image import Image

PathLike = str | os.PathLike[str]


def PILtoTorch(pil_image: Image, resolution: tuple[int, int] | None = None) -> Tensor:
    """A Pillow picture as a tensor [C, H, W] with values in [0, 1], resized to (width, height) if given."""
    if resolution is not None:
        pil_image = pil_image.resize(resolution)
    values = torch.from_numpy(np.array(pil_image, dtype=np.uint8)).float() / 255
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def read_image(path: PathLike) -> Tensor:
    """The colours [3, H, W] of a picture file, in [0, 1]; alpha is dropped."""
    return torch.from_numpy(decode.read_colors(Path(path))[0]).permute(2, 0, 1).float() / 255


def read_image_mask(path: PathLike) -> Tensor:
    """A mask file as [H, W] in [0, 1], whatever its bit depth."""
    return torch.from_numpy(decode.read_mask(Path(path))).float() / 255


def read_depth(path: PathLike) -> Tensor:
    """The values [H, W] of a depth file as they are stored, float32."""
    return torch.from_numpy(decode.read_depth(Path(path)))


read_depth_mask = read_image_mask
read_png_depth = read_depth
read_tiff_depth = read_depth
