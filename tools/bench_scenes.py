"""The scenes that rasteriser benchmarks use: the garden's points, and scenes that look like trained ones.

They are those of the CPU prototype, value for value, so that its times and ours can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView

GARDEN = Path(__file__).resolve().parents[2] / "shared" / "data" / "garden3_npz" / "test_garden.npz"
DEGREE, COEFFICIENTS, CONSTANT_BASIS = 3, 16, 0.2820947917738781
SYNTHETIC = {"synth200k": (200_000, 648, 420), "synth500k": (500_000, 1296, 840)}
NAMES = ("garden", *SYNTHETIC)


@dataclass(frozen=True)
class BenchScene:
    """Gaussians in linear units, and one view of them."""

    means: Tensor  # [N, 3]
    quats: Tensor  # [N, 4]
    scales: Tensor  # [N, 3]
    opacities: Tensor  # [N]
    colors: Tensor  # [N, 16, 3] spherical harmonics
    viewmat: Tensor  # [4, 4]
    K: Tensor  # [3, 3]
    width: int
    height: int

    def parameters(self) -> GaussianParameters:
        """The raw parameters, as leaves that ask for gradients."""
        raw = GaussianParameters(
            self.means.clone(),
            self.quats.clone(),
            self.scales.log(),
            self.opacities.logit()[:, None],
            self.colors[:, :1].contiguous(),
            self.colors[:, 1:].contiguous(),
        )
        for tensor in vars(raw).values():
            tensor.requires_grad_()
        return raw

    def view(self) -> RasterView:
        """The view, on black."""
        return RasterView(self.viewmat, self.K, self.width, self.height, DEGREE, torch.zeros(3))


def load(name: str) -> BenchScene:
    """A scene by name. Raises FileNotFoundError when the garden's points are not beside the checkout."""
    return garden() if name == "garden" else synthetic(*SYNTHETIC[name])


def garden() -> BenchScene:
    """The garden's 138,766 points as isotropic Gaussians as large as their neighbours are far, random opacities."""
    from scipy.spatial import cKDTree

    with np.load(GARDEN) as data:
        points, colors, K = data["means3d"], torch.tensor(data["colors"]) / 255.0, torch.tensor(data["Ks"][0])
        viewmat, width, height = torch.tensor(data["viewmats"][0]).float(), int(data["width"]), int(data["height"])
    random = torch.Generator().manual_seed(0)
    distances = cKDTree(points).query(points, 4)[0][:, 1:]
    scales = torch.tensor(np.sqrt((distances**2).mean(1)), dtype=torch.float32).clamp_min(1e-5)
    num = len(points)
    quats = torch.randn(num, 4, generator=random)
    opacities = torch.rand(num, generator=random) * 0.9 + 0.05
    harmonics = torch.zeros(num, COEFFICIENTS, 3)
    harmonics[:, 0] = (colors - 0.5) / CONSTANT_BASIS
    harmonics[:, 1:] = torch.randn(num, COEFFICIENTS - 1, 3, generator=random) * 0.02
    return BenchScene(
        torch.tensor(points).contiguous(),
        quats,
        scales[:, None].repeat(1, 3),
        opacities,
        harmonics,
        viewmat.contiguous(),
        K.float().contiguous(),
        width,
        height,
    )


def synthetic(num: int, width: int, height: int) -> BenchScene:
    """Gaussians on spheres and a floor, flat and elongated, about two pixels wide, half of them nearly opaque."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    num_spheres, on_spheres = 20, int(num * 0.7)
    centres = normal(num_spheres, 3) * torch.tensor([1.5, 0.8, 1.0])
    sizes = uniform(num_spheres) * 0.5 + 0.2
    sphere = torch.randint(0, num_spheres, (on_spheres,), generator=random)
    directions = normal(on_spheres, 3)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    spheres = centres[sphere] + directions * sizes[sphere][:, None]
    on_floor = num - on_spheres
    floor = [(uniform(on_floor) - 0.5) * 8, torch.full((on_floor,), 1.2) + normal(on_floor) * 0.01]
    means = torch.cat([spheres, torch.stack([*floor, (uniform(on_floor) - 0.5) * 8], -1)])
    means[:, 2] = (means[:, 2] + 4.5).clamp_min(0.3)

    focal = 0.9 * width
    pixel = 2.0 * means[:, 2] / focal  # scene units that two pixels span
    scales = pixel[:, None] * torch.exp(normal(num, 1) * 0.6 + normal(num, 3) * 0.5)
    scales[torch.arange(num), torch.randint(0, 3, (num,), generator=random)] *= 0.2
    opacities = torch.sigmoid(normal(num) * 2.0)
    harmonics = normal(num, COEFFICIENTS, 3) * 0.05
    harmonics[:, 0] = normal(num, 3) * 0.8
    order = torch.randperm(num, generator=random)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    quats = normal(num, 4)
    return BenchScene(
        means[order].contiguous(),
        quats,
        scales[order].contiguous(),
        opacities,
        harmonics,
        torch.eye(4),
        K,
        width,
        height,
    )
