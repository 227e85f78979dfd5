"""What the viewer shows: a run folder with its iterations, a splat file, or a training that is going on."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.json_cameras import view_of_entry
from gaussian_splatting.dataset.strict_json import read_json
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.io.formats import read_splats
from gaussian_splatting.rendering.camera_paths import poses_of
from gaussian_splatting.rendering.scene_frame import Floats, look_at_point, up_direction
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.splat_model import SPLAT_UP, home_views, model_from_splats

MODELS_KEPT = 3
LISTED_FOR = 1.0
HOME_SIZE = (1280, 720)


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A camera to jump to."""

    name: str
    camera: Camera


class Scene(Protocol):
    """What the viewer can show."""

    name: str
    background: tuple[float, float, float]
    first: int | None
    """The iteration that clients begin with, None for the newest."""

    def iterations(self) -> list[int]:
        """The iterations there are to choose from, ascending; none for a file."""
        ...

    def model(self, iteration: int | None) -> GaussianModel:
        """The Gaussians of an iteration, of the newest for None. Nobody may change them."""
        ...

    def viewpoints(self) -> Sequence[Viewpoint]:
        """The cameras of the scene."""
        ...


class FileScene:
    """One splat file of any format, with the cameras of a `cameras.json` if there is one."""

    def __init__(self, path: Path, device: str = "cpu", backend: str = "auto", cameras: Path | None = None) -> None:
        # An unbundled SOG is a folder, whose file of this name says nothing.
        self.name = path.resolve().parent.name if path.name == "meta.json" else path.name
        self.background = (0.0, 0.0, 0.0)
        self.first: int | None = None
        file = read_splats(path)
        self._model = model_from_splats(file, device, backend)
        homes = [Viewpoint(f"around {i + 1}", view) for i, view in enumerate(home_views(file.gaussians, *HOME_SIZE))]
        self._viewpoints = homes if cameras is None else read_viewpoints(cameras)

    def iterations(self) -> list[int]:
        """None."""
        return []

    def model(self, iteration: int | None) -> GaussianModel:
        """The Gaussians of the file."""
        return self._model

    def viewpoints(self) -> Sequence[Viewpoint]:
        """The cameras of the file given for them, else a ring around the splat."""
        return self._viewpoints


class RunScene:
    """A run folder: every saved iteration, loaded when it is asked for, and the cameras it was trained on."""

    def __init__(
        self, folder: RunFolder, device: str = "cpu", backend: str = "auto", cameras: Path | None = None
    ) -> None:
        self._folder, self._device = folder, device
        self.first: int | None = None
        settings = folder.settings()
        surfels = backend == "auto" and str(settings.get("backend", "")).endswith("-2dgs")
        self._backend = "auto-2dgs" if surfels else backend
        self._antialiased = settings.get("antialiased") is True
        self.name = folder.path.resolve().name
        self.background = (1.0, 1.0, 1.0) if settings.get("white_background") is True else (0.0, 0.0, 0.0)
        self._models: OrderedDict[int, GaussianModel] = OrderedDict()
        self._lock = threading.Lock()
        self._listed: tuple[float, list[int]] = (-math.inf, [])
        newest = self.model(None)
        cameras = folder.cameras if cameras is None else cameras
        if cameras.is_file() or cameras != folder.cameras:
            self._viewpoints = read_viewpoints(cameras)
        else:
            homes = home_views(newest.arrays(), *HOME_SIZE)
            self._viewpoints = [Viewpoint(f"around {index + 1}", view) for index, view in enumerate(homes)]

    def iterations(self) -> list[int]:
        """The iterations that hold a splat now, or did a second ago."""
        now = time.monotonic()
        if now - self._listed[0] > LISTED_FOR:
            self._listed = now, self._folder.iterations()
        return self._listed[1]

    def model(self, iteration: int | None) -> GaussianModel:
        """The Gaussians of an iteration; the last few are kept in memory."""
        wanted = self._folder.resolve(iteration)
        with self._lock:  # two clients that want the same iteration read it once
            if wanted not in self._models:
                file = read_splats(self._folder.point_cloud(wanted))
                self._models[wanted] = model_from_splats(
                    file, self._device, self._backend, antialiased=self._antialiased
                )
            self._models.move_to_end(wanted)
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
            return self._models[wanted]

    def viewpoints(self) -> Sequence[Viewpoint]:
        """The cameras of the run."""
        return self._viewpoints


def read_viewpoints(path: Path) -> list[Viewpoint]:
    """The cameras of a `cameras.json`, by their names, without pictures. Raises FormatError when it is damaged."""
    views = [view_of_entry(entry, {}) for entry in read_json(path, "cameras").items()]
    return [Viewpoint(view.name, view.camera("cpu", False, False)) for view in views]


def open_scene(path: str, device: str, backend: str, cameras: str | None = None) -> FileScene | RunScene:
    """The scene of a path: a folder of a run, an unbundled SOG, or a splat file."""
    place = Path(path)
    given = None if cameras is None else Path(cameras)
    if (place / "meta.json").is_file():
        return FileScene(place / "meta.json", device, backend, given)
    if place.is_file():
        return FileScene(place, device, backend, given)
    return RunScene(RunFolder(place), device, backend, given)


@dataclass(frozen=True, eq=False)
class Frame:
    """Where up is, what to turn around, and how large the scene is, in world units."""

    up: Floats
    target: Floats
    size: float


def frame_of(scene: Scene) -> Frame:
    """The frame that the cameras of a scene suggest, else the Gaussians."""
    points = scene.viewpoints()
    if not points:
        xyz: Any = scene.model(None).get_xyz.detach().cpu().numpy()
        return Frame(SPLAT_UP, np.median(xyz, axis=0).astype(np.float64), float(np.ptp(xyz, axis=0).max()) or 1.0)
    poses = poses_of([point.camera for point in points])
    target = look_at_point(poses)
    spread = float(np.linalg.norm(poses.centers - poses.centers.mean(axis=0), axis=1).max()) or 1.0
    if target is None:
        target = poses.centers[0] + poses.forwards[0] * spread
    return Frame(up_direction(poses), target, spread)
