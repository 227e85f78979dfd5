"""The pictures of one view as arrays of the view's own size: decoded, turned upright, undistorted, scaled."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.decode import MAX_PIXELS, read_colors, read_depth, read_mask
from gaussian_splatting.dataset.sizes import require_same_shape
from gaussian_splatting.dataset.undistort import PixelMap, pixel_map, undistort
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError

DEPTH_UNIT = 2.0**16
"""`depth_params.json` holds scale and offset for depth pictures divided by this, whatever their bit depth."""
LARGEST_DEPTH = 1e15


@dataclass(frozen=True)
class Pictures:
    """What belongs to one view, as it is kept in memory; None for what the view does not have."""

    colors: Tensor | None = None  # [H, W, 3] uint8
    mask: Tensor | None = None  # [H, W] uint8, 255 keeps
    depth: Tensor | None = None  # [H, W] float32
    depth_mask: Tensor | None = None  # [H, W] uint8, 255 keeps
    coverage: Tensor | None = None  # [H, W] uint8; when there is one, colours are multiplied by it (premultiplied)

    def to(self, device: Any) -> Pictures:
        """The same pictures on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Pictures(**{name: None if t is None else t.to(device, non_blocking=True) for name, t in moved.items()})

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors occupy."""
        return sum(tensor.nbytes for f in fields(self) if (tensor := getattr(self, f.name)) is not None)


def load_pictures(
    view: View, load_mask: bool = True, load_depth: bool = True, max_pixels: int = MAX_PIXELS
) -> Pictures:
    """Decodes everything that `view` names. Colours are averaged when they shrink; masks and depths keep their values.

    The mask is the view's mask file, else the alpha channel of its picture, unless that is coverage. Depths that are
    negative, not finite, or beyond 1e15 or 1e-15 are masked out, and so are pixels that the lens did not see.
    """
    pixels = _pixel_map(view)
    colors, alpha = _colors(view, pixels, max_pixels) if view.image_path is not None else (None, None)
    coverage, mask = (alpha, None) if view.composited else (None, alpha if load_mask else None)
    if load_mask and view.image_mask_path is not None:
        mask = _mask(view, view.image_mask_path, pixels, max_pixels)
    mask = _without_unseen(mask, view, pixels)
    depth, depth_mask = _depth(view, pixels, max_pixels) if load_depth else (None, None)
    arrays = (colors, mask, depth, depth_mask, coverage)
    return Pictures(*(None if array is None else torch.from_numpy(array) for array in arrays))


def _pixel_map(view: View) -> PixelMap | None:
    try:
        return None if view.lens is None else pixel_map(view.lens)
    except SceneError as error:
        raise SceneError(f"{view.image_path or view.name}: {error}") from error


def _colors(view: View, pixels: PixelMap | None, max_pixels: int) -> tuple[np.ndarray, np.ndarray | None]:
    assert view.image_path is not None
    colors, alpha = read_colors(view.image_path, max_pixels)
    if view.stored_size is not None and colors.shape[1::-1] != view.stored_size:
        raise SceneError(
            f"{view.image_path}: now {colors.shape[1]} x {colors.shape[0]} pixels, but "
            f"{view.stored_size[0]} x {view.stored_size[1]} when the scene was read; do not change it while training"
        )
    if view.composited and alpha is not None:  # before pixels are mixed: what shines through has no colour of its own
        colors = _premultiplied(colors, alpha)
    colors = _scaled(_straight(turned(colors, view.turn), pixels), view)
    return colors, None if alpha is None else _scaled(_straight(turned(alpha, view.turn), pixels), view)


def _premultiplied(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] times alpha [H, W] as fractions, rounded to the nearest byte."""
    product = colors.astype(np.uint16) * alpha[..., None]
    return ((product + 127) // 255).astype(np.uint8)


def _mask(view: View, path: Path, pixels: PixelMap | None, max_pixels: int) -> np.ndarray:
    return _map_of_values(view, path, read_mask(path, max_pixels), pixels)


def _depth(view: View, pixels: PixelMap | None, max_pixels: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    if view.depth_path is None:
        return None, None
    depth = read_depth(view.depth_path, max_pixels)
    valid = _plausible(depth)
    depth[~valid] = 0
    if view.depth_unit is not None:
        valid &= depth > 0
        with np.errstate(over="ignore"):
            np.divide(1 / view.depth_unit, depth, out=depth, where=valid, casting="unsafe")
        valid &= _plausible(depth)
        depth[~valid] = 0
    if view.depth_scale is not None:
        scale, offset = view.depth_scale
        depth *= np.float32(scale / DEPTH_UNIT)
        depth += np.float32(offset)
        valid &= _plausible(depth)
        depth[~valid] = 0
    depth = _map_of_values(view, view.depth_path, depth, pixels)
    mask = None
    if not valid.all():
        mask = _map_of_values(view, view.depth_path, valid.astype(np.uint8) * np.uint8(255), pixels)
    if view.depth_mask_path is not None:
        given = _mask(view, view.depth_mask_path, pixels, max_pixels)
        mask = given if mask is None else np.minimum(mask, given)
    return depth, _without_unseen(mask, view, pixels)


def _plausible(depth: np.ndarray) -> np.ndarray:
    """Where depths, inverse or not, are finite, not negative, and float32 holds their squares and inverses."""
    return (depth == 0) | ((depth >= 1 / LARGEST_DEPTH) & (depth <= LARGEST_DEPTH))


def _map_of_values(view: View, path: Path, values: np.ndarray, pixels: PixelMap | None) -> np.ndarray:
    """A mask or depth map that covers the stored picture, brought to the view's pixels by the nearest value."""
    import cv2

    stored = view.stored_size or values.shape[1::-1]
    require_same_shape(path, values.shape[1::-1], stored)
    if values.shape[1::-1] != stored:
        values = cv2.resize(values, stored, interpolation=cv2.INTER_NEAREST_EXACT)
    values = turned(values, view.turn)
    if pixels is not None:
        values = undistort(values, pixels, nearest=True)
    if values.shape != (view.height, view.width):
        values = cv2.resize(values, (view.width, view.height), interpolation=cv2.INTER_NEAREST_EXACT)
    return values


def _straight(values: np.ndarray, pixels: PixelMap | None) -> np.ndarray:
    return values if pixels is None else undistort(values, pixels)


def _scaled(values: np.ndarray, view: View) -> np.ndarray:
    """The picture at the view's size: averaged over areas when it shrinks, linear when it grows."""
    import cv2

    if values.shape[:2] == (view.height, view.width):
        return values
    method = cv2.INTER_AREA if values.shape[0] >= view.height else cv2.INTER_LINEAR
    return cv2.resize(values, (view.width, view.height), interpolation=method)


def _without_unseen(mask: np.ndarray | None, view: View, pixels: PixelMap | None) -> np.ndarray | None:
    """The mask without the pixels that the lens did not see (only a very wide fisheye leaves any)."""
    import cv2

    if pixels is None or pixels.covered is None:
        return mask
    size = (view.width, view.height)
    covered = cv2.resize(pixels.covered, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return covered if mask is None else np.minimum(mask, covered)


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels [H, W, ...] turned upright, as the EXIF orientation (1 to 8) asks."""
    if orientation == 1:
        return values
    turns = {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0)
    values = np.rot90(values, turns)
    return np.ascontiguousarray(values[:, ::-1] if orientation in (2, 4, 5, 7) else values)


def with_arrays(camera: Camera, pictures: Pictures) -> Camera:
    """The camera with its pictures as floats: new tensors, so that nobody can spoil what is kept.

    A picture with coverage lies over the camera's background; `custom_data` then holds `coverage` [H, W] and
    `composited_on` [3], with which a loss can lay it over another background.
    """
    colors, custom = pictures.colors, camera.custom_data
    image = None if colors is None else _fractions(colors)
    if image is not None and pictures.coverage is not None:
        coverage = _fractions(pictures.coverage)
        image += (1 - coverage)[..., None] * camera.bg_color
        custom = {**custom, "coverage": coverage, "composited_on": camera.bg_color}
    return camera._replace(
        # The loss kernels read rows of pixels, so the memory stays [H, W, 3] behind the view [3, H, W].
        ground_truth_image=None if image is None else image.permute(2, 0, 1),
        ground_truth_image_mask=None if pictures.mask is None else _fractions(pictures.mask),
        ground_truth_depth=None if pictures.depth is None else pictures.depth.clone(),
        ground_truth_depth_mask=None if pictures.depth_mask is None else _fractions(pictures.depth_mask),
        custom_data=custom,
    )


def _fractions(values: Tensor) -> Tensor:
    return values.to(torch.float32).div_(255)
