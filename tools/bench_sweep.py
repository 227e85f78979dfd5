"""The cost of a training step from 10k to 2M Gaussians and from 270p to 4K, each measured in a process of its own.

python tools/bench_cpu.py --sweep --threads 1 [--json] [--plot cost.svg] [--numbers 10000 100000] [--heights 270 540]
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

NUMBERS = (10_000, 100_000, 500_000, 2_000_000)
SIZES = {270: (480, 270), 540: (960, 540), 1080: (1920, 1080), 2160: (3840, 2160)}
CELL = "import json, bench_sweep; print(json.dumps(bench_sweep.cell({num}, {height}, {threads}, {repeats})))"
COLUMNS = ("num", "height", "visible", "pairs_per_pixel", "picture_cpu_ms", "step_ms", "cpu_ms", "blend_gflops",
           "blend_backward_gflops", "peak_memory_mb", "ns_per_unit")  # fmt: skip


def cell(num: int, height: int, threads: int, repeats: int) -> dict[str, Any]:
    """One number of Gaussians in one size of picture; only for a fresh process, whose peak memory it reports."""
    import bench_scenes
    import bench_work
    import psutil
    import torch
    from bench_cpu import WARM_UP, measure, peak_bytes, step_of

    from gaussian_splatting.rasterizer import cpu

    torch.set_num_threads(1)
    cpu.set_num_threads(threads)
    before = psutil.Process().memory_info().rss
    scene = bench_scenes.synthetic(num, *SIZES[height])
    step = step_of(scene)
    for _ in range(WARM_UP):
        step()
    peak = peak_bytes() - before
    times = measure({"ours": step}, repeats)["ours"]
    parameters, view = scene.parameters(), scene.view()
    work = bench_work.measure_work(parameters, view, repeats).as_dict()
    pictures = bench_work.picture_times(parameters, view, repeats)
    units = work["pairs"] + work["visible"] + scene.width * scene.height
    return {
        "num": num, "height": height, "threads": threads, "step_ms": times["total_ms"],
        "units": units, "ns_per_unit": 1e6 * times["cpu_ms"] / units, "peak_memory_mb": peak / 2**20
    } | pictures | times | work  # fmt: skip


def sweep(numbers: list[int], heights: list[int], threads: int, repeats: int) -> list[dict[str, Any]]:
    """All cells, one after another."""
    cells = []
    for num in numbers:
        for height in heights:
            code = CELL.format(num=num, height=height, threads=threads, repeats=repeats)
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
            if done.returncode != 0:
                raise SystemExit(f"{num} Gaussians at {height} lines: {done.stderr}")
            cells.append(json.loads(done.stdout.splitlines()[-1]))
            print("  ".join(f"{name} {cells[-1][name]:.4g}" for name in COLUMNS), file=sys.stderr, flush=True)
    return cells


def table(cells: list[dict[str, Any]]) -> str:
    """The cells as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(f"{cell[name]:.4g}" for name in COLUMNS) + " |" for cell in cells]
    return "\n".join(lines)


def plot(cells: list[dict[str, Any]]) -> str:
    """Processor time of a step over its blended pairs, visible Gaussians and pixels, both logarithmic, as SVG."""
    low_x, high_x = (bound([cell["units"] for cell in cells], up) for up in (False, True))
    low_y, high_y = (bound([cell["cpu_ms"] for cell in cells], up) for up in (False, True))
    colors = dict(
        zip(sorted({cell["num"] for cell in cells}), ("#1b6ca8", "#2e9e5b", "#d98e04", "#c0392b") * 9, strict=False)
    )

    def x_of(value: float) -> float:
        return 80 + 600 * (math.log10(value) - low_x) / (high_x - low_x)

    def y_of(value: float) -> float:
        return 420 - 380 * (math.log10(value) - low_y) / (high_y - low_y)

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 480" font-family="sans-serif" font-size="13">',
             '<rect width="720" height="480" fill="white"/>']  # fmt: skip
    for power in range(low_x, high_x + 1):
        place = x_of(10.0**power)
        parts.append(f'<path d="M{place} 40V420" stroke="#ddd"/><text x="{place}" y="440" text-anchor="middle">'
                     f'10<tspan dy="-6" font-size="10">{power}</tspan></text>')  # fmt: skip
    for power in range(low_y, high_y + 1):
        place = y_of(10.0**power)
        parts.append(f'<path d="M80 {place}H680" stroke="#ddd"/><text x="72" y="{place + 4}" text-anchor="end">'
                     f"{10.0**power:g} ms</text>")  # fmt: skip
    for cell in cells:
        label = f"{cell['num']:,} Gaussians, {cell['height']} lines: {cell['cpu_ms']:.1f} ms"
        parts.append(f'<circle cx="{x_of(cell["units"]):.1f}" cy="{y_of(cell["cpu_ms"]):.1f}" r="5" '
                     f'fill="{colors[cell["num"]]}"><title>{label}</title></circle>')  # fmt: skip
    for index, (num, color) in enumerate(colors.items()):
        parts.append(f'<circle cx="100" cy="{60 + 20 * index}" r="5" fill="{color}"/>'
                     f'<text x="112" y="{64 + 20 * index}">{num:,} Gaussians</text>')  # fmt: skip
    parts.append(
        '<text x="380" y="466" text-anchor="middle">blended pairs, visible Gaussians and pixels of a step</text></svg>'
    )
    return "\n".join(parts)


def bound(values: list[float], up: bool) -> int:
    """The power of ten at or beyond all values."""
    return math.ceil(math.log10(max(values))) if up else math.floor(math.log10(min(values)))
