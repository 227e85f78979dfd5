"""The gsplat backends on a card against the float64 references: pictures, depths and every gradient."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from backend_distance import relative, tangent

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

pytestmark = pytest.mark.gpu

WIDTH, HEIGHT, NUM = 160, 96, 800
PICTURES = ("colors", "alphas", "depth", "inverse_depth")


def scene() -> tuple[GaussianParameters, RasterView]:
    """Random Gaussians before and behind the camera, in float64 on the CPU."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    parameters = GaussianParameters(
        normal(NUM, 3), normal(NUM, 4), normal(NUM, 3) * 0.5 - 2.5, normal(NUM, 1), normal(NUM, 1, 3),
        normal(NUM, 15, 3) * 0.2,
    )  # fmt: skip
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[2, 3] = 3.0
    K = torch.tensor([[120.0, 0, 75], [0, 125.0, 50], [0, 0, 1]], dtype=torch.float64)
    return parameters, RasterView(viewmat, K, WIDTH, HEIGHT, 3, torch.tensor([0.3, 0.1, 0.2], dtype=torch.float64))


def rendered(
    backend: ModuleType, device: torch.device, dtype: torch.dtype, **options: bool
) -> tuple[RasterOutput, dict[str, torch.Tensor]]:
    """The pictures, and the gradients of a weighted sum of them; `options` are those of the view."""
    parameters, view = scene()

    def leaf(value: torch.Tensor) -> torch.Tensor:
        return value.to(device, dtype).requires_grad_()

    leaves = GaussianParameters(**{f.name: leaf(getattr(parameters, f.name)) for f in fields(parameters)})
    viewmat, background = leaf(view.viewmat), view.background.to(device, dtype)
    view = replace(view, viewmat=viewmat, K=view.K.to(device, dtype), background=background, **options)
    out = backend.render_gaussians(leaves, view)
    weights = torch.linspace(0.5, 1.5, WIDTH, dtype=dtype, device=device)
    loss = ((out.colors.sum(-1) + out.alphas + 0.1 * out.depth + out.inverse_depth) * weights).mean()
    loss.backward()
    found = {f.name: getattr(leaves, f.name).grad.to_dense() for f in fields(leaves)}
    return out, found | {"viewmat": tangent(viewmat.grad, viewmat), "means2d": out.means2d.grad}


def faults(
    found: RasterOutput, gradients: dict[str, torch.Tensor], expected: RasterOutput, truth: dict[str, torch.Tensor]
) -> dict[str, float]:
    """The pictures and gradients that are a thousandth or more from the truth, and how far."""
    errors = {key: relative(getattr(found, key), getattr(expected, key)) for key in PICTURES}
    errors |= {f"d {key}": relative(gradients[key], truth[key]) for key in truth}
    return {key: error for key, error in errors.items() if not error < 1e-3}


@pytest.mark.parametrize(
    ("name", "antialiased"), [("gsplat", False), ("gsplat", True), ("gsplat_2dgs", False)], ids=str
)
def test_pictures_and_gradients_are_those_of_the_reference(card, name, antialiased):
    backend = import_module(f"gaussian_splatting.rasterizer.{name}")
    reference = import_module(f"gaussian_splatting.rasterizer.{name.replace('gsplat', 'reference')}")
    found, gradients = rendered(backend, card, torch.float32, antialiased=antialiased)
    expected, truth = rendered(reference, torch.device("cpu"), torch.float64, antialiased=antialiased)
    assert faults(found, gradients, expected, truth) == {}


@pytest.mark.parametrize("option", ["packed", "sparse_grad"])
@pytest.mark.parametrize("antialiased", [False, True])
def test_an_option_of_gsplat_changes_no_picture_and_no_gradient(card, option, antialiased):
    from gaussian_splatting.rasterizer import gsplat, reference

    found, gradients = rendered(gsplat, card, torch.float32, antialiased=antialiased, **{option: True})
    expected, truth = rendered(reference, torch.device("cpu"), torch.float64, antialiased=antialiased)
    assert faults(found, gradients, expected, truth) == {}


def render_shards(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """As two processes with --shard do it: each projects its Gaussians, and one makes the picture of all ellipses."""
    from gaussian_splatting.rasterizer import gsplat, gsplat_shards

    library = gsplat.load_library(parameters.means.device)
    holder = torch.zeros_like(parameters.means[:, :2])
    holder.grad = torch.zeros_like(holder)
    parts = []
    for start, rows in ((0, slice(NUM // 3)), (NUM // 3, slice(NUM // 3, NUM))):
        part = GaussianParameters(**{f.name: getattr(parameters, f.name)[rows] for f in fields(parameters)})
        parts.append(gsplat_shards.project(library, part, view))

        def keep(gradient: torch.Tensor, rows: torch.Tensor = parts[-1].rows + start) -> None:
            holder.grad.index_copy_(0, rows, gradient)

        parts[-1].means2d.register_hook(keep)
    radii, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("radii", "values"))
    return replace(gsplat_shards.rasterize(library, radii, values, view), means2d=holder)


@pytest.mark.parametrize("antialiased", [False, True])
def test_shards_make_the_picture_and_the_gradients_of_the_reference(card, antialiased):
    reference = import_module("gaussian_splatting.rasterizer.reference")
    shards: Any = SimpleNamespace(render_gaussians=render_shards)
    found, gradients = rendered(shards, card, torch.float32, antialiased=antialiased)
    expected, truth = rendered(reference, torch.device("cpu"), torch.float64, antialiased=antialiased)
    assert faults(found, gradients, expected, truth) == {}


def test_equal_calls_give_nearly_equal_gradients(card):
    from gaussian_splatting.rasterizer import gsplat

    first, second = (rendered(gsplat, card, torch.float32, antialiased=False)[1] for _ in range(2))
    for key, value in first.items():
        assert relative(second[key], value) < 1e-5, key
