"""The camera models of COLMAP as forward functions: a ray in the camera to a pixel of the picture.

A model is its number of parameters and one function from rays x/z, y/z to distorted ones. Going back is Newton's method
on that function, so adding a model is adding its forward formula. Conventions and parameter orders are COLMAP's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Distortion = Callable[[np.ndarray, np.ndarray, Sequence[float]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class LensModel:
    """A camera model: how many focal lengths it has (1 or 2), how many distortion coefficients, and the distortion."""

    num_focals: int
    num_coefficients: int
    distort: Distortion | None = None
    """None for a pinhole."""


@dataclass(frozen=True)
class Lens:
    """A camera of a COLMAP model: parameters are one or two focal lengths, cx, cy, then the coefficients."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def pinhole(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy in pixels."""
        return (*self.params[:4],) if LENS_MODELS[self.model].num_focals == 2 else (self.params[0], *self.params[:3])  # pyright: ignore[reportReturnType]

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The distortion coefficients in COLMAP's order."""
        return self.params[LENS_MODELS[self.model].num_focals + 2 :]

    @property
    def distorted(self) -> bool:
        """Whether straight lines are bent: a model with coefficients that are not all zero, or a fisheye."""
        return LENS_MODELS[self.model].distort is not None and ("FISHEYE" in self.model or any(self.coefficients))

    def scaled(self, width: int, height: int) -> Lens:
        """The same lens before a picture of another size; a single focal length needs equal ratios (to a pixel)."""
        fx, fy, cx, cy = self.pinhole
        across, down = width / self.width, height / self.height
        focals = (fx * across, fy * down)
        if LENS_MODELS[self.model].num_focals == 1:
            focals = (fx * (across * down) ** 0.5,)
        return replace(self, width=width, height=height, params=(*focals, cx * across, cy * down, *self.coefficients))

    def project(self, rays: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of rays x/z, y/z [..., 2]."""
        fx, fy, cx, cy = self.pinhole
        x, y = rays[..., 0], rays[..., 1]
        distort = LENS_MODELS[self.model].distort
        if distort is not None:
            x, y = distort(x, y, self.coefficients)
        return np.stack([fx * x + cx, fy * y + cy], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Rays x/z, y/z [N, 2] of pixels [N, 2]; NaN where no ray reaches the pixel (the edge of a wide fisheye)."""
        fx, fy, cx, cy = self.pinhole
        target = (np.asarray(pixels, dtype=np.float64) - (cx, cy)) / (fx, fy)
        distort = LENS_MODELS[self.model].distort
        if distort is None:
            return target
        solve = _solve_fisheye if "FISHEYE" in self.model else _solve
        with np.errstate(all="ignore"):  # what diverges is found out at the end and becomes NaN
            return solve(lambda x, y: distort(x, y, self.coefficients), target)


def _solve(distort: Callable[..., tuple[np.ndarray, np.ndarray]], target: np.ndarray, steps: int = 100) -> np.ndarray:
    """Newton's method with central differences on distort(rays) = target, from rays = target. [N, 2]."""
    rays = target.copy()
    for _ in range(steps):
        x, y = rays.T
        width = 1e-6 * np.maximum(1.0, np.abs(rays).max(axis=1))
        error = np.stack(distort(x, y), axis=-1) - target
        along_x = (np.stack(distort(x + width, y), -1) - np.stack(distort(x - width, y), -1)) / (2 * width[:, None])
        along_y = (np.stack(distort(x, y + width), -1) - np.stack(distort(x, y - width), -1)) / (2 * width[:, None])
        determinant = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
        step_x = (error[:, 0] * along_y[:, 1] - error[:, 1] * along_y[:, 0]) / determinant
        step_y = (error[:, 1] * along_x[:, 0] - error[:, 0] * along_x[:, 1]) / determinant
        step = np.stack([step_x, step_y], axis=-1)
        rays = rays - step
        if not (np.abs(step) > 1e-10).any():
            break
    missed = ~(np.abs(np.stack(distort(*rays.T), -1) - target).max(axis=1) < 1e-8)
    rays[missed] = np.nan
    return rays


def _solve_fisheye(distort: Callable[..., tuple[np.ndarray, np.ndarray]], target: np.ndarray) -> np.ndarray:
    """`_solve` over angles instead of tangents, which a wide fisheye drives to infinity."""

    def distort_angles(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta = np.hypot(a, b)
        return distort(*(np.stack([a, b]) * _ratio(np.tan(np.minimum(theta, _WIDEST)), theta)))

    angles = _solve(distort_angles, target)
    theta = np.hypot(*angles.T)
    return np.where((theta < _WIDEST)[:, None], angles * _ratio(np.tan(theta), theta)[:, None], np.nan)


_WIDEST = np.radians(89.0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, 1 where both vanish."""
    return np.divide(numerator, denominator, out=np.ones_like(denominator), where=denominator > 1e-12)


def _polynomial(r2: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """1 + k1 r^2 + k2 r^4 + ..."""
    total = np.zeros_like(r2)
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * r2
    return 1.0 + total


def _radial(x: np.ndarray, y: np.ndarray, k: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    scale = _polynomial(x * x + y * y, k)
    return x * scale, y * scale


def _tangential(x: np.ndarray, y: np.ndarray, p1: float, p2: float) -> tuple[np.ndarray, np.ndarray]:
    xy, r2 = x * y, x * x + y * y
    return 2 * p1 * xy + p2 * (r2 + 2 * x * x), 2 * p2 * xy + p1 * (r2 + 2 * y * y)


def _opencv(x: np.ndarray, y: np.ndarray, k: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """k1, k2, p1, p2; the full model continues k3, k4, k5, k6, the last three of which divide."""
    r2 = x * x + y * y
    scale = _polynomial(r2, (*k[:2], *k[4:5])) / _polynomial(r2, k[5:8])
    shift_x, shift_y = _tangential(x, y, k[2], k[3])
    return x * scale + shift_x, y * scale + shift_y


def _fisheye_angles(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equidistant projection: the same direction at the angle instead of its tangent."""
    radius = np.hypot(x, y)
    scale = _ratio(np.arctan(radius), radius)
    return x * scale, y * scale


def _fisheye(x: np.ndarray, y: np.ndarray, k: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    return _radial(*_fisheye_angles(x, y), k)


def _thin_prism_fisheye(x: np.ndarray, y: np.ndarray, k: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """k1, k2, p1, p2, k3, k4, sx1, sy1."""
    u, v = _fisheye_angles(x, y)
    r2 = u * u + v * v
    scale = _polynomial(r2, (k[0], k[1], k[4], k[5]))
    shift_u, shift_v = _tangential(u, v, k[2], k[3])
    return u * scale + shift_u + k[6] * r2, v * scale + shift_v + k[7] * r2


def _field_of_view(x: np.ndarray, y: np.ndarray, k: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Devernay and Faugeras 2001: one parameter, the field of view omega."""
    stretched = np.hypot(x, y) * 2 * np.tan(k[0] / 2)
    scale = _ratio(np.arctan(stretched), stretched) * 2 * np.tan(k[0] / 2) / k[0]
    return x * scale, y * scale


LENS_MODELS: dict[str, LensModel] = {
    "SIMPLE_PINHOLE": LensModel(1, 0),
    "PINHOLE": LensModel(2, 0),
    "SIMPLE_RADIAL": LensModel(1, 1, _radial),
    "RADIAL": LensModel(1, 2, _radial),
    "OPENCV": LensModel(2, 4, _opencv),
    "FULL_OPENCV": LensModel(2, 8, _opencv),
    "OPENCV_FISHEYE": LensModel(2, 4, _fisheye),
    "SIMPLE_RADIAL_FISHEYE": LensModel(1, 1, _fisheye),
    "RADIAL_FISHEYE": LensModel(1, 2, _fisheye),
    "THIN_PRISM_FISHEYE": LensModel(2, 8, _thin_prism_fisheye),
    "FOV": LensModel(2, 1, _field_of_view),
}
