"""Frames of videos: of each stretch of the film the sharpest, as many as its length asks for."""

from __future__ import annotations

import importlib
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.photos import LEAST_PHOTOS, Intake, Picture, encode_photo, reduced, scene_names
from gaussian_splatting.convert.sources import Sources
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage

if TYPE_CHECKING:
    import numpy as np

FRAMES_PER_SECOND = 2.0
FEWEST, MOST = 40, 300
SHARPNESS_SIZE = 640
"""Longest side at which sharpness is judged, so that noise of single pixels does not count."""


@dataclass(frozen=True)
class Film:
    """What a video says about itself: its number of frames, and frames per second."""

    path: Path
    num_frames: int
    rate: float
    read: Callable[[], Iterator[np.ndarray]]
    """Every frame [H, W, 3] RGB, upright."""


def take_frames(found: Sources, folder: Path, options: ConvertOptions, tick: Callable[[int, int], None]) -> Intake:
    """Write the chosen frames of every video into `folder`; `tick(done, total)` counts frames that were looked at.

    A single video gives `frame_00001.jpg` and so on, several give folders with their names. Each has its own camera.
    """
    storage.make_folder(folder)
    films = [open_film(path) for path in found.videos]
    total, before = sum(film.num_frames for film in films), 0
    pictures: list[Picture] = []
    places = [Path(name).with_suffix("").as_posix() for name in _names(found)]
    for film, place in zip(films, places, strict=True):
        prefix = "" if len(films) == 1 else f"{place}/"
        for number, pixels in enumerate(chosen_frames(film, options, lambda done: tick(before + done, total)), 1):  # noqa: B023
            file = f"{len(pictures):05d}.jpg"
            storage.write_atomically(folder / file, encode_photo(pixels, ".jpg"))
            height, width = pixels.shape[:2]
            camera = {"single": "all", "photo": file, "auto": place}[options.cameras]
            pictures.append(Picture(file, f"{prefix}frame_{number:05d}.jpg", width, height, camera))
        before += film.num_frames
    if len(pictures) < LEAST_PHOTOS:
        raise SceneError(f"{found.videos[0]}: only {len(pictures)} frames; a scene needs a film of some seconds")
    return Intake(tuple(pictures), {})


def chosen_frames(film: Film, options: ConvertOptions, tick: Callable[[int], None]) -> Iterator[np.ndarray]:
    """The sharpest frame [H, W, 3] of each stretch of a film, at the size of the scene."""
    import cv2

    wanted = options.frames or frame_count(film.num_frames, film.rate)
    stretch = max(1.0, film.num_frames / wanted)
    best, best_value, window = None, -math.inf, 0
    number = -1
    for number, frame in enumerate(film.read()):
        if int(number / stretch) != window:
            if best is not None:
                yield best
            best, best_value, window = None, -math.inf, int(number / stretch)
        value = sharpness(frame)
        if value > best_value:
            height, width = frame.shape[:2]
            size = reduced((width, height), options.max_size)
            best = frame if size == (width, height) else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            best_value = value
        tick(number + 1)
    if number < 0:
        raise SceneError(f"{film.path}: no frame of the video can be decoded; convert it to MP4 (H.264) first")
    if best is not None:
        yield best


def frame_count(num_frames: int, rate: float) -> int:
    """How many frames to take from a film: two per second, but 40 to 300, and never more than there are."""
    seconds = num_frames / rate if rate > 0 else num_frames / 30
    return max(1, min(num_frames, max(FEWEST, min(MOST, round(FRAMES_PER_SECOND * seconds)))))


def sharpness(frame: np.ndarray) -> float:
    """The variance of the Laplacian of a picture [H, W, 3], relative to its contrast, so that bright is not sharp."""
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scale = SHARPNESS_SIZE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / (float(grey.var()) + 25.0))


def open_film(path: Path) -> Film:
    """A video for reading, by OpenCV, else by the ffmpeg of imageio-ffmpeg. Raises SceneError when neither can."""
    import cv2

    if path.stat().st_size == 0:
        raise SceneError(f"{path}: the video is empty; copy it again")
    capture = cv2.VideoCapture(str(path))
    opened, first = capture.isOpened(), capture.read()[0] if capture.isOpened() else False
    rate = float(capture.get(cv2.CAP_PROP_FPS)) if opened else 0.0
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if opened else 0
    capture.release()
    if opened and first:
        rate = rate if math.isfinite(rate) and rate > 0 else 30.0
        count = count if count > 0 else sum(1 for _ in _by_opencv(path))
        return Film(path, count, rate, lambda: _by_opencv(path))
    return _by_ffmpeg(path)


def _by_opencv(path: Path) -> Iterator[np.ndarray]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            good, frame = capture.read()  # upright: OpenCV applies the rotation that phones note
            if not good:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _by_ffmpeg(path: Path) -> Film:
    cure = "convert it to MP4 (H.264) first"
    try:
        package: Any = importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise SceneError(
            f"{path}: OpenCV cannot read this video; {cure}, or install a reader of more formats: pip install "
            '"gaussian-splatting-anywhere[video]"'
        ) from error

    try:
        count, seconds = package.count_frames_and_secs(str(path))
    except (RuntimeError, OSError) as error:
        raise SceneError(f"{path}: not a video that can be decoded; {cure}") from error
    rate = count / seconds if seconds > 0 else 30.0
    return Film(path, count, rate, lambda: _piped(package.get_ffmpeg_exe(), path))


def _piped(ffmpeg: str, path: Path) -> Iterator[np.ndarray]:
    """Every frame, from ffmpeg as a row of PPM pictures."""
    import numpy as np

    command = [ffmpeg, "-loglevel", "error", "-i", f"file:{path}", "-f", "image2pipe", "-c:v", "ppm", "-"]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readline() == b"P6\n":
                width, height = map(int, process.stdout.readline().split())
                process.stdout.readline()  # the largest value, 255
                content = process.stdout.read(width * height * 3)
                if len(content) < width * height * 3:
                    return
                yield np.frombuffer(content, np.uint8).reshape(height, width, 3)
        finally:
            process.kill()


def _names(found: Sources) -> list[str]:
    return scene_names([path.relative_to(found.root).as_posix() for path in found.videos])
