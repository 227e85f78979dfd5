"""The gradients of the reference rasteriser: exact where it draws, zero where it does not, and never poisoned."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from reference_scenes import DOUBLE, WIDTH, raw_scene, render, scene

from gaussian_splatting.rasterizer.contract import GaussianParameters
from gaussian_splatting.rasterizer.reference import blending, rasterization, render_gaussians

LEAVES = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks")


@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
def test_gradients_are_those_of_finite_differences(rasterize_mode):
    values = scene(6, seed=2)
    values["means"] = values["means"] * 0.4

    def loss(*leaves: torch.Tensor) -> torch.Tensor:
        pictures, alphas, _ = rasterization(
            *leaves[:5], leaves[5][None], leaves[6][None], 12, 10, sh_degree=3,
            render_mode="RGB+ED", rasterize_mode=rasterize_mode, backgrounds=torch.full((1, 3), 0.3, dtype=DOUBLE),
        )  # fmt: skip
        weights = torch.linspace(-1, 1, pictures.numel(), dtype=DOUBLE).view_as(pictures).cos()
        return (pictures * weights).sum() + (alphas * weights[..., :1]).sum()

    values["Ks"] = torch.tensor([[[12.0, 0, 6.5], [0, 11.0, 4.5], [0, 0, 1]]], dtype=DOUBLE)
    leaves = [values[name][0] if name in ("viewmats", "Ks") else values[name] for name in LEAVES]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    gradients = torch.autograd.grad(loss(*leaves), leaves)
    # 1e-6 is small enough that no pixel crosses the threshold of 1/255 here, where the picture jumps.
    for leaf, gradient, name in zip(leaves, gradients, LEAVES, strict=True):
        expected = finite_differences(loss, leaves, leaf)
        if name == "viewmats":
            gradient, expected = gradient[:3], expected[:3]
        torch.testing.assert_close(gradient, expected, atol=2e-7, rtol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


def finite_differences(function, leaves: list[torch.Tensor], leaf: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    result = torch.zeros_like(leaf)
    with torch.no_grad():
        for index in range(leaf.numel()):
            entry = leaf.view(-1)
            value = float(entry[index])
            entry[index] = value + step
            above = float(function(*leaves))
            entry[index] = value - step
            below = float(function(*leaves))
            entry[index] = value
            result.view(-1)[index] = (above - below) / (2 * step)
    return result


def test_recomputing_tiles_in_the_backward_pass_changes_nothing(monkeypatch):
    def gradients() -> list[torch.Tensor]:
        values = {name: value.requires_grad_() for name, value in scene(80).items()}
        pictures, _, meta = render(values, absgrad=True)
        (pictures**2).sum().backward()
        return [value.grad for value in values.values()] + [meta["means2d"].grad, meta["means2d"].absgrad]

    kept = gradients()
    monkeypatch.setattr(blending, "_KEEP_PAIRS", 0)
    for again, once in zip(gradients(), kept, strict=True):
        torch.testing.assert_close(again, once)


def test_gaussians_that_are_not_seen_get_a_gradient_of_exactly_zero():
    values = scene(6)
    values["viewmats"] = torch.eye(4, dtype=DOUBLE)[None]
    # Seen, at the camera, behind it, beside the picture, transparent, infinitely large.
    values["means"] = torch.tensor([[0, 0, 3], [0, 0, 0], [0, 0, -1], [90, 0, 3], [0, 0, 2], [0, 0, 4]], dtype=DOUBLE)
    values["opacities"] = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.003, 0.5], dtype=DOUBLE)
    values["scales"][5] = math.inf
    values = {name: value.requires_grad_() for name, value in values.items()}
    pictures, _, meta = render(values)
    pictures.sum().backward()
    assert (meta["radii"][0] > 0).all(dim=-1).tolist() == [True, False, False, False, False, False]
    for name in ("means", "scales", "opacities", "colors"):
        assert torch.isfinite(values[name].grad).all(), name
        assert (values[name].grad[1:] == 0).all(), name
        assert (values[name].grad[0] != 0).any(), name


def test_absolute_gradients_bound_the_gradients():
    values = {name: value.requires_grad_() for name, value in scene().items()}
    pictures, _, meta = render(values, absgrad=True)
    (pictures**2).sum().backward()
    gradient, absolute = meta["means2d"].grad[0], meta["means2d"].absgrad[0]
    assert (absolute >= gradient.abs() - 1e-12).all()
    assert absolute.sum() > 1.5 * gradient.abs().sum()


def test_a_single_pixel_has_absolute_gradients_equal_to_the_magnitude():
    values = {name: value.requires_grad_() for name, value in scene().items()}
    pictures, _, meta = render(values, absgrad=True)
    pictures[0, 14, 18].sum().backward()
    torch.testing.assert_close(meta["means2d"].absgrad, meta["means2d"].grad.abs())


def test_screen_gradients_are_held_in_pixels():
    parameters, view = raw_scene()
    parameters = GaussianParameters(
        **{f.name: getattr(parameters, f.name).requires_grad_() for f in fields(parameters)}
    )
    output = render_gaussians(parameters, view)
    weights = torch.linspace(0, 1, WIDTH, dtype=DOUBLE)[:, None]
    (output.colors * weights).sum().backward()
    assert output.means2d.shape == output.means2d.grad.shape == (40, 2)
    visible = output.radii > 0
    assert (output.means2d.grad[~visible] == 0).all()
    assert (output.means2d.grad[visible] != 0).any()
    # The view direction and the ellipse depend on the means too, so the chain rule is checked on the whole path.
    assert all(torch.isfinite(getattr(parameters, f.name).grad).all() for f in fields(parameters))


def test_pose_gradients_reach_the_view_matrix():
    parameters, view = raw_scene()
    viewmat = view.viewmat.clone().requires_grad_()
    render_gaussians(parameters, replace(view, viewmat=viewmat)).colors.sum().backward()
    assert (viewmat.grad[:3] != 0).any()


POISON = (
    math.nan, math.inf, -math.inf, 3e38, -3e38, 1e30, -1e30, 1e19, -1e19, 1e10, -1e10, 88.7, -88.7, 44.0, -44.0, 1e-20,
    -1e-20, 1e-38, 1e-45, -1e-45, 0.0, -0.0,
)  # fmt: skip


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("slot", ["means", "quats", "log_scales", "opacity_logits"])
def test_poisoned_gaussians_leave_the_others_alone(slot, antialiased):
    parameters, view = raw_scene(2 * len(POISON), torch.float32)
    values = {f.name: getattr(parameters, f.name).clone() for f in fields(parameters)}
    values[slot][: len(POISON)] = torch.tensor(POISON)[:, None]
    leaves = GaussianParameters(**{name: value.requires_grad_() for name, value in values.items()})
    output = render_gaussians(leaves, replace(view, antialiased=antialiased))
    assert all(torch.isfinite(getattr(output, name)).all() for name in ("colors", "alphas", "depth", "inverse_depth"))
    (output.colors.sum() + output.depth.sum() + output.inverse_depth.sum()).backward()
    assert torch.isfinite(output.means2d.grad).all()
    unseen = output.radii == 0
    assert unseen[: len(POISON)].any() or slot == "quats"
    for name, value in values.items():
        assert torch.isfinite(value.grad).all(), name
        assert (value.grad[unseen] == 0).all(), name
