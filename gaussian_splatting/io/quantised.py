"""What the compact splat formats share: small integers for numbers, three of four quaternion parts, turned axes."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import FIELDS, Floats, GaussianArrays, rows_not_finite

Bytes = NDArray[np.uint8]

Reals = NDArray[np.floating]
"""Floats of either width, on their way to float32."""

SH_C0 = np.float32(0.28209479177387814)
HALF_ROOT = np.float32(np.sqrt(0.5))
"""What the parts of a unit quaternion beside its largest reach."""

# An opacity of exactly 0 or 1 has no finite logit; 8 bits cannot tell these from it.
_LEAST_OPACITY = np.float32(1e-6)
# Whatever part of a quaternion is the largest, the other three in their order.
_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
_LEAST_LENGTH = 1e-30
# Temporaries of this many Gaussians stay in the second-level cache: ten times as fast as those of a million.
_PIECE = 4096

# The parity of each SH basis function in x, y and z, in the order of the coefficients: its sign when an axis is turned.
_PARITY = (
    "", "y", "z", "x", "xy", "yz", "", "xz", "", "y", "xyz", "y", "z", "x", "z", "x",
    "xy", "yz", "xy", "yz", "", "xz", "", "xz", "",
)  # fmt: skip


def gaussians_from(
    xyz: Reals, features_dc: Reals, features_rest: Reals, opacity: Reals, scaling: Reals, rotation: Reals
) -> GaussianArrays:
    """The Gaussians of these arrays, as float32; what float32 cannot hold becomes infinite, and is dropped later."""
    with np.errstate(over="ignore"):
        arrays = (xyz, features_dc, features_rest, opacity, scaling, rotation)
        return GaussianArrays(*(values.astype(np.float32, copy=False) for values in arrays))


def pieces_of(number: int) -> Iterator[slice]:
    """Slices of `number` Gaussians that keep temporary arrays in the cache, all but the last of a multiple of 256."""
    return (slice(start, min(start + _PIECE, number)) for start in range(0, number, _PIECE))


def gaussians_by_piece(number: int, decode: Callable[[slice], GaussianArrays]) -> GaussianArrays:
    """The Gaussians of a decoder that gives any slice of them; `number` is at least 1, and believed."""
    whole: GaussianArrays | None = None
    for where in pieces_of(number):
        part = decode(where)
        if whole is None:
            whole = GaussianArrays(*(np.empty((number, *getattr(part, name).shape[1:]), np.float32) for name in FIELDS))
        for name in FIELDS:
            getattr(whole, name)[where] = getattr(part, name)
    assert whole is not None
    return whole


def colour_of(features_dc: Reals) -> Floats:
    """The colours [..., 3] that SH coefficients 0 [..., 3] show, where 0 to 1 is the range of a screen."""
    return (features_dc * SH_C0 + np.float32(0.5)).astype(np.float32, copy=False)


def features_of(colour: Reals) -> Floats:
    """The SH coefficients 0 [..., 3] that show colours [..., 3]."""
    return ((colour - np.float32(0.5)) / SH_C0).astype(np.float32, copy=False)


def opacity_of(logits: Reals) -> Floats:
    """The opacities [...], 0 to 1, of logits [...]."""
    with np.errstate(over="ignore"):  # exp(89) is infinite, and its opacity 0
        return (1 / (1 + np.exp(-logits))).astype(np.float32, copy=False)


def logit_of(opacity: Reals) -> Floats:
    """Logits of opacities of 0 to 1; the ends are moved inwards by a millionth to stay finite."""
    inner = np.clip(opacity, _LEAST_OPACITY, 1 - _LEAST_OPACITY)
    return np.log(inner / (1 - inner)).astype(np.float32, copy=False)


def to_steps(unit: Reals, num_steps: int) -> NDArray[np.uint32]:
    """0 to 1 as 0 to `num_steps`, rounded; what lies outside is clamped."""
    return np.clip(np.rint(unit * num_steps), 0, num_steps).astype(np.uint32)


def unit_quaternions(rotation: Reals) -> Floats:  # [N, 4] -> [N, 4]
    """Quaternions of length 1; one without direction becomes the identity of wxyz."""
    scaled = rotation / np.maximum(np.abs(rotation).max(axis=1, keepdims=True, initial=0), _LEAST_LENGTH)
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    unit = scaled / np.maximum(length, _LEAST_LENGTH)
    unit[length[:, 0] == 0] = (1, 0, 0, 0)
    return unit.astype(np.float32)


def split_quaternions(unit: Reals) -> tuple[NDArray[np.intp], Floats]:  # [N, 4] -> [N], [N, 3]
    """Which part is the largest, and the other three in their order, with the sign that makes the largest positive."""
    largest = np.abs(unit).argmax(axis=1)
    sign = np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, np.float32(-1), np.float32(1))
    return largest, (np.take_along_axis(unit, _OTHERS[largest], 1) * sign).astype(np.float32, copy=False)


def join_quaternions(largest: NDArray, others: Reals) -> Floats:  # [N], [N, 3] -> [N, 4]
    """The unit quaternions that `split_quaternions` split."""
    joined = np.empty((len(others), 4), np.float32)
    rest = 1 - np.einsum("ij,ij->i", others, others)
    np.put_along_axis(joined, _OTHERS[largest], others, 1)
    np.put_along_axis(joined, largest[:, None].astype(np.intp), np.sqrt(np.maximum(rest, 0))[:, None], 1)
    return joined


def with_axes_turned(gaussians: GaussianArrays, axes: tuple[int, int, int]) -> GaussianArrays:
    """The Gaussians after a half turn that keeps one axis and reverses two: `axes` has +1 for the one, -1 for the two.

    Exact: only signs change, those of the positions, the quaternions and the spherical harmonics.
    """
    assert np.prod(axes) == 1, "a mirror image is no rotation"
    signs = np.array(axes, np.float32)
    sh_signs = _sh_signs(axes)
    num_rest = gaussians.features_rest.shape[1]
    # A half turn conjugates a quaternion: the parts along the reversed axes change sign.
    return gaussians_from(
        gaussians.xyz * signs,
        gaussians.features_dc,
        gaussians.features_rest * sh_signs[1 : 1 + num_rest, None],
        gaussians.opacity,
        gaussians.scaling,
        gaussians.rotation * np.array((1, *axes), np.float32),
    )


def spatial_order(xyz: Floats) -> NDArray[np.intp]:  # [N, 3] -> [N]
    """The order along a Z curve (Morton 1966), in which neighbours in space are neighbours in the file."""
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    cells = ((xyz - low) / np.maximum(high - low, np.float32(1e-30)) * (2**20 - 1)).astype(np.uint64)
    code = np.zeros(len(xyz), np.uint64)
    for axis in range(3):
        code |= _spread(cells[:, axis]) << np.uint64(axis)
    order = np.argsort(code)  # four times as fast as a stable one, which only equal codes need
    ordered = code[order]
    return np.argsort(code, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order


def require_finite(path: str | os.PathLike[str], gaussians: GaussianArrays) -> None:
    """Refuses to write Gaussians that hold NaN or infinity, or none at all."""
    if len(gaussians) == 0:
        raise SplatError(f"{os.fspath(path)}: not written: there are no Gaussians")
    for name in FIELDS:
        faulty = rows_not_finite(getattr(gaussians, name))
        if faulty.any():
            row = int(faulty.argmax())
            raise SplatError(
                f"{os.fspath(path)}: not written: {name} of Gaussian {row} is not finite; "
                "remove the Gaussians that are not finite first"
            )


@functools.cache
def _sh_signs(axes: tuple[int, int, int]) -> Floats:  # [25]
    signs = dict(zip("xyz", axes, strict=True))
    return np.array([math.prod(signs[letter] for letter in parity) for parity in _PARITY], np.float32)


def _spread(cell: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """21 bits with two zeros after each."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cell = (cell | (cell << np.uint64(shift))) & np.uint64(mask)
    return cell
