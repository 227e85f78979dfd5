"""Where somebody stands and how wide they look: the camera of a client, and of a jump to a training view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.geometry.projection import fov2focal
from gaussian_splatting.rendering.scene_frame import Floats

SAME = 1e-4


@dataclass(frozen=True)
class Lens:
    """What a browser's camera does not have: pixels that are not square, and a principal point beside the middle."""

    stretch: float = 1.0
    """Horizontal focal length / vertical focal length, in pixels."""
    right: float = 0.0
    """How far the principal point lies to the right of the middle, in vertical focal lengths."""
    down: float = 0.0
    """How far it lies below the middle, likewise."""


SIMPLE = Lens()


@dataclass(frozen=True, eq=False)
class Pose:
    """A camera centre [3], a camera-to-world rotation [3, 3] (OpenCV axes) and a vertical field of view in radians."""

    center: Floats
    rotation: Floats
    fov: float
    lens: Lens = SIMPLE

    @classmethod
    def of_camera(cls, camera: Camera, aspect: float) -> Pose:
        """The pose that shows the whole picture of a camera in a window of `aspect` (width / height)."""
        rotation = float64_array(camera.R)
        translation = float64_array(camera.T)
        fx, fy, cx, cy = (float(camera.K[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        lens = Lens(fx / fy, (cx - camera.image_width / 2) / fy, (cy - camera.image_height / 2) / fy)
        across = 2 * np.arctan(np.tan(camera.FoVx / 2) * lens.stretch / aspect)
        return cls(-rotation.T @ translation, rotation.T, float(max(camera.FoVy, across)), lens)

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
        """The camera with a picture of this size."""
        focal, lens = fov2focal(self.fov, height), self.lens
        return pinhole_camera(
            height, width, focal * lens.stretch, focal, self.rotation.T, -self.rotation.T @ self.center,
            cx=width / 2 + lens.right * focal, cy=height / 2 + lens.down * focal, bg_color=background, device=device,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip

    def rolled(self, radians: float) -> Pose:
        """The pose turned about its viewing direction, to the right."""
        turn = Rotation.from_rotvec(self.forward * radians).as_matrix()
        return replace(self, rotation=turn @ self.rotation)

    def simple(self) -> Pose:
        """The pose with the lens of a browser."""
        return replace(self, lens=SIMPLE)

    def is_near(self, other: Pose) -> bool:
        """Whether two poses are the same, up to what a browser rounds and to the lens, which it does not know."""
        size = 1 + float(np.abs(self.center).max())
        return bool(
            np.abs(self.center - other.center).max() < SAME * size
            and np.abs(self.rotation - other.rotation).max() < SAME
            and abs(self.fov - other.fov) < SAME
        )
