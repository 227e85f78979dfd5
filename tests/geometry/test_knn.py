"""Neighbour distances are positive and finite for every cloud of finite points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.knn import MIN_SQUARED_DISTANCE, mean_squared_neighbour_distance


def brute_force(points: torch.Tensor) -> torch.Tensor:
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)
    squared.fill_diagonal_(float("inf"))
    return squared.sort(dim=1).values[:, : min(3, len(points) - 1)].mean(dim=1)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 200])
def test_it_is_the_mean_over_the_three_nearest(count):
    points = torch.randn(count, 3, dtype=torch.float64)
    torch.testing.assert_close(mean_squared_neighbour_distance(points), brute_force(points))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, -2.0, 1e-9, 1e6])] * 3), min_size=1, max_size=12))
def test_every_finite_cloud_has_finite_positive_distances(points):
    distances = mean_squared_neighbour_distance(torch.tensor(points))
    assert distances.shape == (len(points),)
    assert torch.isfinite(distances).all()
    assert (distances >= MIN_SQUARED_DISTANCE).all()


def test_a_lone_point_has_distance_one():
    assert mean_squared_neighbour_distance(torch.tensor([[5.0, 6.0, 7.0]])).tolist() == [1.0]


def test_duplicates_count_as_neighbours_at_distance_zero():
    points = torch.tensor([[0.0, 0, 0], [0, 0, 0], [3, 0, 0], [0, 3, 0]], dtype=torch.float64)
    assert mean_squared_neighbour_distance(points)[:2].tolist() == pytest.approx([6.0, 6.0])


def test_coincident_points_stay_above_zero():
    assert mean_squared_neighbour_distance(torch.ones(9, 3)).tolist() == pytest.approx([MIN_SQUARED_DISTANCE] * 9)


def test_the_type_of_the_points_is_kept():
    assert mean_squared_neighbour_distance(torch.randn(5, 3)).dtype == torch.float32


def test_points_that_are_not_finite_are_named():
    points = torch.zeros(5, 3)
    points[3, 1] = float("nan")
    with pytest.raises(SceneError, match=r"1 of 5 points are not finite, the first is number 3: .*nan.*; remove them"):
        mean_squared_neighbour_distance(points)


@pytest.mark.parametrize("shape", [(0, 3), (4, 2), (3,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(SceneError, match=r"must be a tensor \[N, 3\] with N >= 1"):
        mean_squared_neighbour_distance(torch.zeros(shape))


def test_a_point_whose_squared_distance_overflows_is_far_and_not_infinite():
    points = torch.randn(9, 3)
    points[4, 0] = 1e30
    found = mean_squared_neighbour_distance(points)
    assert found.isfinite().all()
    assert found.argmax() == 4
