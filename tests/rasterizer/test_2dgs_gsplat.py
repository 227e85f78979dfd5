"""The gsplat-2dgs backend with the reference standing in for the library: the call it makes, and what it gives back."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from reference_scenes import DOUBLE, HEIGHT, WIDTH, raw_scene
from surfel_scenes import leaves_of, maps_of, weighted_sum

from gaussian_splatting.errors import BackendError
from gaussian_splatting.geometry.sh import eval_sh
from gaussian_splatting.rasterizer import gsplat, gsplat_2dgs, reference_2dgs


@pytest.fixture
def library(monkeypatch) -> dict[str, Any]:
    """Puts the reference in the place of the library, and gives the arguments of the last call."""
    calls: dict[str, Any] = {}

    def rasterization_2dgs(*args: Any, **kwargs: Any) -> Any:
        calls.update(args=args, kwargs=kwargs)
        results = list(reference_2dgs.rasterization_2dgs(*args, **kwargs))
        if results[3] is not None:
            results[3] = results[3].squeeze(0)  # as the library does
        return tuple(results)

    def spherical_harmonics(degree: int, dirs: torch.Tensor, coeffs: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        dirs = torch.nn.functional.normalize(dirs, dim=-1)
        return torch.where(masks[:, None], eval_sh(degree, coeffs.transpose(1, 2), dirs), float("nan"))

    stand_in: Any = ModuleType("gsplat")
    stand_in.rasterization_2dgs, stand_in.spherical_harmonics = rasterization_2dgs, spherical_harmonics
    monkeypatch.setattr(gsplat, "load_library", lambda device, elsewhere="cpu": stand_in)
    return calls


def test_it_renders_and_differentiates_what_the_reference_does(library):
    parameters, view = raw_scene()
    view = replace(view, scale_modifier=0.8, near_plane=0.2, far_plane=5.0)
    results = []
    for module in (gsplat_2dgs, reference_2dgs):
        leaves, own = leaves_of(parameters, view)
        output = module.render_gaussians(leaves, own)
        weighted_sum(maps_of(output)).backward()
        # Of the pose, what moves it as a rigid motion: rotations by a small angle, and translations.
        turned = own.viewmat.grad[:3] @ view.viewmat[:3].T
        grads = [leaves.means.grad, leaves.quats.grad, leaves.log_scales.grad, leaves.features_dc.grad]
        grads += [turned - turned.T, own.viewmat.grad[:3, 3]]
        results.append((maps_of(output), output.radii, grads))
    (maps, radii, grads), (expected, expected_radii, expected_grads) = results
    assert maps.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(maps[name], value, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(radii, expected_radii)
    for found, wanted in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_gradient_for_densification_arrives_at_the_positions():
    """The library's kernel has `gradient_2dgs` [1, N, 2] among its inputs, and gives it that gradient."""
    densify, means2d = torch.zeros(1, 5, 2, requires_grad=True), torch.rand(1, 5, 2)
    weights = torch.rand(1, 5, 2)
    holder = gsplat_2dgs._gradient_holder(densify, means2d)
    (densify * weights).sum().backward()
    assert torch.equal(holder.detach(), means2d[0])
    assert holder.grad is not None
    assert torch.equal(holder.grad, weights[0])


def test_the_library_is_called_as_documented(library):
    parameters, view = raw_scene()
    output = gsplat_2dgs.render_gaussians(parameters, view)
    kwargs = library["kwargs"]
    assert kwargs["render_mode"] == "RGB+ED"
    assert kwargs["distloss"] is True
    assert kwargs["packed"] is False
    assert kwargs["backgrounds"].tolist() == [[*view.background.tolist(), 0.0, 0.0, 0.0, 0.0]]
    # Red, green, blue, 1 / z and zeros: with the depth a number of channels that gsplat does not pad.
    assert library["args"][4].shape == (1, 40, 7)
    assert not library["args"][4][..., 4:].any()
    assert not output.means2d.requires_grad


def test_calls_are_passed_on(library):
    values = torch.randn(4, 3, dtype=DOUBLE)
    arguments = (
        values, torch.randn(4, 4, dtype=DOUBLE), values.exp(), torch.rand(4, dtype=DOUBLE), values,
        torch.eye(4, dtype=DOUBLE)[None], torch.eye(3, dtype=DOUBLE)[None],
    )  # fmt: skip
    found = gsplat_2dgs.rasterization_2dgs(*arguments, WIDTH, HEIGHT, render_mode="D", near_plane=0.5)
    assert library["kwargs"] == {"render_mode": "D", "near_plane": 0.5}
    pictures, alphas, meta = gsplat_2dgs.rasterization(*arguments, WIDTH, HEIGHT, render_mode="D", near_plane=0.5)
    torch.testing.assert_close((pictures, alphas), found[:2])
    torch.testing.assert_close(meta["render_distort"], found[4])


def test_tensors_on_a_cpu_are_refused_with_the_cure():
    parameters, view = raw_scene()
    with pytest.raises(BackendError, match="on cpu; use --backend cpu-2dgs, or move them to a card"):
        gsplat_2dgs.render_gaussians(parameters, view)


def test_antialiasing_is_refused():
    parameters, view = raw_scene()
    with pytest.raises(BackendError, match="gsplat-2dgs backend has no antialiased mode"):
        gsplat_2dgs.render_gaussians(parameters, replace(view, antialiased=True))
