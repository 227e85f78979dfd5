"""Scenes of surfels, and a renderer of them that goes one surfel after another over the whole picture."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from reference_scenes import DOUBLE, HEIGHT, WIDTH, raw_scene, scene
from torch.nn.functional import normalize

from gaussian_splatting.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

TILE = 16
MAPS = ("colors", "alphas", "depth", "inverse_depth")
EXTRAS = ("render_normals", "normals_from_depth", "render_alphas", "render_distort", "render_median")


def slow_maps(values: dict[str, torch.Tensor], rays: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Blended colours [H, W, 3], camera normals, alpha, sum of w z, distortion and median depth of plain colours.

    `rays` [N, 3, 3] replaces the ray transforms where a ray meets a surfel.
    """
    viewmat = values["viewmats"][0]
    points = values["means"] @ viewmat[:3, :3].T + viewmat[:3, 3]
    axes = viewmat[:3, :3] @ quaternion_to_matrix(values["quats"])
    own = ray_transforms(values)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=DOUBLE) + 0.5 for n in (HEIGHT, WIDTH)), indexing="ij")
    light, done = torch.ones(HEIGHT, WIDTH, dtype=DOUBLE), torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    picture, normals = torch.zeros(HEIGHT, WIDTH, 3, dtype=DOUBLE), torch.zeros(HEIGHT, WIDTH, 3, dtype=DOUBLE)
    depth, distortion, median = (torch.zeros(HEIGHT, WIDTH, dtype=DOUBLE) for _ in range(3))
    passed: list[tuple[torch.Tensor, torch.Tensor]] = []
    for i in points[:, 2].detach().float().argsort(stable=True).tolist():
        z = points[i, 2]
        if not 0.01 < float(z) < 1e10:
            continue
        middle, radius = slow_box(own[i])
        tile_x, tile_y = (x // TILE) * TILE, (y // TILE) * TILE
        near = (tile_x + TILE > middle[0] - radius[0]) & (tile_x < middle[0] + radius[0])
        near &= (tile_y + TILE > middle[1] - radius[1]) & (tile_y < middle[1] + radius[1])
        near &= bool((middle[0] + radius[0] > 0) & (middle[0] - radius[0] < WIDTH))
        near &= bool((middle[1] + radius[1] > 0) & (middle[1] - radius[1] < HEIGHT))
        u, v = meeting_point(own[i] if rays is None else rays[i], x, y)
        squared = torch.minimum(u**2 + v**2, 2 * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2))
        alpha = (values["opacities"][i] * torch.exp(-squared / 2)).clamp_max(0.999)
        used = near & (alpha >= 1 / 255) & ~done
        after = light * (1 - alpha)
        done |= used & (after <= 1e-4)
        used &= ~done
        weight = torch.where(used, alpha * light, 0.0)
        picture = picture + weight[..., None] * values["colors"][i]
        towards = 1 if float(-(axes[i, :, 2] * points[i]).sum()) > 0 else -1
        normals = normals + weight[..., None] * axes[i, :, 2] * towards
        depth = depth + weight * z
        for other_weight, other_z in passed:
            distortion = distortion + 2 * weight * other_weight * (z - other_z).abs()
        passed.append((weight, z))
        median = torch.where(used & (light > 0.5), z, median)
        light = torch.where(used, after, light)
    return {
        "colors": picture, "normals": normals, "alphas": 1 - light, "depth": depth, "distortion": distortion,
        "median": median,
    }  # fmt: skip


