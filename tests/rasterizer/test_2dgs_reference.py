"""The 2DGS reference: the paper's pictures, the derivative of each, and gsplat's own PyTorch code."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pytest
import torch
from reference_scenes import DOUBLE, HEIGHT, WIDTH, raw_scene, scene
from surfel_scenes import (
    hard_scene,
    leaves_of,
    maps_of,
    meeting_point,
    plain_scene,
    ray_transforms,
    slow_box,
    slow_maps,
    weighted_sum,
)

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import reference_2dgs
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView
from gaussian_splatting.rasterizer.surface import EXTRAS, normals_from_depth


def render(values: dict[str, torch.Tensor], **options):
    options = {"render_mode": "RGB+D", "distloss": True} | options
    return reference_2dgs.rasterization_2dgs(**values, width=WIDTH, height=HEIGHT, **options)


@pytest.mark.parametrize(("seed", "spread"), [(0, 1.0), (1, 3.0), (2, 0.05)])
def test_maps_are_those_of_one_surfel_after_another(seed, spread):
    values = plain_scene(60, seed, spread)
    if seed == 1:
        values["opacities"] = values["opacities"] * 0.3 + 0.7  # pixels saturate
    expected = slow_maps(values)
    pictures, alphas, normals, _, distortion, median, _ = render(values)
    camera_normals = normals[0] @ values["viewmats"][0, :3, :3].T
    close = {"atol": 1e-11, "rtol": 0}
    torch.testing.assert_close(pictures[0, ..., :3], expected["colors"], **close)
    torch.testing.assert_close(pictures[0, ..., 3], expected["depth"], **close)
    torch.testing.assert_close(alphas[0, ..., 0], expected["alphas"], **close)
    torch.testing.assert_close(camera_normals, expected["normals"], **close)
    torch.testing.assert_close(distortion[0, ..., 0], expected["distortion"], **close)
    torch.testing.assert_close(median[0, ..., 0], expected["median"], **close)
    assert float(alphas.mean()) > 0.02


def test_every_derivative_is_that_of_finite_differences():
    values = plain_scene(6, seed=4, spread=3.0)
    names = list(values)

    def maps(*inputs: torch.Tensor):
        given = dict(zip(names, inputs, strict=True))
        background = torch.tensor([[0.2, 0.5, 0.1]], dtype=DOUBLE)
        pictures, alphas, normals, from_depth, distortion, median, _ = reference_2dgs.rasterization_2dgs(
            **given, width=9, height=7, render_mode="RGB+ED", backgrounds=background
        )
        return pictures, alphas, normals, from_depth, distortion, median

    values["Ks"] = torch.tensor([[[7.0, 0, 4.2], [0, 8.0, 3.6], [0, 0, 1]]], dtype=DOUBLE)
    values["means"] = values["means"] * 0.3
    assert float(maps(*values.values())[1].detach().mean()) > 0.2
    inputs = [value.clone().requires_grad_() for value in values.values()]
    torch.autograd.gradcheck(maps, inputs, eps=1e-6, atol=1e-5, rtol=1e-4, check_undefined_grad=False)


def test_raw_parameters_give_what_activated_ones_give():
    parameters, view = raw_scene()
    found = reference_2dgs.render_gaussians(parameters, view)
    pictures, alphas, normals, from_depth, distortion, median, meta = reference_2dgs.rasterization_2dgs(
        parameters.means, parameters.quats, parameters.log_scales.exp(), parameters.opacity_logits.sigmoid()[:, 0],
        torch.cat([parameters.features_dc, parameters.features_rest], dim=1), view.viewmat[None], view.K[None],
        WIDTH, HEIGHT, sh_degree=2, render_mode="RGB+ED", backgrounds=view.background[None],
    )  # fmt: skip
    torch.testing.assert_close(found.colors, pictures[0, ..., :3])
    torch.testing.assert_close(found.depth, pictures[0, ..., 3])
    torch.testing.assert_close(found.alphas, alphas[0, ..., 0])
    torch.testing.assert_close(found.radii, meta["radii"][0].amax(-1))
    assert set(found.extras) == EXTRAS
    expected = {
        "render_normals": normals[0].permute(2, 0, 1), "normals_from_depth": from_depth[0].permute(2, 0, 1),
        "render_alphas": alphas[0].permute(2, 0, 1), "render_distort": distortion[0].permute(2, 0, 1),
        "render_median": median[0].permute(2, 0, 1),
    }  # fmt: skip
    for name, value in expected.items():
        torch.testing.assert_close(found.extras[name], value, msg=lambda m, n=name: f"{n}: {m}")


def test_the_gradient_for_densification_moves_the_centre_with_the_plane_held():
    values = plain_scene(40, seed=5)
    weights = torch.randn(HEIGHT, WIDTH, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    rays = ray_transforms(values).requires_grad_()
    (slow_maps(values, rays)["colors"] * weights).sum().backward()
    assert rays.grad is not None
    values["means"].requires_grad_()
    pictures, *_, meta = render(values, render_mode="RGB", distloss=False)
    (pictures[0] * weights).sum().backward()
    expected = rays.grad[:, :2, 2] * rays.detach()[:, 2:, 2]
    visible = (meta["radii"][0] > 0).all(-1)
    assert int(visible.sum()) > 10
    torch.testing.assert_close(meta["gradient_2dgs"].grad[0], torch.where(visible[:, None], expected, 0))


def test_two_backward_passes_add_up_in_the_holder():
    leaves, view = leaves_of(*raw_scene())
    output = reference_2dgs.render_gaussians(leaves, view)
    output.colors.sum().backward(retain_graph=True)
    assert output.means2d.grad is not None
    once = output.means2d.grad.clone()
    output.colors.sum().backward()
    torch.testing.assert_close(output.means2d.grad, 2 * once)
    assert float(once.abs().sum()) > 0


def test_gradients_of_a_hard_scene_are_finite_in_float32_and_agree_with_float64():
    grads = []
    for dtype in (torch.float32, DOUBLE):
        parameters, view = hard_scene()
        from surfel_scenes import changed_dtype, view_dtype

        leaves, view = leaves_of(changed_dtype(parameters, dtype), view_dtype(view, dtype))
        weighted_sum(maps_of(reference_2dgs.render_gaussians(leaves, view))).backward()
        grads.append([leaves.means.grad, leaves.quats.grad, leaves.log_scales.grad, leaves.opacity_logits.grad])
    for single, double in zip(*grads, strict=True):
        assert torch.isfinite(single).all()
        assert float((single - double).norm() / double.norm()) < 2e-3


def test_the_third_scale_does_nothing():
    parameters, view = raw_scene()
    leaves, view = leaves_of(parameters, view)
    weighted_sum(maps_of(reference_2dgs.render_gaussians(leaves, view))).backward()
    assert leaves.log_scales.grad is not None
    assert (leaves.log_scales.grad[:, 2] == 0).all()
    assert (leaves.log_scales.grad[:, :2] != 0).any(dim=0).all()


# A plane of surfels


def tilted_plane() -> tuple[GaussianParameters, RasterView, torch.Tensor, float]:
    """Small opaque surfels on the plane n . x = c in front of a camera; with n towards the camera."""
    normal = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -1.0], dtype=DOUBLE), dim=0)
    first = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.tensor([0.0, 1, 0], dtype=DOUBLE)), dim=0)
    second = torch.linalg.cross(normal, first)
    from gaussian_splatting.geometry.rotations import matrix_to_quaternion

    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 41, dtype=DOUBLE)] * 2)
    means = torch.tensor([0.0, 0, 3], dtype=DOUBLE) + grid[:, :1] * first + grid[:, 1:] * second
    num = len(means)
    quats = matrix_to_quaternion(torch.stack([first, second, normal], dim=1)).expand(num, 4)
    parameters = GaussianParameters(
        means, quats, torch.full((num, 3), math.log(0.04), dtype=DOUBLE), torch.full((num, 1), 4.0, dtype=DOUBLE),
        torch.zeros(num, 1, 3, dtype=DOUBLE), torch.zeros(num, 0, 3, dtype=DOUBLE),
    )  # fmt: skip
    K = torch.tensor([[160.0, 0, 20], [0, 160.0, 16], [0, 0, 1]], dtype=DOUBLE)
    view = RasterView(torch.eye(4, dtype=DOUBLE), K, 40, 32, 0, torch.zeros(3, dtype=DOUBLE))
    return parameters, view, normal, float(normal[2] * 3)


def test_a_tilted_plane_has_its_normal_and_its_depth():
    parameters, view, normal, offset = tilted_plane()
    output = reference_2dgs.render_gaussians(parameters, view)
    assert float(output.alphas.min()) > 0.99
    found = torch.nn.functional.normalize(output.extras["render_normals"], dim=0)
    torch.testing.assert_close(found, normal[:, None, None].expand_as(found), atol=1e-9, rtol=0)
    x, y = (torch.arange(40, dtype=DOUBLE) + 0.5 - 20) / 160, (torch.arange(32, dtype=DOUBLE) + 0.5 - 16) / 160
    depth = offset / (normal[0] * x + normal[1] * y[:, None] + normal[2])
    # The depth of a surfel is that of its centre, which is at most 3.33 standard deviations of 0.04 away on the plane.
    reach = 3.33 * 0.04 * math.hypot(float(normal[0]), float(normal[1]))
    assert float((output.depth - depth).abs().max()) < reach
    assert float((output.extras["render_median"][0] - depth).abs().max()) < reach
    assert float((output.depth - depth).abs().mean()) < reach / 2
    inner = output.extras["normals_from_depth"][:, 2:-2, 2:-2]
    angles = torch.rad2deg(torch.arccos((inner * normal[:, None, None]).sum(0).clamp(-1, 1)))
    assert float(angles.mean()) < 6
    assert (output.extras["normals_from_depth"][:, 0] == 0).all()


def test_normals_of_an_exact_depth_map_are_exact_in_the_world():
    _, view, normal, offset = tilted_plane()
    x, y = (torch.arange(40, dtype=DOUBLE) + 0.5 - 20) / 160, (torch.arange(32, dtype=DOUBLE) + 0.5 - 16) / 160
    depth = offset / (normal[0] * x + normal[1] * y[:, None] + normal[2])
    viewmat = scene()["viewmats"][0]
    found = normals_from_depth(depth, viewmat, view.K)
    world = viewmat[:3, :3].T @ normal
    torch.testing.assert_close(found[1:-1, 1:-1], world.expand(30, 38, 3), atol=1e-12, rtol=0)


def test_a_depth_without_area_has_no_normal_and_no_gradient():
    depth = torch.zeros(6, 5, dtype=DOUBLE)
    depth[1, 2] = 1.0  # one neighbour only
    depth.requires_grad_()
    found = normals_from_depth(depth, torch.eye(4, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE))
    found.sum().backward()
    assert (found == 0).all()
    assert (depth.grad == 0).all()


# gsplat's own PyTorch code


def test_projection_is_that_of_gsplat():
    from gsplat.cuda._torch_impl_2dgs import _fully_fused_projection_2dgs

    values = plain_scene(200, seed=6)
    values["scales"][:, 2] = 1  # the code scales the normal with the third axis
    radii, means2d, depths, rays, normals = _fully_fused_projection_2dgs(
        *(values[name].float() for name in ("means", "quats", "scales", "viewmats", "Ks")), WIDTH, HEIGHT
    )
    *_, meta = render({name: value.float() for name, value in values.items()})
    # gsplat's CUDA kernel, unlike this code, also draws surfels that cross the camera plane: they have d > 0 there.
    torch.testing.assert_close(meta["radii"], radii)
    visible = (radii > 0).all(-1)
    assert int(visible.sum()) > 50
    found = {"means2d": means2d, "depths": depths, "ray_transforms": rays, "normals": normals}
    for name, value in found.items():
        torch.testing.assert_close(
            meta[name][visible], value[visible], atol=2e-4, rtol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_blending_is_that_of_gsplat(monkeypatch):
    from gsplat.cuda._torch_impl_2dgs import accumulate_2dgs

    monkeypatch.setitem(sys.modules, "nerfacc", standing_nerfacc())
    values = plain_scene(60, seed=7)
    values["opacities"] = values["opacities"] * 0.4  # no pixel stops early
    pictures, alphas, normals, *_, meta = render(values, render_mode="RGB", distloss=False)
    rays, means2d = meta["ray_transforms"], meta["means2d"]
    pairs = []
    y, x = torch.meshgrid(*(torch.arange(n, dtype=DOUBLE) + 0.5 for n in (HEIGHT, WIDTH)), indexing="ij")
    for i in meta["depths"][0].argsort().tolist():
        if not (meta["radii"][0, i] > 0).all():
            continue
        middle, radius = slow_box(rays[0, i])
        u, v = meeting_point(rays[0, i], x, y)
        squared = torch.minimum(u**2 + v**2, 2 * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2))
        column, row = x // 16 * 16, y // 16 * 16
        near = (column + 16 > middle[0] - radius[0]) & (column < middle[0] + radius[0])
        near &= (row + 16 > middle[1] - radius[1]) & (row < middle[1] + radius[1])
        seen = near & (values["opacities"][i] * torch.exp(-squared / 2) >= 1 / 255)
        pairs.append(torch.stack([torch.full_like(p := seen.flatten().nonzero()[:, 0], i), p]))
    ids, pixels = torch.cat(pairs, dim=1)
    order = pixels.argsort(stable=True)
    expected, expected_alphas, expected_normals = accumulate_2dgs(
        means2d, rays, values["opacities"][None], values["colors"][None], meta["normals"], ids[order], pixels[order],
        torch.zeros_like(ids), WIDTH, HEIGHT,
    )  # fmt: skip
    torch.testing.assert_close(pictures, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(alphas, expected_alphas, atol=1e-10, rtol=0)
    camera_normals = normals @ values["viewmats"][0, :3, :3].T
    torch.testing.assert_close(camera_normals, expected_normals, atol=1e-10, rtol=0)


def standing_nerfacc() -> ModuleType:
    """The two functions of nerfacc that gsplat's code uses, from their documentation."""
    module = ModuleType("nerfacc")

    def render_weight_from_alpha(alphas, ray_indices, n_rays):
        light, weights = torch.ones(n_rays, dtype=alphas.dtype), torch.zeros_like(alphas)
        before = torch.zeros_like(alphas)
        for i, ray in enumerate(ray_indices.tolist()):
            before[i] = light[ray]
            weights[i] = light[ray] * alphas[i]
            light[ray] *= 1 - alphas[i]
        return weights, before

    def accumulate_along_rays(weights, values, ray_indices, n_rays):
        weighted = weights[:, None] if values is None else weights[:, None] * values
        return torch.zeros(n_rays, weighted.shape[1], dtype=weights.dtype).index_add_(0, ray_indices, weighted)

    module.render_weight_from_alpha = render_weight_from_alpha  # type: ignore[attr-defined]
    module.accumulate_along_rays = accumulate_along_rays  # type: ignore[attr-defined]
    return module


