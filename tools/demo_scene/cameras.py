"""Where the photographs are taken from: a sweep of 300 degrees that cycles through three heights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NUM_VIEWS = 28
SWEEP_DEGREES = 300.0
ELEVATION_DEGREES = (15.0, 28.0, 43.0)
DISTANCES = (3.0, 2.8, 2.8)
TARGET = (0.0, 0.0, 0.2)
FOCAL_PER_WIDTH = 0.93
PRINCIPAL_POINT = (0.513, 0.487)
# Every eighth name is held out. The first name lies inside the sweep, so that each held-out view has neighbours
# on both sides; the sweep jumps back to its beginning between two later names.
FIRST_NAME = 2


@dataclass(frozen=True)
class View:
    """A pinhole camera with an off-centre principal point."""

    name: str
    width: int
    height: int
    focal: tuple[float, float]
    principal: tuple[float, float]
    camera_from_world: np.ndarray  # [3, 4]

    @property
    def centre(self) -> np.ndarray:
        """The optical centre in world coordinates [3]."""
        return -self.camera_from_world[:, :3].T @ self.camera_from_world[:, 3]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates [N, 2] and depths along the optical axis [N] of world points [N, 3]."""
        local = points @ self.camera_from_world[:, :3].T + self.camera_from_world[:, 3]
        pixels = local[:, :2] / local[:, 2:] * np.array(self.focal) + np.array(self.principal)
        return pixels, local[:, 2]

    def unproject(self, pixels: np.ndarray, depths: np.ndarray) -> np.ndarray:
        """World points [N, 3] at pixel coordinates [N, 2] and depths along the optical axis [N]."""
        local = (pixels - np.array(self.principal)) / np.array(self.focal)
        local = np.concatenate([local, np.ones((len(local), 1))], axis=1) * depths[:, None]
        return (local - self.camera_from_world[:, 3]) @ self.camera_from_world[:, :3]


def look_at(eye: np.ndarray, target: np.ndarray, roll_degrees: float = 0.0) -> np.ndarray:
    """Camera-from-world [3, 4] of an upright camera at `eye`, turned by a small roll."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = math.cos(math.radians(roll_degrees)), math.sin(math.radians(roll_degrees))
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    return np.concatenate([rotation, -rotation @ eye[:, None]], axis=1)


def view_names() -> list[str]:
    """The file names of the views, in order."""
    return [f"view_{number:03d}.jpg" for number in range(NUM_VIEWS)]


def camera_rig(width: int = 360, height: int = 270) -> list[View]:
    """All views, sorted by name, for pictures of the given size in pixels."""
    return [_view(number, width, height) for number in range(NUM_VIEWS)]


def _view(number: int, width: int, height: int) -> View:
    place = (number + FIRST_NAME) % NUM_VIEWS
    azimuth = math.radians(-240.0 + SWEEP_DEGREES * place / (NUM_VIEWS - 1))
    level = place % 3
    elevation = math.radians(ELEVATION_DEGREES[level] + 3.0 * math.sin(1.9 * place))
    distance = DISTANCES[level] + 0.16 * math.sin(2.7 * place + 0.5)
    eye = distance * np.array(
        [math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    wander = 0.06 * np.array([math.sin(1.3 * place), math.cos(2.1 * place), 0.6 * math.sin(0.7 * place)])
    target = np.array(TARGET) + wander
    focal = FOCAL_PER_WIDTH * width
    return View(
        name=view_names()[number],
        width=width,
        height=height,
        focal=(focal, focal),
        principal=(PRINCIPAL_POINT[0] * width, PRINCIPAL_POINT[1] * height),
        camera_from_world=look_at(eye + np.array([0.0, 0.0, TARGET[2]]), target, 1.5 * math.sin(2.3 * place)),
    )