def ray_transforms(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """K W H [N, 3, 3]."""
    viewmat = values["viewmats"][0]
    points = values["means"] @ viewmat[:3, :3].T + viewmat[:3, 3]
    axes = viewmat[:3, :3] @ (quaternion_to_matrix(values["quats"]) * values["scales"][:, None])
    return values["Ks"][0] @ torch.stack([axes[..., 0], axes[..., 1], points], dim=-1)


def slow_box(ray: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
    """Middle [2] and radii of the box: the picture of the unit circle lies between the roots of a quadratic."""
    middle, radii = [], []
    d = ray[2, 0] ** 2 + ray[2, 1] ** 2 - ray[2, 2] ** 2
    for row in ray[:2]:
        mean = (row[0] * ray[2, 0] + row[1] * ray[2, 1] - row[2] * ray[2, 2]) / d
        product = (row[0] ** 2 + row[1] ** 2 - row[2] ** 2) / d
        middle.append(mean)
        radii.append(float((3.33 * (mean**2 - product).clamp_min(1e-4).sqrt()).ceil()))
    return torch.stack(middle), radii


def meeting_point(ray: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where pixels meet the plane, by solving the 2x2 system of equation 8 of the paper with Cramer's rule."""
    a, b, c = (x * ray[2, k] - ray[0, k] for k in range(3))
    d, e, f = (y * ray[2, k] - ray[1, k] for k in range(3))
    determinant = a * e - b * d
    return (b * f - c * e) / determinant, (c * d - a * f) / determinant


def plain_scene(num: int = 60, seed: int = 0, spread: float = 1.0) -> dict[str, torch.Tensor]:
    """Surfels with plain colours; `spread` multiplies their sizes."""
    values = scene(num, seed)
    values["scales"] = values["scales"] * spread
    values["colors"] = torch.rand(num, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed + 1))
    return values


def hard_scene(num: int = 80, seed: int = 0, sharpest: float = 0.01) -> tuple[GaussianParameters, RasterView]:
    """A raw scene with what goes wrong first: surfels seen edge-on, behind the camera, saturated, huge and tiny."""
    parameters, view = raw_scene(num)
    generator = torch.Generator().manual_seed(seed)
    means, scales, opacities = (
        parameters.means.clone(),
        parameters.log_scales.clone(),
        parameters.opacity_logits.clone(),
    )
    quats = parameters.quats.clone()
    means[:8] = means[:8].abs() * -4  # many of these are behind the camera
    opacities[8:20] = 9.0  # saturated
    scales[20:24] += 2.5  # huge: some cross the camera plane
    scales[24:30] -= 4.5  # smaller than a pixel
    centre = -view.viewmat[:3, :3].T @ view.viewmat[:3, 3]
    for i in range(30, 36):  # edge-on: the sine of the angle of ray and plane falls to `sharpest`
        across = torch.randn(3, dtype=DOUBLE, generator=generator)
        quats[i] = 1.7 * edge_on(means[i] - centre, 0.1 * (10 * sharpest) ** ((i - 30) / 5), across)
    changed = replace(parameters, means=means, log_scales=scales, opacity_logits=opacities, quats=quats)
    # Representable in float32, so that every precision renders the same scene.
    changed, view = changed_dtype(changed, torch.float32), view_dtype(view, torch.float32)
    return changed_dtype(changed, DOUBLE), view_dtype(view, DOUBLE)


def edge_on(ray: torch.Tensor, sine: float, across: torch.Tensor) -> torch.Tensor:
    """The rotation of a surfel whose plane holds `ray` but for an angle."""
    ray = normalize(ray, dim=0)
    side = normalize(torch.linalg.cross(ray, across), dim=0)
    normal = normalize(side - sine * ray, dim=0)
    first = normalize(torch.linalg.cross(side, ray), dim=0)
    return matrix_to_quaternion(torch.stack([first, torch.linalg.cross(normal, first), normal], dim=1))


def not_edge_on(parameters: GaussianParameters, view: RasterView, sine: float) -> GaussianParameters:
    """Those of the surfels whose plane makes a larger angle with the ray to the centre."""
    rays = normalize(parameters.means + view.viewmat[:3, :3].T @ view.viewmat[:3, 3], dim=-1)
    keep = (quaternion_to_matrix(parameters.quats)[:, :, 2] * rays).sum(-1).abs() > sine
    return GaussianParameters(**{f.name: getattr(parameters, f.name)[keep] for f in fields(parameters)})


def changed_dtype(parameters: GaussianParameters, dtype: torch.dtype) -> GaussianParameters:
    return GaussianParameters(**{f.name: getattr(parameters, f.name).detach().to(dtype) for f in fields(parameters)})


def view_dtype(view: RasterView, dtype: torch.dtype) -> RasterView:
    tensors = {name: getattr(view, name).detach().to(dtype) for name in ("viewmat", "K", "background")}
    return replace(view, **tensors)


def maps_of(output: RasterOutput) -> dict[str, torch.Tensor]:
    return {name: getattr(output, name) for name in MAPS} | {name: output.extras[name] for name in EXTRAS}


def leaves_of(parameters: GaussianParameters, view: RasterView) -> tuple[GaussianParameters, RasterView]:
    fresh = GaussianParameters(
        **{f.name: getattr(parameters, f.name).detach().clone().requires_grad_() for f in fields(parameters)}
    )
    viewmat, background = (t.detach().clone().requires_grad_() for t in (view.viewmat, view.background))
    return fresh, replace(view, viewmat=viewmat, background=background)


def weighted_sum(maps: dict[str, torch.Tensor], seed: int = 3) -> torch.Tensor:
    """A loss in which every pixel of every map counts differently."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=DOUBLE)
    for name in sorted(maps):
        weights = torch.randn(maps[name].shape, dtype=DOUBLE, generator=generator)
        total = total + (maps[name].double() * weights).sum()
    return total