# The call


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_every_mode_gives_its_channels(mode, packed):
    values = plain_scene()
    pictures, alphas, normals, from_depth, distortion, median, meta = render(
        values, render_mode=mode, packed=packed, distloss=False
    )
    whole = render(values, render_mode="RGB+ED" if mode.endswith("ED") else "RGB+D")[0]
    expected = {"RGB": whole[..., :3], "D": whole[..., 3:], "ED": whole[..., 3:]}.get(mode, whole)
    torch.testing.assert_close(pictures, expected)
    assert (from_depth is None) == (mode in ("RGB", "D", "ED"))
    assert alphas.shape == distortion.shape == median.shape == (1, HEIGHT, WIDTH, 1)
    assert normals.shape == (1, HEIGHT, WIDTH, 3)
    num = len(meta["gaussian_ids"]) if packed else len(values["means"])
    assert meta["means2d"].shape == meta["gradient_2dgs"].shape == ((num, 2) if packed else (1, num, 2))


def test_the_median_depth_can_give_the_normals():
    values = plain_scene(spread=3.0)
    *_, from_depth, _, median, _ = render(values, depth_mode="median")
    expected = normals_from_depth(median[0, ..., 0], values["viewmats"][0], values["Ks"][0])
    torch.testing.assert_close(from_depth[0], expected)


