"""Where somebody stands and how wide they look: the camera of a client, and of a jump to a training view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.geometry.projection import fov2focal
from gaussian_splatting.scene_frame import Floats

SAME = 1e-4


@dataclass(frozen=True, eq=False)
class Pose:
    """A camera centre [3], a camera-to-world rotation [3, 3] (OpenCV axes) and a vertical field of view in radians."""

    center: Floats
    rotation: Floats
    fov: float

    @classmethod
    def of_camera(cls, camera: Camera, aspect: float) -> Pose:
        """The pose that shows the whole picture of a camera in a window of `aspect` (width / height)."""
        rotation = camera.R.detach().double().cpu().numpy()
        translation = camera.T.detach().double().cpu().numpy()
        across = 2 * np.arctan(np.tan(camera.FoVx / 2) / aspect)
        return cls(-rotation.T @ translation, rotation.T, float(max(camera.FoVy, across)))

    @classmethod
    def of_client(cls, wxyz: Floats, position: Floats, fov: float) -> Pose:
        """The pose that a browser reports."""
        rotation = Rotation.from_quat(np.asarray(wxyz, dtype=np.float64)[[1, 2, 3, 0]]).as_matrix()
        return cls(np.asarray(position, dtype=np.float64), rotation, float(fov))

    @property
    def forward(self) -> Floats:
        """The viewing direction [3]."""
        return self.rotation[:, 2]

    @property
    def up(self) -> Floats:
        """The direction [3] to the top of the picture."""
        return -self.rotation[:, 1]

    def camera(self, width: int, height: int, background: tuple[float, float, float], device: object) -> Camera:
        """The camera with a picture of this size, its principal point in the middle."""
        focal = fov2focal(self.fov, height)
        return pinhole_camera(
            height, width, focal, focal, self.rotation.T, -self.rotation.T @ self.center,
            bg_color=background, device=device,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip

    def rolled(self, radians: float) -> Pose:
        """The pose turned about its viewing direction, to the right."""
        turn = Rotation.from_rotvec(self.forward * radians).as_matrix()
        return Pose(self.center, turn @ self.rotation, self.fov)

    def is_near(self, other: Pose) -> bool:
        """Whether two poses show the same, up to what a browser rounds."""
        size = 1 + float(np.abs(self.center).max())
        return bool(
            np.abs(self.center - other.center).max() < SAME * size
            and np.abs(self.rotation - other.rotation).max() < SAME
            and abs(self.fov - other.fov) < SAME
        )
