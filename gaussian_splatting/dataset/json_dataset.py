"""Cameras from a `cameras.json`, such as training writes beside its results."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaussian_splatting.camera import PATH_KEYS, Camera
from gaussian_splatting.dataset.dataset import ViewDataset
from gaussian_splatting.dataset.decode import read_header
from gaussian_splatting.dataset.json_cameras import resolve_path, view_of_entry
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.dataset.sizes import (
    reduced_picture,
    require_reduction,
    require_same_shape,
    same_shape,
    turned_size,
)
from gaussian_splatting.dataset.split import Split, split_indices
from gaussian_splatting.dataset.strict_json import JsonValue, read_json
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.paths import below_common_folder

PathLike = str | os.PathLike[str]


class JSONCameraDataset(ViewDataset):
    """The cameras of a `cameras.json` in its order, with the pictures that it names.

    Paths are seen from the file, else from `root`, else from the working directory. Pictures are opened only under the
    folder of the file, under `root`, or inside a scene (a folder with `sparse`, `transforms.json` or `cameras.json`). A
    picture of another size but the same shape is scaled to its camera. A missing picture is a `SceneError`, a missing
    mask or depth map a warning with a count; null or absent paths mean that there is none. `split`, `llffhold`,
    `resolution` and `image_scale` are as of COLMAP scenes, and apply to the sizes in the file.
    """

    def __init__(
        self,
        path: PathLike,
        load_mask: bool = True,
        load_depth: bool = True,
        *,
        root: PathLike | None = None,
        split: Split = "all",
        llffhold: int = 8,
        resolution: int | None = None,
        image_scale: float | None = None,
        limits: PictureLimits | None = None,
    ) -> None:
        limits = limits or PictureLimits()
        self.path = Path(path)
        require_reduction(resolution, image_scale)
        content = read_json(self.path, "cameras")
        views = _views(content, None if root is None else Path(root), load_mask, load_depth, limits)
        chosen = sorted(split_indices([view.name for view in views], split, llffhold, where=self.path))
        views = [_reduced(views[index], resolution, image_scale) for index in chosen]
        super().__init__(views, load_mask, load_depth, limits)
        self.json_cameras: list[dict[str, Any]] = [content.value[index] for index in chosen]

    def load_cameras(self, device: Any = None) -> list[Camera]:
        """All cameras with their pictures on a device, which stays the dataset's; its present one by default."""
        return self.to(self.device if device is None else device).cameras


def _reduced(view: View, resolution: int | None, image_scale: float | None) -> View:
    size = (view.width, view.height)
    return view.resized(*reduced_picture(view.image_path or view.name, size, resolution, image_scale))


def _views(
    content: JsonValue, root: Path | None, load_mask: bool, load_depth: bool, limits: PictureLimits
) -> list[View]:
    entries = content.items()
    if not entries:
        raise SceneError(f"{content.path}: no cameras in it; write it again with save_cameras")
    missing: Counter[str] = Counter()
    unread = {key for key, load in zip(PATH_KEYS, (True, load_mask, load_depth, load_depth), strict=True) if not load}
    folder = Path(content.path).absolute().parent
    views = []
    for entry in entries:
        paths = {key: None if key in unread else _path(entry, key, folder, root, missing) for key in PATH_KEYS}
        views.append(_fitted(view_of_entry(entry, paths), limits.max_pixels))
    for key, count in missing.items():
        warnings.warn(f"{content.path}: the {key} of {count} of {len(entries)} cameras do not exist", stacklevel=3)
    return _with_distinct_names(views)


def _path(entry: JsonValue, key: str, folder: Path, root: Path | None, missing: Counter[str]) -> Path | None:
    value = entry.get(key)
    if value is None or value.value is None:
        return None
    path = resolve_path(value, folder, root)
    if path.exists():
        return path
    if key == PATH_KEYS[0]:
        raise SceneError(
            f"{value.path}: {value.where}: {path} does not exist; move the pictures there, or pass root= with their "
            "folder"
        )
    missing[key] += 1
    return None


def _fitted(view: View, max_pixels: int) -> View:
    """The view with what its picture's header says; a picture of another shape than its camera is refused."""
    if view.image_path is None:
        return view
    header = read_header(view.image_path, max_pixels)
    stored, camera = (header.width, header.height), (view.width, view.height)
    if view.lens is not None:
        camera = (view.lens.width, view.lens.height)
    if not same_shape(stored, camera) and not same_shape(turned_size(stored, header.orientation), camera):
        raise SceneError(
            f"{view.image_path}: {stored[0]} x {stored[1]} pixels, but its camera has {camera[0]} x {camera[1]}: "
            "another shape; a cameras.json of undistorted views goes with the undistorted pictures"
        )
    for path in (view.image_mask_path, view.depth_path, view.depth_mask_path):
        if path is not None:
            map_header = read_header(path, max_pixels)
            require_same_shape(path, (map_header.width, map_header.height), stored)
    turn = 1 if same_shape(stored, camera) else header.orientation
    lens = view.lens if view.lens is None or turn != 1 or stored == camera else view.lens.scaled(*stored)
    return replace(view, stored_size=stored, has_alpha=header.has_alpha, turn=turn, lens=lens)


def _with_distinct_names(views: list[View]) -> list[View]:
    """Names from `img_name`; where sub-folders make them equal, the paths below their common folder instead."""
    if len({view.name for view in views}) == len(views):
        return views
    paths = [view.image_path for view in views if view.image_path is not None]
    if len(set(paths)) < len(views):
        return [replace(view, name=f"{index:05d}_{view.name}") for index, view in enumerate(views)]
    return [replace(view, name=name) for view, name in zip(views, below_common_folder(paths), strict=True)]
