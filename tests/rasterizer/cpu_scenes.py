"""Scenes for the tests of the CPU backend, and where float32 cannot be expected to agree with float64.

Alpha blending has thresholds: a contribution below 1/255 is skipped, alpha stops at 0.999, a pixel ends at a
transmittance of 1e-4. A pixel where some Gaussian is within rounding of a threshold may be decided either way, so
comparisons leave it out: its weight in every comparison is zero, and `weights` checks that such pixels are few.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView
from gaussian_splatting.rasterizer.reference.blending import MAX_ALPHA, MIN_TRANSMITTANCE
from gaussian_splatting.rasterizer.reference.projection import ALPHA_THRESHOLD, Lens, project

WIDTH, HEIGHT = 45, 37  # more than one tile each way, not a multiple of a tile or of a block
DOUBLE = torch.float64
KNIFE_EDGE = 3e-5  # relative distance to a threshold within which float32 may decide either way
FEW = 0.05  # largest fraction of pixels that may be left out
INPUTS = ("means", "quats", "scales", "opacities", "colors", "viewmats", "backgrounds")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(num: int = 150, seed: int = 0, kind: str = "mixed", degree: int | None = 3) -> dict[str, Tensor]:
    """Random Gaussians as arguments of `rasterization`, one camera, float64.

    Among the mixed ones some are behind the camera, some reach over the edge of the image, some are saturated, and
    colours are often clamped at black; "huge" ones cover the image, "faint" ones are often culled by opacity.
    """
    random = generator(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=DOUBLE, generator=random)

    viewmat = torch.eye(4, dtype=DOUBLE)
    viewmat[:3, :3] = quaternion_to_matrix(torch.tensor([0.95, 0.1, -0.2, 0.15], dtype=DOUBLE))
    viewmat[:3, 3] = torch.tensor([0.1, -0.2, 3.0], dtype=DOUBLE)
    size, logit = {"mixed": (-2.0, 0.5), "huge": (0.8, -2.0), "faint": (-1.5, -4.5)}[kind]
    opacities = (normal(num) * 1.5 + logit).sigmoid()
    if kind == "mixed":
        opacities[:10] = 0.99999
    values = {
        "means": normal(num, 3) * torch.tensor([1.2, 1.0, 1.6], dtype=DOUBLE),
        "quats": normal(num, 4),
        "scales": (normal(num, 3) * 0.6 + size).exp(),
        "opacities": opacities,
        "colors": torch.rand(num, 3, dtype=DOUBLE, generator=random) if degree is None else normal(num, 16, 3) * 0.35,
        "viewmats": viewmat[None],
        "Ks": torch.tensor([[[36.0, 0, 20.5], [0, 39.0, 19.25], [0, 0, 1]]], dtype=DOUBLE),
        "backgrounds": torch.rand(1, 3, dtype=DOUBLE, generator=random),
    }
    return {name: exact(value) for name, value in values.items()}


def exact(value: Tensor) -> Tensor:
    """Rounded to float32, so that both sides of a comparison begin with the same numbers."""
    return value.float().double()


def raw(values: dict[str, Tensor], degree: int, num_coefficients: int = 16) -> tuple[GaussianParameters, RasterView]:
    """The raw parameters of a scene, and its view."""
    parameters = GaussianParameters(
        values["means"],
        values["quats"],
        exact(values["scales"].log()),
        exact(values["opacities"].clamp(max=0.9999).logit()[:, None]),
        values["colors"][:, :1],
        values["colors"][:, 1:num_coefficients],
    )
    view = RasterView(values["viewmats"][0], values["Ks"][0], WIDTH, HEIGHT, degree, values["backgrounds"][0])
    return parameters, view


def leaves(values: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Fresh leaves of a type; everything but the intrinsics asks for a gradient."""
    return {name: value.to(dtype).clone().requires_grad_(name != "Ks") for name, value in values.items()}


def raw_leaves(parameters: GaussianParameters, view: RasterView, dtype: torch.dtype) -> dict[str, Tensor]:
    """Fresh leaves of raw parameters, pose and background."""
    named = vars(parameters) | {"viewmat": view.viewmat, "background": view.background}
    return {name: value.to(dtype).clone().requires_grad_() for name, value in named.items()}


def raw_call(backend, named: dict[str, Tensor], view: RasterView):
    """`render_gaussians` of a backend on the leaves of `raw_leaves`."""
    own = replace(view, viewmat=named["viewmat"], background=named["background"], K=view.K.to(named["viewmat"].dtype))
    parameters = {name: value for name, value in named.items() if name not in {"viewmat", "background"}}
    return backend.render_gaussians(GaussianParameters(**parameters), own)


def weights(values: dict[str, Tensor], channels: int, seed: int = 1, **options: bool) -> Tensor:
    """Random weights [H, W, channels], zero at pixels that are too close to a threshold."""
    edges = knife_edges(values, **options)
    assert edges.double().mean() < FEW, f"{int(edges.sum())} pixels are within rounding of a threshold"
    random = torch.randn(HEIGHT, WIDTH, channels, dtype=DOUBLE, generator=generator(seed))
    return torch.where(edges[..., None], 0.0, random)


def knife_edges(values: dict[str, Tensor], antialiased: bool = False) -> Tensor:
    """Pixels [H, W] where some decision is within rounding, in one view of a scene."""
    with torch.no_grad():
        ellipses = _ellipses(values, antialiased)
        y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
        order = ellipses.depths.argsort()
        gaps = ellipses.depths[order].diff() / ellipses.depths[order][1:]
        assert not len(gaps) or gaps.min() > 1e-7, "two depths are equal in float32"
        dx = x[..., None] - ellipses.means2d[order, 0]  # [H, W, M]
        dy = y[..., None] - ellipses.means2d[order, 1]
        xx, xy, yy = ellipses.conics[order].unbind(-1)
        alpha = ellipses.opacities[order] * torch.exp(-(xx * dx * dx + yy * dy * dy) / 2 - xy * dx * dy)
        limited = alpha.clamp(max=MAX_ALPHA)
        left = torch.cumprod(torch.where(alpha >= ALPHA_THRESHOLD, 1 - limited, 1.0), dim=-1)
        before = torch.cat([torch.ones_like(left[..., :1]), left[..., :-1]], dim=-1)
        matters = before > MIN_TRANSMITTANCE * (1 - KNIFE_EDGE)
        near = _near(alpha, ALPHA_THRESHOLD) | _near(alpha, MAX_ALPHA) | _near(left, MIN_TRANSMITTANCE)
        return (near & matters).any(-1)


def _near(values: Tensor, threshold: float) -> Tensor:
    return (values / threshold - 1).abs() < KNIFE_EDGE


def _ellipses(values: dict[str, Tensor], antialiased: bool):
    half = quaternion_to_matrix(values["quats"]) * values["scales"][:, None, :]
    covariances = half @ half.transpose(1, 2)
    lens = Lens(values["Ks"][0], WIDTH, HEIGHT, 0.01, 1e10, 0.3, 0.0, antialiased)
    return project(
        values["means"], lambda ids: (values["means"][ids], covariances[ids], values["opacities"][ids]),
        values["viewmats"][0], lens
    )  # fmt: skip
