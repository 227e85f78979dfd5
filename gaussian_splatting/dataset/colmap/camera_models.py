"""The camera models of COLMAP: their numbers, names and parameters, and what to say about those that cannot be used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gaussian_splatting.errors import SceneError


@dataclass(frozen=True)
class CameraModel:
    """One projection: COLMAP's number and name for it, and its parameters in the order of the file."""

    id: int
    name: str
    parameters: tuple[str, ...]


def _models(*rows: tuple[int, str, str]) -> tuple[CameraModel, ...]:
    return tuple(CameraModel(number, name, tuple(parameters.split())) for number, name, parameters in rows)


# As listed by COLMAP 4.2 (src/colmap/sensor/models.h).
CAMERA_MODELS = _models(
    (0, "SIMPLE_PINHOLE", "f cx cy"),
    (1, "PINHOLE", "fx fy cx cy"),
    (2, "SIMPLE_RADIAL", "f cx cy k"),
    (3, "RADIAL", "f cx cy k1 k2"),
    (4, "OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    (5, "OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"),
    (6, "FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    (7, "FOV", "fx fy cx cy omega"),
    (8, "SIMPLE_RADIAL_FISHEYE", "f cx cy k"),
    (9, "RADIAL_FISHEYE", "f cx cy k1 k2"),
    (10, "THIN_PRISM_FISHEYE", "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1"),
    (11, "RAD_TAN_THIN_PRISM_FISHEYE", "fx fy cx cy k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3"),
    (12, "SIMPLE_DIVISION", "f cx cy k"),
    (13, "DIVISION", "fx fy cx cy k"),
    (14, "SIMPLE_FISHEYE", "f cx cy"),
    (15, "FISHEYE", "fx fy cx cy"),
    (16, "EUCM", "fx fy cx cy alpha beta"),
    (17, "EQUIRECTANGULAR", "w h"),
)
MODEL_OF_ID = {model.id: model for model in CAMERA_MODELS}
MODEL_OF_NAME = {model.name: model for model in CAMERA_MODELS}


def undistortion_commands(model_folder: str | os.PathLike[str]) -> str:
    """The two COLMAP commands that lead to a scene of pinhole cameras, for messages."""
    folder = Path(model_folder)
    scene = next((parent.parent for parent in (folder, *folder.parents) if parent.name == "sparse"), folder)
    images, undistorted = scene / "images", scene / "undistorted"
    return (
        f"  colmap image_undistorter --image_path {images} --input_path {folder} --output_path {undistorted}\n"
        f"and use {undistorted} as the scene; or reconstruct it again with pinhole cameras, beginning with\n"
        f"  colmap feature_extractor --image_path {images} --database_path {scene / 'database.db'} "
        "--ImageReader.camera_model PINHOLE"
    )


def unsupported_model_error(
    model_folder: str | os.PathLike[str],
    camera_id: int,
    model: str | int,
    reason: str = "its images must be undistorted",
) -> SceneError:
    """The error to raise about a camera whose model cannot be trained on: model, camera and the commands that help."""
    return SceneError(
        f"{os.fspath(model_folder)}: camera {camera_id} has the model {model}: {reason}. Run\n"
        + undistortion_commands(model_folder)
    )
