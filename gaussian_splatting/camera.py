"""One view: its pose, its intrinsics and its pictures; and the way to and from the entries of `cameras.json`.

Axes are OpenCV's (x right, y down, z forward). `R`, `T` take world points into the camera. Quaternions are wxyz.
The first pixel centre lies at (0.5, 0.5). Matrices whose SPEC name is a transform act on row vectors (transposed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.projection import focal2fov, fov2focal, getWorld2View, projection_from_K
from gaussian_splatting.geometry.rotations import matrix_to_quaternion

ZNEAR = 0.01
ZFAR = 100.0
PATH_KEYS = (
    "ground_truth_image_path",
    "ground_truth_image_mask_path",
    "ground_truth_depth_path",
    "ground_truth_depth_mask_path",
)
"""The fields of a camera, and of its entry in `cameras.json`, that name files."""
SOURCE_KEYS = ("lens", "depth_scale", "depth_unit", "alpha")
"""What `custom_data`, and an entry of `cameras.json`, hold about files that are not used as they are."""

Resize = Callable[[Tensor, int, int], Tensor]


def identity_postprocess(camera: Camera, image: Tensor) -> Tensor:
    """The rendered image [3, H, W] as it is."""
    return image


class _CameraFields(NamedTuple):
    image_height: int
    image_width: int
    FoVx: float  # radians
    FoVy: float  # radians
    K: Tensor  # [3, 3] pixels
    R: Tensor  # [3, 3] camera from world
    T: Tensor  # [3] camera from world
    world_view_transform: Tensor  # [4, 4] transposed
    projection_matrix: Tensor  # [4, 4] transposed
    full_proj_transform: Tensor  # [4, 4] transposed
    camera_center: Tensor  # [3] world
    quaternion: Tensor  # [4] wxyz of R
    ground_truth_image_path: str | None
    ground_truth_image_mask_path: str | None
    ground_truth_depth_path: str | None
    ground_truth_depth_mask_path: str | None
    ground_truth_image: Tensor | None = None  # [3, H, W] in [0, 1], a permuted view of [H, W, 3] memory
    ground_truth_image_mask: Tensor | None = None  # [H, W] in [0, 1], 1 keeps
    ground_truth_depth: Tensor | None = None  # [H, W] inverse depth unless the trainer is told otherwise
    ground_truth_depth_mask: Tensor | None = None  # [H, W] in [0, 1], 1 keeps
    postprocess: Callable[..., Tensor] = identity_postprocess
    bg_color: Tensor = None  # [3]  # pyright: ignore[reportAssignmentType]
    custom_data: dict[str, Any] = None  # pyright: ignore[reportAssignmentType]


class Camera(_CameraFields):
    """One view of a scene. A named tuple: `camera._replace(bg_color=...)` gives a changed copy.

    `bg_color` and `custom_data` default to a new zero tensor and a new dict, never shared between cameras.
    """

    __slots__ = ()

    def __new__(cls, *fields: Any, **named: Any) -> Camera:  # noqa: D102
        camera = super().__new__(cls, *fields, **named)
        if camera.bg_color is None:
            camera = camera._replace(bg_color=torch.zeros(3, device=camera.K.device))
        return camera if camera.custom_data is not None else camera._replace(custom_data={})


def build_camera(
    image_height: int,
    image_width: int,
    FoVx: float,
    FoVy: float,
    R: Any,
    T: Any,
    image_path: str | Path | None = None,
    image_mask_path: str | Path | None = None,
    depth_path: str | Path | None = None,
    depth_mask_path: str | Path | None = None,
    bg_color: Sequence[float] = (0.0, 0.0, 0.0),
    device: str | torch.device = "cpu",
    custom_data: Mapping[str, Any] | None = None,
    resize_if_mismatch: Resize | bool | None = None,
    cx: float | None = None,
    cy: float | None = None,
) -> Camera:
    """A camera from its fields of view (radians) and its pose, with the pictures that the paths name.

    `R` [3, 3] and `T` [3] take world points into the camera. `cx`, `cy` default to the middle of the picture. The
    device defaults to the CPU, because a machine without CUDA is a normal machine. A missing image is a `SceneError`; a
    missing mask or depth map a warning. Pictures of another size are resized by `default_resize_if_mismatch`, or by the
    function given as `resize_if_mismatch`; `False` makes a mismatch an error.
    """
    focal_x, focal_y = fov2focal(FoVx, image_width), fov2focal(FoVy, image_height)
    camera = pinhole_camera(
        image_height, image_width, focal_x, focal_y, R, T, cx=cx, cy=cy, bg_color=bg_color, device=device
    )
    paths = zip(PATH_KEYS, (image_path, image_mask_path, depth_path, depth_mask_path), strict=True)
    texts = {key: None if path is None else Path(path).as_posix() for key, path in paths}
    camera = camera._replace(**texts, custom_data=dict(custom_data or {}))
    from gaussian_splatting.dataset.camera_files import with_pictures

    if resize_if_mismatch is None or resize_if_mismatch is True:
        resize_if_mismatch = default_resize_if_mismatch
    return with_pictures(camera, resize_if_mismatch or None)


def pinhole_camera(
    image_height: int,
    image_width: int,
    fx: float,
    fy: float,
    R: Any,
    T: Any,
    *,
    cx: float | None = None,
    cy: float | None = None,
    bg_color: Sequence[float] = (0.0, 0.0, 0.0),
    device: str | torch.device = "cpu",
) -> Camera:
    """A camera without pictures from intrinsics in pixels. Matrices are computed in float64 and rounded once."""
    if image_height < 1 or image_width < 1 or not (fx > 0 and fy > 0 and math.isfinite(fx) and math.isfinite(fy)):
        raise SceneError(
            f"a camera needs a positive size and focal length; found {image_width} x {image_height} pixels, "
            f"focal lengths {fx} and {fy}"
        )
    rotation = torch.as_tensor(R, dtype=torch.float64, device="cpu").reshape(3, 3)
    translation = torch.as_tensor(T, dtype=torch.float64, device="cpu").reshape(3)
    if not (torch.isfinite(rotation).all() and torch.isfinite(translation).all()):
        raise SceneError(f"a camera pose must be finite; found R = {rotation.tolist()}, T = {translation.tolist()}")
    cx = image_width / 2 if cx is None else float(cx)
    cy = image_height / 2 if cy is None else float(cy)
    K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
    view = getWorld2View(rotation, translation)
    projection = projection_from_K(K, image_width, image_height, ZNEAR, ZFAR)
    matrices = (
        K,
        rotation,
        translation,
        view.T,
        projection.T,
        view.T @ projection.T,
        -rotation.T @ translation,
        matrix_to_quaternion(rotation),
    )
    return Camera(
        int(image_height),
        int(image_width),
        float(focal2fov(fx, image_width)),
        float(focal2fov(fy, image_height)),
        *(matrix.to(device=device, dtype=torch.float32).contiguous() for matrix in matrices),
        *(None, None, None, None),
        bg_color=torch.tensor(bg_color, dtype=torch.float32, device=device),
    )


def default_resize_if_mismatch(image: Tensor, expected_height: int, expected_width: int) -> Tensor:
    """The image [C, H, W] at another size: bilinear, corners not aligned. [C, expected_height, expected_width]."""
    size = (expected_height, expected_width)
    return torch.nn.functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]


def camera2dict(camera: Camera, id: int) -> dict[str, Any]:
    """The entry of `cameras.json` for a camera: camera-to-world pose, intrinsics in pixels, the paths as they are."""
    K, R, T = (matrix.detach().double().cpu() for matrix in (camera.K, camera.R, camera.T))
    intrinsics = (K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item())
    paths = {key: getattr(camera, key) for key in PATH_KEYS}
    entry = json_entry(id, camera.image_width, camera.image_height, intrinsics, R.numpy(), T.numpy(), paths)
    return entry | {key: camera.custom_data[key] for key in SOURCE_KEYS if key in camera.custom_data}


def json_entry(
    id: int,
    width: int,
    height: int,
    intrinsics: tuple[float, float, float, float],
    R: np.ndarray,
    T: np.ndarray,
    paths: Mapping[str, str | Path | None],
) -> dict[str, Any]:
    """One entry of `cameras.json`; `intrinsics` are fx, fy, cx, cy in pixels, `R` and `T` take world to camera."""
    texts = {key: None if paths[key] is None else Path(str(paths[key])).as_posix() for key in PATH_KEYS}
    image_path = texts["ground_truth_image_path"]
    return {
        "id": int(id),
        "width": int(width),
        "height": int(height),
        "position": (-R.T @ T).tolist(),
        "rotation": R.T.tolist(),
        **dict(zip(("fx", "fy", "cx", "cy"), map(float, intrinsics), strict=True)),
        **texts,
        "img_name": f"{id:05d}" if image_path is None else image_path.rsplit("/", 1)[-1],
    }


def dict2camera(
    camera_dict: Mapping[str, Any],
    load_mask: bool = True,
    load_depth: bool = True,
    device: str | torch.device = "cpu",
    custom_data: Mapping[str, Any] | None = None,
) -> Camera:
    """The camera that `camera2dict` described, its pictures loaded. Paths are taken as they are."""
    from gaussian_splatting.dataset.camera_files import with_pictures
    from gaussian_splatting.dataset.json_cameras import entry_of_dict, paths_as_given, view_of_entry

    entry = entry_of_dict(camera_dict)
    view = view_of_entry(entry, paths_as_given(entry))
    camera = view.camera(device, load_mask, load_depth)
    if any(key in camera.custom_data for key in SOURCE_KEYS):
        from gaussian_splatting.dataset.load import load_pictures, with_arrays

        camera = with_arrays(camera, load_pictures(view, load_mask, load_depth).to(device))
        return camera._replace(custom_data={**camera.custom_data, **(custom_data or {})})
    return with_pictures(camera._replace(custom_data=dict(custom_data or {})), default_resize_if_mismatch)