def test_the_call_of_gsplat_rasterization_puts_surfaces_into_meta():
    values = plain_scene()
    pictures, alphas, meta = reference_2dgs.rasterization(
        **values, width=WIDTH, height=HEIGHT, render_mode="RGB+ED", packed=False, rasterize_mode="classic"
    )
    expected = render(values, render_mode="RGB+ED")
    torch.testing.assert_close(pictures, expected[0])
    torch.testing.assert_close(alphas, expected[1])
    torch.testing.assert_close(meta["render_normals"], expected[2])
    assert meta["means2d"] is meta["gradient_2dgs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"absgrad": True}, "gives no absolute gradients"),
        ({"sparse_grad": True}, "gives dense gradients only"),
        ({"render_mode": "X"}, "no render_mode 'X'; use one of RGB, D, ED"),
        ({"depth_mode": "mean"}, "no depth_mode 'mean'; use one of expected, median"),
        ({"render_mode": "RGB"}, "distloss needs a depth"),
        ({"backgrounds": torch.zeros(2)}, r"backgrounds must be \[1, 3\]"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(options, message):
    with pytest.raises(BackendError, match=message):
        render(plain_scene(), **options)


def test_antialiasing_is_refused():
    parameters, view = raw_scene()
    from dataclasses import replace

    with pytest.raises(BackendError, match="no antialiased mode"):
        reference_2dgs.render_gaussians(parameters, replace(view, antialiased=True))
    with pytest.raises(BackendError, match="no antialiased mode"):
        reference_2dgs.rasterization(**plain_scene(), width=4, height=4, rasterize_mode="antialiased")
