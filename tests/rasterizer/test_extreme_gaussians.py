"""Row F3: Gaussians at the limits of what can be. The kernels stay finite, and their gradients are those of float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cpu_scenes
import pytest
import torch
from cpu_scenes import DOUBLE, generator
from torch import Tensor

from gaussian_splatting.geometry.rotations import matrix_to_quaternion
from gaussian_splatting.rasterizer import cpu, cpu_2dgs, reference, reference_2dgs
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView

WIDTH, HEIGHT = 21, 18  # two tiles by two
NUM_PLAIN, NUM_EXTREME = 5, 2
SEEDS = range(32)
# Relative errors of pictures and of gradients. A plane that grazes its ray costs float32 a digit, see test_2dgs_cpu.
BOUNDS = {"3dgs": (1e-5, 2e-4), "2dgs": (1e-4, 2e-3)}
NAMES = ("means", "quats", "log_scales", "opacity_logits", "features_dc", "viewmat", "background")
IMAGES = ("colors", "alphas", "depth", "inverse_depth")
Change = Callable[[dict[str, Tensor], slice, torch.Generator], None]

pytestmark = pytest.mark.usefixtures("one_thread")


def uniform(random: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, dtype=DOUBLE, generator=random)


def zero_quaternion(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["quats"][rows] = 0.0


def tiny_quaternion(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["quats"][rows] *= 10 ** uniform(random, -15, -8, NUM_EXTREME, 1)


def long_quaternion(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["quats"][rows] *= 10 ** uniform(random, 3, 12, NUM_EXTREME, 1)


def no_size(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["log_scales"][rows] = uniform(random, -80, -12, NUM_EXTREME, 1)


def needle(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["log_scales"][rows, 1:] = uniform(random, -30, -9, NUM_EXTREME, 1)


def larger_than_the_scene(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["log_scales"][rows] = uniform(random, 2, 5, NUM_EXTREME, 1)


def endless(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["log_scales"][rows] = uniform(random, 45, 3e38, NUM_EXTREME, 3)


def opaque(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["opacity_logits"][rows] = uniform(random, 9, 80, NUM_EXTREME, 1)


def transparent(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["opacity_logits"][rows] = uniform(random, -90, -5.6, NUM_EXTREME, 1)


def at_the_camera(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    place(values, rows, uniform(random, -0.009, 0.009, NUM_EXTREME, 3))


def just_before_the_camera(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    points = uniform(random, -0.02, 0.02, NUM_EXTREME, 3)
    points[:, 2] = uniform(random, 0.0101, 0.1, NUM_EXTREME)
    place(values, rows, points)
    values["log_scales"][rows] -= 3.0


def behind(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    points = uniform(random, -3, 3, NUM_EXTREME, 3)
    points[:, 2] = -(10 ** uniform(random, -3, 12, NUM_EXTREME))
    place(values, rows, points)


def far_away(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    depth = 10 ** uniform(random, 3, 9.5, NUM_EXTREME)
    slope = uniform(random, -0.3, 0.3, NUM_EXTREME, 2)
    place(values, rows, torch.cat([slope * depth[:, None], depth[:, None]], dim=1))
    values["log_scales"][rows] += depth.log()[:, None]


def at_infinity(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    values["means"][rows] = uniform(random, -1, 1, NUM_EXTREME, 3).sign() * 10 ** uniform(
        random, 12, 38, NUM_EXTREME, 1
    )


def beside(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    points = uniform(random, -1, 1, NUM_EXTREME, 3).sign() * 10 ** uniform(random, 1, 6, NUM_EXTREME, 1)
    points[:, 2] = uniform(random, 0.02, 1, NUM_EXTREME)
    place(values, rows, points)


def edge_on(values: dict[str, Tensor], rows: slice, random: torch.Generator) -> None:
    """Discs whose plane holds the ray to their centre, up to rounding."""
    viewmat = values["viewmat"]
    rays = values["means"][rows] + viewmat[:3, :3].T @ viewmat[:3, 3]
    for row, ray in zip(range(rows.start, rows.stop), rays, strict=True):
        first = ray / ray.norm()
        other = torch.linalg.cross(first, torch.tensor([0.3, 1.0, 0.2], dtype=DOUBLE))
        other = other / other.norm()
        frame = torch.stack([first, other, torch.linalg.cross(first, other)], dim=1)
        values["quats"][row] = matrix_to_quaternion(frame)
    values["log_scales"][rows, 2] = -25.0


def place(values: dict[str, Tensor], rows: slice, points: Tensor) -> None:
    """Put Gaussians at points of the camera."""
    viewmat = values["viewmat"]
    values["means"][rows] = (points - viewmat[:3, 3]) @ viewmat[:3, :3]


KINDS: tuple[Change, ...] = (
    zero_quaternion, tiny_quaternion, long_quaternion, no_size, needle, larger_than_the_scene, endless, opaque,
    transparent, at_the_camera, just_before_the_camera, behind, far_away, at_infinity, beside, edge_on,
)  # fmt: skip


def scene(kind: Change, seed: int) -> tuple[dict[str, Tensor], RasterView]:
    """Plain Gaussians and extreme ones, float64 that float32 holds exactly."""
    random = generator(seed)
    num = NUM_PLAIN + NUM_EXTREME
    viewmat = cpu_scenes.scene(1)["viewmats"][0].clone()
    values = {
        "means": torch.randn(num, 3, dtype=DOUBLE, generator=random) * torch.tensor([0.8, 0.7, 0.6], dtype=DOUBLE),
        "quats": torch.randn(num, 4, dtype=DOUBLE, generator=random),
        "log_scales": torch.randn(num, 3, dtype=DOUBLE, generator=random) * 0.4 - 1.2,
        "opacity_logits": torch.randn(num, 1, dtype=DOUBLE, generator=random),
        "features_dc": torch.randn(num, 1, 3, dtype=DOUBLE, generator=random) * 0.4 + 0.5,
        "features_rest": torch.zeros(num, 0, 3, dtype=DOUBLE),
        "viewmat": viewmat,
        "background": torch.rand(3, dtype=DOUBLE, generator=random),
    }
    kind(values, slice(NUM_PLAIN, num), random)
    values = {name: cpu_scenes.exact(value) for name, value in values.items()}
    K = torch.tensor([[18.0, 0, 10.25], [0, 19.0, 8.75], [0, 0, 1]], dtype=DOUBLE)
    return values, RasterView(values["viewmat"], K, WIDTH, HEIGHT, 0, values["background"])


@dataclass
class Result:
    images: dict[str, Tensor]
    gradients: dict[str, Tensor]


def run(module, values: dict[str, Tensor], view: RasterView, dtype: torch.dtype, weights: dict[str, Tensor]) -> Result:
    leaves = {name: value.to(dtype).clone().requires_grad_() for name, value in values.items()}
    own = replace(view, viewmat=leaves["viewmat"], background=leaves["background"], K=view.K.to(dtype))
    rows = {name: leaf for name, leaf in leaves.items() if name not in ("viewmat", "background")}
    out: RasterOutput = module.render_gaussians(GaussianParameters(**rows), own)
    images = {name: getattr(out, name) for name in IMAGES}
    loss = sum((image.to(DOUBLE) * weights[name]).sum() for name, image in images.items())
    assert isinstance(loss, Tensor)
    if loss.requires_grad:
        loss.backward()
    gradients = {name: torch.zeros_like(leaves[name]) if (g := leaves[name].grad) is None else g for name in NAMES}
    return Result({name: image.detach() for name, image in images.items()}, gradients)


def weights(seed: int) -> dict[str, Tensor]:
    """A loss in which every value of every picture counts differently."""
    random = generator(seed + 1000)
    shapes = {name: (HEIGHT, WIDTH, 3) if name == "colors" else (HEIGHT, WIDTH) for name in IMAGES}
    return {name: torch.randn(*shape, dtype=DOUBLE, generator=random) for name, shape in shapes.items()}


def errors(found: Result, expected: Result, bounds: tuple[float, float]) -> dict[str, float]:
    """What is farther from float64 than the kernels may be, by name; not a number where something is not finite."""
    pictures = {
        name: float((found.images[name].double() - image).abs().max() / max(1.0, float(image.abs().max()))) / bounds[0]
        for name, image in expected.images.items()
    }
    gradients = {
        name: float((found.gradients[name].double() - gradient).norm() / gradient.norm().clamp_min(1e-30)) / bounds[1]
        for name, gradient in expected.gradients.items()
    }
    return {name: error for name, error in {**pictures, **gradients}.items() if not error <= 1}


MODULES = {"3dgs": (cpu, reference), "2dgs": (cpu_2dgs, reference_2dgs)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("surface", MODULES)
def test_pictures_and_gradients_are_those_of_float64(surface: str, kind: Change) -> None:
    kernels, exact = MODULES[surface]
    for seed in SEEDS:
        values, view = scene(kind, seed)
        found = run(kernels, values, view, torch.float32, weights(seed))
        expected = run(exact, values, view, DOUBLE, weights(seed))
        assert errors(found, expected, BOUNDS[surface]) == {}, seed


@pytest.mark.parametrize("module", [cpu, reference, cpu_2dgs, reference_2dgs], ids=lambda module: module.__name__)
def test_what_has_no_direction_is_left_out(module) -> None:
    dtype = torch.float32 if module in (cpu, cpu_2dgs) else DOUBLE
    values, view = scene(zero_quaternion, 0)
    found = run(module, values, view, dtype, weights(0))
    values = {name: v if name in ("viewmat", "background") else v[:NUM_PLAIN] for name, v in values.items()}
    expected = run(module, values, view, dtype, weights(0))
    assert all(torch.equal(found.images[name], expected.images[name]) for name in IMAGES)
    for name in NAMES[:5]:
        torch.testing.assert_close(found.gradients[name][:NUM_PLAIN], expected.gradients[name])
        assert not found.gradients[name][NUM_PLAIN:].any()


@pytest.mark.parametrize("camera_model", ["pinhole", "ortho", "fisheye"])
def test_what_has_no_direction_is_left_out_by_every_camera(camera_model: str) -> None:
    values = {name: value.float() for name, value in cpu_scenes.scene(num=20).items()}
    values["quats"][5:] = 0
    size = {"width": WIDTH, "height": HEIGHT, "sh_degree": 3, "camera_model": camera_model}
    found, _, meta = cpu.rasterization(**values, **size, packed=False)
    rows = ("means", "quats", "scales", "opacities", "colors")
    values = {name: value[:5] if name in rows else value for name, value in values.items()}
    assert torch.equal(found, cpu.rasterization(**values, **size)[0])
    assert not meta["radii"][:, 5:].any()


def test_there_are_as_many_cases_as_the_table_says() -> None:
    assert len(KINDS) * len(MODULES) * len(SEEDS) == 1024


def test_a_gradient_that_is_a_thousandth_off_fails() -> None:
    """The control."""
    values, view = scene(needle, 0)
    found, expected = (run(module, values, view, DOUBLE, weights(0)) for module in (reference, reference))
    assert errors(found, expected, BOUNDS["3dgs"]) == {}
    found.gradients["log_scales"] = found.gradients["log_scales"] * 1.001
    assert list(errors(found, expected, BOUNDS["3dgs"])) == ["log_scales"]


def test_one_gaussian_may_cover_ten_thousand_tiles() -> None:
    """Its alpha is its opacity everywhere, and the gradient of their sum the sum of as many derivatives."""
    values, view = scene(larger_than_the_scene, 0)
    values = {name: v if name in ("viewmat", "background") else v[-1:] for name, v in values.items()}
    side, opacity = 1600, torch.tensor(0.3)
    values["log_scales"][:] = 9.0
    values["opacity_logits"][:] = opacity.logit()
    place(values, slice(0, 1), torch.tensor([[0.0, 0.0, 5.0]], dtype=DOUBLE))
    K = torch.tensor([[1000.0, 0, side / 2], [0, 1000.0, side / 2], [0, 0, 1]], dtype=DOUBLE)
    view = replace(view, K=K, width=side, height=side)
    ones = {name: torch.full((side, side, 3) if name == "colors" else (side, side), 0.0) for name in IMAGES}
    ones["alphas"] += 1.0
    found = run(cpu, values, view, torch.float32, ones)
    torch.testing.assert_close(found.images["alphas"], torch.full((side, side), 0.3), rtol=0, atol=1e-5)
    slope = float(opacity * (1 - opacity)) * side * side
    assert float(found.gradients["opacity_logits"]) == pytest.approx(slope, rel=1e-4)
    assert all(gradient.isfinite().all() for gradient in found.gradients.values())
