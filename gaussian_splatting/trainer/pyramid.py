"""Cameras at a fraction of their size, whose pictures are averaged once and kept as bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.camera import ZFAR, ZNEAR, Camera
from gaussian_splatting.gaussian_model import screen_blur
from gaussian_splatting.geometry.projection import focal2fov, fov2focal, projection_from_K


class Pyramid:
    """Small versions of cameras. It keeps the pictures of one size only: a schedule does not come back to another."""

    def __init__(self) -> None:
        self.factor = 1
        self._kept: dict[tuple[str | None, ...], dict[str, Tensor]] = {}

    def reduced(self, camera: Camera, factor: int) -> Camera:
        """The camera with width and height divided by `factor`; a rest at the right and at the bottom is cut off."""
        if factor != self.factor:
            self.factor = factor
            self._kept.clear()
        pictures = self._pictures(camera, factor)
        return with_pictures(reduced_geometry(camera, factor), pictures)

    def holds(self, camera: Camera, factor: int) -> bool:
        """Whether the pictures of this size are kept, so that the camera can come without any."""
        return factor == self.factor and _key(camera) in self._kept

    def _pictures(self, camera: Camera, factor: int) -> dict[str, Tensor]:
        # Without a path there is no telling whether this is the picture that is kept.
        key = _key(camera)
        if key[0] is None:
            return reduced_pictures(camera, factor)
        if key not in self._kept:
            self._kept[key] = reduced_pictures(camera, factor)
        return self._kept[key]


def _key(camera: Camera) -> tuple[str | None, ...]:
    return camera.ground_truth_image_path, camera.ground_truth_image_mask_path, camera.ground_truth_depth_path


def reduced_geometry(camera: Camera, factor: int) -> Camera:
    """The camera without pictures at a size divided by `factor`. Its pose is left as it is.

    What blurs a Gaussian on its screen is what does so in the full picture, plus the mean over squares of `factor`
    pixels: the same Gaussians then give the same picture at every size, but for its sharpness.
    """
    height, width = camera.image_height // factor, camera.image_width // factor
    K = camera.K.clone()
    K[:2] /= factor
    projection = projection_from_K(K.double(), width, height, ZNEAR, ZFAR).T.to(camera.K)
    return camera._replace(
        image_height=height,
        image_width=width,
        # From the numbers, not from K: on a card the host would wait for it in every step.
        FoVx=focal2fov(fov2focal(camera.FoVx, camera.image_width) / factor, width),
        FoVy=focal2fov(fov2focal(camera.FoVy, camera.image_height) / factor, height),
        K=K,
        projection_matrix=projection,
        full_proj_transform=camera.world_view_transform @ projection,
        custom_data={**camera.custom_data, "eps2d": reduced_blur(screen_blur(camera), factor)},
    )


def reduced_blur(variance: float, factor: int) -> float:
    """The variance of a blur of `variance` [pixels^2] that is averaged over squares of `factor` pixels, in squares^2.

    A square that is `factor` pixels wide and made of pixels has (factor^2 - 1) / 12 more variance than one pixel.
    """
    return (variance + (factor**2 - 1) / 12) / factor**2


def reduced_pictures(camera: Camera, factor: int) -> dict[str, Tensor]:
    """The pictures of a camera: colours, mask and coverage averaged over areas, of depths one value per area."""
    found: dict[str, Tensor] = {}
    averaged: dict[str, Any] = {
        "ground_truth_image": camera.ground_truth_image,
        "ground_truth_image_mask": camera.ground_truth_image_mask,
        "coverage": camera.custom_data.get("coverage"),
    }
    for name, value in averaged.items():
        if value is not None:
            found[name] = as_bytes(area_mean(value, factor))
    for name in ("ground_truth_depth", "ground_truth_depth_mask"):
        value = getattr(camera, name)
        if value is not None:
            found[name] = picked(value, factor).clone()
    if "composited_on" in camera.custom_data:
        found["composited_on"] = camera.custom_data["composited_on"]
    return found


def with_pictures(camera: Camera, pictures: dict[str, Tensor]) -> Camera:
    """The camera with new tensors made of what is kept."""
    values = {name: as_floats(value) for name, value in pictures.items()}
    alpha = {name: values.pop(name) for name in ("coverage", "composited_on") if name in values}
    return camera._replace(**values, custom_data={**camera.custom_data, **alpha})


def area_mean(picture: Tensor, factor: int) -> Tensor:
    """A picture [..., H, W] averaged over squares of `factor` pixels: [..., H // factor, W // factor].

    The memory of colours stays [H, W, 3], which the loss kernels read by rows of pixels.
    """
    planes = picture if picture.ndim == 3 else picture[None]
    height, width = (side // factor * factor for side in planes.shape[1:])
    pixels = planes.permute(1, 2, 0)[:height, :width]
    rows = sum((pixels[offset::factor] for offset in range(1, factor)), pixels[::factor])
    squares = sum((rows[:, offset::factor] for offset in range(1, factor)), rows[:, ::factor])
    mean = (squares / factor**2).contiguous().permute(2, 0, 1)
    return mean if picture.ndim == 3 else mean[0]


def picked(values: Tensor, factor: int) -> Tensor:
    """The value [H / factor, W / factor] in the middle of every square: a mean of two depths is a depth of nothing."""
    height, width = (side // factor * factor for side in values.shape)
    return values[factor // 2 : height : factor, factor // 2 : width : factor]


def as_bytes(values: Tensor) -> Tensor:
    """Values in [0, 1] rounded to multiples of 1/255."""
    return (values * 255).round_().to(torch.uint8)


def as_floats(values: Tensor) -> Tensor:
    """A new tensor of floats; bytes become fractions."""
    return values.to(torch.float32).div_(255) if values.dtype == torch.uint8 else values.clone()
