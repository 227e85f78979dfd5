"""From a COLMAP model and the files beside it to views: which picture, which size, which lens, which maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaussian_splatting.dataset.colmap.files import SceneFiles
from gaussian_splatting.dataset.colmap.model import ColmapCamera as StoredCamera
from gaussian_splatting.dataset.colmap.model import (
    ColmapImage,
    ColmapModel,
    qvec2rotmat,
    unsupported_model_error,
)
from gaussian_splatting.dataset.lenses import LENS_MODELS, Lens
from gaussian_splatting.dataset.view import View
from gaussian_splatting.dataset.view_pictures import (
    Findings,
    ViewChoices,
    require_pictures,
    say_maps,
    with_maps,
    with_picture,
)
from gaussian_splatting.errors import SceneError


def colmap_views(
    model: ColmapModel,
    model_folder: Path,
    files: SceneFiles,
    choices: ViewChoices,
    depth_scales: tuple[dict[str, tuple[float, float]], set[str]] = ({}, set()),
) -> list[View]:
    """The views of a model in the order of their names. Views without a picture are listed in the log and left out."""
    images = sorted(model.images.values(), key=lambda image: image.name)
    paths = {image.name: files.picture(image.name) for image in images}
    _require_pictures(paths, files, choices.strict)
    lenses = {id: lens_of(model.cameras[id], model_folder) for id in {image.camera_id for image in images}}
    findings = Findings()
    views = []
    for image in images:
        path = paths[image.name]
        if path is not None:
            camera = model.cameras[image.camera_id]
            view = with_picture(
                _view(image, camera), lenses[camera.id], path, files.is_reduced(path), choices, findings
            )
            views.append(_with_files(view, files, choices, depth_scales, findings))
    findings.say(len(views))
    say_maps(views, files.depth_folder if choices.load_depth else None)
    return views


def lens_of(camera: StoredCamera, model_folder: Path) -> Lens:
    """The lens of a COLMAP camera; a `SceneError` with the commands to run when its model is not supported."""
    if camera.model not in LENS_MODELS:
        supported = ", ".join(LENS_MODELS)
        raise unsupported_model_error(model_folder, camera.id, camera.model, f"supported are {supported}")
    return Lens(camera.model, camera.width, camera.height, tuple(map(float, camera.params)))


def _view(image: ColmapImage, camera: StoredCamera) -> View:
    """The pose of an image, with intrinsics still to come."""
    rotation, translation = qvec2rotmat(image.qvec), np.array(image.tvec)
    return View(image.name, camera.width, camera.height, 1.0, 1.0, 0.0, 0.0, rotation, translation)


def _with_files(
    view: View,
    files: SceneFiles,
    choices: ViewChoices,
    depth_scales: tuple[dict[str, tuple[float, float]], set[str]],
    findings: Findings,
) -> View:
    """The view with the mask and the depth map that lie in the folders of the scene."""
    mask = files.mask(view.name) if choices.load_mask else None
    depth, depth_mask = files.depth(view.name) if choices.load_depth else (None, None)
    scales, unreliable = depth_scales
    stem = view.name.rsplit(".", 1)[0]
    if depth is not None and stem in unreliable:
        findings.add("unreliable", view.name)
        depth, depth_mask = None, None
    view = with_maps(view, (mask, depth, depth_mask), choices, findings)
    return view if depth is None else replace(view, depth_scale=scales.get(stem))


def _require_pictures(paths: Mapping[str, Path | None], files: SceneFiles, strict: bool) -> None:
    if not paths:
        raise SceneError(f"{files.root}: the model has no images; run the reconstruction again")
    looked = " and ".join(str(folder) for folder in files.picture_folders)
    require_pictures(paths, looked, "put them there, or name their folder with images= in Python", strict)
