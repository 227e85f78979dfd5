"""Renders every view and writes the scene in the layout that trainers read."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from demo_scene.cameras import View, camera_rig
from demo_scene.render import Geometry, render_geometry, render_picture
from demo_scene.sfm_cloud import Cloud, sfm_cloud
from demo_scene.solids import PackedScene
from demo_scene.still_life import packed_scene
from demo_scene.truth import description, surface_file, surface_sample
from gaussian_splatting.dataset.colmap.model import (
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    rotmat2qvec,
    write_model,
)
from gaussian_splatting.io.storage import write_atomically, write_json

DEPTH_SCALE = 900.0


class Photograph(NamedTuple):
    """One view with its picture as stored and its exact geometry."""

    view: View
    jpeg: bytes
    picture: np.ndarray  # [H, W, 3] uint8, before compression
    geometry: Geometry


def make_dataset(
    out: Path, width: int, samples_per_side: int, quality: int, threads: int, report: Callable[[str], None]
) -> None:
    """Write the whole scene into folder `out`: pictures, masks, depths, COLMAP model and truth."""
    scene = packed_scene()
    views = camera_rig(width, round(width * 3 / 4))
    take = partial(_photograph, scene, samples_per_side=samples_per_side, quality=quality)
    photographs = []
    with ThreadPoolExecutor(threads) as pool:
        for photograph in pool.map(take, views):
            photographs.append(photograph)
            report(f"{photograph.view.name}: {len(photograph.jpeg)} bytes")
    room = len(scene.solids) - 1
    for photograph in photographs:
        _write_photograph(out, photograph, room)
    cloud = sfm_cloud(views, [shot.picture for shot in photographs], [shot.geometry.depth for shot in photographs])
    write_model(out / "sparse" / "0", colmap_model(views, cloud))
    points, normals = surface_sample(views, [shot.geometry for shot in photographs], room)
    write_atomically(out / "truth" / "surface.npz", surface_file(points, normals))
    write_json(out / "truth" / "truth.json", description(views, DEPTH_SCALE, len(cloud.xyz), samples_per_side))


def _photograph(scene: PackedScene, view: View, samples_per_side: int, quality: int) -> Photograph:
    picture = np.round(255.0 * render_picture(scene, view, samples_per_side)).astype(np.uint8)
    stream = io.BytesIO()
    # Full colour resolution: the fine red and blue edges would bleed otherwise.
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0, optimize=True, progressive=True)
    return Photograph(view, stream.getvalue(), picture, render_geometry(scene, view))


def _write_photograph(out: Path, photograph: Photograph, room: int) -> None:
    stem = photograph.view.name.removesuffix(".jpg")
    geometry = photograph.geometry
    write_atomically(out / "images" / photograph.view.name, photograph.jpeg)
    foreground = np.where(geometry.solid != room, 255, 0).astype(np.uint8)
    write_atomically(out / "images" / f"{stem}_mask.png", _png(foreground))
    write_atomically(out / "depths" / f"{stem}.png", _png(np.round(DEPTH_SCALE / geometry.depth).astype(np.uint16)))


def _png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG", optimize=True, progressive=True)
    return stream.getvalue()


def colmap_model(views: list[View], cloud: Cloud) -> ColmapModel:
    """The cameras, poses and points as COLMAP stores them; all views share one camera."""
    first = views[0]
    camera = ColmapCamera(1, "PINHOLE", first.width, first.height, (*first.focal, *first.principal))
    images = {number: _colmap_image(number, view) for number, view in enumerate(views, start=1)}
    ids = np.arange(1, len(cloud.xyz) + 1, dtype=np.uint64)
    return ColmapModel({1: camera}, images, ColmapPoints(ids, cloud.xyz, cloud.rgb, cloud.error))


def _colmap_image(number: int, view: View) -> ColmapImage:
    w, x, y, z = map(float, rotmat2qvec(view.camera_from_world[:, :3]))
    right, down, forward = map(float, view.camera_from_world[:, 3])
    return ColmapImage(number, (w, x, y, z), (right, down, forward), 1, view.name)
