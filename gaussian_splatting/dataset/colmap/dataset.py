"""A COLMAP scene as a dataset of cameras, and as a start for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gaussian_splatting.dataset.colmap.files import find_files, read_depth_scales
from gaussian_splatting.dataset.colmap.model import find_model, read_model, read_points
from gaussian_splatting.dataset.colmap.views import colmap_views
from gaussian_splatting.dataset.dataset import ViewDataset
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.dataset.sizes import require_reduction
from gaussian_splatting.dataset.split import Split, split_indices
from gaussian_splatting.dataset.view import AlphaUse, View
from gaussian_splatting.dataset.view_pictures import ViewChoices
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.projection import focal2fov

PathLike = str | os.PathLike[str]


class ColmapCamera(NamedTuple):
    """One camera of a COLMAP scene without its pixels; `R` [3, 3] and `T` [3] take world to camera."""

    image_height: int
    image_width: int
    FoVx: float  # radians
    FoVy: float  # radians
    R: np.ndarray
    T: np.ndarray
    image_path: str | None
    image_mask_path: str | None
    depth_path: str | None
    depth_mask_path: str | None
    cx: float | None = None  # pixels
    cy: float | None = None  # pixels


class ColmapCameraDataset(ViewDataset):
    """The cameras of a COLMAP scene in the order of their image names, with pictures, masks and depth maps.

    Read are `sparse/0` (or the largest of several models; binary or text), `images/<name>`, masks
    `images/<stem>_mask.tiff|png` (255 keeps), depth maps `depths/<stem>.tiff|png` with `_mask`, and the scales of the
    depth maps in `depth_params.json` beside the model. Depth is inverse depth unless the trainer is told otherwise;
    values that are not finite or negative are masked out. An alpha channel serves as mask where there is no mask file;
    with `alpha` "composite" the picture is laid over the background instead.

    Pictures of distorted lenses are undistorted as they are decoded, maps with them by nearest value. Pictures that are
    missing are listed and left out (an error when `strict`). `resolution` 2, 4 or 8 divides the size (`images_2` and so
    on are used when they exist), -1 limits the width to 1600, a larger number is the width; `image_scale` multiplies
    instead. `split` "train" or "test" leaves out or keeps every `llffhold`-th view by sorted name.

    Raises `SceneError` and `FormatError`; what can be lived with is a warning with a count.
    """

    def __init__(
        self,
        colmap_folder: PathLike,
        load_mask: bool = True,
        load_depth: bool = True,
        *,
        images: str = "images",
        depths: str | None = None,
        resolution: int | None = None,
        image_scale: float | None = None,
        split: Split = "all",
        llffhold: int = 8,
        strict: bool = False,
        allow_links: bool = False,
        alpha: AlphaUse = "mask",
        limits: PictureLimits | None = None,
    ) -> None:
        limits = limits or PictureLimits()
        choices = ViewChoices(
            load_mask=load_mask,
            load_depth=load_depth,
            resolution=resolution,
            image_scale=image_scale,
            strict=strict,
            max_pixels=limits.max_pixels,
            alpha=alpha,
        )
        self.colmap_folder = Path(colmap_folder)
        views = read_colmap_views(colmap_folder, choices, images=images, depths=depths, allow_links=allow_links)
        chosen = split_indices([view.name for view in views], split, llffhold, where=self.colmap_folder)
        super().__init__([views[index] for index in chosen], load_mask, load_depth, limits)

    @property
    def raw_cameras(self) -> list[ColmapCamera]:
        """The cameras without their pixels."""
        return [_raw_camera(view) for view in self.views]

    def scene_extent(self) -> float:
        """1.1 times the distance of the farthest camera from their mean; from the points when cameras stay in place."""
        if self._extent is None and self._points is None:
            points = read_points(find_model(self.colmap_folder))
            self._points = None if points is None else points.xyz
        return super().scene_extent()


def read_colmap_views(
    colmap_folder: PathLike,
    choices: ViewChoices | None = None,
    *,
    images: str = "images",
    depths: str | None = None,
    allow_links: bool = False,
) -> list[View]:
    """The views of a COLMAP scene that have a picture, by name."""
    choices = choices or ViewChoices()
    require_reduction(choices.resolution, choices.image_scale)
    root = Path(colmap_folder)
    if not root.is_dir():
        raise SceneError(f"{root}: no such folder; give the folder that holds `sparse` and `images`")
    model_folder = find_model(root)
    files = find_files(root, images, depths, choices.resolution, allow_links)
    scales_path = model_folder / "depth_params.json"
    use_scales = choices.load_depth and files.depth_folder is not None and scales_path.exists()
    scales = read_depth_scales(scales_path) if use_scales else ({}, set())
    return colmap_views(read_model(model_folder, with_points=False), model_folder, files, choices, scales)


def read_colmap_cameras(colmap_folder: PathLike, load_mask: bool = True, load_depth: bool = True) -> list[ColmapCamera]:
    """The cameras of a COLMAP scene by name, without their pixels; paths that are not to be loaded are None."""
    choices = ViewChoices(load_mask=load_mask, load_depth=load_depth)
    return [_raw_camera(view) for view in read_colmap_views(colmap_folder, choices)]


def read_colmap_points3D(colmap_folder: PathLike) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Positions [M, 3] float64, colours [M, 3] from 0 to 255, and reprojection errors [M] (None from a .ply)."""
    folder = find_model(colmap_folder)
    points = read_points(folder)
    if points is None:
        raise SceneError(f"{folder}: no points3D.ply, .bin or .txt; start from random points with colmap_init")
    return points.xyz, points.rgb, None if (points.error < 0).all() else points.error


def _raw_camera(view: View) -> ColmapCamera:
    paths = (view.image_path, view.image_mask_path, view.depth_path, view.depth_mask_path)
    return ColmapCamera(
        view.height,
        view.width,
        focal2fov(view.fx, view.width),
        focal2fov(view.fy, view.height),
        view.R,
        view.T,
        *(None if path is None else path.as_posix() for path in paths),
        cx=view.cx,
        cy=view.cy,
    )  # pyright: ignore[reportCallIssue]
