"""Straight pictures: the distorted model and its pictures, by pycolmap, into those of pinhole cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gaussian_splatting.convert.masks import HALF
from gaussian_splatting.convert.worker import Report
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage

JPEG_QUALITY = 95


def run(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write `images/`, `masks/` and `sparse/` into `job["output"]`; the model has the names of the scene.

    Without `job["undistort"]` only the model is written. The result says which files belong to which picture.
    """
    output = Path(storage.make_folder(job["output"]))
    model = pycolmap.Reconstruction(job["model"])
    files = sorted(model.image(key).name for key in model.reg_image_ids())
    masked = [file for file in job["masked"] if file in set(files)]
    if job["undistort"]:
        batch, total = max(4, job["threads"] * 4), len(files) + len(masked)
        for start in range(0, len(files), batch):
            chosen = files[start : start + batch]
            pycolmap.undistort_images(
                output, job["model"], job["photos"], chosen, undistort_options=_options(), jpeg_quality=JPEG_QUALITY,
                num_threads=job["threads"],
            )  # fmt: skip
            report(start + len(chosen), total)
        for done, file in enumerate(masked, 1):
            _undistort_mask(model, file, Path(job["masks"]), Path(storage.make_folder(output / "masks")))
            report(len(files) + done, total)
        model = pycolmap.Reconstruction(output / "sparse")  # whole, whichever pictures the last call was for
    _rename(model, job["names"])
    model.write(storage.make_folder(output / "named"))
    return {"files": files, "masked": masked, "cameras": [_size(camera) for camera in model.cameras.values()]}


def _options() -> Any:
    options = pycolmap.UndistortCameraOptions()
    options.blank_pixels = 0.0
    return options


def _undistort_mask(model: Any, file: str, masks: Path, output: Path) -> None:
    source = masks / f"{file}.png"
    mask = pycolmap.Bitmap.read(source, as_rgb=False)
    if mask is None:
        raise SceneError(f"{source}: the mask cannot be read; remove the folder {masks.parent} and convert again")
    camera = model.find_image_with_name(file).camera
    if camera.is_undistorted():
        straight = mask
    else:
        values = pycolmap.undistort_image(_options(), mask, camera)[0].to_array()
        # Between the last pixel and the edge there is nothing to interpolate with, and 0 is what is written.
        values[-1], values[:, -1] = values[-2], values[:, -2]
        straight = pycolmap.Bitmap.from_array(np.where(values >= HALF, np.uint8(255), np.uint8(0)))
    straight.write(output / f"{file}.png")


def _rename(model: Any, names: dict[str, str]) -> None:
    for key in model.reg_image_ids():
        image = model.image(key)
        image.name = names[image.name]


def _size(camera: Any) -> list[int]:
    return [camera.width, camera.height]
