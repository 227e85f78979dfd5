"""Times a training step on a GPU three ways in one run: bare kernels, our trainer, a loop as gsplat's examples have it.

    python tools/bench_gpu.py [--sizes 100000,1000000] [--width 1280 --height 800] [--repeats 30] [--json FILE]
                              [--part 5000000] [--scene assets/demo] [--example_steps 7000] [--presets default,fast]

bare: render, L1 + SSIM, backward and one fused Adam per parameter, with nothing around them. ours: `BaseTrainer.step`.
example: activated parameters, one Adam each, SSIM from PyTorch and `loss.item()` every step. All three render the same
Gaussians through the same backend and take the same picture. The loss is timed alone, too, forward and backward, fused
and by PyTorch. `floor_ms` is what a step cannot be faster than on this card, see `bench_roofline.py`. A scene of which
a tenth is in view shows what `--packed` and `--sparse_grad` save. Last, presets and the loop train on a real scene: the
time that each preset takes to the PSNR that the loop has at its end, see `bench_quality.py`; `--presets ""` leaves that
out. Times are medians of device time in milliseconds; memory is the peak that PyTorch allocated. `--device cpu` runs
the same code without a card.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import bench_quality  # noqa: E402
import bench_roofline  # noqa: E402
import bench_scenes  # noqa: E402
import torch  # noqa: E402
from bench_device import Step, medians  # noqa: E402
from torch import Tensor  # noqa: E402

from gaussian_splatting.camera import Camera, pinhole_camera  # noqa: E402
from gaussian_splatting.gaussian_model import GaussianModel  # noqa: E402
from gaussian_splatting.losses.metrics import l1_loss  # noqa: E402
from gaussian_splatting.losses.photometric import photometric_terms  # noqa: E402
from gaussian_splatting.losses.ssim import ssim  # noqa: E402
from gaussian_splatting.rasterizer import cpu, gsplat  # noqa: E402
from gaussian_splatting.trainer import BaseTrainer  # noqa: E402

LAMBDA_DSSIM = 0.2
RATE = 1e-6  # of everything: the scene is the same at the end of the run
OUR_RATES = dict.fromkeys(("position_lr_init", "feature_lr", "opacity_lr", "scaling_lr", "rotation_lr"), RATE)


def model_of(scene: bench_scenes.BenchScene, device: str) -> GaussianModel:
    """The Gaussians of a scene as a model that renders all its harmonics."""
    model = GaussianModel(bench_scenes.DEGREE)
    raw = scene.parameters()
    model.set_rows(
        {
            "xyz": raw.means,
            "f_dc": raw.features_dc,
            "f_rest": raw.features_rest,
            "opacity": raw.opacity_logits,
            "scaling": raw.log_scales,
            "rotation": raw.quats,
        }
    )
    model.active_sh_degree = bench_scenes.DEGREE
    return model.to(device)


def camera_of(scene: bench_scenes.BenchScene, device: str) -> Camera:
    """The view of a scene with a picture of noise."""
    K, pose = scene.K, scene.viewmat
    camera = pinhole_camera(
        scene.height, scene.width, float(K[0, 0]), float(K[1, 1]), pose[:3, :3], pose[:3, 3],
        cx=float(K[0, 2]), cy=float(K[1, 2]), device=device,
    )  # fmt: skip
    noise = torch.rand(scene.height, scene.width, 3, generator=torch.Generator().manual_seed(1))
    return camera._replace(ground_truth_image=noise.to(device).permute(2, 0, 1))


def bare_steps(scene: bench_scenes.BenchScene, device: str) -> dict[str, Step]:
    """The kernels of one step, each as a function of its own; they have to be called in this order."""
    model, camera = model_of(scene, device), camera_of(scene, device)
    optimizer = torch.optim.Adam(
        [{"params": [parameter]} for parameter in model.rows().values()], lr=RATE, eps=1e-15, fused=True
    )
    now: dict[str, Tensor] = {}

    def forward() -> None:
        now["render"] = model(camera)["render"]

    def loss() -> None:
        assert camera.ground_truth_image is not None
        now["loss"] = photometric_terms(now["render"], camera.ground_truth_image, LAMBDA_DSSIM)[0]

    def backward() -> None:
        now["loss"].backward()

    def adam() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return {"forward_ms": forward, "loss_ms": loss, "backward_ms": backward, "adam_ms": adam}


def our_step(scene: bench_scenes.BenchScene, device: str, **model_options: bool) -> Step:
    """A step of our trainer."""
    camera, model = camera_of(scene, device), model_of(scene, device)
    for name, value in model_options.items():
        setattr(model, name, value)
    trainer = BaseTrainer(model, scene_extent=1.0, position_lr_final=RATE, **OUR_RATES)
    return lambda: trainer.step(camera)


def example_step(scene: bench_scenes.BenchScene, device: str) -> Step:
    """A step as in the examples that people write against `gsplat.rasterization`."""
    backend, camera, raw = gsplat if device == "cuda" else cpu, camera_of(scene, device), scene.parameters()
    values = {
        "means": raw.means, "quats": raw.quats, "scales": raw.log_scales, "opacities": raw.opacity_logits[:, 0],
        "sh0": raw.features_dc, "shN": raw.features_rest,
    }  # fmt: skip
    leaves = {name: value.detach().to(device).clone().requires_grad_() for name, value in values.items()}
    optimizers = [torch.optim.Adam([leaf], lr=RATE, eps=1e-15) for leaf in leaves.values()]
    pose, K = scene.viewmat[None].to(device), scene.K[None].to(device)
    assert camera.ground_truth_image is not None
    target = camera.ground_truth_image

    def step() -> float:
        pictures, _, _ = backend.rasterization(
            leaves["means"], leaves["quats"], leaves["scales"].exp(), leaves["opacities"].sigmoid(),
            torch.cat([leaves["sh0"], leaves["shN"]], 1), pose, K, scene.width, scene.height,
            sh_degree=bench_scenes.DEGREE, packed=False,
        )  # fmt: skip
        render = pictures[0].permute(2, 0, 1)
        loss = (1 - LAMBDA_DSSIM) * l1_loss(render, target) + LAMBDA_DSSIM * (1 - ssim(render, target))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def loss_step(scene: bench_scenes.BenchScene, device: str, *, fused: bool) -> Step:
    """The loss alone, forward and backward: as the trainer computes it, or by PyTorch's operations."""
    target = camera_of(scene, device).ground_truth_image
    assert target is not None
    render = target.flip(2).contiguous().requires_grad_()

    def step() -> None:
        if fused:
            loss = photometric_terms(render, target, LAMBDA_DSSIM)[0]
        else:
            loss = (1 - LAMBDA_DSSIM) * l1_loss(render, target) + LAMBDA_DSSIM * (1 - ssim(render, target))
        torch.autograd.grad(loss, render)

    return step


