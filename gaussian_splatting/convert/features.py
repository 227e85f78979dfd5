"""Features of the pictures, by pycolmap: SIFT, found in batches so that a killed conversion goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gaussian_splatting.convert.devices import device_of
from gaussian_splatting.convert.worker import Report


def run(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Put cameras, pictures and features into the database; features per picture, and focal lengths known before."""
    database = Path(job["database"])
    groups: list[dict[str, Any]] = job["groups"]
    files = [file for group in groups for file in group["files"]]
    _import(database, Path(job["photos"]), groups, files)
    ids, found = _state(database)
    masked = set(job["masked"])
    for mask_folder, wanted in ((job["masks"], masked), (None, set(files) - masked)):
        todo = [file for file in files if file in wanted and found[file] is None]
        _extract(database, job, todo, mask_folder, lambda done: report(done, len(files)), len(files) - len(todo))
    _, found = _state(database)
    skipped = [file for file in files if found[file] is None]
    if skipped:
        raise RuntimeError(f"no features were looked for in {', '.join(skipped[:8])}")
    with pycolmap.Database.open(database) as opened:
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
        priors = {str(key): cameras[key].mean_focal_length() for key in cameras if cameras[key].has_prior_focal_length}
        owners = {image.name: image.camera_id for image in opened.read_all_images()}
    return {"features": {file: found[file] or 0 for file in files}, "priors": priors, "cameras": owners, "ids": ids}


def _import(database: Path, photos: Path, groups: list[dict[str, Any]], files: list[str]) -> None:
    """Write cameras and pictures, one camera per group; pictures of a killed import are written anew."""
    if database.exists():
        with pycolmap.Database.open(database) as opened:
            known = {image.name for image in opened.read_all_images()}
        if known == set(files):
            return
        database.unlink()
    pycolmap.Database.open(database).close()
    for group in groups:
        options = pycolmap.ImageReaderOptions()
        options.camera_model = group["model"]
        if group["focal"] is not None:
            camera = pycolmap.Camera.create_from_model_name(
                1, group["model"], group["focal"], group["width"], group["height"]
            )
            options.camera_params = camera.params_to_string()
        pycolmap.import_images(database, photos, pycolmap.CameraMode.SINGLE, group["files"], options)


def _state(database: Path) -> tuple[dict[str, int], dict[str, int | None]]:
    """Of every picture its number, and how many features it has; None where they were not looked for."""
    with pycolmap.Database.open(database) as opened:
        images = opened.read_all_images()
        ids = {image.name: image.image_id for image in images}
        found = {
            image.name: opened.num_keypoints_for_image(image.image_id)
            if opened.exists_keypoints(image.image_id) and opened.exists_descriptors(image.image_id)
            else None
            for image in images
        }
    return ids, found


def _extract(
    database: Path, job: dict[str, Any], files: list[str], mask_folder: str | None, tick: Any, before: int
) -> None:
    reader, options = pycolmap.ImageReaderOptions(), pycolmap.FeatureExtractionOptions()
    if mask_folder is not None:
        reader.mask_path = mask_folder
    options.num_threads = job["threads"]
    options.sift.max_num_features = job["max_features"]
    batch = max(1, job["threads"]) * 2
    for start in range(0, len(files), batch):
        chosen = files[start : start + batch]
        pycolmap.extract_features(
            database, job["photos"], chosen, pycolmap.CameraMode.AUTO, reader, options, device_of(job["device"])
        )  # the cameras are in the database; SINGLE would skip pictures of other sizes in a batch
        tick(before + start + len(chosen))


def descriptors_of(opened: Any, image_id: int, most: int) -> np.ndarray:
    """The descriptors [M, 128] float32 of the features of largest scale, of unit length."""
    if not opened.exists_descriptors(image_id):
        return np.zeros((0, 128), np.float32)
    keypoints = opened.read_keypoints(image_id)
    values = np.asarray(opened.read_descriptors(image_id).data, np.float32)
    # COLMAP stores the affine shape [a11, a12, a21, a22] of a feature; its determinant is the squared scale.
    area = np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4])
    chosen = np.argsort(-area, kind="stable")[:most]
    values = values[chosen]
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
