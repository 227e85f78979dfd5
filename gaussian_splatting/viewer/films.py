"""Films that clients ask for: one at a time, with progress, made from what the client sees."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import SplatError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.rendering.camera_path_file import CameraPath
from gaussian_splatting.rendering.films import Film, write_films
from gaussian_splatting.rendering.looks import Look
from gaussian_splatting.viewer.stage import Settings, Stage

MOST_FRAMES = 3600


class FilmMaker:
    """Renders camera paths to MP4, one at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._busy = threading.Lock()

    def make(
        self, model: GaussianModel, path: CameraPath, settings: Settings, progress: Callable[[float], None]
    ) -> tuple[str, bytes]:
        """The film of a path: its name and its content. Raises SplatError when another one is being made."""
        cameras = path.cameras()
        if len(cameras) > MOST_FRAMES:
            raise SplatError(f"{len(cameras)} frames are too many for the viewer; save the path and use render --path")
        if not self._busy.acquire(blocking=False):
            raise SplatError("another film is being rendered; try again when it is done")
        try:
            return self._make(self._stage.shown(model, settings), Film(cameras, path.fps), settings.look, progress)
        finally:
            self._busy.release()

    def _make(
        self, model: GaussianModel, film: Film, look: Look, progress: Callable[[float], None]
    ) -> tuple[str, bytes]:
        counted: Any = _Counted(model, len(film.cameras), progress)
        with tempfile.TemporaryDirectory() as folder:
            (written,) = write_films(counted, film, {look: Path(folder, f"film_{look}.mp4")})
            return written.name, written.read_bytes()


class _Counted:
    """A model that tells how many of the frames it has rendered."""

    def __init__(self, model: GaussianModel, frames: int, progress: Callable[[float], None]) -> None:
        self._model, self._frames, self._progress = model, frames, progress
        self._done = 0

    def __call__(self, camera: Any) -> dict[str, Any]:
        out = self._model(camera)
        self._done += 1
        self._progress(min(1.0, self._done / self._frames))
        return out
