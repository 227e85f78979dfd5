"""How much work a picture is, how fast the blending kernels do it, and how fast they could be at most."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterView
from gaussian_splatting.rasterizer.cpu import frame as frames
from gaussian_splatting.rasterizer.cpu import function, layout
from gaussian_splatting.rasterizer.cpu.arguments import Images, TileLists
from gaussian_splatting.rasterizer.cpu.frame_backward import entry_gradients
from gaussian_splatting.rasterizer.cpu.jit import kernel
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu.simd import Array, splat
from gaussian_splatting.rasterizer.cpu.simd_memory import load16, store16
from gaussian_splatting.rasterizer.cpu.threads import run

FORWARD_FLOP, BACKWARD_FLOP = 33, 60
"""Floating-point operations for one Gaussian at one pixel, counted in the source; a fused multiply-add is two."""
CHAINS, ROUNDS = 12, 2_000_000


@dataclass(frozen=True)
class Work:
    """What blending one picture is, and how long it took."""

    visible: int
    entries: int  # Gaussians in tile lists
    pairs: int  # (Gaussian, pixel) pairs in blocks to which the Gaussian contributes
    pairs_per_pixel: float
    blend_ms: float  # processor time of all threads, as below: other load on the machine disturbs it less
    blend_backward_ms: float
    blend_gflops: float  # per core
    blend_backward_gflops: float

    def as_dict(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


@kernel
def multiply_add(number: int, counter: Array, num_rounds: int, results: Array) -> None:
    """As many independent fused multiply-adds as the processor can have under way."""
    row = results[number]
    scale, shift = load16(row, 0), load16(row, 16)
    a = b = c = d = e = f = g = h = i = j = k = m = splat(np.float32(1.0))
    for _ in range(num_rounds):
        a, b, c, d = a * scale + shift, b * scale + shift, c * scale + shift, d * scale + shift
        e, f, g, h = e * scale + shift, f * scale + shift, g * scale + shift, h * scale + shift
        i, j, k, m = i * scale + shift, j * scale + shift, k * scale + shift, m * scale + shift
    store16(row, 32, a + b + c + d + e + f + g + h + i + j + k + m)


def fma_peak() -> float:
    """Measured peak of fused multiply-adds of one core, GFLOP/s."""
    results = np.full((1, 48), 0.5, np.float32)
    seconds = processor_seconds(lambda: run(multiply_add, 1, ROUNDS, results), repeats=15)
    return 2 * layout.LANES * CHAINS * ROUNDS / seconds / 1e9


def median_seconds(call: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """How long a call takes, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return statistics.median(times)


def processor_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Processor time of all threads that a call takes."""
    return median_seconds(call, repeats, time.process_time)


def measure_work(parameters: GaussianParameters, view: RasterView, repeats: int) -> Work:
    """Count and time the blending of one picture, forward and backward."""
    settings = RenderSettings(view.K.double().numpy(), view.width, view.height, view.sh_degree, raw=True)
    inputs = tuple(value.detach() for value in vars(parameters).values())
    gaussians, shape = function.as_gaussians(inputs, settings)
    camera, behind = frames.make_camera(view.viewmat, settings), view.background.numpy()
    frame, images = frames.render(gaussians, shape, camera, view.width, view.height, behind, radii_stride=1)
    gradients = Images(*(np.full_like(image, 1e-3) for image in images[:2]), *[function.NO_FLOATS] * (len(images) - 2))
    forward = processor_seconds(lambda: frames._blend(frame), repeats)
    backward = processor_seconds(lambda: entry_gradients(frame, images, gradients, absolute_too=False), repeats)
    pairs = layout.LANES * contributing_blocks(frame.lists)
    return Work(
        visible=int(frame.projection.counts.sum()),
        entries=frame.lists.slots.size,
        pairs=pairs,
        pairs_per_pixel=pairs / (view.width * view.height),
        blend_ms=1e3 * forward,
        blend_backward_ms=1e3 * backward,
        blend_gflops=FORWARD_FLOP * pairs / forward / 1e9,
        blend_backward_gflops=BACKWARD_FLOP * pairs / backward / 1e9,
    )


def contributing_blocks(lists: TileLists) -> int:
    """Blocks to which Gaussians contribute; entries that were not looked at hold what was there before."""
    places = np.arange(lists.blocks.size)
    tiles = np.repeat(np.arange(lists.used.size), np.diff(lists.offsets))
    looked_at = lists.blocks[places < (lists.offsets[:-1] + lists.used)[tiles]]
    return int(np.unpackbits(looked_at.view(np.uint8)).sum())


@torch.no_grad()
def picture_times(parameters: GaussianParameters, view: RasterView, repeats: int) -> dict[str, float]:
    """Milliseconds of a picture without gradients, and of processor time."""
    from gaussian_splatting.rasterizer import cpu

    clocks = {"picture_ms": time.perf_counter, "picture_cpu_ms": time.process_time}
    return {
        name: 1e3 * median_seconds(lambda: cpu.render_gaussians(parameters, view), repeats, clock)
        for name, clock in clocks.items()
    }
