"""Scenes for the tests of the reference rasteriser, and a renderer that is slower and plainer still."""

from __future__ import annotations

import torch

from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView
from gaussian_splatting.rasterizer.reference import rasterization

WIDTH, HEIGHT = 37, 29  # neither is a multiple of the tile
DOUBLE = torch.float64


def scene(num: int = 60, seed: int = 0, dtype: torch.dtype = DOUBLE) -> dict[str, torch.Tensor]:
    """Random Gaussians in front of, beside and behind a camera with an off-centre principal point."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=DOUBLE, generator=generator)

    viewmat = torch.eye(4, dtype=DOUBLE)
    viewmat[:3, :3] = quaternion_to_matrix(torch.tensor([0.95, 0.1, -0.2, 0.15], dtype=DOUBLE))
    viewmat[:3, 3] = torch.tensor([0.1, -0.2, 3.0], dtype=DOUBLE)
    values = {
        "means": normal(num, 3) * 1.5,
        "quats": normal(num, 4),
        "scales": (normal(num, 3) * 0.5 - 1.8).exp(),
        "opacities": normal(num).sigmoid(),
        "colors": normal(num, 16, 3) * 0.3,
        "viewmats": viewmat[None],
        "Ks": torch.tensor([[[30.0, 0, 16.5], [0, 33.0, 15.25], [0, 0, 1]]], dtype=DOUBLE),
    }
    return {name: value.to(dtype) for name, value in values.items()}


def render(values: dict[str, torch.Tensor], **options):
    options = {"sh_degree": 3, "packed": False} | options
    return rasterization(**values, width=WIDTH, height=HEIGHT, **options)


def slow_render(
    values: dict[str, torch.Tensor], background: torch.Tensor, antialiased: bool = False, eps2d: float = 0.3
):
    """The picture [H, W, 3], alpha, accumulated z and 1/z [H, W], one Gaussian and one pixel rule after another."""
    viewmat, K = values["viewmats"][0], values["Ks"][0]
    colors = _slow_colors(values)
    points = values["means"] @ viewmat[:3, :3].T + viewmat[:3, 3]
    y, x = torch.meshgrid(*(torch.arange(n, dtype=DOUBLE) + 0.5 for n in (HEIGHT, WIDTH)), indexing="ij")
    picture = torch.zeros(HEIGHT, WIDTH, 5, dtype=DOUBLE)
    transmittance, done = torch.ones(HEIGHT, WIDTH, dtype=DOUBLE), torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for i in points[:, 2].float().argsort(stable=True).tolist():
        px, py, pz = points[i].tolist()
        if not 0.01 <= pz <= 1e10:
            continue
        mean, covariance = _slow_ellipse(values, i, (px, py, pz), viewmat, K)
        blurred = covariance + eps2d * torch.eye(2, dtype=DOUBLE)
        opacity = values["opacities"][i]
        if antialiased:
            opacity = opacity * (torch.linalg.det(covariance) / torch.linalg.det(blurred)).clamp_min(0).sqrt()
        offset = torch.stack([x - mean[0], y - mean[1]], dim=-1)
        exponent = torch.einsum("hwi,ij,hwj->hw", offset, torch.linalg.inv(blurred), offset) / 2
        alpha = (opacity * torch.exp(-exponent)).clamp_max(0.999)
        used = (alpha >= 1 / 255) & ~done
        after = transmittance * (1 - alpha)
        done |= used & (after <= 1e-4)
        used &= ~done
        weight = torch.where(used, alpha * transmittance, 0.0)
        feature = torch.cat([colors[i], torch.tensor([pz, 1 / pz], dtype=DOUBLE)])
        picture += weight[..., None] * feature
        transmittance = torch.where(used, after, transmittance)
    return picture[..., :3] + transmittance[..., None] * background, 1 - transmittance, picture[..., 3], picture[..., 4]


def _slow_colors(values: dict[str, torch.Tensor]) -> torch.Tensor:
    from gaussian_splatting.geometry.sh import eval_sh

    viewmat = values["viewmats"][0]
    directions = values["means"] + viewmat[:3, :3].T @ viewmat[:3, 3]
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return (eval_sh(3, values["colors"].transpose(1, 2), directions) + 0.5).clamp_min(0)


def _slow_ellipse(values, i, point, viewmat, K):
    px, py, pz = point
    fx, fy, cx, cy = (float(K[a, b]) for a, b in ((0, 0), (1, 1), (0, 2), (1, 2)))
    slope_x = min(max(px / pz, -cx / fx - 0.15 * WIDTH / fx), (WIDTH - cx) / fx + 0.15 * WIDTH / fx)
    slope_y = min(max(py / pz, -cy / fy - 0.15 * HEIGHT / fy), (HEIGHT - cy) / fy + 0.15 * HEIGHT / fy)
    jacobian = torch.tensor([[fx / pz, 0, -fx * slope_x / pz], [0, fy / pz, -fy * slope_y / pz]], dtype=DOUBLE)
    rotation = quaternion_to_matrix(values["quats"][i])
    world = rotation @ torch.diag(values["scales"][i] ** 2) @ rotation.T
    camera = viewmat[:3, :3] @ world @ viewmat[:3, :3].T
    return (fx * px / pz + cx, fy * py / pz + cy), jacobian @ camera @ jacobian.T


def two_cameras() -> dict[str, torch.Tensor]:
    values = scene()
    second = values["viewmats"][0].clone()
    second[0, 3] += 0.5
    values["viewmats"] = torch.stack([values["viewmats"][0], second])
    values["Ks"] = torch.cat([values["Ks"], values["Ks"] * torch.tensor([1.2, 1, 1], dtype=DOUBLE)[:, None]])
    return values


def raw_scene(num: int = 40, dtype: torch.dtype = DOUBLE) -> tuple[GaussianParameters, RasterView]:
    values = scene(num, dtype=dtype)
    parameters = GaussianParameters(
        values["means"],
        values["quats"],
        values["scales"].log(),
        values["opacities"].logit()[:, None],
        values["colors"][:, :1],
        values["colors"][:, 1:],
    )
    view = RasterView(
        values["viewmats"][0], values["Ks"][0], WIDTH, HEIGHT, 2, torch.tensor([0.1, 0.2, 0.3], dtype=dtype)
    )
    return parameters, view
