"""cameras.bin and images.bin of COLMAP, read within bounds and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from gaussian_splatting.dataset.colmap.camera_models import MODEL_OF_ID, MODEL_OF_NAME, undistortion_commands
from gaussian_splatting.dataset.colmap.records import (
    LONGEST_NAME,
    ColmapCamera,
    ColmapImage,
    fault_of_camera,
    fault_of_name,
    fault_of_pose,
    normalised,
)
from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import Reader

COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<IiQQ")  # id, model, width, height; then the parameters
IMAGE = struct.Struct("<I7dI")  # id, qvec, tvec, camera; then the name and the observations
_SMALLEST_CAMERA = _CAMERA.size + 2 * 8
_SMALLEST_IMAGE = IMAGE.size + 1 + 8  # the NUL of its name, the number of observations
_OBSERVATION_SIZE = 24  # x, y, point id


def parse_cameras_binary(reader: Reader) -> dict[int, ColmapCamera]:
    """The cameras by id, in the order of the file."""
    cameras: dict[int, ColmapCamera] = {}
    for _ in range(reader.count(_SMALLEST_CAMERA, "cameras")):
        start = reader.offset
        camera_id, model_id, width, height = reader.unpack(_CAMERA, "a camera")
        model = MODEL_OF_ID.get(model_id)
        if model is None:
            raise _unknown_model(reader, start + 4, camera_id, model_id)
        params = reader.unpack(struct.Struct(f"<{len(model.parameters)}d"), f"the parameters of camera {camera_id}")
        camera = ColmapCamera(camera_id, model.name, width, height, params)
        fault = fault_of_camera(camera)
        if fault is not None:
            raise reader.error("a usable camera", f"camera {camera_id} ({model.name}) that {fault}", offset=start)
        if camera_id in cameras:
            raise reader.error("cameras of different ids", f"camera {camera_id} twice", offset=start)
        cameras[camera_id] = camera
    reader.finish()
    return cameras


def parse_images_binary(reader: Reader) -> dict[int, ColmapImage]:
    """The images by id, in the order of the file; their observations are passed over."""
    images: dict[int, ColmapImage] = {}
    names: dict[str, int] = {}
    for _ in range(reader.count(_SMALLEST_IMAGE, "images")):
        start = reader.offset
        image_id, *pose, camera_id = reader.unpack(IMAGE, "an image")
        name = reader.string(LONGEST_NAME, f"the name of image {image_id}")
        fault = fault_of_name(name) or fault_of_pose(pose[:4], pose[4:])
        if fault is not None:
            raise reader.error("a usable image", f"image {image_id} ({name!r}) that {fault}", offset=start)
        if image_id in images:
            raise reader.error("images of different ids", f"image {image_id} twice ({name!r})", offset=start)
        if name in names:
            raise reader.error("images of different names", f"{name!r}: images {names[name]}, {image_id}", offset=start)
        num_observations = reader.count(_OBSERVATION_SIZE, f"observations of image {image_id} ({name!r})")
        reader.skip(num_observations * _OBSERVATION_SIZE)
        names[name] = image_id
        images[image_id] = ColmapImage(image_id, normalised(pose[:4]), (pose[4], pose[5], pose[6]), camera_id, name)
    reader.finish()
    return images


def format_cameras_binary(cameras: Iterable[ColmapCamera]) -> bytes:
    """The content of a cameras.bin."""
    records = [
        _CAMERA.pack(camera.id, MODEL_OF_NAME[camera.model].id, camera.width, camera.height)
        + struct.pack(f"<{len(camera.params)}d", *camera.params)
        for camera in cameras
    ]
    return COUNT.pack(len(records)) + b"".join(records)


def format_images_binary(images: Iterable[ColmapImage]) -> bytes:
    """The content of an images.bin, without observations."""
    records = [
        IMAGE.pack(image.id, *image.qvec, *image.tvec, image.camera_id)
        + image.name.encode("utf-8")
        + b"\0"
        + COUNT.pack(0)
        for image in images
    ]
    return COUNT.pack(len(records)) + b"".join(records)


def _unknown_model(reader: Reader, offset: int, camera_id: int, model_id: int) -> FormatError:
    damage = reader.error(f"a camera model 0 to {max(MODEL_OF_ID)}", f"{model_id} (camera {camera_id})", offset=offset)
    commands = undistortion_commands(Path(reader.path).parent)
    return FormatError(f"{damage}. If a newer COLMAP wrote it, run there\n{commands}")
