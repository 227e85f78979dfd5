"""Camera paths as JSON files: key cameras to fly through, as the viewer saves them, or a list with every frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gaussian_splatting.camera import PATH_KEYS, Camera, json_entry
from gaussian_splatting.dataset.json_cameras import view_of_entry
from gaussian_splatting.dataset.strict_json import JsonValue, read_json
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.io import storage
from gaussian_splatting.rendering.camera_paths import through

FORMAT = "gaussian_splatting camera path"
MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class CameraPath:
    """A flight through key cameras. `closed` leads back to the first one."""

    keys: tuple[Camera, ...]
    seconds: float = 6.0
    fps: int = 30
    closed: bool = False
    every_frame: bool = False
    """Whether the keys are the frames themselves, as in a `cameras.json`."""

    def num_frames(self) -> int:
        """How many pictures the flight has."""
        return len(self.keys) if self.every_frame else max(1, round(self.seconds * self.fps))

    def cameras(self, frames: int | None = None) -> list[Camera]:
        """The cameras of the flight, without pictures. Raises SceneError when there are no keys.

        A list of all frames is not interpolated: asking it for another number of frames is a SceneError.
        """
        if not self.keys:
            raise SceneError("the camera path has no keys; add at least one")
        if not self.every_frame:
            return through(self.keys, frames or self.num_frames(), closed=self.closed)
        if frames not in (None, len(self.keys)):
            raise SceneError(f"the file lists every frame, {len(self.keys)} of them; leave --frames out")
        return list(self.keys)


def write_camera_path(path: str | os.PathLike[str], flight: CameraPath) -> None:
    """Write a camera path, atomically. Keys are entries of `cameras.json`: camera to world, OpenCV axes, pixels."""
    storage.write_json(path, camera_path_json(flight))


def camera_path_json(flight: CameraPath) -> dict[str, Any]:
    """What a camera path file holds."""
    return {
        "format": FORMAT,
        "version": 1,
        "seconds": flight.seconds,
        "fps": flight.fps,
        "closed": flight.closed,
        "keyframes": [_entry(index, key) for index, key in enumerate(flight.keys)],
    }


def read_camera_path(path: str | os.PathLike[str], device: Any = "cpu") -> CameraPath:
    """The camera path of a file of the viewer, or of a list of cameras such as `cameras.json`, one for each frame.

    Raises FormatError, which names the place in the file, when it is neither.
    """
    return parse_camera_path(read_json(os.fspath(path)), device)


def parse_camera_path(value: JsonValue, device: Any = "cpu") -> CameraPath:
    """The camera path of a JSON value; see `read_camera_path`."""
    if isinstance(value.value, list):
        flight = CameraPath(_cameras(value, device), every_frame=True)
    elif isinstance(value.value, dict) and "keyframes" in value.value:
        flight = _flight(value, device)
    else:
        raise value.fault("must be a camera path of the viewer (with 'keyframes'), or an array of cameras")
    if not flight.keys:
        raise value.fault("must hold at least one camera")
    return flight


def _flight(value: JsonValue, device: Any) -> CameraPath:
    flight = CameraPath(_cameras(value["keyframes"], device))
    if (seconds := value.get("seconds")) is not None:
        if not 0 < seconds.number() <= MOST_FRAMES:
            raise seconds.fault(f"must be above 0 and at most {MOST_FRAMES}")
        flight = replace(flight, seconds=seconds.number())
    if (fps := value.get("fps")) is not None:
        flight = replace(flight, fps=fps.integer(1, 1000))
    if (closed := value.get("closed")) is not None:
        if not isinstance(closed.value, bool):
            raise closed.fault("must be true or false")
        flight = replace(flight, closed=closed.value)
    if flight.num_frames() > MOST_FRAMES:
        raise value.fault(f"asks for {flight.num_frames()} frames, more than {MOST_FRAMES}")
    return flight


def _cameras(value: JsonValue, device: Any) -> tuple[Camera, ...]:
    return tuple(view_of_entry(entry, {}).camera(device, False, False) for entry in value.items())


def _entry(index: int, camera: Camera) -> dict[str, Any]:
    K, R, T = (float64_array(matrix) for matrix in (camera.K, camera.R, camera.T))
    intrinsics = (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
    nothing: dict[str, None] = dict.fromkeys(PATH_KEYS)
    entry = json_entry(index, camera.image_width, camera.image_height, intrinsics, R, T, nothing)
    return {key: item for key, item in entry.items() if key not in PATH_KEYS}


def same_size(cameras: Sequence[Camera]) -> bool:
    """Whether all cameras have pictures of one size, as the frames of a film must."""
    return len({(camera.image_width, camera.image_height) for camera in cameras}) <= 1
