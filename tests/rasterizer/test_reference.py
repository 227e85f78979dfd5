"""What the reference rasteriser draws: exact formulas, and the symmetries of the world."""

from __future__ import annotations

import pytest
import torch
from reference_scenes import DOUBLE, HEIGHT, WIDTH, render, scene, slow_render

from gaussian_splatting.geometry.rotations import matrix_to_quaternion, quaternion_raw_multiply, quaternion_to_matrix
from gaussian_splatting.rasterizer.reference import blending


@pytest.mark.parametrize("antialiased", [False, True])
def test_it_draws_what_the_formulas_say(antialiased):
    values, background = scene(150), torch.tensor([0.2, 0.5, 0.7], dtype=DOUBLE)
    mode = "antialiased" if antialiased else "classic"
    pictures, alphas, _ = render(values, render_mode="RGB+D", backgrounds=background[None], rasterize_mode=mode)
    color, alpha, depth, _ = slow_render(values, background, antialiased)
    torch.testing.assert_close(pictures[0, ..., :3], color, atol=1e-12, rtol=0)
    torch.testing.assert_close(alphas[0, ..., 0], alpha, atol=1e-12, rtol=0)
    torch.testing.assert_close(pictures[0, ..., 3], depth, atol=1e-12, rtol=0)


def test_opaque_stacks_stop_where_the_transmittance_runs_out():
    values = scene(400)
    values["opacities"] = values["opacities"] * 0 + 0.99
    values["scales"] = values["scales"] * 3
    background = torch.zeros(3, dtype=DOUBLE)
    color, alpha, *_ = slow_render(values, background)
    assert (alpha > 0.99).double().mean() > 0.5  # most pixels stop
    assert (1 - alpha).min() > 1e-4
    pictures, alphas, _ = render(values)
    torch.testing.assert_close(pictures[0], color, atol=1e-12, rtol=0)
    torch.testing.assert_close(alphas[0, ..., 0], alpha, atol=1e-12, rtol=0)


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_result_does_not_depend_on_how_a_tile_is_cut(monkeypatch, chunk):
    values = scene(200)
    values["scales"] = values["scales"] * 3
    whole, whole_alpha, _ = render(values)
    monkeypatch.setattr(blending, "CHUNK", chunk)
    parts, parts_alpha, _ = render(values)
    torch.testing.assert_close(parts, whole, atol=1e-13, rtol=0)
    torch.testing.assert_close(parts_alpha, whole_alpha, atol=1e-13, rtol=0)


def test_float32_is_close_to_float64():
    exact, exact_alpha, _ = render(scene(150))
    single, single_alpha, _ = render(scene(150, dtype=torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=2e-6, rtol=0)
    torch.testing.assert_close(single_alpha.double(), exact_alpha, atol=2e-6, rtol=0)


def test_moving_the_scene_and_the_camera_together_leaves_the_picture():
    values = scene()
    values["colors"] = torch.rand(60, 3, dtype=DOUBLE)  # harmonics would have to be rotated too
    turn = torch.tensor([0.3, -0.5, 0.7, 0.4], dtype=DOUBLE)
    R, shift = quaternion_to_matrix(turn), torch.tensor([3.0, -2.0, 5.0], dtype=DOUBLE)
    motion = torch.eye(4, dtype=DOUBLE)
    motion[:3, :3], motion[:3, 3] = R, shift
    moved = values | {
        "means": values["means"] @ R.T + shift,
        "quats": quaternion_raw_multiply(turn.expand(60, 4), values["quats"]),
        "viewmats": values["viewmats"] @ torch.linalg.inv(motion),
    }
    for mode in ("RGB+D", "RGB+ED"):
        before, after = (render(v, sh_degree=None, render_mode=mode)[0] for v in (values, moved))
        torch.testing.assert_close(after, before, atol=1e-10, rtol=0)


def test_scaling_the_world_leaves_the_colours():
    values = scene()
    larger = values | {"means": values["means"] * 4, "scales": values["scales"] * 4}
    viewmats = values["viewmats"].clone()
    viewmats[:, :3, 3] *= 4
    before, after = render(values)[0], render(larger | {"viewmats": viewmats}, near_plane=0.04)[0]
    torch.testing.assert_close(after, before, atol=1e-11, rtol=0)


def test_mirroring_the_picture_mirrors_the_scene():
    values = scene()
    values["colors"] = torch.rand(60, 3, dtype=DOUBLE)
    flip = torch.diag(torch.tensor([-1.0, 1, 1], dtype=DOUBLE))
    viewmats, Ks = torch.eye(4, dtype=DOUBLE)[None].clone(), values["Ks"].clone()
    viewmats[0, 2, 3] = 3
    Ks[:, 0, 2] = WIDTH - Ks[:, 0, 2]
    # A reflection turns the covariance M into F M F, and F R F is a rotation again.
    rotations = flip @ quaternion_to_matrix(values["quats"]) @ flip
    mirrored = values | {"means": values["means"] @ flip, "quats": matrix_to_quaternion(rotations), "Ks": Ks}
    before = render(values | {"viewmats": viewmats}, sh_degree=None)[0]
    after = render(mirrored | {"viewmats": viewmats}, sh_degree=None)[0]
    torch.testing.assert_close(after.flip(2), before, atol=1e-11, rtol=0)


def test_the_order_of_the_rows_does_not_matter():
    values = scene()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    per_gaussian = ("means", "quats", "scales", "opacities", "colors")
    shuffled = values | {name: values[name][order] for name in per_gaussian}
    torch.testing.assert_close(render(shuffled)[0], render(values)[0], atol=1e-14, rtol=0)


def test_equal_depths_keep_the_order_of_the_rows():
    values = scene(2)
    values["means"] = torch.zeros(2, 3, dtype=DOUBLE)
    values["scales"], values["opacities"] = torch.ones(2, 3, dtype=DOUBLE), torch.full((2,), 0.9, dtype=DOUBLE)
    values["colors"] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=DOUBLE)
    pixel = render(values, sh_degree=None)[0][0, 15, 17]
    assert pixel[0] > 5 * pixel[1]


