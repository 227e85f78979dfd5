"""The CPU backend against the float64 reference: every image and the gradient by every input."""

from __future__ import annotations

from dataclasses import replace

import cpu_scenes
import pytest
import torch
from backend_distance import relative, tangent
from cpu_scenes import DOUBLE, HEIGHT, INPUTS, WIDTH

from gaussian_splatting.rasterizer import cpu, reference

FORWARD, GRADIENT = 5e-6, 1e-4
SCENES = {
    "spherical harmonics": {"degree": 3},
    "degree 0": {"degree": 0, "seed": 1},
    "degree 1": {"degree": 1, "seed": 2},
    "degree 2": {"degree": 2, "seed": 3},
    "plain colours": {"degree": None, "seed": 4},
    "huge": {"degree": 3, "seed": 5, "kind": "huge", "num": 40},
    "faint": {"degree": 1, "seed": 6, "kind": "faint"},
    "many": {"degree": 3, "seed": 7, "num": 700},
    "one": {"degree": 3, "seed": 8, "num": 1},
}


def forward_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest error; relative where values exceed 1, as depths in scene units do."""
    return float(((found.double() - expected).abs() / expected.abs().clamp(min=1)).max())


def render_both(name: str, mode: str):
    arguments = SCENES[name]
    values = cpu_scenes.scene(**arguments)
    weights = cpu_scenes.weights(values, 5, antialiased=mode == "antialiased")
    results = []
    for backend, dtype in ((reference, DOUBLE), (cpu, torch.float32)):
        own = cpu_scenes.leaves(values, dtype)
        picture, alphas, meta = backend.rasterization(
            **own, width=WIDTH, height=HEIGHT, sh_degree=arguments["degree"], rasterize_mode=mode,
            render_mode="RGB+ED", packed=False
        )  # fmt: skip
        images = torch.cat([picture[0], alphas[0]], dim=-1)
        meta["means2d"].retain_grad()
        (images * weights.to(dtype)).sum().backward()
        results.append((images.detach(), {key: own[key].grad for key in INPUTS} | {"means2d": meta["means2d"].grad}))
    return weights, results


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("name", SCENES)
def test_images_and_gradients_are_those_of_the_reference(name: str, mode: str) -> None:
    weights, ((expected, gradients), (found, own)) = render_both(name, mode)
    kept = (weights != 0).all(-1)
    assert forward_error(found[kept], expected[kept]) <= FORWARD
    errors = {key: relative(own[key], gradients[key]) for key in gradients if gradients[key].norm() > 0}
    assert max(errors.values()) <= GRADIENT, errors
    assert {"means", "scales", "opacities", "colors", "viewmats", "backgrounds", "means2d"} <= set(errors)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize(("degree", "num_coefficients"), [(3, 16), (2, 16), (1, 4), (0, 1), (2, 9), (0, 16)])
def test_raw_parameters_have_the_gradients_of_the_reference(
    degree: int, num_coefficients: int, antialiased: bool
) -> None:
    values = cpu_scenes.scene(seed=20 + degree)
    parameters, view = cpu_scenes.raw(values, degree, num_coefficients)
    values["opacities"] = parameters.opacity_logits[:, 0].sigmoid()
    values["scales"] = parameters.log_scales.exp() * 1.1
    view = replace(view, antialiased=antialiased, scale_modifier=1.1)
    weights = cpu_scenes.weights(values, 6, antialiased=antialiased)
    results = []
    for backend, dtype in ((reference, DOUBLE), (cpu, torch.float32)):
        named = cpu_scenes.raw_leaves(parameters, view, dtype)
        out = cpu_scenes.raw_call(backend, named, view)
        out.means2d.retain_grad()
        planes = (out.alphas, out.depth, out.inverse_depth)
        images = torch.cat([out.colors, *(plane[..., None] for plane in planes)], dim=-1)
        (images * weights.to(dtype)).sum().backward()
        results.append((images.detach(), {name: leaf.grad for name, leaf in named.items()}, out))
    (expected, gradients, exact), (found, own, out) = results
    kept = (weights != 0).all(-1)
    assert forward_error(found[kept], expected[kept]) <= FORWARD
    assert torch.equal(out.radii > 0, exact.radii > 0)
    assert relative(out.means2d.grad, exact.means2d.grad) <= GRADIENT
    for leaves in (own, gradients):
        leaves["viewmat"] = tangent(leaves["viewmat"], values["viewmats"][0])
    errors = {name: relative(own[name], gradients[name]) for name in own if own[name].numel()}
    assert max(errors.values()) <= GRADIENT, errors


def test_each_image_alone_has_its_gradient() -> None:
    """Gradients that are absent are zero: one image at a time gives what all of them give together."""
    values = cpu_scenes.scene(seed=30)
    parameters, view = cpu_scenes.raw(values, 3)
    total: dict[str, torch.Tensor] = {}
    for name in ("colors", "alphas", "depth", "inverse_depth", "all"):
        named = cpu_scenes.raw_leaves(parameters, view, torch.float32)
        out = cpu_scenes.raw_call(cpu, named, view)
        names = ("colors", "alphas", "depth", "inverse_depth") if name == "all" else (name,)
        torch.stack([getattr(out, key).square().sum() for key in names]).sum().backward()
        for key, leaf in named.items():
            sign = -1 if name == "all" else 1
            total[key] = total.get(key, 0) + sign * (0 if leaf.grad is None else leaf.grad)
            scale = leaf.grad.norm() if leaf.grad is not None else 1
        if name == "all":
            for key, leaf in named.items():
                assert total[key].norm() <= 1e-4 * leaf.grad.norm(), key
            assert scale > 0
