"""N Gaussians as float32 arrays, as splat files store them, and which of them nobody can render."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError

Floats = NDArray[np.float32]

FIELDS = ("xyz", "features_dc", "features_rest", "opacity", "scaling", "rotation")
"""The arrays of `GaussianArrays`, in its order."""
NUM_REST = (0, 3, 8, 15, 24)
"""The SH coefficients of each channel beyond the first, by degree."""
LARGEST_LOG_SCALE = 88.0  # exp(89) is not a float32


@dataclass(frozen=True, eq=False)
class GaussianArrays:
    """The raw parameters of N Gaussians, as they are stored; K is (sh_degree + 1)²."""

    xyz: Floats  # [N, 3] means
    features_dc: Floats  # [N, 1, 3] SH coefficient 0
    features_rest: Floats  # [N, K-1, 3] the other SH coefficients
    opacity: Floats  # [N, 1] logits
    scaling: Floats  # [N, 3] logarithms
    rotation: Floats  # [N, 4] quaternions wxyz, of any length

    def __post_init__(self) -> None:
        number, num_rest = len(self.xyz), self.features_rest.shape[1] if self.features_rest.ndim == 3 else -1
        shapes = {
            "xyz": (number, 3),
            "features_dc": (number, 1, 3),
            "features_rest": (number, num_rest, 3),
            "opacity": (number, 1),
            "scaling": (number, 3),
            "rotation": (number, 4),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise SplatError(f"Gaussians: {name} has shape {getattr(self, name).shape}, expected {shape}")
        if num_rest not in NUM_REST:
            raise SplatError(f"Gaussians: features_rest has {num_rest} coefficients, expected 0, 3, 8, 15 or 24")

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def sh_degree(self) -> int:
        """The degree of the spherical harmonics, 0 to 4."""
        return NUM_REST.index(self.features_rest.shape[1])

    def select(self, rows: NDArray | slice) -> GaussianArrays:
        """Some of the Gaussians, by a mask or by indices."""
        return GaussianArrays(*(getattr(self, name)[rows] for name in FIELDS))


def without_unusable(gaussians: GaussianArrays, path: str | os.PathLike[str], strict: bool) -> GaussianArrays:
    """The Gaussians without those that nobody can render, dropped with a warning, or refused when `strict`."""
    faults = _faults(gaussians)
    usable = ~np.logical_or.reduce(list(faults.values()))
    num_dropped = len(gaussians) - int(usable.sum())
    if num_dropped == 0:
        return gaussians
    causes = ", ".join(f"{int(rows.sum())} {what}" for what, rows in faults.items() if rows.any())
    found = f"{os.fspath(path)}: {num_dropped} of {len(gaussians)} Gaussians cannot be rendered ({causes})"
    if strict or num_dropped == len(gaussians):
        raise FormatError(f"{found}; the run that made this file had diverged: use an earlier result")
    warnings.warn(f"{found}; they were dropped", stacklevel=4)
    return gaussians.select(usable)


def _faults(gaussians: GaussianArrays) -> dict[str, NDArray[np.bool_]]:
    """Which rows are unusable, by cause."""
    arrays = {
        "position": gaussians.xyz,
        "colour": gaussians.features_dc,
        "SH coefficient": gaussians.features_rest,
        "opacity": gaussians.opacity,
        "scale": gaussians.scaling,
        "rotation": gaussians.rotation,
    }
    faults: dict[str, NDArray[np.bool_]] = {}
    for name, values in arrays.items():
        faults[f"with a {name} that is not finite"] = rows_not_finite(values)
    with np.errstate(over="ignore", invalid="ignore"):
        squared_length = np.einsum("ij,ij->i", gaussians.rotation, gaussians.rotation)
        faults["with a rotation of length 0"] = squared_length == 0
        faults["with a rotation too long for float32"] = np.isinf(squared_length)
        faults["with a scale too large for float32"] = np.any(gaussians.scaling > LARGEST_LOG_SCALE, axis=1)
    return faults


def rows_not_finite(values: Floats) -> NDArray[np.bool_]:  # [N, ...] -> [N]
    """Rows that hold NaN or infinity."""
    if np.isfinite(values).all():  # nearly always; reducing rows takes ten times as long
        return np.zeros(len(values), np.bool_)
    finite = np.isfinite(values.reshape(len(values), math.prod(values.shape[1:])))
    return np.logical_not(np.logical_and.reduce(finite, axis=1))


def with_sh_degree(gaussians: GaussianArrays, degree: int) -> GaussianArrays:
    """The Gaussians with the spherical harmonics of another degree: cut, or filled with zeros."""
    if not 0 <= degree < len(NUM_REST):
        raise SplatError(f"SH degree {degree} is not supported; use 0 to {len(NUM_REST) - 1}")
    wanted, present = NUM_REST[degree], gaussians.features_rest.shape[1]
    rest = np.zeros((len(gaussians), wanted, 3), np.float32)
    rest[:, :present] = gaussians.features_rest[:, :wanted]
    return GaussianArrays(
        gaussians.xyz, gaussians.features_dc, rest, gaussians.opacity, gaussians.scaling, gaussians.rotation
    )


def joined(parts: list[GaussianArrays]) -> GaussianArrays:
    """All the Gaussians, with the highest SH degree among them."""
    degree = max(part.sh_degree for part in parts)
    alike = [with_sh_degree(part, degree) for part in parts]
    return GaussianArrays(*(np.concatenate([getattr(part, name) for part in alike]) for name in FIELDS))
