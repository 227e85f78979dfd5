"""The gsplat backends on a simulated card, with gsplat's own Python code: pictures and gradients of the references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module

import pytest
import torch
from backend_distance import relative, tangent
from simulated_card import CARD, SimulatedCard, on_card
from simulated_gsplat import Kernels, install

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

WIDTH, HEIGHT, NUM = 40, 24, 60
PICTURES = ("colors", "alphas", "depth", "inverse_depth")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SimulatedCard, Kernels]]:
    kernels = install(monkeypatch)
    with SimulatedCard() as simulated:
        yield simulated, kernels


def scene() -> tuple[GaussianParameters, RasterView]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    parameters = GaussianParameters(
        normal(NUM, 3), normal(NUM, 4), normal(NUM, 3) * 0.5 - 2.5, normal(NUM, 1), normal(NUM, 1, 3),
        normal(NUM, 15, 3) * 0.2,
    )  # fmt: skip
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[2, 3] = 2.0  # some are behind the camera
    K = torch.tensor([[30.0, 0, 19], [0, 31.0, 12.5], [0, 0, 1]], dtype=torch.float64)
    return parameters, RasterView(viewmat, K, WIDTH, HEIGHT, 3, torch.tensor([0.3, 0.1, 0.2], dtype=torch.float64))


def rendered(name: str, device: object, dtype: torch.dtype, **changes: object) -> tuple[RasterOutput, dict]:
    parameters, view = scene()

    def leaf(value: torch.Tensor) -> torch.Tensor:
        return value.to(device, dtype).detach().requires_grad_()

    leaves = GaussianParameters(**{f.name: leaf(getattr(parameters, f.name)) for f in fields(parameters)})
    viewmat = leaf(view.viewmat)
    view = replace(
        view, viewmat=viewmat, K=view.K.to(device, dtype), background=view.background.to(device, dtype), **changes
    )
    out = import_module(f"gaussian_splatting.rasterizer.{name}").render_gaussians(leaves, view)
    weights = torch.linspace(0.5, 1.5, WIDTH, dtype=dtype, device=device)
    maps = out.colors.sum(-1) + out.alphas + 0.1 * out.depth + out.inverse_depth
    for extra in out.extras.values():
        maps = maps + 0.1 * extra.sum(0)
    (maps * weights).mean().backward()
    found = {f.name: getattr(leaves, f.name).grad for f in fields(leaves)}
    return out, found | {"viewmat": tangent(viewmat.grad, viewmat), "means2d": out.means2d.grad}


@pytest.mark.parametrize(("name", "antialiased"), [("gsplat", False), ("gsplat", True), ("gsplat_2dgs", False)])
def test_pictures_and_gradients_are_those_of_the_reference(card, name, antialiased):
    found, gradients = rendered(name, CARD, torch.float32, antialiased=antialiased)
    expected, truth = rendered(name.replace("gsplat", "reference"), "cpu", torch.float64, antialiased=antialiased)
    assert all(on_card(getattr(found, key)) for key in (*PICTURES, "radii", "means2d"))
    errors = {key: relative(getattr(found, key), getattr(expected, key)) for key in PICTURES}
    errors |= {key: relative(found.extras[key], expected.extras[key]) for key in expected.extras}
    errors |= {f"d {key}": relative(gradients[key], truth[key]) for key in truth}
    assert {key: error for key, error in errors.items() if not error < 1e-3} == {}
    assert torch.equal(found.radii.cpu().long(), expected.radii.long())


@pytest.mark.parametrize("absgrad", [False, True])
def test_packed_gives_the_same_of_every_gaussian(card, absgrad):
    dense, expected = rendered("gsplat", CARD, torch.float32, absgrad=absgrad)
    packed, gradients = rendered("gsplat", CARD, torch.float32, absgrad=absgrad, packed=True)
    assert "projection_ewa_3dgs_packed_fwd" in card[1].called
    assert 0 < int((dense.radii > 0).sum()) < NUM
    assert torch.equal(packed.radii, dense.radii)
    assert packed.means2d.shape == (NUM, 2)
    seen = dense.radii > 0
    assert torch.equal(packed.means2d[seen].detach(), dense.means2d[seen].detach())
    errors = {key: relative(getattr(packed, key), getattr(dense, key)) for key in PICTURES}
    errors |= {f"d {key}": relative(gradients[key], expected[key]) for key in expected}
    if absgrad:
        errors["absgrad"] = relative(packed.means2d.absgrad, dense.means2d.absgrad)
    assert {key: error for key, error in errors.items() if not error < 1e-6} == {}
    assert not gradients["means2d"][~seen].any()


@pytest.mark.parametrize("packed", [False, True])
def test_gaussians_below_the_clip_are_left_out_as_by_the_reference(card, packed):
    whole, _ = rendered("reference", "cpu", torch.float64)
    clip = float(whole.radii[whole.radii > 0].float().median())
    found, gradients = rendered("gsplat", CARD, torch.float32, radius_clip=clip, packed=packed)
    expected, truth = rendered("reference", "cpu", torch.float64, radius_clip=clip)
    assert 0 < int((expected.radii > 0).sum()) < int((whole.radii > 0).sum())
    assert torch.equal(found.radii.cpu().long(), expected.radii.long())
    errors = {key: relative(getattr(found, key), getattr(expected, key)) for key in PICTURES}
    errors |= {f"d {key}": relative(gradients[key], truth[key]) for key in truth}
    assert {key: error for key, error in errors.items() if not error < 1e-3} == {}
