"""The entries of `cameras.json`: checked one value at a time, and turned into views."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gaussian_splatting.camera import PATH_KEYS
from gaussian_splatting.dataset.lenses import LENS_MODELS, Lens
from gaussian_splatting.dataset.strict_json import JsonValue
from gaussian_splatting.dataset.view import AlphaUse, View
from gaussian_splatting.errors import FormatError

LARGEST_SIDE = 1_000_000
ROTATION_TOLERANCE = 1e-3
SCENE_MARKS = ("sparse", "transforms.json", "transforms_train.json", "cameras.json")
"""A folder that holds one of these is a scene, and the pictures under it belong to the scene."""


def view_of_entry(entry: JsonValue, path_of: Mapping[str, Path | None]) -> View:
    """The view of one entry, whose paths were resolved to `path_of`. `cx` and `cy` default to the middle."""
    width, height = entry["width"].integer(1, LARGEST_SIDE), entry["height"].integer(1, LARGEST_SIDE)
    fx, fy = _positive(entry["fx"]), _positive(entry["fy"])
    cx, cy = _optional(entry, "cx"), _optional(entry, "cy")
    rotation = _rotation(entry["rotation"])
    exposure = _optional(entry, "exposure")
    depth_scale = _optional(entry, "depth_scale")
    depth_unit = _optional(entry, "depth_unit")
    image, mask, depth, depth_mask = (path_of.get(key) for key in PATH_KEYS)
    return View(
        _name(entry, path_of),
        width,
        height,
        fx,
        fy,
        width / 2 if cx is None else cx.number(),
        height / 2 if cy is None else cy.number(),
        rotation.T,
        -rotation.T @ entry["position"].array(3),
        image,
        mask,
        depth,
        depth_mask,
        lens=_lens(_optional(entry, "lens")),
        depth_scale=None if depth_scale is None else (float(depth_scale.array(2)[0]), float(depth_scale.array(2)[1])),
        depth_unit=None if depth_unit is None else _positive(depth_unit),
        # Whether the file still has an alpha channel is known once its header is read.
        alpha=_alpha(_optional(entry, "alpha")),
        has_alpha=_optional(entry, "alpha") is not None,
        exposure=None if exposure is None else exposure.array(3, 4),
    )


def paths_as_given(entry: JsonValue) -> dict[str, Path | None]:
    """The paths of an entry as they stand in it; what is absent or null is None."""
    values = {key: entry.get(key) for key in PATH_KEYS}
    return {key: None if value is None or value.value is None else Path(value.text()) for key, value in values.items()}


def entry_of_dict(camera_dict: Mapping[str, Any]) -> JsonValue:
    """A dict in memory as a checked entry."""
    return JsonValue(dict(camera_dict), "camera", "camera_dict")


def resolve_path(value: JsonValue, json_folder: Path, root: Path | None) -> Path:
    """The file that a path of the JSON means: seen from the JSON file, else from the working directory.

    Only files that belong to the JSON file or to a scene are opened: those under its folder, under `root`, or under a
    folder that holds `sparse`, `transforms.json` or `cameras.json`. Symbolic links are followed before that is decided.
    The first candidate is returned when none exists, so that the message can name it.
    """
    text = value.text()
    candidates = [
        Path(os.path.abspath(folder / text)) for folder in (json_folder, *([root] if root else []), Path.cwd())
    ]
    path = next((candidate for candidate in candidates if _exists(candidate)), candidates[0])
    if not _belongs(path, json_folder, root):
        raise value.fault(
            f"leads to {path}, outside the folder of the file and of any scene (a folder with "
            f"{', '.join(SCENE_MARKS)}); pass root= with the folder of the pictures if you trust this file"
        )
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def _belongs(path: Path, json_folder: Path, root: Path | None) -> bool:
    real = Path(os.path.realpath(path))
    trusted = [Path(os.path.realpath(folder)) for folder in (json_folder, *([root] if root else []))]
    if any(folder in real.parents for folder in trusted):
        return True
    return any(_exists(folder / mark) for folder in list(real.parents)[:10] for mark in SCENE_MARKS)


def _optional(entry: JsonValue, key: str) -> JsonValue | None:
    """The value of a key; None when it is absent or null."""
    value = entry.get(key)
    return None if value is None or value.value is None else value


def _lens(value: JsonValue | None) -> Lens | None:
    """The distorted lens that took the picture, when the view is undistorted from it."""
    if value is None:
        return None
    model = value["model"].text()
    if model not in LENS_MODELS:
        raise value["model"].fault(f"must be one of {', '.join(LENS_MODELS)}")
    width, height = value["width"].integer(1, LARGEST_SIDE), value["height"].integer(1, LARGEST_SIDE)
    num_params = LENS_MODELS[model].num_focals + 2 + LENS_MODELS[model].num_coefficients
    return Lens(model, width, height, tuple(value["params"].array(num_params).tolist()))


def _alpha(value: JsonValue | None) -> AlphaUse:
    """What the alpha channel of the picture means."""
    if value is None:
        return "mask"
    match value.text():
        case "mask":
            return "mask"
        case "composite":
            return "composite"
    raise value.fault("must be 'mask' or 'composite'")


def _positive(value: JsonValue) -> float:
    number = value.number()
    if number <= 0:
        raise value.fault("must be positive")
    return number


def _rotation(value: JsonValue) -> np.ndarray:
    """A camera-to-world rotation [3, 3]."""
    rotation = value.array(3, 3)
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise FormatError(
            f"{value.path}: {value.where} must be a rotation; its columns are off by {error:.3g}, its determinant is "
            f"{np.linalg.det(rotation):.3g}; correct the file"
        )
    return rotation


def _name(entry: JsonValue, path_of: Mapping[str, Path | None]) -> str:
    name = _optional(entry, "img_name")
    if name is not None:
        return name.text()
    path = path_of.get(PATH_KEYS[0])
    return path.name if path is not None else entry.where
