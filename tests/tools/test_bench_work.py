"""The counting and the drawing of the CPU benchmark, and the grid of the tool for large scenes."""

from __future__ import annotations

from xml.etree import ElementTree

import bench_scenes
import bench_sweep
import bench_work
import large_scene
import pytest
import torch

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.rasterizer import cpu


def test_pairs_are_those_of_the_blocks_that_a_gaussian_colours() -> None:
    """One opaque Gaussian, well inside the picture: its disc of alpha >= 1/255 is covered by blocks of 16 pixels."""
    scene = bench_scenes.synthetic(40, 64, 48)
    scene.means[:] = torch.tensor([0.0, 0.0, -5.0])
    scene.means[0, 2] = 4.0
    scene.scales[:] = 0.2
    scene.opacities[:] = 0.999
    work = bench_work.measure_work(scene.parameters(), scene.view(), 1)
    alphas = cpu.render_gaussians(scene.parameters(), scene.view()).alphas
    disc = int((alphas > 0).sum())
    assert work.visible == 1
    assert disc <= work.pairs <= 2 * disc
    assert work.pairs % 16 == 0
    assert work.pairs_per_pixel == work.pairs / (64 * 48)
    assert work.blend_gflops > 0


def test_the_plot_has_a_dot_for_each_cell() -> None:
    cells = [
        {"num": num, "height": height, "units": num * height, "cpu_ms": num / 1000 + height, "step_ms": 1.0}
        for num in (100, 2000)
        for height in (270, 540)
    ]
    drawing = ElementTree.fromstring(bench_sweep.plot(cells))
    dots = [item for item in drawing.iter("{http://www.w3.org/2000/svg}circle") if item.get("r") == "5"]
    assert len(dots) == len(cells) + 2  # and one for each number in the legend
    assert all(80 <= float(dot.get("cx")) <= 680 and 40 <= float(dot.get("cy")) <= 420 for dot in dots)


def test_a_grid_is_copies_beside_each_other() -> None:
    scene = bench_scenes.synthetic(50, 64, 48)
    model = GaussianModel(3)
    raw = scene.parameters()
    model._xyz = torch.nn.Parameter(torch.rand(50, 3))
    model._rotation, model._scaling = (
        torch.nn.Parameter(raw.quats.detach()),
        torch.nn.Parameter(raw.log_scales.detach()),
    )
    model._opacity = torch.nn.Parameter(raw.opacity_logits.detach())
    model._features_dc = torch.nn.Parameter(raw.features_dc.detach())
    model._features_rest = torch.nn.Parameter(raw.features_rest.detach())
    values, axes, spacing = large_scene.grid_of(model, 3)
    num = len(values[0]) // 9
    copies = values[0].view(9, num, 3)
    steps = (copies - copies[4]) @ axes.T
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-4)  # each copy is moved as a whole
    assert torch.allclose(steps[:, 0].abs().amax(0), torch.stack([spacing[0], spacing[1], spacing[0] * 0]), atol=1e-4)
    assert all(len(value) == 9 * num for value in values)


def test_a_camera_looks_at_its_target() -> None:
    eye, target = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.0, 1.0, 4.0])
    viewmat = large_scene.look_at(eye, target, torch.tensor([0.0, 1.0, 0.0]))
    seen = viewmat[:3, :3] @ target + viewmat[:3, 3]
    assert torch.allclose(seen[:2], torch.zeros(2), atol=1e-5)
    assert float(seen[2]) == pytest.approx(float((target - eye).norm()))
    assert torch.allclose(viewmat[:3, :3] @ viewmat[:3, :3].T, torch.eye(3), atol=1e-5)
    assert float(torch.det(viewmat[:3, :3])) == pytest.approx(1.0, abs=1e-5)
