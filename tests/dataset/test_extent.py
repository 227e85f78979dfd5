"""The extent of a scene is positive, scales with it, and is not spoilt by one bad camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_splatting.dataset.extent import scene_extent_of

RING = np.stack([np.cos(np.arange(12)), np.sin(np.arange(12)), np.zeros(12)], -1)


def test_it_is_the_distance_of_the_farthest_camera_from_the_mean() -> None:
    centers = np.array([[0.0, 0, 0], [4.0, 0, 0], [2.0, 3.0, 0]])
    assert scene_extent_of(centers) == pytest.approx(1.1 * np.linalg.norm(centers - centers.mean(0), axis=1).max())


@given(scale=st.floats(1e-3, 1e6), shift=st.floats(-1e3, 1e3))
@settings(max_examples=30)
def test_it_scales_with_the_scene_and_does_not_depend_on_its_place(scale: float, shift: float) -> None:
    assert scene_extent_of(RING * scale + shift * scale) == pytest.approx(scale * scene_extent_of(RING), rel=1e-6)


@pytest.mark.parametrize("num_cameras", [1, 2, 5])
def test_cameras_at_one_place_take_the_distance_to_the_points(num_cameras: int) -> None:
    points = np.array([[0, 0, 2.0], [0, 0, 3.0], [0, 0, 4.0], [np.nan, 0, 0]])
    with pytest.warns(UserWarning, match=rf"the {num_cameras} cameras stay at one place .* the median distance to the"):
        assert scene_extent_of(np.zeros((num_cameras, 3)), None, points) == pytest.approx(3.3)


def test_a_single_camera_without_points_has_an_extent() -> None:
    with pytest.warns(UserWarning, match=r"the 1 cameras stay at one place \(they span 0\); the scene extent is 1.1"):
        assert scene_extent_of(np.ones((1, 3))) == 1.1


def test_cameras_that_only_turn_are_at_one_place() -> None:
    points = np.full((5, 3), 10.0)
    with pytest.warns(UserWarning, match="stay at one place"):
        assert scene_extent_of(RING * 1e-6, None, points) > 10


def test_cameras_on_a_line_are_fine() -> None:
    assert scene_extent_of(np.arange(5.0)[:, None] * [[1.0, 0, 0]]) == pytest.approx(2.2)


def test_a_camera_a_million_times_too_far_is_named_and_left_out() -> None:
    centers = np.concatenate([RING, [[1e6, 0, 0]]])
    names = [f"{index}.jpg" for index in range(13)]
    with pytest.warns(UserWarning, match=r"1 of 13 cameras lie more than 1000 times .*: 12\.jpg; check their poses"):
        assert scene_extent_of(centers, names) == pytest.approx(scene_extent_of(RING))


def test_two_groups_of_cameras_are_no_outliers() -> None:
    centers = np.concatenate([RING, RING + 100])
    assert scene_extent_of(centers) > 80
