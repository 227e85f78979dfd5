"""The CPU kernels of surfels against the float64 reference, and against themselves on several threads."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from reference_scenes import DOUBLE, HEIGHT, WIDTH, raw_scene
from surfel_scenes import (
    changed_dtype,
    hard_scene,
    leaves_of,
    maps_of,
    not_edge_on,
    plain_scene,
    view_dtype,
    weighted_sum,
)

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import cpu, cpu_2dgs, reference_2dgs
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView

FORWARD = 1e-5
GRADIENT = 1e-4

pytestmark = pytest.mark.usefixtures("one_thread")


def rendered(module, dtype: torch.dtype, parameters: GaussianParameters, view: RasterView, names=None):
    """Maps, and gradients of a loss on all of them (or on `names`)."""
    leaves, view = leaves_of(changed_dtype(parameters, dtype), view_dtype(view, dtype))
    output = module.render_gaussians(leaves, view)
    maps = maps_of(output)
    weighted_sum(maps if names is None else {name: maps[name] for name in names}).backward()
    grads = {f.name: getattr(leaves, f.name).grad for f in fields(leaves)}
    grads |= {"viewmat": view.viewmat.grad, "background": view.background.grad, "means2d": output.means2d.grad}
    return {name: value.detach() for name, value in maps.items()} | {"radii": output.radii}, grads


def assert_close_to_reference(parameters, view, forward=FORWARD, gradient=GRADIENT, names=None):
    maps, grads = rendered(cpu_2dgs, torch.float32, parameters, view, names)
    expected_maps, expected_grads = rendered(reference_2dgs, DOUBLE, parameters, view, names)
    assert torch.equal(maps.pop("radii"), expected_maps.pop("radii"))
    for name, expected in expected_maps.items():
        # A normal of a depth map divides by the distance of two pixels, about a tenth.
        bound = 10 * forward if name == "normals_from_depth" else forward
        # Depths reach several world units and their errors grow with them; the other maps stay near one.
        error = float((maps[name].double() - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        assert error <= bound, f"{name} is off by {error:.2e}"
    for name, expected in expected_grads.items():
        if expected is None or grads[name] is None or not bool(expected.any()):
            assert grads[name] is None or not bool(grads[name].any()), name
            continue
        error = float((grads[name].double() - expected).norm() / expected.norm())
        assert error <= gradient, f"the gradient of {name} is off by {error:.2e}"


@pytest.mark.parametrize("seed", range(6))
def test_a_hard_scene_is_that_of_the_reference(seed):
    assert_close_to_reference(*hard_scene(80, seed))


@pytest.mark.parametrize("seed", range(3))
def test_planes_that_hold_the_ray_stay_within_what_float32_can_tell(seed):
    assert_close_to_reference(*hard_scene(80, seed, sharpest=1e-3), forward=1e-4, gradient=2e-3)


@pytest.mark.parametrize(
    "name",
    ["colors", "alphas", "depth", "inverse_depth", "render_normals", "normals_from_depth", "render_distort",
     "render_median"],
)  # fmt: skip
def test_each_map_has_its_own_gradient(name):
    assert_close_to_reference(*hard_scene(60, 11), names=[name])


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("num", [1, 15, 17, 2100])
def test_every_degree_and_number_of_surfels(degree, num):
    parameters, view = raw_scene(num)
    parameters = changed_dtype(changed_dtype(parameters, torch.float32), DOUBLE)
    if num == 2100:  # two chunks; without this every pixel saturates at once
        parameters = replace(parameters, log_scales=parameters.log_scales - 1.5)
    view = view_dtype(view_dtype(replace(view, sh_degree=degree), torch.float32), DOUBLE)
    assert_close_to_reference(parameters, view)


def test_a_picture_of_several_tiles():
    parameters, view = raw_scene(300)
    # Seen at a sine of 0.01, (u, v) loses two digits to the rounding of the rotation.
    parameters = not_edge_on(changed_dtype(changed_dtype(parameters, torch.float32), DOUBLE), view, 0.05)
    assert len(parameters.means) > 270
    K = view.K * torch.tensor([[3.0], [3.0], [1.0]], dtype=DOUBLE)
    view = view_dtype(view_dtype(replace(view, K=K, width=131, height=97), torch.float32), DOUBLE)
    assert_close_to_reference(parameters, view)


def test_surfels_that_fill_the_picture_and_cross_the_camera_plane():
    parameters, view = hard_scene(40, 5)
    parameters = replace(parameters, log_scales=parameters.log_scales + 2.0)
    parameters = changed_dtype(changed_dtype(parameters, torch.float32), DOUBLE)
    maps, grads = rendered(cpu_2dgs, torch.float32, parameters, view)
    expected, expected_grads = rendered(reference_2dgs, DOUBLE, parameters, view)
    # At the horizon of such a surfel (u, v) has no bound, and the last digits of a float decide.
    for name in ("colors", "alphas", "render_normals"):
        assert float((maps[name].double() - expected[name]).abs().mean()) < 1e-5
    for name in ("features_dc", "opacity_logits"):
        assert float((grads[name].double() - expected_grads[name]).norm() / expected_grads[name].norm()) < 1e-3
    assert all(bool(value.isfinite().all()) for value in grads.values())


def test_no_surfel_and_none_in_sight():
    parameters, view = hard_scene()
    nobody = GaussianParameters(**{f.name: getattr(parameters, f.name)[:0] for f in fields(parameters)})
    away = replace(parameters, means=parameters.means - 1000 * view.viewmat[2, :3])
    for scene in (nobody, away):
        maps, grads = rendered(cpu_2dgs, torch.float32, scene, view)
        torch.testing.assert_close(maps["colors"], view.background.float().expand_as(maps["colors"]))
        assert not maps["radii"].any()
        assert not grads["means"].any()


def test_values_that_are_not_finite_hide_their_surfel_only():
    parameters, view = hard_scene()
    bad = changed_dtype(parameters, torch.float32)
    bad.means[40, 1], bad.quats[41], bad.log_scales[42, 0] = float("nan"), 0.0, float("inf")
    bad.opacity_logits[43], bad.features_dc[44] = float("nan"), float("nan")
    maps, grads = rendered(cpu_2dgs, torch.float32, bad, view)
    keep = torch.ones(len(bad.means), dtype=torch.bool)
    keep[40:45] = False
    others = GaussianParameters(**{f.name: getattr(parameters, f.name)[keep] for f in fields(parameters)})
    expected, _ = rendered(cpu_2dgs, torch.float32, others, view)
    assert torch.equal(maps["colors"], expected["colors"])
    assert not grads["means"][40:45].any()
    assert all(bool(value.isfinite().all()) for value in grads.values())


def test_one_two_and_three_threads_give_the_same_bits():
    parameters, view = raw_scene(5000)
    parameters = replace(parameters, log_scales=parameters.log_scales - 1.5)
    K = view.K * torch.tensor([[4.0], [4.0], [1.0]], dtype=DOUBLE)
    view = replace(view, K=K, width=150, height=117)
    results = []
    for num_threads in (1, 2, 3):
        cpu.set_num_threads(num_threads)
        results.append(rendered(cpu_2dgs, torch.float32, parameters, view))
    for maps, grads in results[1:]:
        assert all(torch.equal(maps[name], value) for name, value in results[0][0].items())
        assert all(torch.equal(grads[name], value) for name, value in results[0][1].items())


def test_buffers_are_used_again():
    from gaussian_splatting.rasterizer.cpu.workspace import workspace

    parameters, view = hard_scene()
    for _ in range(3):
        rendered(cpu_2dgs, torch.float32, parameters, view)
    held = workspace.num_bytes()
    for _ in range(5):
        rendered(cpu_2dgs, torch.float32, parameters, view)
    assert workspace.num_bytes() == held


def test_a_kept_map_is_not_overwritten():
    parameters, view = hard_scene()
    parameters, view = changed_dtype(parameters, torch.float32), view_dtype(view, torch.float32)
    kept = cpu_2dgs.render_gaussians(parameters, view)
    copies = {name: value.clone() for name, value in maps_of(kept).items()}
    cpu_2dgs.render_gaussians(replace(parameters, means=parameters.means + 0.1), view)
    assert all(torch.equal(value, copies[name]) for name, value in maps_of(kept).items())


# The call of gsplat


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_the_call_of_gsplat_gives_what_the_reference_gives(mode, packed):
    values = {name: value.float() for name, value in plain_scene(60, spread=2.0).items()}
    values["colors"] = torch.cat([values["colors"], values["colors"][:, :2]], dim=1)  # five channels
    second = values["viewmats"][0].clone()
    second[0, 3] += 0.3
    values |= {"viewmats": torch.stack([values["viewmats"][0], second]), "Ks": values["Ks"].expand(2, 3, 3)}
    results = []
    for module, dtype in ((cpu_2dgs, torch.float32), (reference_2dgs, DOUBLE)):
        given = {name: value.to(dtype).clone() for name, value in values.items()}
        given["means"].requires_grad_()
        background = torch.rand(2, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
        *maps, meta = module.rasterization_2dgs(
            **given, width=WIDTH, height=HEIGHT, packed=packed, render_mode=mode, backgrounds=background
        )
        found = {str(index): value for index, value in enumerate(maps) if value is not None}
        weighted_sum(found).backward()
        results.append((found, meta, given["means"].grad))
    (maps, meta, grad), (expected, expected_meta, expected_grad) = results
    assert maps.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(maps[name].double(), value, atol=1e-4 if name == "3" else 1e-5, rtol=5e-6)
    assert float((grad.double() - expected_grad).norm() / expected_grad.norm()) < GRADIENT
    assert meta.keys() - expected_meta.keys() == {"tiles_per_gauss", "isect_ids", "flatten_ids", "isect_offsets"}
    for name in ("means2d", "depths", "ray_transforms", "normals", "opacities"):
        torch.testing.assert_close(meta[name].double(), expected_meta[name].detach(), atol=1e-4, rtol=1e-4)
    for name in ("radii", "camera_ids", "gaussian_ids"):
        assert (meta[name] is None and expected_meta[name] is None) or torch.equal(meta[name], expected_meta[name])
    holder, expected_holder = meta["gradient_2dgs"].grad, expected_meta["gradient_2dgs"].grad
    assert float((holder.double() - expected_holder).norm() / expected_holder.norm()) < GRADIENT


def test_harmonics_through_the_call_of_gsplat():
    from reference_scenes import scene

    values = {name: value.float() for name, value in scene(50).items()}
    found, *_ = cpu_2dgs.rasterization_2dgs(**values, width=WIDTH, height=HEIGHT, sh_degree=2)
    doubles = {name: value.double() for name, value in values.items()}
    expected, *_ = reference_2dgs.rasterization_2dgs(**doubles, width=WIDTH, height=HEIGHT, sh_degree=2)
    torch.testing.assert_close(found.double(), expected, atol=FORWARD, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"absgrad": True}, "the cpu-2dgs backend gives no absolute gradients"),
        ({"tile_size": 8}, "has tiles of 16 pixels; leave tile_size=8 out"),
        ({"distloss": True}, "distloss needs a depth"),
        ({"sh_degree": 4, "colors": torch.zeros(60, 25, 3)}, "has no sh_degree 4; give 0 to 3"),
        ({"means": torch.zeros(60, 3, dtype=DOUBLE)}, "means is torch.float64"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(options, message):
    values = {name: value.float() for name, value in plain_scene(60).items()}
    with pytest.raises(BackendError, match=message):
        cpu_2dgs.rasterization_2dgs(**(values | options), width=WIDTH, height=HEIGHT)


def test_batches_are_views_of_their_own():
    values = [{name: value.float() for name, value in plain_scene(30, seed=seed).items()} for seed in (0, 1)]
    both = {name: torch.stack([own[name] for own in values]) for name in values[0]}
    options = {"width": WIDTH, "height": HEIGHT, "render_mode": "RGB+ED", "packed": True}
    *maps, meta = cpu_2dgs.rasterization_2dgs(**both, **options)
    for index, own in enumerate(values):
        *alone, own_meta = cpu_2dgs.rasterization_2dgs(**own, **options)
        assert all(torch.equal(found[index], expected) for found, expected in zip(maps, alone, strict=True))
        assert own_meta["isect_offsets"].shape == meta["isect_offsets"].shape[1:]
    assert meta["tiles_per_gauss"].shape == meta["gaussian_ids"].shape


def test_sparse_gradients_are_the_dense_ones():
    values = {name: value.float() for name, value in plain_scene(60, spread=3.0).items()}
    grads = []
    for sparse_grad in (False, True):
        own = {name: values[name].clone().requires_grad_() for name in ("means", "quats", "scales")}
        picture, *_, meta = cpu.rasterization_2dgs(
            **(values | own), width=WIDTH, height=HEIGHT, packed=True, sparse_grad=sparse_grad
        )
        picture.square().sum().backward()
        grads.append([leaf.grad for leaf in own.values()])
    for dense, sparse in zip(*grads, strict=True):
        assert torch.equal(sparse.coalesce().indices()[0], meta["gaussian_ids"])
        assert torch.equal(sparse.to_dense(), dense)


def test_normals_of_the_depth_come_as_gsplat_gives_them():
    values = {name: value.float() for name, value in plain_scene(30).items()}
    options = {"width": WIDTH, "height": HEIGHT, "render_mode": "RGB+ED"}
    squeezed, full = cpu.rasterization_2dgs(**values, **options)[3], cpu_2dgs.rasterization_2dgs(**values, **options)[3]
    assert torch.equal(squeezed, full[0])


def test_antialiasing_is_refused():
    parameters, view = hard_scene()
    view = replace(view_dtype(view, torch.float32), antialiased=True)
    with pytest.raises(BackendError, match="the cpu-2dgs backend has no antialiased mode"):
        cpu_2dgs.render_gaussians(changed_dtype(parameters, torch.float32), view)
