"""Pinhole cameras: fields of view, intrinsics, view and projection matrices, and back to points.

Camera axes are OpenCV's (x right, y down, z forward). Pixel centres are at half-integers: the first one is at 0.5.
"""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor


@overload
def fov2focal(fov: float, pixels: float) -> float: ...
@overload
def fov2focal(fov: Tensor, pixels: float) -> Tensor: ...
def fov2focal(fov: float | Tensor, pixels: float) -> float | Tensor:
    """The focal length in pixels of a field of view in radians that spans `pixels`."""
    return pixels / (2 * _tan(fov / 2))


@overload
def focal2fov(focal: float, pixels: float) -> float: ...
@overload
def focal2fov(focal: Tensor, pixels: float) -> Tensor: ...
def focal2fov(focal: float | Tensor, pixels: float) -> float | Tensor:
    """The field of view in radians that spans `pixels` at a focal length in pixels."""
    ratio = pixels / (2 * focal)
    return 2 * (ratio.atan() if isinstance(ratio, Tensor) else math.atan(ratio))


def getK(
    fovX: float | Tensor,
    fovY: float | Tensor,
    width: int,
    height: int,
    cx: float | Tensor | None = None,
    cy: float | Tensor | None = None,
) -> Tensor:
    """The intrinsic matrix [3, 3] in pixels; the principal point is the middle of the picture unless given."""
    focal_x, focal_y = fov2focal(fovX, width), fov2focal(fovY, height)
    K = torch.eye(3, dtype=_float_type(fovX, fovY), device=_device(fovX, fovY))
    K[0, 0], K[1, 1] = focal_x, focal_y
    K[0, 2] = width / 2 if cx is None else cx
    K[1, 2] = height / 2 if cy is None else cy
    return K


def getWorld2View(R: Tensor, t: Tensor) -> Tensor:
    """The matrix [4, 4] that takes world points to camera points, of `R` [3, 3] and `t` [3], world to camera.

    Differentiable. The cameras of this package store its transpose as `world_view_transform`.
    """
    top = torch.cat([R, t[..., None]], dim=-1)  # [3, 4]
    bottom = torch.eye(1, 4, dtype=top.dtype, device=top.device).flip(1)  # made on the device: nothing to wait for
    return torch.cat([top, bottom], dim=-2)


def getWorld2View2(R: Tensor, t: Tensor, translate: Tensor | float = 0.0, scale: float = 1.0) -> Tensor:
    """`getWorld2View` [4, 4] of the camera whose centre c, in world units, was moved to (c + translate) * scale."""
    centre = -R.transpose(-1, -2) @ t
    return getWorld2View(R, -R @ ((centre + translate) * scale))


def getProjectionMatrix(
    znear: float,
    zfar: float,
    fovX: float | Tensor,
    fovY: float | Tensor,
    cx: float | Tensor = 0.5,
    cy: float | Tensor = 0.5,
) -> Tensor:
    """The matrix [4, 4] from camera points to clip space, x and y in [-1, 1] and z in [0, 1] after the division by w.

    `cx` and `cy` are the principal point as fractions of the width and height. The cameras of this package store the
    transpose as `projection_matrix`.
    """
    P = torch.zeros(4, 4, dtype=_float_type(fovX, fovY), device=_device(fovX, fovY))
    P[0, 0], P[1, 1] = 1 / _tan(fovX / 2), 1 / _tan(fovY / 2)
    P[0, 2], P[1, 2] = 2 * cx - 1, 2 * cy - 1
    P[2, 2] = zfar / (zfar - znear)
    P[2, 3] = -zfar * znear / (zfar - znear)
    P[3, 2] = 1
    return P


def projection_from_K(K: Tensor, width: int, height: int, znear: float = 0.01, zfar: float = 100.0) -> Tensor:
    """`getProjectionMatrix` [4, 4] of the intrinsics `K` [3, 3] in pixels of a picture of `width` x `height`."""
    fov_x, fov_y = focal2fov(K[0, 0], width), focal2fov(K[1, 1], height)
    return getProjectionMatrix(znear, zfar, fov_x, fov_y, K[0, 2] / width, K[1, 2] / height)


def unproject(depth: Tensor, K: Tensor) -> Tensor:
    """The points [H, W, 3] in camera axes of a map of z values `depth` [H, W], one through each pixel's centre."""
    height, width = depth.shape
    x = torch.arange(width, dtype=depth.dtype, device=depth.device) + 0.5
    y = torch.arange(height, dtype=depth.dtype, device=depth.device) + 0.5
    right = (x - K[0, 2]) / K[0, 0] * depth
    down = ((y - K[1, 2]) / K[1, 1])[:, None] * depth
    return torch.stack([right, down, depth], dim=-1)


def _tan(angle: float | Tensor) -> float | Tensor:
    return angle.tan() if isinstance(angle, Tensor) else math.tan(angle)


def _float_type(*values: float | Tensor) -> torch.dtype:
    return next((value.dtype for value in values if isinstance(value, Tensor)), torch.get_default_dtype())


def _device(*values: float | Tensor) -> torch.device:
    return next((value.device for value in values if isinstance(value, Tensor)), torch.device("cpu"))
