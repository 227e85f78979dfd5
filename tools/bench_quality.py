"""How long a preset takes to the quality of a loop as gsplat's examples have it, on one scene with held-out views.

Both start at the same points, without depth maps, and train on the same pictures. The loop has the rates of gsplat's
example, one Adam for each parameter, SSIM from PyTorch, `loss.item()` in every step, and gsplat's own `DefaultStrategy`
as it is, whose steps do not follow the length of the run. The clock stands still while held-out views are rendered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting import prepare
from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.losses.metrics import l1_loss
from gaussian_splatting.losses.ssim import ssim
from gaussian_splatting.rasterizer import cpu, gsplat
from gaussian_splatting.runs.results import picture_psnr
from gaussian_splatting.trainer import randomness
from gaussian_splatting.trainer.presets import PRESETS

SH_DEGREE, SH_INTERVAL, LAMBDA_DSSIM, SEED = 3, 1_000, 0.2, 0
NAMES = {
    "xyz": "means",
    "rotation": "quats",
    "scaling": "scales",
    "opacity": "opacities",
    "f_dc": "sh0",
    "f_rest": "shN",
}
RATES = {"means": 1.6e-4, "quats": 1e-3, "scales": 5e-3, "opacities": 5e-2, "sh0": 2.5e-3, "shN": 2.5e-3 / 20}
"""Of gsplat's example; that of the means is multiplied by the extent of the scene and falls to a hundredth."""
LOOKS = 20
"""How often in a run of ours the held-out views are rendered."""
Render = Callable[[Camera], Tensor]


class Clock:
    """Seconds of what is done between `start` and `stop`, with what the card still has to do."""

    def __init__(self, device: str) -> None:
        self.seconds, self._device, self._since = 0.0, device, 0.0

    def start(self) -> None:
        """Go on."""
        self._wait()
        self._since = time.perf_counter()

    def stop(self) -> float:
        """Stand still; the seconds so far."""
        self._wait()
        self.seconds += time.perf_counter() - self._since
        return self.seconds

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