def measure(num: int, width: int, height: int, device: str, repeats: int) -> dict[str, Any]:
    """Medians over `repeats` turns of everything, and the peak memory of each side."""
    scene = bench_scenes.synthetic(num, width, height)
    stages = bare_steps(scene, device)
    sides = {"ours_ms": our_step(scene, device), "example_ms": example_step(scene, device)}
    losses = {f"{name}_loss_ms": loss_step(scene, device, fused=name == "fused") for name in ("fused", "torch")}
    times, memory = medians({**stages, **sides, **losses}, device, repeats)
    found: dict[str, Any] = dict(times)
    found["bare_ms"] = sum(found[name] for name in stages)
    found["ours_over_bare"] = found["ours_ms"] / found["bare_ms"]
    found["example_over_ours"] = found["example_ms"] / found["ours_ms"]
    floor = bench_roofline.floor(work_of(scene, device), bench_roofline.peaks(device), found["ours_ms"])
    peaks = {name.replace("_ms", "_step_mib"): memory[name] for name in sides if name in memory}
    return {"num_gaussians": num, "width": width, "height": height, **found, **floor, **peaks}


def measure_part(num: int, width: int, height: int, device: str, repeats: int) -> dict[str, Any]:
    """Times and peak memory of our step where a tenth is in view: as it is, with `--packed`, with `--sparse_grad`."""
    scene = bench_scenes.synthetic(num, width, height)
    scene.means[num // 10 :, 2] *= -1  # behind the camera
    options = ("packed", "sparse_grad") if device == "cuda" else ()  # of gsplat
    steps = {"dense_ms": our_step(scene, device)}
    steps |= {f"{option}_ms": our_step(scene, device, **{option: True}) for option in options}
    times, memory = medians(steps, device, repeats)
    peaks = {name.replace("_ms", "_step_mib"): mib for name, mib in memory.items()}
    return {"num_gaussians": num, "in_view": int(work_of(scene, device).visible), **times, **peaks}


@torch.no_grad()
def work_of(scene: bench_scenes.BenchScene, device: str) -> bench_roofline.Counts:
    """What the view of a scene makes a step do."""
    backend = gsplat if device == "cuda" else cpu
    values = [getattr(scene, name).to(device) for name in ("means", "quats", "scales", "opacities", "colors")]
    cameras = (scene.viewmat[None].to(device), scene.K[None].to(device), scene.width, scene.height)
    meta = backend.rasterization(*values, *cameras, sh_degree=bench_scenes.DEGREE, packed=False)[2]
    return bench_roofline.counts(meta, len(scene.means), scene.width, scene.height)


def spoken(row: dict[str, Any]) -> str:
    """One row in words."""
    return "  ".join(
        f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,300000,1000000,3000000,5000000", help="numbers of Gaussians")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--part", type=int, default=5_000_000, help="Gaussians of which a tenth is in view; 0: none")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scene", type=Path, default=ROOT / "assets" / "demo", help="for the comparison of quality")
    parser.add_argument("--resolution", "-r", type=int, help="divisor of its pictures")
    parser.add_argument("--example_steps", type=int, default=7_000, help="length of the loop")
    parser.add_argument("--our_steps", type=int, help="length of the presets (default: their own)")
    parser.add_argument("--presets", default="default,fast", help="which are compared with the loop")
    parser.add_argument("--json", type=Path, help="also write everything here")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write the file."""
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench_gpu.py: PyTorch sees no CUDA card here; --device cpu runs the same code on the processor")
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, PyTorch {torch.__version__}, {options.width}x{options.height}, medians of {options.repeats}")
    rows = []
    for num in (int(size) for size in options.sizes.split(",")):
        row = measure(num, options.width, options.height, options.device, options.repeats)
        rows.append(row)
        print(spoken(row))
    part = None
    if options.part:
        part = measure_part(options.part, options.width, options.height, options.device, options.repeats)
        print(f"a tenth in view: {spoken(part)}")
    quality = None
    if options.presets:
        presets = options.presets.split(",")
        quality = bench_quality.compare(
            options.scene, options.device, options.example_steps, presets, options.resolution, options.our_steps
        )
        print(*bench_quality.spoken(quality), sep="\n")
    if options.json:
        from gaussian_splatting.io import storage

        said = {"device": name, "torch": torch.__version__, "rows": rows, "part": part, "quality": quality}
        storage.write_json(options.json, said)


if __name__ == "__main__":
    main()
