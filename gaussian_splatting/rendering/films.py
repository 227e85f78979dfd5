"""Films and picture series along camera paths, one for each look, from one rendering of every frame."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gaussian_splatting.dataset.sizes import reduced_size, require_reduction
from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.rendering.camera_path_file import CameraPath, camera_path_json, read_camera_path, same_size
from gaussian_splatting.rendering.camera_paths import PATHS, resized
from gaussian_splatting.rendering.looks import Look, Range, film_depth_range, picture_of
from gaussian_splatting.rendering.picture_files import encode_picture

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.rendering.picture_files import Bytes

DEFAULT_FRAMES, DEFAULT_FPS = 120, 30
_WAITING = 4  # rendered frames that an encoder may be behind
_END = object()

Size = int | tuple[int, int] | None
"""Of the pictures: a divisor or a width as `-r` takes them, (width, height), or None for that of the cameras."""


@dataclass(frozen=True)
class Film:
    """The cameras of every frame, and how fast they follow each other."""

    cameras: list[Camera]
    fps: int


def is_path_file(path: str) -> bool:
    """Whether `--path` names a file, rather than a kind of path."""
    return path.lower().endswith(".json")


def plan_film(
    path: str | None, cameras: Sequence[Camera], *, frames: int | None = None, fps: int | None = None, size: Size = None
) -> Film:
    """The frames of a film: along the path `path` (a name of `PATHS`, or a file), or of `cameras` in their order.

    `size` of (width, height) keeps the vertical field of view; a number scales the size that a file gives. Raises
    SplatError for an unknown path, and when the frames differ in size.
    """
    if path is None:
        chosen, rate = list(cameras), DEFAULT_FPS
    elif is_path_file(path):
        device = cameras[0].K.device if cameras else "cpu"
        flight = read_camera_path(path, device)
        background = {"bg_color": cameras[0].bg_color} if cameras else {}
        chosen = [_scaled(camera._replace(**background), size) for camera in flight.cameras(frames)]
        rate = flight.fps
    elif path in PATHS:
        chosen, rate = PATHS[path](cameras, DEFAULT_FRAMES if frames is None else frames), DEFAULT_FPS
    else:
        raise SplatError(f"--path {path!r}: use one of {', '.join(PATHS)}, or a .json file of the viewer")
    if isinstance(size, tuple):
        chosen = [resized(camera, *size) for camera in chosen]
    if not same_size(chosen):
        raise SceneError("the cameras have pictures of different sizes; give one for all: --resolution 1280x720")
    return Film(chosen, fps or rate)


def _scaled(camera: Camera, size: Size) -> Camera:
    if size is None or isinstance(size, tuple):
        return camera
    require_reduction(size, None)
    return resized(camera, *reduced_size((camera.image_width, camera.image_height), size, None))


def film_names(video: Path, looks: Sequence[Look]) -> dict[Look, Path]:
    """Where the film of each look lies: the first has the name itself, the others `<name>_<look>`."""
    names: dict[Look, Path] = {look: video.with_name(f"{video.stem}_{look}{video.suffix}") for look in looks}
    names[looks[0]] = video
    return names


def write_films(
    gaussians: GaussianModel, film: Film, outputs: Mapping[Look, Path], *, show_progress: bool = False
) -> list[Path]:
    """Render every frame once and write a film of each look, atomically; the paths of the files (see `write_video`)."""
    depths = film_depth_range(gaussians, film.cameras) if "depth" in outputs else None
    encoders: dict[Look, _Encoder] = {look: _Encoder(path, film.fps) for look, path in outputs.items()}
    try:
        for pictures in _frames(gaussians, film.cameras, list(outputs), depths, show_progress):
            for look, encoder in encoders.items():
                encoder.put(pictures[look])
    except BaseException as error:
        for encoder in encoders.values():
            encoder.give_up(error)
        raise
    for encoder in encoders.values():
        encoder.end()
    return [encoder.written() for encoder in encoders.values()]


def write_pictures(
    gaussians: GaussianModel, film: Film, folder: Path, looks: Sequence[Look], *, show_progress: bool = False
) -> Path:
    """Render every frame into `%05d.png` and `%05d_<look>.png`, with the cameras in `cameras.json`; the folder."""
    depths = film_depth_range(gaussians, film.cameras) if "depth" in looks else None
    frames = _frames(gaussians, film.cameras, looks, depths, show_progress)
    for index, pictures in enumerate(frames):
        names = film_names(Path(f"{index:05d}.png"), looks)
        for look, name in names.items():
            storage.write_atomically(folder / name, encode_picture(pictures[look]))
    entries = camera_path_json(CameraPath(tuple(film.cameras), every_frame=True))["keyframes"]
    storage.write_json(folder / "cameras.json", entries)
    return folder


def _frames(
    gaussians: GaussianModel, cameras: Sequence[Camera], looks: Sequence[Look], depths: Range | None, progress: bool
) -> Iterator[dict[Look, Bytes]]:
    from tqdm import tqdm

    for camera in tqdm(cameras, desc="rendering", unit="frame", disable=not progress, mininterval=0.5):
        with torch.no_grad():
            out = gaussians(camera)
            yield {look: picture_of(out, camera, look, depths) for look in looks}


class _Encoder:
    """Writes one film on a thread of its own, so that several can be written while frames are rendered."""

    def __init__(self, path: Path, fps: float) -> None:
        self._pictures: queue.Queue[object] = queue.Queue(_WAITING)
        self._path, self._fps = path, fps
        self._written: Path | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name=f"film {path.name}", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        from gaussian_splatting.video import write_video

        try:
            self._written = write_video(self._path, self._arriving(), self._fps)
        except BaseException as error:
            self._error = error

    def _arriving(self) -> Iterator[Bytes]:
        while (item := self._pictures.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item  # pyright: ignore[reportReturnType]

    def put(self, picture: Bytes) -> None:
        """Hand over the next frame; raises the error of an encoder that has failed."""
        self._send(picture)
        if self._error is not None:
            raise self._error

    def _send(self, item: object) -> None:
        while self._thread.is_alive():
            try:
                return self._pictures.put(item, timeout=0.2)
            except queue.Full:
                continue

    def give_up(self, error: BaseException) -> None:
        """Leave the film unwritten, because of `error`."""
        self._send(error)
        self._thread.join()

    def end(self) -> None:
        """There are no more frames."""
        self._send(_END)

    def written(self) -> Path:
        """Where the film lies, once it is whole. Raises the error of the encoder."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._written is not None
        return self._written