def test_depths_that_differ_only_beyond_float32_keep_the_order_of_the_rows():
    values = scene(2)
    values["viewmats"] = torch.eye(4, dtype=DOUBLE)[None]
    values["means"] = torch.tensor([[0, 0, 3 + 1e-12], [0, 0, 3]], dtype=DOUBLE)
    values["scales"], values["opacities"] = torch.ones(2, 3, dtype=DOUBLE), torch.full((2,), 0.9, dtype=DOUBLE)
    values["colors"] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=DOUBLE)
    pixel = render(values, sh_degree=None)[0][0, 15, 17]
    assert pixel[0] > 5 * pixel[1]


def test_a_gaussian_on_the_near_plane_is_drawn_and_one_before_it_is_not():
    values = scene(2)
    values["viewmats"] = torch.eye(4, dtype=DOUBLE)[None]
    values["means"] = torch.tensor([[0, 0, 0.5], [0, 0, 0.49]], dtype=DOUBLE)
    radii = render(values, near_plane=0.5)[2]["radii"][0]
    assert (radii > 0).all(dim=-1).tolist() == [True, False]
    radii = render(values, far_plane=0.49)[2]["radii"][0]
    assert (radii > 0).all(dim=-1).tolist() == [False, True]


def test_small_ellipses_are_skipped_on_request():
    values = scene(1)
    values["means"], values["viewmats"] = torch.tensor([[0, 0, 3.0]], dtype=DOUBLE), torch.eye(4, dtype=DOUBLE)[None]
    radius = int(render(values)[2]["radii"].max())
    assert int(render(values, radius_clip=radius - 0.5)[2]["radii"].max()) == radius
    assert int(render(values, radius_clip=float(radius))[2]["radii"].max()) == 0


def test_the_radius_is_the_extent_of_what_is_drawn():
    values = scene(1)
    values["viewmats"] = torch.eye(4, dtype=DOUBLE)[None]
    values["means"] = torch.tensor([[0.02, -0.03, 3.0]], dtype=DOUBLE)
    values["scales"] = torch.tensor([[0.2, 0.1, 0.15]], dtype=DOUBLE)
    _, alphas, meta = render(values)
    drawn = (alphas[0, ..., 0] > 0).nonzero() + 0.5  # y, x
    x, y = meta["means2d"][0, 0].tolist()
    reach = max(abs(drawn[:, 1] - x)), max(abs(drawn[:, 0] - y))
    for found, radius in zip(reach, meta["radii"][0, 0].tolist(), strict=True):
        assert radius - 2 < float(found) <= radius


@pytest.mark.parametrize("mode", ["D", "ED", "RGB+D", "RGB+ED"])
def test_depth_modes_agree_with_each_other(mode):
    values, background = scene(), torch.full((1, 3), 0.5, dtype=DOUBLE)
    everything, alphas, _ = render(values, render_mode="RGB+D", backgrounds=background)
    accumulated = everything[..., 3:]
    depth = accumulated / alphas.clamp_min(1e-10) if mode.endswith("ED") else accumulated
    expected = torch.cat([everything[..., :3], depth], dim=-1) if mode.startswith("RGB") else depth
    backgrounds = background if mode.startswith("RGB") else None
    torch.testing.assert_close(render(values, render_mode=mode, backgrounds=backgrounds)[0], expected)


def test_features_of_any_width_are_blended():
    values = scene()
    features = torch.randn(60, 40, dtype=DOUBLE)
    together = render(values | {"colors": features}, sh_degree=None)[0]
    for part in (slice(0, 3), slice(37, 40)):
        alone = render(values | {"colors": features[:, part]}, sh_degree=None)[0]
        torch.testing.assert_close(together[..., part], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
def test_ellipses_are_those_of_gsplats_own_reference(rasterize_mode):
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")
    values = scene(200)
    half = quaternion_to_matrix(values["quats"]) * values["scales"][:, None, :]
    _, means2d, depths, conics, compensations = gsplat._fully_fused_projection(
        values["means"], half @ half.transpose(1, 2), values["viewmats"], values["Ks"], WIDTH, HEIGHT,
        calc_compensations=rasterize_mode == "antialiased",
    )  # fmt: skip
    opacities = values["opacities"][None] * (1 if compensations is None else compensations)
    _, _, meta = render(values, rasterize_mode=rasterize_mode)
    visible = (meta["radii"] > 0).all(dim=-1)
    assert 20 < visible.sum() < 200
    for name, expected in (("means2d", means2d), ("depths", depths), ("conics", conics), ("opacities", opacities)):
        torch.testing.assert_close(meta[name][visible], expected[visible], msg=lambda m, n=name: f"{n}: {m}")
