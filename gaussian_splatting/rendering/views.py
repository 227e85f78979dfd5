"""Rendering the cameras of a dataset into a folder of pictures, depth maps and metrics."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.paths import below_common_folder
from gaussian_splatting.rendering.perceptual import LpipsChoice, Perceptual, find_lpips
from gaussian_splatting.rendering.picture_files import depth_picture, encode_picture, encode_tiff, to_bytes
from gaussian_splatting.rendering.quality import ViewQuality, measure, per_view, quality_csv, summary
from gaussian_splatting.runs.folder import move_aside

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel

__all__ = ["encode_picture", "existing_results", "rendering", "replaced_folder"]


@torch.no_grad()  # not inference mode: the cameras may be kept by a dataset that is trained on later
def rendering(
    dataset: CameraDataset,
    gaussians: GaussianModel,
    save: str | os.PathLike[str],
    save_pcd: bool = False,
    rescale_depth_gt: bool = True,
    *,
    lpips: LpipsChoice = "auto",
    show_progress: bool = False,
    details: dict[str, Any] | None = None,
) -> list[ViewQuality]:
    """Render every camera of `dataset` into the folder `save`, which must not hold results yet; give their metrics.

    Written: `renders/%05d.png`, `renders/%05d_invdepth.tiff` (float32) and `renders/%05d_depth.png` (to look at);
    `gt/%05d.png` and, for masked views, `gt/%05d_mask.png`; `cameras.json`, `quality.csv`, `per_view.json` and
    `results.json` (with `details` put in). Numbers count the cameras of the dataset, so no two views share a file.
    With `save_pcd` also coloured points in world coordinates, `renders/%05d.ply`, and of the depth maps, `gt/%05d.ply`.
    Metrics are those of the 8-bit pictures as saved. Pictures of the dataset are never changed.
    """
    target = Path(save)
    if existing_results(target):
        raise SplatError(f"{target}: already holds rendered views; choose another folder")
    metric, note = find_lpips(lpips, gaussians.get_xyz.device)
    dataset.save_cameras(target / "cameras.json")
    found: list[ViewQuality] = []
    for index, camera in _with_progress(dataset, show_progress):
        out = gaussians(camera)
        found += render_view(target, index, camera, out, metric)
        if save_pcd:
            save_points(target, index, camera, out, rescale_depth_gt)
    found = _named_by_image(found)
    write_results(
        target, found, {"rendered_views": len(dataset), "num_gaussians": len(gaussians)} | (details or {}), note
    )
    return found


def render_view(
    target: Path, index: int, camera: Camera, out: dict[str, Any], lpips: Perceptual | None
) -> list[ViewQuality]:
    """Write the files of one view; its metrics, if it has a photo."""
    name = f"{index:05d}"
    picture, inverse_depth = to_bytes(out["render"]), out["invdepth"][0].float().cpu().numpy()
    storage.write_atomically(target / "renders" / f"{name}.png", encode_picture(picture))
    storage.write_atomically(target / "renders" / f"{name}_invdepth.tiff", encode_tiff(inverse_depth))
    storage.write_atomically(target / "renders" / f"{name}_depth.png", encode_picture(depth_picture(inverse_depth)))
    if camera.ground_truth_image is None:
        return []
    truth, mask = to_bytes(camera.ground_truth_image), _mask_bytes(camera)
    storage.write_atomically(target / "gt" / f"{name}.png", encode_picture(truth))
    if mask is not None:
        storage.write_atomically(target / "gt" / f"{name}_mask.png", encode_picture(mask))
    weights = None if mask is None else mask.astype(np.float32) / 255
    return [measure(name, picture, truth, weights, lpips, camera.ground_truth_image_path)]


def _named_by_image(views: list[ViewQuality]) -> list[ViewQuality]:
    """The views with the names of their images in place of the paths: below the folder that holds all of them."""
    paths = [view.image for view in views if view.image is not None]
    names = dict(zip(paths, below_common_folder([Path(path) for path in paths]), strict=True))
    return [view if view.image is None else replace(view, image=names[view.image]) for view in views]


def save_points(target: Path, index: int, camera: Camera, out: dict[str, Any], rescale_depth_gt: bool) -> None:
    """Write the points of one view, and those of its depth map if it has one."""
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.rendering.depth_points import build_pcd_rescale

    name, truth, depth = f"{index:05d}", camera.ground_truth_image, camera.ground_truth_depth
    # Where the render is half transparent, its expected depth lies between surfaces.
    opaque = (out["alpha"][0] > 0.5).float()
    inverse = GaussianModel.inverse_depth(out["depth"]) * opaque
    mask = camera.ground_truth_depth_mask
    given = torch.zeros_like(inverse) if depth is None else depth
    valid = opaque if mask is None or depth is None else opaque * mask
    photo = out["render"] if truth is None else truth
    cloud, cloud_gt, rescaled = build_pcd_rescale(
        out["render"], photo, inverse, given, valid, camera.K, rescale_depth_gt and depth is not None
    )
    _write_points(target / "renders" / f"{name}.ply", cloud.in_world(camera))
    if depth is not None:
        _write_points(target / "gt" / f"{name}.ply", cloud_gt.in_world(camera))
        storage.write_atomically(target / "gt" / f"{name}_invdepth.tiff", encode_tiff(rescaled.float().cpu().numpy()))


def write_results(target: Path, views: list[ViewQuality], details: dict[str, Any], lpips_note: str) -> dict[str, Any]:
    """Write `quality.csv`, `per_view.json` and `results.json`, and give what the last one holds."""
    from gaussian_splatting.environment import versions

    results = summary(views) | {"lpips_network": lpips_note, "measured_on": "8-bit pictures as saved"} | details
    if results["lpips"] is None:
        results |= {"lpips_network": None, "lpips_note": lpips_note}
    results["versions"] = versions()
    storage.write_text(target / "quality.csv", quality_csv(views))
    storage.write_json(target / "per_view.json", per_view(views))
    storage.write_json(target / "results.json", results)
    return results


def existing_results(folder: Path) -> bool:
    """Whether a folder holds anything that rendering would write."""
    return any((folder / name).exists() for name in ("renders", "gt", "quality.csv", "results.json"))


@contextmanager
def replaced_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new folder to fill, which takes the name `target` once it is whole.

    A folder that is there already is refused, or with `overwrite` kept until then and removed after. On an error, or
    when the process is killed, it stays as it was; the unfinished folder is called `<target>.partial`.
    """
    if target.exists() and not overwrite:
        raise SplatError(f"{target}: is there already; give --overwrite to replace it once the new one is whole")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed; never a result
    yield storage.make_folder(partial)
    old = move_aside(target) if target.exists() else None
    os.rename(partial, target)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _with_progress(dataset: CameraDataset, show: bool) -> Iterator[tuple[int, Camera]]:
    from tqdm import tqdm

    for index in tqdm(range(len(dataset)), desc="rendering", unit="view", disable=not show, mininterval=0.5):
        yield index, dataset[index]


def _mask_bytes(camera: Camera) -> NDArray[np.uint8] | None:
    if camera.ground_truth_image_mask is None:
        return None
    return (camera.ground_truth_image_mask.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()


def _write_points(path: Path, cloud: Any) -> None:
    from gaussian_splatting.io.ply import write_point_cloud

    colors = (cloud.colors.clamp(0, 1) * 255).round().byte().cpu().numpy()
    write_point_cloud(path, cloud.points.float().cpu().numpy(), colors)
