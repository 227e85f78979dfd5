"""Programs written for gsplat, its own strategies and optimisers among them, on CPU tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gaussian_splatting.rasterizer import cpu, install_as_gsplat

gsplat = pytest.importorskip("gsplat")

REPOSITORY = Path(cpu.__file__).resolve().parents[3]
WIDTH, HEIGHT = 40, 32

# A program that does not know of this package. It is run as it is.
PROGRAM = """
import sys
import torch
from gsplat import DefaultStrategy, rasterization, rasterization_2dgs, spherical_harmonics
from gsplat.rendering import rasterization as same

assert sys.argv[1:] == ["--steps", "3"], sys.argv
torch.manual_seed(0)
means = torch.randn(100, 3).requires_grad_()
quats, scales, opacities = torch.randn(100, 4), torch.rand(100, 3) * 0.1, torch.rand(100)
viewmats, Ks = torch.eye(4)[None], torch.tensor([[[30.0, 0, 15], [0, 30, 10], [0, 0, 1]]])
viewmats[0, 2, 3] = 4
colors, alphas, meta = rasterization(means, quats, scales, opacities, torch.rand(100, 3), viewmats, Ks, 30, 20)
colors.sum().backward()
print(tuple(colors.shape), bool(means.grad.any()), len(meta["isect_ids"]) > 0, same is rasterization)
print(len(rasterization_2dgs(means, quats, scales, opacities, torch.rand(100, 3), viewmats, Ks, 30, 20)))
print(spherical_harmonics(1, torch.randn(5, 3), torch.randn(5, 4, 3)).shape[-1])
"""


@pytest.fixture
def installed():
    undo = install_as_gsplat()
    yield
    undo()


def test_an_unchanged_program_runs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "gaussian_splatting.rasterizer.as_gsplat", str(program), "--steps", "3"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(1, 20, 30, 3) True True True", "7", "3"]


def test_undoing_gives_gsplat_its_own_functions_back() -> None:
    import gsplat.strategy.ops as ops

    before = gsplat.rasterization, gsplat.rendering.rasterization_2dgs, ops.compute_relocation
    undo = install_as_gsplat()
    assert gsplat.rasterization is not before[0]
    assert gsplat.rasterization.__wrapped__ is before[0]  # which runs for tensors on a card
    undo()
    assert before == (gsplat.rasterization, gsplat.rendering.rasterization_2dgs, ops.compute_relocation)


class Scene:
    """A picture to be learnt, as gsplat's own examples learn one: parameters and an optimiser for each."""

    def __init__(self, seed: int = 0, num: int = 150) -> None:
        random = torch.Generator().manual_seed(seed)
        x, y = torch.meshgrid(torch.linspace(0, 1, WIDTH), torch.linspace(0, 1, HEIGHT), indexing="xy")
        self.target = torch.stack([x, y, (x * 8).sin() * 0.5 + 0.5], -1)[None]
        points = (torch.rand(num, 3, generator=random) - 0.5) * torch.tensor([4.0, 3.2, 1.0])
        values = {
            "means": points,
            "scales": torch.full((num, 3), -2.0),
            "quats": torch.randn(num, 4, generator=random),
            "opacities": torch.zeros(num),
            "colors": torch.rand(num, 3, generator=random),
        }
        self.params = torch.nn.ParameterDict({name: torch.nn.Parameter(value) for name, value in values.items()})
        self.rates = {"means": 1e-2, "scales": 1e-2, "quats": 1e-2, "opacities": 5e-2, "colors": 2e-2}
        self.optimizers = {
            name: torch.optim.Adam([{"params": parameter, "lr": self.rates[name], "name": name}])
            for name, parameter in self.params.items()
        }
        self.viewmats, self.Ks = torch.eye(4)[None], torch.tensor([[[40.0, 0, 20], [0, 40, 16], [0, 0, 1]]])
        self.viewmats[0, 2, 3] = 4

    def render(self, **options):
        p = self.params
        return cpu.rasterization(
            p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["colors"], self.viewmats, self.Ks,
            WIDTH, HEIGHT, **options
        )  # fmt: skip

    def step(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


class RepairedStrategy(gsplat.DefaultStrategy):
    """gsplat 1.5.3 asks `step % self.reset_every == 0 & step > 0` before a reset.

    `&` binds stronger than `==`, so that this is `(step % reset_every) == (0 & step) and (0 & step) > 0`, which is
    never true: opacities are never reset (gsplat issue 797). The repair is what was meant.
    """

    def step_post_backward(self, params, optimizers, state, step, info, packed=False) -> None:
        super().step_post_backward(params, optimizers, state, step, info, packed)
        if step < self.refine_stop_iter and step % self.reset_every == 0 and step > 0:
            gsplat.strategy.ops.reset_opa(params, optimizers, state, value=self.prune_opa * 2.0)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("absgrad", [True, False])
def test_the_default_strategy_of_gsplat_trains(packed: bool, absgrad: bool) -> None:
    torch.manual_seed(0)
    scene, losses, sizes, highest = Scene(), [], set(), []
    strategy = RepairedStrategy(
        refine_start_iter=10, refine_every=15, reset_every=60, refine_stop_iter=100, absgrad=absgrad,
        grow_grad2d=0.002 if absgrad else 0.0005, refine_scale2d_stop_iter=100, grow_scale2d=0.4, prune_scale2d=0.9
    )  # fmt: skip
    strategy.check_sanity(scene.params, scene.optimizers)
    state = strategy.initialize_state(scene_scale=2.0)
    for step in range(120):
        picture, _, info = scene.render(packed=packed, absgrad=absgrad)
        strategy.step_pre_backward(scene.params, scene.optimizers, state, step, info)
        loss = (picture - scene.target).abs().mean()
        loss.backward()
        scene.step()
        strategy.step_post_backward(scene.params, scene.optimizers, state, step, info, packed=packed)
        losses.append(float(loss.detach()))
        sizes.add(len(scene.params["means"]))
        highest.append(float(scene.params["opacities"].detach().sigmoid().max()))
    assert len(sizes) > 2, "Gaussians were added and removed"
    assert highest[60] <= 0.0100001, "opacities were reset"
    assert losses[-1] < 0.6 * losses[0]


def test_the_mcmc_strategy_of_gsplat_trains(installed) -> None:
    torch.manual_seed(0)
    scene, losses = Scene(num=100), []
    strategy = gsplat.MCMCStrategy(
        cap_max=180, refine_start_iter=5, refine_every=10, refine_stop_iter=100, noise_lr=1e3
    )
    strategy.check_sanity(scene.params, scene.optimizers)
    state = strategy.initialize_state()
    with torch.no_grad():
        scene.params["opacities"][:5] = -8.0  # dead ones, to be relocated
    for step in range(120):
        picture, _, info = gsplat.rasterization(
            scene.params["means"], scene.params["quats"], scene.params["scales"].exp(),
            scene.params["opacities"].sigmoid(), scene.params["colors"], scene.viewmats, scene.Ks, WIDTH, HEIGHT
        )  # fmt: skip
        strategy.step_pre_backward(scene.params, scene.optimizers, state, step, info)
        loss = (picture - scene.target).abs().mean()
        loss.backward()
        scene.step()
        strategy.step_post_backward(scene.params, scene.optimizers, state, step, info, lr=1e-5)
        losses.append(float(loss.detach()))
    opacities = scene.params["opacities"].detach().sigmoid()
    assert len(opacities) > 130, "Gaussians were added"
    assert opacities.min() > 0.0049, "dead Gaussians were relocated"
    assert losses[-1] < 0.5 * losses[0]


def test_relocation_is_the_equation_of_the_paper(installed) -> None:
    from math import comb, sqrt

    from gsplat.relocation import compute_relocation

    binoms = torch.tensor([[comb(n, k) for k in range(51)] for n in range(51)], dtype=torch.float32)
    opacities, scales = torch.tensor([0.9, 0.3, 0.99, 0.6]), torch.rand(4, 3)
    ratios = torch.tensor([1, 2, 7, 80])  # the last is limited to 51
    found_opacities, found_scales = compute_relocation(opacities, scales, ratios, binoms)
    for index, number in enumerate((1, 2, 7, 51)):
        opacity = opacities[index].double().item()
        new = 1 - (1 - opacity) ** (1 / number)
        total = sum(
            comb(i - 1, k) * (-1) ** k / sqrt(k + 1) * new ** (k + 1) for i in range(1, number + 1) for k in range(i)
        )
        assert found_opacities[index].item() == pytest.approx(new, rel=1e-5)
        assert torch.allclose(found_scales[index], scales[index] * opacity / total, rtol=1e-4)
    assert ratios.tolist() == [1, 2, 7, 51]


def test_selective_adam_moves_what_is_visible(installed) -> None:
    parameter = torch.nn.Parameter(torch.ones(6, 3))
    optimizer = gsplat.SelectiveAdam([{"params": parameter, "lr": 0.1}], eps=1e-8, betas=(0.9, 0.999))
    parameter.grad = torch.full((6, 3), 2.0)
    optimizer.step(torch.tensor([True, False, True, False, False, True]))
    # The first step without bias correction: 0.1 of the gradient over the root of 0.001 of its square.
    assert torch.allclose(parameter[0], torch.tensor(1 - 0.1 * 0.2 / (0.001 * 4) ** 0.5))
    assert torch.equal(parameter[1], torch.ones(3))
    assert optimizer.state[parameter]["exp_avg"][:, 0].nonzero().flatten().tolist() == [0, 2, 5]


def test_the_steps_of_gsplat_agree_with_its_rasterisation(installed) -> None:
    scene = Scene()
    p = {name: value.detach() for name, value in scene.params.items()}
    covars = gsplat.quat_scale_to_covar_preci(p["quats"], p["scales"].exp(), compute_preci=False)[0]
    upper = covars[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    options = {"viewmats": scene.viewmats, "Ks": scene.Ks, "width": WIDTH, "height": HEIGHT, "packed": True}
    found = gsplat.fully_fused_projection(p["means"], upper, None, None, **options)
    meta = scene.render(packed=True)[2]
    assert torch.equal(found[2], meta["gaussian_ids"])
    for index, name in ((4, "means2d"), (5, "depths"), (6, "conics")):
        assert torch.allclose(found[index], meta[name], rtol=1e-4, atol=1e-4), name
    sizes = (meta["tile_size"], meta["tile_width"], meta["tile_height"])
    per_gauss, ids, flat = gsplat.isect_tiles(
        meta["means2d"], meta["radii"], meta["depths"], *sizes, packed=True, n_images=1,
        image_ids=meta["camera_ids"], gaussian_ids=meta["gaussian_ids"]
    )  # fmt: skip
    assert torch.equal(per_gauss, meta["tiles_per_gauss"])
    assert torch.equal(flat, meta["flatten_ids"])
    assert torch.equal(gsplat.isect_offset_encode(ids, 1, *sizes[1:]), meta["isect_offsets"])


def test_what_runs_on_a_card_only_says_so(installed) -> None:
    with pytest.raises(NotImplementedError, match=r"gsplat\.rasterize_to_pixels runs on a CUDA card only"):
        gsplat.rasterize_to_pixels(torch.zeros(1, 2))
    with pytest.raises(NotImplementedError, match="sparse_grad"):
        gsplat.fully_fused_projection(
            torch.zeros(1, 3), None, torch.ones(1, 4), torch.ones(1, 3), torch.eye(4)[None], torch.eye(3)[None], 4, 4,
            packed=True, sparse_grad=True
        )  # fmt: skip
    with pytest.raises(NotImplementedError, match="ftheta"):
        gsplat.proj(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3, 3), torch.eye(3)[None], 4, 4, camera_model="ftheta")
