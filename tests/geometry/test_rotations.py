"""Quaternions and matrices describe the same group, at every angle and in both directions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gaussian_splatting.geometry.rotations import (
    build_rotation,
    build_scaling_rotation,
    matrix_to_quaternion,
    normalize_quaternion,
    quaternion_raw_multiply,
    quaternion_to_matrix,
    standardize_quaternion,
    strip_symmetric,
)


def random_quaternions(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_matrices_agree_with_scipy():
    quaternions = random_quaternions(100)
    expected = Rotation.from_quat(quaternions.roll(-1, dims=1).numpy()).as_matrix()
    torch.testing.assert_close(quaternion_to_matrix(quaternions), torch.from_numpy(expected))


def test_matrices_are_rotations():
    matrices = build_rotation(random_quaternions(100))
    identity = torch.eye(3, dtype=torch.float64).expand(100, 3, 3)
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(100, dtype=torch.float64))


def test_products_compose():
    first, second = random_quaternions(50, 1), random_quaternions(50, 2)
    composed = quaternion_to_matrix(quaternion_raw_multiply(first, second))
    torch.testing.assert_close(composed, quaternion_to_matrix(first) @ quaternion_to_matrix(second))


components = st.floats(-1, 1, allow_subnormal=False)


@settings(deadline=None)
@given(st.tuples(components, components, components, components).filter(lambda q: sum(v * v for v in q) > 1e-6))
def test_a_quaternion_survives_its_matrix(values):
    quaternion = normalize_quaternion(torch.tensor(values, dtype=torch.float64))
    found = matrix_to_quaternion(quaternion_to_matrix(quaternion))
    assert found[0] >= 0
    # Two unit quaternions are one rotation when their inner product is 1 or -1.
    assert float((found * quaternion).sum().abs()) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_are_recovered(axis):
    half_turn = torch.diag(-torch.ones(3, dtype=torch.float64))
    half_turn[axis, axis] = 1
    expected = torch.zeros(4, dtype=torch.float64)
    expected[axis + 1] = 1
    torch.testing.assert_close(matrix_to_quaternion(half_turn).abs(), expected)


def test_matrix_to_quaternion_is_differentiable_at_the_identity():
    quaternion = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    matrix_to_quaternion(quaternion_to_matrix(quaternion))[1].backward()
    torch.testing.assert_close(quaternion.grad, torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("length", [1e-30, 1e-8, 1.0, 1e8, 1e30])
def test_any_length_is_normalised_in_float32(length):
    quaternion = torch.tensor([0.5, -0.5, 0.5, 0.5]) * length
    torch.testing.assert_close(normalize_quaternion(quaternion), torch.tensor([0.5, -0.5, 0.5, 0.5]))


def test_a_zero_quaternion_is_the_identity_with_zero_gradient():
    quaternion = torch.zeros(4, requires_grad=True)
    matrix = quaternion_to_matrix(quaternion)
    (matrix * torch.arange(9.0).view(3, 3)).sum().backward()
    assert torch.equal(matrix, torch.eye(3))
    assert torch.equal(quaternion.grad, torch.zeros(4))


def test_gradients_of_the_matrix_are_exact():
    assert torch.autograd.gradcheck(quaternion_to_matrix, random_quaternions(3, 5).requires_grad_())


def test_standardised_quaternions_have_positive_w():
    quaternions = random_quaternions(100)
    standard = standardize_quaternion(quaternions)
    assert (standard[:, 0] >= 0).all()
    torch.testing.assert_close(quaternion_to_matrix(standard), quaternion_to_matrix(quaternions))


def test_scaling_rotation_is_a_factor_of_the_covariance():
    quaternions, scales = random_quaternions(10), torch.rand(10, 3, dtype=torch.float64)
    factor = build_scaling_rotation(scales, quaternions)
    rotation = quaternion_to_matrix(quaternions)
    expected = rotation @ torch.diag_embed(scales**2) @ rotation.transpose(1, 2)
    torch.testing.assert_close(factor @ factor.transpose(1, 2), expected)


def test_the_upper_triangle_is_in_file_order():
    matrix = torch.tensor([[[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]])
    assert strip_symmetric(matrix).tolist() == [[1, 2, 3, 4, 5, 6]]
