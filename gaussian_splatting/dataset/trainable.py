"""Cameras whose poses and exposures are parameters, and cameras with exposures that were trained before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gaussian_splatting.camera import Camera, identity_postprocess
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.json_dataset import JSONCameraDataset
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.geometry.projection import getWorld2View
from gaussian_splatting.geometry.rotations import normalize_quaternion, quaternion_to_matrix

if TYPE_CHECKING:
    from typing_extensions import Self

PathLike = str | os.PathLike[str]


def exposure_postprocess(camera: Camera, x: Tensor) -> Tensor:
    """The picture `x` [3, H, W] as the camera exposed it: every colour (a row) times A[:, :3] plus A[:, 3].

    A is `camera.custom_data["exposures"]` [3, 4]; the identity is [I | 0].
    """
    exposure = camera.custom_data["exposures"]
    # The memory stays [H, W, 3], which the loss kernels read by rows of pixels.
    return (x.permute(1, 2, 0) @ exposure[:, :3] + exposure[:, 3]).permute(2, 0, 1)


class TrainableCameraDataset(CameraDataset):
    """The cameras of another dataset with poses and exposures as parameters.

    `quaternions` [C, 4] (wxyz, normalised on use) and `Ts` [C, 3] take world to camera, `exposures` [C, 3, 4] are
    applied to what is rendered. A camera is computed from them when it is asked for, so that gradients reach them.
    `cameras` is a dataset, a COLMAP folder or a `cameras.json`. `exposures` gives the start of each camera, None for
    the identity. With `use_exposure` false pictures are rendered as if every camera were exposed alike.
    """

    def __init__(
        self, cameras: CameraDataset | PathLike, exposures: Sequence[Any] = (), *, use_exposure: bool = True
    ) -> None:
        self.source = cameras if isinstance(cameras, CameraDataset) else opened(cameras)
        self.use_exposure = use_exposure
        fixed = [self.source.geometry(index) for index in range(len(self.source))]
        if not fixed:
            raise SceneError("there are no cameras to train; the dataset is empty")
        given = exposures or [entry.get("exposure") for entry in self.source.json_entries()]
        self.quaternions = nn.Parameter(torch.stack([camera.quaternion.detach() for camera in fixed]))
        self.Ts = nn.Parameter(torch.stack([camera.T.detach() for camera in fixed]))
        self.exposures = nn.Parameter(exposure_matrices(given, len(fixed)).to(self.Ts.device))

    @classmethod
    def from_json(cls, path: PathLike, load_mask: bool = True, load_depth: bool = True, **options: Any) -> Self:
        """The cameras of a `cameras.json`, starting from its exposures where it has any."""
        return cls(JSONCameraDataset(path, load_mask, load_depth, **options))

    def to(self, device: Any) -> Self:
        """Move cameras, pictures and parameters to a device; the parameters stay the same objects."""
        self.source.to(device)
        for parameter in (self.quaternions, self.Ts, self.exposures):
            parameter.data = parameter.data.to(device)
        return self

    @property
    def bg_color(self) -> tuple[float, float, float]:
        """What is behind the scene, for every camera."""
        return self.source.bg_color

    @bg_color.setter
    def bg_color(self, color: tuple[float, float, float]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.source.bg_color = color

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, idx: int) -> Camera:
        index = range(len(self))[idx]
        return self._posed(self.source[index], index)

    def geometry(self, idx: int) -> Camera:
        """The camera with its present pose, without its pictures."""
        index = range(len(self))[idx]
        return self._posed(self.source.geometry(index), index)

    def _posed(self, camera: Camera, index: int) -> Camera:
        quaternion, translation = normalize_quaternion(self.quaternions[index]), self.Ts[index].clone()
        rotation = quaternion_to_matrix(quaternion)
        view = getWorld2View(rotation, translation).T
        # A copy: the camera stays what it was when the parameters move on.
        exposure = self.exposures[index].clone()
        return camera._replace(
            R=rotation,
            T=translation,
            world_view_transform=view,
            full_proj_transform=view @ camera.projection_matrix,
            camera_center=-rotation.T @ translation,
            quaternion=quaternion,
            postprocess=exposure_postprocess if self.use_exposure else identity_postprocess,
            custom_data={**camera.custom_data, "exposures": exposure, "index": index},
        )

    @property
    def names(self) -> list[str]:
        """The name of each camera, in order."""
        return self.source.names

    def prefetch(self, indices: Iterable[int]) -> None:
        """Say which cameras will be asked for next."""
        self.source.prefetch(indices)

    def preload(self) -> None:
        """Load what will be kept in memory now."""
        self.source.preload()

    def bytes_on_device(self) -> int:
        """Bytes of pictures that stay on the device."""
        return self.source.bytes_on_device()

    def has_mask(self, idx: int) -> bool:
        """Whether the camera has an image mask."""
        return self.source.has_mask(idx)

    def has_depth(self, idx: int) -> bool:
        """Whether the camera has a depth map."""
        return self.source.has_depth(idx)

    def scene_extent(self) -> float:
        """The extent that the cameras span at the start, so that rates do not change while they move."""
        return self.source.scene_extent()

    def scene_digest(self) -> str:
        """The digest of the cameras at the start: a run that goes on is of the same scene."""
        return self.source.scene_digest()

    def json_entries(self) -> list[dict[str, Any]]:
        """The entries of `cameras.json` with the present poses, in float64, and with `exposure`."""
        rotations = quaternion_to_matrix(self.quaternions.detach().double()).cpu().numpy()
        translations = float64_array(self.Ts)
        entries = self.source.json_entries()
        for entry, R, T, exposure in zip(entries, rotations, translations, self.exposures.tolist(), strict=True):
            entry |= {"position": (-R.T @ T).tolist(), "rotation": R.T.tolist(), "exposure": exposure}
        return entries


class FixedTrainableCameraDataset(JSONCameraDataset):
    """The cameras of a `cameras.json` with the exposures that training left in it; the identity where there is none.

    `options` are those of `JSONCameraDataset`. With `use_exposure` false pictures are rendered as if every camera were
    exposed alike.
    """

    def __init__(
        self,
        path: PathLike,
        load_mask: bool = True,
        load_depth: bool = True,
        *,
        use_exposure: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(path, load_mask, load_depth, **options)
        self.use_exposure = use_exposure
        self.load_exposures()

    def load_exposures(self, device: Any = None) -> Tensor:
        """The exposures [C, 3, 4] of the file, put on a device (by default the dataset's) and kept as `exposures`."""
        matrices = exposure_matrices([view.exposure for view in self.views], len(self))
        self.exposures = matrices.to(self.device if device is None else device)
        return self.exposures

    def to(self, device: Any) -> Self:
        """Move cameras, pictures and exposures to a device."""
        super().to(device)
        self.load_exposures()
        return self

    def geometry(self, idx: int) -> Camera:
        """The camera with its exposure, without its pictures."""
        camera = super().geometry(idx)
        return camera._replace(
            postprocess=exposure_postprocess if self.use_exposure else identity_postprocess,
            custom_data={**camera.custom_data, "exposures": self.exposures[idx]},
        )


def ColmapTrainableCameraDataset(
    colmap_folder: PathLike, load_mask: bool = True, load_depth: bool = True, **options: Any
) -> TrainableCameraDataset:
    """The cameras of a COLMAP scene with poses and exposures as parameters; `options` as of `ColmapCameraDataset`."""
    from gaussian_splatting.dataset.colmap.dataset import ColmapCameraDataset

    return TrainableCameraDataset(ColmapCameraDataset(colmap_folder, load_mask, load_depth, **options))


def exposure_matrices(given: Sequence[Any], num_cameras: int) -> Tensor:
    """The exposures [C, 3, 4] of `num_cameras` cameras; None stands for the identity."""
    if len(given) != num_cameras:
        raise SceneError(f"there are {len(given)} exposures for {num_cameras} cameras; give one each, or None")
    if not given:
        return torch.empty((0, 3, 4))
    return torch.stack([torch.eye(3, 4) if one is None else _exposure(one) for one in given])


def _exposure(value: Any) -> Tensor:
    array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
    if array.shape != (3, 4) or not np.isfinite(array).all():
        raise SceneError(f"an exposure is a finite matrix [3, 4]; found {array.tolist()}")
    return torch.from_numpy(array).float()


def opened(path: PathLike) -> CameraDataset:
    """The cameras that a path names: a scene of any kind, or a `cameras.json`."""
    from gaussian_splatting.dataset.scenes import open_scene

    return open_scene(path)
