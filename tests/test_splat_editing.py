"""Edits of Gaussians: what they keep, what they remove, and that views do not change when the scene is moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from splat_samples import random_splats

from gaussian_splatting.errors import SplatError
from gaussian_splatting.geometry.sh import sh_basis
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.ply import GaussianArrays
from gaussian_splatting.io.quantised import with_axes_turned
from gaussian_splatting.io.rigid_motion import band_rotations, moved
from gaussian_splatting.splat_editing import (
    CleanRules,
    centred,
    cleaned,
    cropped,
    joined,
    middle,
    parse_transform,
    transformed,
    with_sh_degree,
)


def seen_from(gaussians: GaussianArrays, eye: np.ndarray) -> np.ndarray:
    """The colour of every Gaussian from a place."""
    direction = gaussians.xyz - eye
    basis = sh_basis(gaussians.sh_degree, torch.from_numpy(direction / np.linalg.norm(direction, axis=1)[:, None]))
    sh = np.concatenate((gaussians.features_dc, gaussians.features_rest), axis=1)
    return np.einsum("nk,nkc->nc", basis.numpy(), sh)


def covariances(gaussians: GaussianArrays) -> np.ndarray:
    turn = Rotation.from_quat(np.roll(gaussians.rotation.astype(np.float64), -1, axis=1)).as_matrix()
    factor = turn * np.exp(gaussians.scaling.astype(np.float64))[:, None]
    return factor @ factor.transpose(0, 2, 1)


@pytest.mark.parametrize("degree", range(5))
def test_a_moved_scene_looks_the_same_to_a_moved_camera(degree: int) -> None:
    gaussians, turn = random_splats(50, degree), Rotation.random(random_state=degree).as_matrix()
    shift, eye = np.array([1.0, -2.0, 3.0]), np.array([5.0, 4.0, -3.0])
    there = moved(gaussians, turn, 1.7, shift)
    np.testing.assert_allclose(there.xyz, 1.7 * gaussians.xyz @ turn.T + shift, atol=1e-5)
    np.testing.assert_allclose(seen_from(there, 1.7 * turn @ eye + shift), seen_from(gaussians, eye), atol=1e-5)
    expected = 1.7**2 * turn @ covariances(gaussians) @ turn.T
    np.testing.assert_allclose(covariances(there), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axes", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, 1)])
def test_turned_axes_are_a_rotation_by_half_a_turn(axes: tuple[int, int, int]) -> None:
    gaussians, turn, eye = random_splats(50, 4), np.diag(axes).astype(float), np.array([5.0, 4.0, -3.0])
    there = with_axes_turned(gaussians, axes)
    np.testing.assert_array_equal(there.xyz, gaussians.xyz @ turn.astype(np.float32))
    np.testing.assert_allclose(seen_from(there, turn @ eye), seen_from(gaussians, eye), atol=1e-5)
    np.testing.assert_allclose(covariances(there), turn @ covariances(gaussians) @ turn, rtol=1e-4, atol=1e-4)
    back = with_axes_turned(there, axes)
    assert all(np.array_equal(getattr(back, name), getattr(gaussians, name)) for name in FIELDS)


def test_rotations_of_bands_are_orthogonal_and_compose() -> None:
    first, second = (Rotation.random(random_state=seed).as_matrix() for seed in (1, 2))
    for one, two, both in zip(*(band_rotations(r, 4) for r in (first, second, first @ second)), strict=True):
        np.testing.assert_allclose(one @ one.T, np.eye(len(one)), atol=1e-12)
        np.testing.assert_allclose(one @ two, both, atol=1e-12)


# Transforms


@pytest.mark.parametrize(
    ("text", "point", "expected"),
    [
        ("translate:1,2,3", (0, 0, 0), (1, 2, 3)),
        ("rotate:0,0,90", (1, 0, 0), (0, 1, 0)),
        ("rotate:90,0,0", (0, 1, 0), (0, 0, 1)),
        ("rotate:0,90,0", (0, 0, 1), (1, 0, 0)),
        ("scale:2 translate:1,0,0", (1, 1, 1), (3, 2, 2)),
        ("translate:1,0,0;scale:2", (1, 1, 1), (4, 2, 2)),
        ("0,-1,0,5, 1,0,0,6, 0,0,1,7, 0,0,0,1", (1, 0, 0), (5, 7, 7)),
    ],
)
def test_transforms_are_read(text: str, point: tuple, expected: tuple) -> None:
    gaussians = random_splats(1, 3)
    gaussians.xyz[0] = point
    np.testing.assert_allclose(transformed(gaussians, parse_transform(text)).xyz[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "expected 16 numbers, separated by commas, found '1,2,3'"),
        ("turn:1", "unknown step 'turn'; use translate, rotate, scale"),
        ("translate:1,2", "transform translate: expected 3 numbers"),
        ("scale:nan", "transform scale: expected 1 numbers"),
        ("scale:0", "the determinant must be positive"),
        ("-1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1", "mirrors are not possible"),
        ("2,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1", "use one scale for all axes"),
        ("1,1,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1", "use one scale for all axes"),
        ("1,0,0,0, 0,1,0,0, 0,0,1,0, 5,0,0,1", "give rows, not columns"),
    ],
)
def test_transforms_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(SplatError, match=message):
        transformed(random_splats(1, 3), parse_transform(text))


def test_the_centre_is_not_moved_by_a_few_far_gaussians() -> None:
    gaussians = random_splats(1001, 3)
    gaussians.xyz[:400] = 1e4
    np.testing.assert_allclose(middle(centred(gaussians)), 0, atol=1e-3)
    np.testing.assert_allclose(centred(gaussians).xyz[500:], gaussians.xyz[500:] - middle(gaussians), atol=1e-3)


# Cropping, cleaning, merging


def test_a_crop_keeps_the_centres_in_the_box() -> None:
    gaussians = random_splats(500, 3)
    low, high = np.array([-1.0, -0.5, 0.0]), np.array([1.0, 0.5, 2.0])
    found = cropped(gaussians, low, high)
    inside = ((gaussians.xyz >= low) & (gaussians.xyz <= high)).all(axis=1)
    np.testing.assert_array_equal(found.xyz, gaussians.xyz[inside])
    with pytest.raises(SplatError, match=r"no Gaussian lies in the box; they reach from \["):
        cropped(gaussians, np.full(3, 90.0), np.full(3, 99.0))
    with pytest.raises(SplatError, match="is not below the upper"):
        cropped(gaussians, high, low)


def floaters() -> tuple[GaussianArrays, dict[str, int]]:
    """A surface of 2000 Gaussians, with some of each kind of floater at the end."""
    random = np.random.default_rng(5)
    gaussians = random_splats(2000, 1)
    gaussians.xyz[:, :2], gaussians.xyz[:, 2] = random.uniform(-1, 1, (2000, 2)), 0
    gaussians.scaling[:], gaussians.opacity[:] = math.log(0.02), 2.0
    gaussians.opacity[-7:] = -8.0
    gaussians.scaling[-17:-7, 1] = math.log(2.0)
    gaussians.xyz[-37:-17] = random.uniform(3, 20, (20, 3))
    return gaussians, {"transparent": 7, "oversized": 10, "outliers": 20}


def test_floaters_are_removed_and_counted_and_nothing_else_is() -> None:
    gaussians, expected = floaters()
    found, counts = cleaned(gaussians)
    assert counts == expected
    np.testing.assert_array_equal(found.xyz, gaussians.xyz[:-37])
    assert len(cleaned(found)[0]) >= len(found) - 2


def test_rules_can_be_changed() -> None:
    gaussians, _ = floaters()
    rules = CleanRules(least_opacity=0.0, largest_size=1e9, outlier_sigmas=1e9)
    assert cleaned(gaussians, rules)[1] == {"transparent": 0, "oversized": 0, "outliers": 0}
    with pytest.raises(SplatError, match="nothing would be left: all 2000 Gaussians are transparent"):
        cleaned(gaussians, CleanRules(least_opacity=1.1))


@pytest.mark.parametrize("number", [1, 2, 31, 33])
def test_few_gaussians_can_be_cleaned(number: int) -> None:
    gaussians = random_splats(number, 3)
    gaussians.xyz[:] *= 1000
    gaussians.opacity[:] = 1
    assert len(cleaned(gaussians)[0]) + sum(cleaned(gaussians)[1].values()) == number


def test_merging_keeps_every_gaussian_and_the_highest_degree() -> None:
    first, second = random_splats(10, 1), random_splats(20, 3, seed=1)
    both = joined([first, second])
    assert (len(both), both.sh_degree) == (30, 3)
    np.testing.assert_array_equal(both.features_rest[:10, :3], first.features_rest)
    np.testing.assert_array_equal(both.features_rest[:10, 3:], 0)
    np.testing.assert_array_equal(both.features_rest[10:], second.features_rest)


def test_degrees_are_cut_and_filled() -> None:
    gaussians = random_splats(5, 2)
    np.testing.assert_array_equal(with_sh_degree(gaussians, 1).features_rest, gaussians.features_rest[:, :3])
    assert with_sh_degree(gaussians, 4).features_rest.shape == (5, 24, 3)
    with pytest.raises(SplatError, match="SH degree 5 is not supported"):
        with_sh_degree(gaussians, 5)
