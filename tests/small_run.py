"""A small scene on disk and a finished run of it, whose splat is exactly what the photos show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.dataset.colmap.model import ColmapModel, write_model
from gaussian_splatting.dataset.colmap.records import ColmapCamera, ColmapImage, ColmapPoints, rotmat2qvec
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.rendering.picture_files import encode_picture, to_bytes
from gaussian_splatting.rendering.scene_frame import looking
from gaussian_splatting.runs.folder import RunFolder

WIDTH, HEIGHT, FOCAL = 48, 36, 50.0
UP = np.array([0.0, 0.0, 1.0])


def ring_cameras(count: int, *, arc: float = 2 * math.pi, height: float = 1.0, radius: float = 4.0) -> list[Camera]:
    """Cameras on a ring at `height` that look at the origin, z up."""
    cameras = []
    for angle in np.arange(count) * arc / count:
        center = np.array([radius * math.cos(angle), radius * math.sin(angle), height])
        rotation = looking(center, np.zeros(3), UP)
        cameras.append(pinhole_camera(HEIGHT, WIDTH, FOCAL, FOCAL, rotation.T, -rotation.T @ center))
    return cameras


def splat() -> GaussianModel:
    """Eighty coloured Gaussians around the origin."""
    generator = torch.Generator().manual_seed(3)
    points = torch.rand((80, 3), generator=generator) * 2 - 1
    return GaussianModel(1, backend="reference").create_from_pcd(points, torch.rand((80, 3), generator=generator))


def make_scene(folder: Path, model: GaussianModel, count: int = 9, masked: tuple[int, ...] = ()) -> Path:
    """A COLMAP folder whose photos are renders of `model`; the left half of the `masked` views is masked out."""
    cameras, images = ring_cameras(count), {}
    (folder / "images").mkdir(parents=True)
    for index, camera in enumerate(cameras):
        name = f"view {index}.png"
        with torch.no_grad():
            pixels = to_bytes(model(camera)["render"])
        if index in masked:
            pixels[:, : WIDTH // 2] = 255  # what the mask hides does not agree with the splat
            mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
            mask[:, : WIDTH // 2] = 0
            (folder / "images" / f"view {index}_mask.png").write_bytes(encode_picture(mask))
        (folder / "images" / name).write_bytes(encode_picture(pixels))
        quaternion = tuple(float(value) for value in rotmat2qvec(camera.R.double().numpy()))
        translation = tuple(float(value) for value in camera.T)
        images[index + 1] = ColmapImage(index + 1, quaternion, translation, 1, name)
    xyz = model.get_xyz.detach().double().numpy()
    points = ColmapPoints(
        np.arange(len(xyz), dtype=np.uint64), xyz, np.full((len(xyz), 3), 128, np.uint8), np.zeros(len(xyz))
    )
    lens = ColmapCamera(1, "PINHOLE", WIDTH, HEIGHT, (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
    write_model(folder / "sparse" / "0", ColmapModel({1: lens}, images, points))
    return folder


def make_run(folder: Path, *, masked: tuple[int, ...] = (), **settings: object) -> RunFolder:
    """A scene in `folder/scene` and a run of it in `folder/run`, finished at step 30."""
    model, run = splat(), RunFolder(folder / "run")
    scene = make_scene(folder / "scene", model, masked=masked)
    model.save_ply(run.point_cloud(30))
    values: dict[str, object] = {"source": str(scene), "mode": "base", "sh_degree": 1, "iterations": 30, "eval": False}
    run.write_settings(**(values | settings))
    return run
