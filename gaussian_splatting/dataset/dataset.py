"""What a trainer reads: a sequence of cameras with their pictures, its size in the world, and its list of cameras."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gaussian_splatting.camera import PATH_KEYS, Camera, camera2dict
from gaussian_splatting.dataset.extent import scene_extent_of
from gaussian_splatting.dataset.load import with_arrays
from gaussian_splatting.dataset.pictures import PictureLimits, PictureStore
from gaussian_splatting.dataset.view import View
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.io.storage import write_json

if TYPE_CHECKING:
    from typing_extensions import Self


class CameraDataset(ABC):
    """A sequence of cameras. A subclass gives `to`, `__len__` and `__getitem__`; the rest follows from them."""

    bg_color: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What is behind the scene, for every camera."""

    @abstractmethod
    def to(self, device: Any) -> Self:
        """Moves the cameras to a device, and returns the dataset."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, idx: int) -> Camera: ...

    def __iter__(self) -> Iterator[Camera]:
        for index in range(len(self)):
            yield self[index]

    @property
    def names(self) -> list[str]:
        """The name of each camera, in order."""
        return [entry["img_name"] for entry in self.json_entries()]

    def geometry(self, idx: int) -> Camera:
        """The camera without its pictures, which costs no decoding."""
        return self[idx]

    def prefetch(self, indices: Iterable[int]) -> None:  # noqa: B027
        """Says which cameras will be asked for next. A dataset that decodes on demand starts with them."""

    def preload(self) -> None:  # noqa: B027
        """Loads what will be kept in memory now, so that a damaged file is named before training and not during it."""

    def bytes_on_device(self) -> int:
        """Bytes of pictures that stay on the device of the cameras once they are loaded, where that is known."""
        return 0

    def has_mask(self, idx: int) -> bool:
        """Whether the camera has an image mask."""
        camera = self.geometry(idx)
        return camera.ground_truth_image_mask is not None or camera.ground_truth_image_mask_path is not None

    def has_depth(self, idx: int) -> bool:
        """Whether the camera has a depth map."""
        camera = self.geometry(idx)
        return camera.ground_truth_depth is not None or camera.ground_truth_depth_path is not None

    def scene_extent(self) -> float:
        """The extent of the scene: 1.1 times the distance of the farthest camera from their mean; always positive."""
        centers = [self.geometry(index).camera_center.detach().double().cpu() for index in range(len(self))]
        return scene_extent_of(torch.stack(centers).numpy() if centers else np.zeros((0, 3)))

    def json_entries(self) -> list[dict[str, Any]]:
        """The entries of `cameras.json`, with paths as they are known here."""
        return [camera2dict(self.geometry(index), index) for index in range(len(self))]

    def save_cameras(self, path: str | os.PathLike[str]) -> None:
        """Writes `cameras.json`, with paths relative to it where the file system allows."""
        folder = Path(path).absolute().parent
        entries = self.json_entries()
        for entry in entries:
            for key in PATH_KEYS:
                if entry.get(key) is not None:
                    entry[key] = relative_to(entry[key], folder)
        write_json(path, entries)

    def scene_digest(self) -> str:
        """A digest of poses, intrinsics and picture names: equal scenes have equal digests on every machine."""
        digest = hashlib.sha256()
        for name, entry in zip(self.names, self.json_entries(), strict=True):
            numbers = [entry[key] for key in ("width", "height", "fx", "fy", "cx", "cy")]
            numbers += entry["position"] + [number for row in entry["rotation"] for number in row]
            # Six digits: the last bits of a pose depend on the processor and on the way through JSON.
            digest.update(repr((name, [f"{number:.6g}" for number in numbers])).encode())
        return digest.hexdigest()


class ViewDataset(CameraDataset):
    """Cameras made from views, whose pictures are decoded once and kept as bytes."""

    def __init__(
        self,
        views: Sequence[View],
        load_mask: bool = True,
        load_depth: bool = True,
        limits: PictureLimits | None = None,
        points: np.ndarray | None = None,
    ) -> None:
        self.views = list(views)
        self.load_mask, self.load_depth = load_mask, load_depth
        self.pictures = PictureStore(self.views, load_mask, load_depth, limits)
        self.device = torch.device("cpu")
        self._points = points
        self._extent: float | None = None
        self._geometry: dict[int, Camera] = {}
        self._background: tuple[Any, torch.Tensor] | None = None

    def to(self, device: Any) -> Self:
        """Moves the cameras and their pictures to a device, and returns the dataset."""
        self.device = torch.device(device)
        self.pictures.to(self.device)
        self._geometry.clear()
        return self

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, idx: int) -> Camera:
        index = self._index(idx)
        return with_arrays(self.geometry(index), self.pictures[index])

    @property
    def cameras(self) -> list[Camera]:
        """All cameras with their pictures as floats, in memory at once: four times what the dataset itself takes."""
        return list(self)

    @property
    def names(self) -> list[str]:
        """The name of each view, in order."""
        return [view.name for view in self.views]

    def geometry(self, idx: int) -> Camera:
        """The camera without its pictures, which costs no decoding."""
        index = self._index(idx)
        camera = self._geometry.get(index)
        if camera is None:
            camera = self.views[index].camera(self.device, self.load_mask, self.load_depth)
            self._geometry[index] = camera
        key = (self.bg_color, self.device)
        if self._background is None or self._background[0] != key:
            self._background = key, torch.tensor(self.bg_color, dtype=torch.float32, device=self.device)
        return camera._replace(bg_color=self._background[1].clone(), custom_data=dict(camera.custom_data))

    def bytes_on_device(self) -> int:
        """Bytes of pictures that stay on the device of the cameras once they are loaded."""
        return self.pictures.bytes_on_device()

    def has_mask(self, idx: int) -> bool:
        """Whether the view has an image mask, from a file or from the alpha channel of its picture."""
        view = self.views[self._index(idx)]
        return self.load_mask and (view.image_mask_path is not None or (view.has_alpha and not view.composited))

    def prefetch(self, indices: Iterable[int]) -> None:
        """Decodes these views in the background, unless they are in memory already."""
        self.pictures.prefetch(self._index(index) for index in indices)

    def preload(self) -> None:
        """Decodes the pictures that stay in memory, and says which masks hide everything."""
        self.pictures.load_all()

    def scene_extent(self) -> float:
        """1.1 times the distance of the farthest camera from their mean; always positive, see `scene_extent_of`."""
        if self._extent is None:
            centers = np.array([view.center for view in self.views]).reshape(-1, 3)
            self._extent = scene_extent_of(centers, self.names, self._points)
        return self._extent

    def json_entries(self) -> list[dict[str, Any]]:
        """The entries of `cameras.json`, in the float64 of the views."""
        return [view.json_entry(index) for index, view in enumerate(self.views)]

    def _index(self, idx: int) -> int:
        index = int(idx)
        if not -len(self.views) <= index < len(self.views):
            raise IndexError(f"camera {idx} of a dataset of {len(self.views)}")
        return index % len(self.views)


def getNerfppNorm(cameras: Iterable[Camera]) -> dict[str, Any]:
    """`translate` [3] moves the mean camera centre to the origin; `radius` is the scene extent around it."""
    centers = np.stack([float64_array(camera.camera_center) for camera in cameras])
    return {"translate": -centers.mean(axis=0), "radius": scene_extent_of(centers)}


def relative_to(path: str, folder: Path) -> str:
    """The path as seen from a folder, with `/`; absolute when they are on different drives."""
    try:
        return Path(os.path.relpath(Path(path).absolute(), folder)).as_posix()
    except ValueError:
        return Path(path).absolute().as_posix()
