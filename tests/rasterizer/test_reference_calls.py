"""How the reference rasteriser is called: several cameras, layouts of meta, refusals, and raw parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from reference_scenes import DOUBLE, raw_scene, render, scene, slow_render, two_cameras

from gaussian_splatting.errors import BackendError
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.geometry.sh import RGB2SH
from gaussian_splatting.rasterizer.reference import render_gaussians


@pytest.mark.parametrize("packed", [False, True])
def test_several_cameras_are_as_many_single_ones(packed):
    values = two_cameras()
    backgrounds = torch.rand(2, 3, dtype=DOUBLE)
    together, alphas, meta = render(values, packed=packed, backgrounds=backgrounds)
    assert meta["n_cameras"] == 2
    for index in range(2):
        one = values | {name: values[name][index : index + 1] for name in ("viewmats", "Ks")}
        alone, alpha, _ = render(one, backgrounds=backgrounds[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)
        torch.testing.assert_close(alphas[index : index + 1], alpha)


def test_colours_may_differ_per_camera():
    values = two_cameras()
    colors = torch.rand(2, 60, 3, dtype=DOUBLE)
    together = render(values | {"colors": colors}, sh_degree=None)[0]
    for index in range(2):
        alone = render(values | {"colors": colors[index]}, sh_degree=None)[0]
        torch.testing.assert_close(together[index], alone[index])


def test_packed_meta_lists_the_rows_of_the_dense_one():
    values = {name: value.requires_grad_() for name, value in two_cameras().items()}
    dense_picture, _, dense = render(values, packed=False, absgrad=True)
    packed_picture, _, packed = render(values, packed=True, absgrad=True)
    (dense_picture**2).sum().backward()
    (packed_picture**2).sum().backward()
    cameras, rows = packed["camera_ids"], packed["gaussian_ids"]
    visible = (dense["radii"] > 0).all(dim=-1)
    assert torch.equal(torch.stack([cameras, rows], dim=1), visible.nonzero())
    for name in ("radii", "means2d", "depths", "conics", "opacities"):
        torch.testing.assert_close(packed[name], dense[name][cameras, rows])
    torch.testing.assert_close(packed["means2d"].grad, dense["means2d"].grad[cameras, rows])
    torch.testing.assert_close(packed["means2d"].absgrad, dense["means2d"].absgrad[cameras, rows])
    assert dense["camera_ids"] is dense["gaussian_ids"] is None


def test_given_covariances_replace_scales_and_rotations():
    values = scene()
    half = quaternion_to_matrix(values["quats"]) * values["scales"][:, None, :]
    covars = half @ half.transpose(1, 2)
    other = values | {"scales": values["scales"] * 0 + 1, "quats": values["quats"] * 0 + 1}
    torch.testing.assert_close(render(other, covars=covars)[0], render(values)[0])


def test_an_empty_picture_is_the_background():
    values = scene()
    values["means"] = values["means"] - torch.tensor([0, 0, 100.0], dtype=DOUBLE) @ values["viewmats"][0, :3, :3]
    background = torch.rand(1, 3, dtype=DOUBLE)
    pictures, alphas, meta = render(values, backgrounds=background, packed=True)
    assert torch.equal(pictures, background.expand_as(pictures))
    assert (alphas == 0).all()
    assert meta["means2d"].shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quats": torch.zeros(60, 3)}, r"quats must be \[60, 4\] beside 60 means, found \[60, 3\]"),
        ({"opacities": torch.zeros(60, 1)}, r"opacities must be \[60\] beside 60 means, found \[60, 1\]"),
        ({"Ks": torch.zeros(2, 3, 3)}, r"Ks must be \[1, 3, 3\]"),
        ({"colors": torch.zeros(60, 9, 3)}, r"hold too few coefficients for sh_degree 3: \[N, K, 3\] with K >= 16"),
        ({"colors": torch.zeros(61, 16, 3)}, r"colors must be \[N, K, 3\] or \[C, N, K, 3\] with N = 60"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, message):
    with pytest.raises(BackendError, match=message):
        render(scene() | change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"render_mode": "XYZ"}, "the reference backend has no render_mode 'XYZ'; use one of RGB, D, ED, RGB"),
        ({"rasterize_mode": "fast"}, "no rasterize_mode 'fast'; use one of classic, antialiased"),
        ({"camera_model": "fisheye"}, "no camera_model 'fisheye'; use one of pinhole"),
        ({"sparse_grad": True}, "gives dense gradients only; leave sparse_grad=False"),
        ({"with_ut": True}, "does not support with_ut; use the gsplat backend"),
        ({"backgrounds": torch.zeros(1, 4)}, r"backgrounds must be \[1, 3\], found \[1, 4\]"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(options, message):
    with pytest.raises(BackendError, match=message):
        render(scene(), **options)


def test_arguments_that_gsplat_does_not_know_are_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'with_magic'"):
        render(scene(), with_magic=True)


def test_gsplat_only_arguments_may_be_switched_off():
    pictures = render(scene(), distributed=False, segmented=True, viewmats_rs=None)[0]
    torch.testing.assert_close(pictures, render(scene())[0])


@pytest.mark.parametrize("antialiased", [False, True])
def test_raw_parameters_render_as_their_activated_values(antialiased):
    parameters, view = raw_scene()
    output = render_gaussians(parameters, replace(view, antialiased=antialiased, scale_modifier=0.7))
    values = scene(40)
    pictures, alphas, meta = render(
        values | {"scales": values["scales"] * 0.7},
        sh_degree=2,
        render_mode="RGB+ED",
        rasterize_mode="antialiased" if antialiased else "classic",
        backgrounds=view.background[None],
    )
    torch.testing.assert_close(output.colors, pictures[0, ..., :3])
    torch.testing.assert_close(output.depth, pictures[0, ..., 3])
    torch.testing.assert_close(output.alphas, alphas[0, ..., 0])
    torch.testing.assert_close(output.means2d, meta["means2d"][0])
    assert torch.equal(output.radii, meta["radii"][0].amax(dim=-1))
    assert output.radii.dtype == torch.int32


def test_the_inverse_depth_is_the_sum_of_the_weights_over_z():
    parameters, view = raw_scene()
    expected = slow_render(scene(40), view.background)[3]
    output = render_gaussians(parameters, replace(view, sh_degree=3))
    torch.testing.assert_close(output.inverse_depth, expected, atol=1e-12, rtol=0)


def test_depth_is_zero_where_nothing_is():
    parameters, view = raw_scene(1)
    output = render_gaussians(parameters, view)
    nothing = output.alphas == 0
    assert nothing.any()
    assert (output.depth[nothing] == 0).all()
    assert (output.inverse_depth[nothing] == 0).all()


def test_a_white_gaussian_on_black_has_the_alpha_as_its_colour():
    parameters, view = raw_scene(1)
    white = RGB2SH(torch.ones(1, 1, 3, dtype=DOUBLE))
    parameters = replace(parameters, features_dc=white, features_rest=parameters.features_rest * 0)
    output = render_gaussians(parameters, replace(view, background=torch.zeros(3, dtype=DOUBLE)))
    torch.testing.assert_close(output.colors, output.alphas[..., None].expand(-1, -1, 3))
