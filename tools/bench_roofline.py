"""What a step on a card cannot be faster than: the bytes that it moves and the arithmetic that it does.

Counted for the data flow of gsplat with dense gradients and one fused Adam, each value read and written once where it
is needed; caches that keep a value from one kernel to the next are not counted on. Pairs of Gaussians and pixels are
those of the ellipses as if nothing hid anything, so that the arithmetic is the most that it can be; on the scenes of
`bench_gpu.py` the bytes decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

FLOAT = 4
GEOMETRY, HARMONICS = 11 * FLOAT, 48 * FLOAT
PARAMETERS = GEOMETRY + HARMONICS
"""Bytes of a Gaussian with harmonics of degree 3."""
RECORD = 11 * FLOAT
"""Position on the screen, depth, conic, opacity, three colours and 1 / z."""
ADAM = 7 * PARAMETERS
"""Values, gradients and both moments are read; values and moments are written."""
KEY, ENTRY = 12, 4 + RECORD
"""Bytes of a sort key with its number, and of what a blend reads of an entry of a tile's list."""
SORTED_BITS = 8
"""Bits of the keys that one pass of the sort handles; it reads and writes all of them."""
TILE = 16
PIXEL = 180
"""Bytes of a pixel: written by the blend 28, loss forward 24 + 36, loss backward 60 + 12, read by the blend 20."""
PAIR_FLOPS, GAUSSIAN_FLOPS, ADAM_FLOPS, PIXEL_FLOPS = 33 + 60, 1_200, 12 * 59, 1_100
"""Of a pair (forward and backward), a Gaussian in view, the update of any Gaussian, and of a pixel in L1 + SSIM."""
SMALLEST_ALPHA = 1 / 255
CORES = {7: 64, 8: 128, 9: 128, 10: 128, 12: 128}
"""Units of float32 arithmetic in a multiprocessor, by the major compute capability; 8.0 has 64."""


class Peaks(NamedTuple):
    """What a device can do in a second."""

    bytes: float
    flops: float
    source: str


H200 = Peaks(4.3e12, 67e12, "H200")
"""Memory as measured by copies, arithmetic as its maker says."""


@dataclass(frozen=True)
class Counts:
    """What a view of a scene makes a step do."""

    num_gaussians: int
    visible: int
    entries: int
    """In the lists of all tiles together."""
    pairs: float
    """Of a Gaussian and a pixel that its ellipse covers."""
    width: int
    height: int

    def bytes(self) -> float:
        """Moved by one step."""
        tiles = -(-self.width // TILE) * -(-self.height // TILE)
        passes = math.ceil((32 + tiles.bit_length()) / SORTED_BITS)
        gaussians = self.num_gaussians * (2 * GEOMETRY + PARAMETERS + ADAM)
        seen = self.visible * (2 * HARMONICS + 4 * RECORD)
        lists = self.entries * (KEY + 2 * KEY * passes + 2 * ENTRY)
        return gaussians + seen + lists + self.width * self.height * PIXEL

    def flops(self) -> float:
        """Done by one step."""
        gaussians = self.num_gaussians * ADAM_FLOPS + self.visible * GAUSSIAN_FLOPS
        return gaussians + self.pairs * PAIR_FLOPS + self.width * self.height * PIXEL_FLOPS


def counts(meta: dict[str, Any], num: int, width: int, height: int) -> Counts:
    """The counts of a view from what `rasterization(packed=False)` says of it."""
    seen: Tensor = (meta["radii"][0] > 0).all(dim=-1)
    conics, opacities = meta["conics"][0][seen].double(), meta["opacities"].reshape(-1)[seen].double()
    determinant = conics[:, 0] * conics[:, 2] - conics[:, 1] ** 2
    # alpha is o exp(-d / 2): it is above the smallest one within an ellipse of area 2 pi ln(o / smallest) / sqrt(det).
    reach = (opacities / SMALLEST_ALPHA).clamp_min(1).log()
    pairs = (2 * math.pi * reach / determinant.clamp_min(1e-12).sqrt()).clamp_max(width * height).sum()
    return Counts(num, int(seen.sum()), int(meta["tiles_per_gauss"].sum()), float(pairs), width, height)


def peaks(device: str) -> Peaks:
    """What the card can do: as measured where we know it, else as torch describes it, else an H200."""
    if device != "cuda":
        return H200
    name, found = torch.cuda.get_device_name(), torch.cuda.get_device_properties(torch.cuda.current_device())
    if H200.source in name:
        return H200
    clocks = [getattr(found, key, 0) for key in ("memory_clock_rate", "memory_bus_width", "clock_rate")]
    cores = 64 if (found.major, found.minor) == (8, 0) else CORES.get(found.major)
    if not all(clocks) or cores is None:
        return H200
    memory, width, clock = clocks  # kHz, bits, kHz
    # Two transfers of the memory in a clock, two operations of a fused multiply-add.
    return Peaks(2e3 * memory * width / 8, 2e3 * clock * cores * found.multi_processor_count, name)


def floor(found: Counts, peak: Peaks, step_ms: float) -> dict[str, Any]:
    """The floor of a step in milliseconds, whose it is, and how many times it the measured step takes."""
    memory, arithmetic = found.bytes() / peak.bytes * 1e3, found.flops() / peak.flops * 1e3
    lowest = max(memory, arithmetic)
    return {
        "floor_of": peak.source, "floor_gb": found.bytes() / 1e9, "floor_gflop": found.flops() / 1e9,
        "memory_floor_ms": memory, "arithmetic_floor_ms": arithmetic, "floor_ms": lowest,
        "ours_over_floor": step_ms / lowest,
    }  # fmt: skip
