"""Times one training step of the CPU backend: render, loss, backward, Adam.

    python tools/bench_cpu.py --scene garden --threads 2 [--repeats 15] [--json]
    python tools/bench_cpu.py --sweep [--numbers 10000 100000] [--heights 270 540] [--json] [--plot cost.svg]

Beside a copy of the prototype (shared/prototype/cpu beside the checkout) its step is timed in the same run, in turns
with ours. Times are medians in milliseconds; `cpu` is processor time of all threads, which a busy machine disturbs
less. Peak memory is measured in a process of its own, above what Python with torch takes. Also reported: a picture
without gradients, (Gaussian, pixel) pairs per pixel, and GFLOP/s of the blending kernels beside the measured peak of
fused multiply-adds. `--sweep` measures scenes of many sizes instead, see `bench_sweep`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench_scenes import BenchScene

ROOT = Path(__file__).resolve().parents[1]
PROTOTYPE = ROOT.parent / "shared" / "prototype" / "cpu"
PROTOTYPE_CHUNK = 1 << 19  # values of its Adam's unit of work
WARM_UP = 2
LAMBDA_DSSIM, LR, BETA1, BETA2, EPS = 0.2, 1e-4, 0.9, 0.999, 1e-15
STAGES = ("forward_ms", "loss_ms", "backward_ms", "adam_ms", "total_ms", "cpu_ms")
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

Step = Callable[[], list[float]]


def clock() -> tuple[float, float]:
    """Wall time and processor time in milliseconds."""
    return time.perf_counter() * 1e3, time.process_time() * 1e3


def stages(marks: list[tuple[float, float]]) -> list[float]:
    """Milliseconds between marks, in total, and of processor time."""
    walls = [mark[0] for mark in marks]
    between = [end - start for start, end in pairwise(walls)]
    return [*between, walls[-1] - walls[0], marks[-1][1] - marks[0][1]]


def our_step(name: str, threads: int) -> Step:
    """One step through the public calls, on raw parameters."""
    import bench_scenes

    from gaussian_splatting.rasterizer import cpu

    cpu.set_num_threads(threads)
    return step_of(bench_scenes.load(name))


def step_of(scene: BenchScene) -> Step:
    """One step on the raw parameters of a scene."""
    import numpy as np
    import torch

    from gaussian_splatting.rasterizer import cpu

    parameters, view = scene.parameters(), scene.view()
    target = torch.rand(scene.height, scene.width, 3).permute(2, 0, 1)
    leaves = list(vars(parameters).values())
    moments = [[np.zeros(leaf.numel(), np.float32) for _ in range(2)] for leaf in leaves]
    kept = [leaf.detach().clone() for leaf in leaves]

    def step() -> list[float]:
        marks = [clock()]
        out = cpu.render_gaussians(parameters, view)
        marks.append(clock())
        loss = cpu.fused_photometric(out.colors.permute(2, 0, 1), target, LAMBDA_DSSIM)[0]
        marks.append(clock())
        loss.backward()
        marks.append(clock())
        for leaf, own in zip(leaves, moments, strict=True):
            assert leaf.grad is not None
            arrays = [tensor.detach().view(-1).numpy() for tensor in (leaf, leaf.grad)]
            cpu.adam_step(*arrays, *own, LR, BETA1, BETA2, EPS, 0.1, 0.001)
            leaf.grad = None
        marks.append(clock())
        with torch.no_grad():  # the scene stays as it is from step to step
            for leaf, values in zip(leaves, kept, strict=True):
                leaf.copy_(values)
        return stages(marks)

    return step


def prototype_step(name: str, threads: int) -> Step:
    """One step of the prototype, on linear parameters."""
    sys.path.insert(0, str(PROTOTYPE))
    import bench_scenes
    import nb  # pyright: ignore[reportMissingImports]
    import nbloss  # pyright: ignore[reportMissingImports]
    import torch

    nb.set_threads(threads)
    scene = bench_scenes.load(name)
    inputs = [scene.means, scene.quats, scene.scales, scene.opacities, scene.colors]
    context, workspace, background = nb.Ctx(), nb.Ws(), torch.zeros(3)
    target, image_gradient = torch.rand(scene.height, scene.width, 3), torch.empty(scene.height, scene.width, 3)
    num = len(scene.means)
    gradients = [*(torch.zeros_like(x) for x in inputs), torch.zeros(num, 2), torch.zeros(4, 4)]
    groups = [[x.clone(), g, torch.zeros_like(x), torch.zeros_like(x)] for x, g in zip(inputs, gradients, strict=False)]

    def step() -> list[float]:
        marks = [clock()]
        size = (scene.width, scene.height)
        images = nb.forward(context, *inputs, scene.viewmat, scene.K, *size, background, 3)
        marks.append(clock())
        arrays = images[0].numpy(), target.numpy(), LAMBDA_DSSIM, workspace, nb.pmap, image_gradient.numpy()
        nbloss.loss(*arrays)
        marks.append(clock())
        nb.backward(context, *inputs, background, *images, image_gradient, None, None, gradients)
        marks.append(clock())
        for group in groups:
            flat, count = [x.numpy().reshape(-1) for x in group], group[0].numel()

            def update(start: int, flat: list = flat, count: int = count) -> None:
                end = min(count, start + PROTOTYPE_CHUNK)
                nbloss.adam(start, end, *flat, LR, BETA1, BETA2, EPS, 0.1, 0.001)

            nb.pmap(update, range(0, count, PROTOTYPE_CHUNK))
        marks.append(clock())
        return stages(marks)

    return step


def measure(steps: dict[str, Step], repeats: int) -> dict[str, dict[str, float]]:
    """Medians of all stages, with the steps taken in turns."""
    rows: dict[str, list[list[float]]] = {name: [] for name in steps}
    for turn in range(WARM_UP + repeats):
        for name, step in steps.items():
            row = step()
            if turn >= WARM_UP:
                rows[name].append(row)
    return {
        name: dict(zip(STAGES, (statistics.median(column) for column in zip(*own, strict=True)), strict=True))
        for name, own in rows.items()
    }


def peak_bytes() -> int:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def rates(name: str, repeats: int) -> dict[str, Any]:
    """Pictures without gradients, pairs and GFLOP/s of one scene."""
    import bench_scenes
    import bench_work

    scene = bench_scenes.load(name)
    parameters, view = scene.parameters(), scene.view()
    peak = bench_work.fma_peak()
    work = bench_work.measure_work(parameters, view, repeats)
    pictures = bench_work.picture_times(parameters, view, repeats)
    return pictures | {
        "fma_peak_gflops": peak,
        "blend_of_peak": work.blend_gflops / peak,
        "blend_backward_of_peak": work.blend_backward_gflops / peak,
        **work.as_dict(),
    }


def peak_memory_mb(name: str, threads: int) -> float:
    """Peak resident memory of some of our steps above that of Python with torch and numba."""
    code = (
        "import bench_cpu, psutil, torch, numba, gc, sys\n"
        "import gaussian_splatting.rasterizer.cpu.function, gaussian_splatting.rasterizer.cpu.loss_function\n"
        "torch.set_num_threads(1)\n"
        "before = psutil.Process().memory_info().rss\n"
        f"step = bench_cpu.our_step({name!r}, {threads})\n"
        "for _ in range(4): step()\n"
        "print((bench_cpu.peak_bytes() - before) / 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tools")
    return float(done.stdout.split()[-1])


def arguments() -> argparse.Namespace:
    """The command line."""
    import bench_scenes
    import bench_sweep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", choices=bench_scenes.NAMES, default="garden")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--no-prototype", action="store_true", help="time our step only")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--sweep", action="store_true", help="scenes of many sizes instead of --scene")
    parser.add_argument("--numbers", type=int, nargs="+", default=bench_sweep.NUMBERS, help="Gaussians of the sweep")
    parser.add_argument("--heights", type=int, nargs="+", default=tuple(bench_sweep.SIZES), choices=bench_sweep.SIZES)
    parser.add_argument("--plot", type=Path, help="SVG of the sweep: cost against work")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main_sweep(options: argparse.Namespace) -> None:
    """Measure scenes of many sizes."""
    import bench_sweep

    from gaussian_splatting.io import storage

    cells = bench_sweep.sweep(options.numbers, options.heights, options.threads, options.repeats)
    if options.plot is not None:
        storage.write_text(options.plot, bench_sweep.plot(cells))
    print(json.dumps(cells) if options.json else bench_sweep.table(cells))


def main() -> None:
    """Measure and print."""
    options = arguments()
    if options.sweep:
        main_sweep(options)
        return
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        steps = {"ours": our_step(options.scene, options.threads)}
        steps["ours"]()  # compiles, into our own cache
        if PROTOTYPE.is_dir() and not options.no_prototype:
            os.environ["NUMBA_CACHE_DIR"] = cache  # the prototype's own cache cannot be written
            import numba

            numba.config.CACHE_DIR = cache  # pyright: ignore[reportAttributeAccessIssue]
            steps["prototype"] = prototype_step(options.scene, options.threads)
        result: dict = {"scene": options.scene, "threads": options.threads, "repeats": options.repeats}
        result |= measure(steps, options.repeats)
    if "prototype" in result:
        result["ratio"] = {key: result["ours"][key] / result["prototype"][key] for key in ("total_ms", "cpu_ms")}
    result["rates"] = rates(options.scene, options.repeats)
    if not options.no_memory:
        result["peak_memory_mb"] = peak_memory_mb(options.scene, options.threads)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.scene}, {options.threads} threads, medians of {options.repeats}")
    for name in ("ours", "prototype", "ratio", "rates"):
        if name in result:
            print(f"  {name:10}", "  ".join(f"{key} {value:.2f}" for key, value in result[name].items()))
    if "peak_memory_mb" in result:
        print(f"  peak memory above torch and numba: {result['peak_memory_mb']:.0f} MB")


if __name__ == "__main__":
    main()
