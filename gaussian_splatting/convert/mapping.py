"""Poses and points, by pycolmap: incremental or global mapping, and what is known about the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gaussian_splatting.convert.worker import Report
from gaussian_splatting.io import storage

SAMPLED_POINTS = 2000


def run(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Map the database; the largest model goes, upright, to `job["model"]`. Facts about it, and sizes of all models."""
    models = Path(storage.make_folder(job["models"]))
    found = {"incremental": _incremental, "global": _global}[job["mapper"]](job, models, report)
    if not found:
        return {"models": []}
    ranked = sorted(found.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()), reverse=True)
    best = ranked[0]
    make_upright(best)
    best.update_point_3d_errors()  # the global mapper of some versions leaves them in units of its own
    best.write(storage.make_folder(job["model"]))
    others = [sorted(_registered(model)) for model in ranked[1:]]
    return {"models": [model.num_reg_images() for model in ranked], "others": others, **facts(best, job["seed"])}


def _incremental(job: dict[str, Any], models: Path, report: Report) -> dict[int, Any]:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = job["mapper_threads"]
    options.min_model_size = min(options.min_model_size, max(3, job["num_pictures"] // 3))
    for part in (options, options.mapper, options.triangulation):
        part.random_seed = job["seed"]
    placed = 2

    def count() -> None:
        nonlocal placed
        placed = min(placed + 1, job["num_pictures"])
        report(placed, job["num_pictures"])

    return pycolmap.incremental_mapping(job["database"], job["photos"], models, options, next_image_callback=count)


def _global(job: dict[str, Any], models: Path, report: Report) -> dict[int, Any]:
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = options.mapper.num_threads = job["mapper_threads"]
    options.mapper.bundle_adjustment.ceres.solver_options.num_threads = job["mapper_threads"]
    for part in (options, options.mapper, options.mapper.rotation_averaging, options.mapper.global_positioning,
                 options.mapper.retriangulation):  # fmt: skip
        part.random_seed = job["seed"]
    return pycolmap.global_mapping(job["database"], job["photos"], models, options)


def make_upright(model: Any) -> None:
    """Turn the world so that the mean of the cameras' down directions is its +y, as in the world of the first camera.

    Photos are taken upright, so this is the vertical; viewers and films then turn around it.
    """
    downs = [model.image(key).cam_from_world().rotation.matrix()[1] for key in sorted(model.reg_image_ids())]
    down = np.mean(downs, axis=0)
    if np.linalg.norm(down) < 0.2:  # the camera looked from all sides; there is no telling
        return
    down /= np.linalg.norm(down)
    forward = model.image(min(model.reg_image_ids())).cam_from_world().rotation.matrix()[2]
    right = np.cross(down, forward)
    if np.linalg.norm(right) < 1e-3:
        return
    right /= np.linalg.norm(right)
    rotation = np.stack([right, down, np.cross(right, down)])
    model.transform(pycolmap.Sim3d(np.column_stack([rotation, np.zeros(3)])))


def facts(model: Any, seed: int) -> dict[str, Any]:
    """What the judgement needs to know of a model."""
    return {
        "registered": _registered(model),
        "points": model.num_points3D(),
        "error": model.compute_mean_reprojection_error(),
        "track": model.compute_mean_track_length(),
        "angle": _median_angle(model, seed),
        "cameras": {str(key): _camera(camera) for key, camera in sorted(model.cameras.items())},
    }


def _registered(model: Any) -> dict[str, dict[str, Any]]:
    images = (model.image(key) for key in sorted(model.reg_image_ids()))
    return {
        image.name: {
            "center": [float(value) for value in image.projection_center()],
            "points": int(image.num_points3D),
            "camera": image.camera_id,
        }
        for image in images
    }


def _camera(camera: Any) -> dict[str, Any]:
    return {
        "model": camera.model_name, "width": camera.width, "height": camera.height,
        "fx": camera.focal_length_x, "fy": camera.focal_length_y,
        "cx": camera.principal_point_x, "cy": camera.principal_point_y,
        "bogus": camera.has_bogus_params(0.1, 10.0, 1.0),
    }  # fmt: skip


def _median_angle(model: Any, seed: int) -> float:
    """The median over points of the largest angle, in degrees, between the rays that see them."""
    keys = sorted(model.points3D)
    if len(keys) > SAMPLED_POINTS:
        chosen = np.random.default_rng(seed).choice(len(keys), SAMPLED_POINTS, replace=False)
        keys = [keys[index] for index in np.sort(chosen)]
    centers = {key: model.image(key).projection_center() for key in model.reg_image_ids()}
    angles = []
    for key in keys:
        point = model.point3D(key)
        rays = np.array([centers[element.image_id] - point.xyz for element in point.track.elements])
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        angles.append(float(np.degrees(np.arccos(np.clip((rays @ rays.T).min(), -1, 1)))))
    return float(np.median(angles)) if angles else 0.0