class ExampleLoop:
    """Gaussians in gsplat's own terms, and the step that its examples make."""

    def __init__(self, model: GaussianModel, extent: float, steps: int, device: str) -> None:
        from gsplat import DefaultStrategy

        self.backend = gsplat if device == "cuda" else cpu
        rows = {NAMES[name]: value.detach().clone() for name, value in model.rows().items()}
        rows["opacities"] = rows["opacities"][:, 0]
        self.params = {name: torch.nn.Parameter(value) for name, value in rows.items()}
        rates = RATES | {"means": RATES["means"] * extent}
        self.optimizers = {
            name: torch.optim.Adam([{"params": value, "lr": rates[name]}], eps=1e-15)
            for name, value in self.params.items()
        }
        self.decay = torch.optim.lr_scheduler.ExponentialLR(self.optimizers["means"], 0.01 ** (1 / steps))
        self.strategy = DefaultStrategy()
        self.strategy.check_sanity(self.params, self.optimizers)
        self.state, self.curr_step = self.strategy.initialize_state(scene_scale=extent), 0

    def rendered(self, camera: Camera) -> tuple[Tensor, dict[str, Any]]:
        """The picture [3, H, W] of a view, and what gsplat says of it."""
        values = self.params
        pictures, _, meta = self.backend.rasterization(
            values["means"], values["quats"], values["scales"].exp(), values["opacities"].sigmoid(),
            torch.cat([values["sh0"], values["shN"]], 1), camera.world_view_transform.T[None], camera.K[None],
            camera.image_width, camera.image_height, sh_degree=min(SH_DEGREE, self.curr_step // SH_INTERVAL),
            packed=False, backgrounds=camera.bg_color[None],
        )  # fmt: skip
        return pictures[0].permute(2, 0, 1), meta

    def step(self, camera: Camera) -> float:
        """One step on a view; the loss."""
        render, meta = self.rendered(camera)
        target = camera.ground_truth_image
        assert target is not None
        self.strategy.step_pre_backward(self.params, self.optimizers, self.state, self.curr_step, meta)
        loss = (1 - LAMBDA_DSSIM) * l1_loss(render, target) + LAMBDA_DSSIM * (1 - ssim(render, target))
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.decay.step()
        self.strategy.step_post_backward(self.params, self.optimizers, self.state, self.curr_step, meta, packed=False)
        self.curr_step += 1
        return loss.item()


@torch.no_grad()
def mean_psnr(render: Render, views: CameraDataset) -> float:
    """Over views with pictures, in dB."""
    found = [picture_psnr(render(views[index]).clamp(0, 1), views[index]) for index in range(len(views))]
    kept = [value for value in found if value is not None]
    return sum(kept) / len(kept)


def example_run(
    model: GaussianModel, train: CameraDataset, test: CameraDataset, steps: int, device: str
) -> dict[str, Any]:
    """The loop to its end: seconds, PSNR and Gaussians."""
    loop, clock = ExampleLoop(model, train.scene_extent(), steps, device), Clock(device)
    clock.start()
    for step in range(1, steps + 1):
        loop.step(train[randomness.view_of_step(SEED, step, len(train))])
    seconds = clock.stop()
    psnr = mean_psnr(lambda camera: loop.rendered(camera)[0], test)
    return {"steps": steps, "seconds": seconds, "psnr": psnr, "num_gaussians": len(loop.params["means"])}


def our_run(
    preset: str, model: GaussianModel, train: CameraDataset, test: CameraDataset, steps: int, device: str
) -> Iterator[tuple[int, float, float, int]]:
    """A preset to its end: now and then the step, seconds, PSNR and Gaussians."""
    clock = Clock(device)
    clock.start()
    trainer = prepare.prepare_trainer(
        model, train, "densify", trainer=PRESETS[preset].trainer, iterations=steps, seed=SEED
    )
    every = max(1, steps // LOOKS)
    for _ in trainer.run(train, steps):
        step = trainer.curr_step
        if step % every == 0 or step == steps:
            seconds = clock.stop()
            yield step, seconds, mean_psnr(lambda camera: trainer.model(camera)["render"], test), len(trainer.model)
            clock.start()


def time_to(curve: Sequence[tuple[int, float, float, int]], psnr: float) -> float | None:
    """The seconds after which a curve has reached a PSNR; None where it never does."""
    return next((seconds for _, seconds, reached, _ in curve if reached >= psnr), None)


def compare(
    source: Path, device: str, example_steps: int, presets: Sequence[str], resolution: int | None = None,
    our_steps: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The loop to its end, and each preset with its time to the same PSNR; kernels are compiled before any clock."""
    train, test = (
        prepare.prepare_dataset(source, device, load_depth=False, split=split, resolution=resolution)
        for split in ("train", "test")
    )
    train.preload()
    test.preload()

    def start() -> GaussianModel:
        return prepare.prepare_gaussians(SH_DEGREE, source, device, cameras=train, seed=SEED)

    example_run(start(), train, test, 2, device)
    found = example_run(start(), train, test, example_steps, device)
    rows: dict[str, Any] = {"scene": str(source), "views": len(train), "held_out": len(test), "example": found}
    for preset in presets:
        steps = our_steps or PRESETS[preset].length(len(train))
        list(our_run(preset, start(), train, test, 2, device))
        curve = list(our_run(preset, start(), train, test, steps, device))
        _, seconds, psnr, num = curve[-1]
        equal = time_to(curve, found["psnr"])
        rows[preset] = {
            "steps": steps, "seconds": seconds, "psnr": psnr, "num_gaussians": num, "seconds_to_equal": equal,
            "times_faster": None if equal is None else found["seconds"] / equal, "curve": curve,
        }  # fmt: skip
    return rows


def spoken(rows: dict[str, Any]) -> list[str]:
    """A line for the loop and for each preset."""
    lines = [f"{rows['scene']}: {rows['views']} views, {rows['held_out']} held out"]
    for name, row in rows.items():
        if not isinstance(row, dict):
            continue
        line = f"{name}: {row['steps']} steps, {row['seconds']:.2f} s, {row['psnr']:.2f} dB"
        line += f", {row['num_gaussians']} Gaussians"
        if "seconds_to_equal" in row:
            equal, times = row["seconds_to_equal"], row["times_faster"]
            reached = "never" if equal is None else f"after {equal:.2f} s, {times:.2f} times as fast"
            line += f"; at the PSNR of the loop: {reached}"
        lines.append(line)
    return lines
