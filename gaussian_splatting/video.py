"""Render a video along a camera path of a trained run: around the object, through the views, or near their middle."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.film_command import add_film_flags, make_film
from gaussian_splatting.cli.scene_flags import add_scene_flags
from gaussian_splatting.errors import SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.rendering.picture_files import to_bytes

if TYPE_CHECKING:
    from torch import Tensor


Frame = NDArray[np.uint8]


def write_video(path: str | Path, frames: Iterable[Tensor | Frame], fps: float = 30) -> Path:
    """Write frames (floats [3, H, W] in [0, 1], or bytes [H, W, 3]) as a video, atomically; the path of the file.

    H.264 in MP4 through ffmpeg, that of the package imageio-ffmpeg or of the system. Without one, an animated WebP of
    the same name is written instead, which is said in a warning; a path that ends in `.webp` asks for one. Raises
    SplatError without frames.
    """
    path = Path(path)
    pictures = _pictures(frames)
    first = next(pictures, None)
    if first is None:
        raise SplatError(f"{path}: not written: a video needs at least one frame")
    pictures = chain([first], pictures)
    if path.suffix.lower() == ".webp":
        return _write_webp(path, pictures, fps)
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        animated = path.with_suffix(".webp")
        warnings.warn(
            f"{path.name} needs imageio-ffmpeg (pip install imageio-ffmpeg); {animated.name} is written instead",
            stacklevel=2,
        )
        return _write_webp(animated, pictures, fps)
    return _write_mp4(path, ffmpeg, first.shape[:2], pictures, fps)


def _pictures(frames: Iterable[Tensor | Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield frame if isinstance(frame, np.ndarray) else to_bytes(frame)


def find_ffmpeg() -> str | None:
    """The ffmpeg of the package imageio-ffmpeg, else that of the system, else None."""
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        package: Any = importlib.import_module("imageio_ffmpeg")
        return package.get_ffmpeg_exe()
    return shutil.which("ffmpeg")


def _write_mp4(path: Path, ffmpeg: str, size: tuple[int, int], pictures: Iterator[Frame], fps: float) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        draft, complaints = Path(folder, "video.mp4"), Path(folder, "errors")
        status = _encode(ffmpeg, draft, complaints, size, pictures, fps)
        if status != 0 or not draft.is_file():
            words = complaints.read_text(errors="replace").strip().splitlines() or [f"status {status}"]
            raise SplatError(f"{path}: not written: ffmpeg gave up: {words[-1]}; give an output that ends in .webp")
        storage.write_atomically(path, lambda stream: _copy(draft, stream), size_hint=draft.stat().st_size)
    return path


def _encode(
    ffmpeg: str, target: Path, complaints: Path, size: tuple[int, int], pictures: Iterator[Frame], fps: float
) -> int:
    """Run ffmpeg over the pictures; its status. H.264 with 4:2:0 colours wants even sizes, so edges are repeated."""
    height, width = size
    odd = (height % 2, width % 2)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width + odd[1]}x{height + odd[0]}", "-r", f"{fps:g}"]
    coding = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    command = [ffmpeg, "-loglevel", "error", *source, "-i", "-", *coding, str(target)]
    with complaints.open("wb") as errors, _started(command, errors) as encoder:
        assert encoder.stdin is not None
        try:
            for picture in pictures:
                encoder.stdin.write(np.pad(picture, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge").tobytes())
            encoder.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg has given up; its status and its words tell why
        except BaseException:
            encoder.kill()
            raise
    return encoder.returncode


def _started(command: list[str], errors: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors)  # noqa: S603


def _write_webp(path: Path, pictures: Iterator[Frame], fps: float) -> Path:
    from PIL import Image

    images = (Image.fromarray(picture) for picture in pictures)
    stream = io.BytesIO()
    next(images).save(
        stream, "WEBP", save_all=True, append_images=images, duration=round(1000 / fps), loop=0, quality=85
    )
    storage.write_atomically(path, stream.getvalue())
    return path


def _copy(source: Path, stream: BinaryIO) -> None:
    with source.open("rb") as content:
        shutil.copyfileobj(content, stream)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(prog="python -m gaussian_splatting.video", description=__doc__, allow_abbrev=False)
    parser.add_argument("-d", "--destination", required=True, help="the run folder that train wrote, or a splat file")
    parser.add_argument("-i", "--iteration", type=int, help="the iteration to render (default: the newest)")
    parser.add_argument("--overwrite", action="store_true", help="replace a video that is there already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_film_flags(parser, default_path="orbit")
    add_scene_flags(parser, sizes=True)
    commands.add_common_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(make_film, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
