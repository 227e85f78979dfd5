"""Renders a grid of copies of a trained scene: what a large scene costs in time and memory.

    python tools/large_scene.py point_cloud.ply --copies 15 --threads 2 --out folder

Two views, one over the whole grid and one from within, each with and without `radius_clip`: Gaussians in all and in
sight, time of a picture without gradients, and peak resident memory above that of Python with torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench_cpu import peak_bytes  # noqa: E402

from gaussian_splatting.gaussian_model import GaussianModel  # noqa: E402
from gaussian_splatting.io import storage  # noqa: E402
from gaussian_splatting.rasterizer import cpu  # noqa: E402
from gaussian_splatting.rasterizer.cpu.function import render_view  # noqa: E402
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings  # noqa: E402
from gaussian_splatting.rendering.picture_files import encode_picture  # noqa: E402


def grid_of(model: GaussianModel, copies: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """The raw values of copies x copies scenes side by side; the two directions of the grid, and its normal, [3, 3]."""
    means = model._xyz.detach()
    middle = means.median(0).values
    kept = (means - middle).norm(dim=-1) <= 3 * (means - middle).norm(dim=-1).median()
    values = [x.detach()[kept] for x in (means, model._rotation, model._scaling, model._opacity, model._features_dc,
                                         model._features_rest)]  # fmt: skip
    axes = torch.linalg.svd(values[0] - middle, full_matrices=False).Vh  # the flattest direction is the normal
    along = (values[0] - middle) @ axes.T
    spacing = 1.05 * (along.amax(0) - along.amin(0))
    steps = torch.arange(copies) - (copies - 1) / 2
    places = torch.cartesian_prod(steps * spacing[0], steps * spacing[1]) @ axes[:2]  # [copies^2, 3]
    positions = ((values[0] - middle)[None] + places[:, None]).reshape(-1, 3)
    return [positions, *(x.repeat(copies * copies, *[1] * (x.dim() - 1)) for x in values[1:])], axes, spacing


def look_at(eye: Tensor, target: Tensor, down: Tensor) -> Tensor:
    """Camera from world [4, 4], OpenCV axes."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(down, forward), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ eye
    return viewmat


def viewpoints(axes: Tensor, spacing: Tensor, copies: int) -> dict[str, Tensor]:
    """Over the whole grid, and between its copies."""
    first, second, normal = axes
    span = copies * spacing[:2].max()
    over = look_at(-0.75 * span * second + 0.5 * span * normal, torch.zeros(3), -normal)
    inside = look_at(0.6 * spacing[2] * normal - 0.5 * spacing[1] * second, first * span, -normal)
    return {"over the grid": over, "within it": inside}


@torch.no_grad()
def measure(values: list[Tensor], viewmat: Tensor, size: tuple[int, int], radius_clip: float) -> tuple[Tensor, str]:
    """The picture [H, W, 3], and a row of the table."""
    width, height = size
    K = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    degree = round((values[5].shape[1] + 1) ** 0.5) - 1
    settings = RenderSettings(K, width, height, degree, raw=True, radius_clip=radius_clip)
    times = []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        out = render_view(*values, viewmat, torch.zeros(3), settings)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seen = int((out.radii > 0).sum())
    wall, processor = (sorted(column)[1] for column in zip(*times, strict=True))
    return out.images[0], f"{len(values[0]):,} | {seen:,} | {radius_clip:g} | {wall:.2f} | {processor:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ply", type=Path)
    parser.add_argument("--copies", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--out", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cpu.set_num_threads(options.threads)
    before = peak_bytes()
    values, axes, spacing = grid_of(GaussianModel(3).load_ply(options.ply), options.copies)
    held = sum(value.numel() * value.element_size() for value in values)
    print("view | Gaussians | in sight | radius_clip | seconds | processor seconds")
    for name, viewmat in viewpoints(axes, spacing, options.copies).items():
        for radius_clip in (0.0, 2.0):
            picture, row = measure(values, viewmat, tuple(options.size), radius_clip)
            print(f"{name} | {row}", flush=True)
            if options.out is not None:
                storage.make_folder(options.out)
                data = encode_picture((picture.clamp(0, 1) * 255).round().byte().numpy())
                storage.write_atomically(options.out / f"{name.replace(' ', '_')}_{radius_clip:g}.png", data)
    peak = (peak_bytes() - before) / 2**20
    print(f"values {held / 2**20:.0f} MB, peak {peak:.0f} MB above Python with torch")


if __name__ == "__main__":
    main()
