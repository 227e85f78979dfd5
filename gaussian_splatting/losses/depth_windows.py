"""The windowed depth error, in a small multiple of the memory of the map.

Unfolding a 1080p map into windows of 17 x 17 every 4 pixels takes 18 times its memory for each tensor, and autograd
keeps several. Here a strip of windows is walked at a time, and the gradient is computed beside the loss. Maps of
float32 on a CPU are left to a kernel of the cpu backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.rasterizer import cpu

_CACHED = 1 << 17  # elements of a tensor that stays in a CPU's cache
_ROWS = 64
_LEAST_WIDTH = 16  # of a map that the kernel of the cpu backend takes
_TINY = 1e-30  # less than any variance of numbers that differ


def windowed_error(inverse_depth: Tensor, target: Tensor, weights: Tensor, radius: int, stride: int) -> Tensor:
    """The mean over all pixels of all windows of |d - (a g + b)| times the weight, with a and b of the window.

    d is `inverse_depth`, g is `target`, both [H, W]. Windows are (2 `radius` + 1)² pixels, one every `stride` pixels,
    without padding. a g + b has the mean of d in the window; a lies midway between the slope that fits the window best
    and the one that fits the whole map best, and is not negative. A ratio of deviations in its place would grow with
    the noise in d, and d with it. The gradient takes a as a constant, but b as the mean that it is, so that a window
    never moves the mean of its pixels. Were b a constant, the many would be drawn to the few that are far off.
    Statistics are over the valid pixels, and a window whose centre is not valid counts as zero.
    """
    if radius < 1 or stride < 1:
        raise TrainingError(f"a window needs a radius and a stride of at least 1, found {radius} and {stride}")
    if min(inverse_depth.shape) < 2 * radius + 1:
        raise TrainingError(
            f"the depth map is {list(inverse_depth.shape)}, smaller than one window of {2 * radius + 1} pixels; "
            "lower the kernel radius or leave the map larger"
        )
    error: Any = _WindowedError.apply
    return error(inverse_depth, target, weights, radius, stride)


class _WindowedError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        depth, target, weights, radius, stride = inputs
        rows, columns = _numbers(depth, radius, stride)
        by = _by_kernel if _suits_kernel(depth) else _by_strips
        total, gradient = by(depth, target, weights, radius, stride)
        num_pixels = rows * columns * (2 * radius + 1) ** 2
        ctx.save_for_backward(gradient.div_(num_pixels))
        return (total / num_pixels).to(depth)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None, None, None, None


def _numbers(depth: Tensor, radius: int, stride: int) -> tuple[int, int]:
    """How many windows there are from top to bottom, and from left to right."""
    rows, columns = ((length - 2 * radius - 1) // stride + 1 for length in depth.shape)
    return rows, columns


def _suits_kernel(depth: Tensor) -> bool:
    return depth.device.type == "cpu" and depth.dtype == torch.float32 and depth.shape[1] >= _LEAST_WIDTH


def _by_kernel(depth: Tensor, target: Tensor, weights: Tensor, radius: int, stride: int) -> tuple[Tensor, Tensor]:
    """The sum of the errors of all windows, and its derivative [H, W], by the kernel of the cpu backend."""
    first, second, third = (values.detach().contiguous().numpy() for values in (depth, target, weights))
    total, gradient = cpu.windowed_error(first, second, third, float(_slope(depth, target, weights)), radius, stride)
    return torch.tensor(total, dtype=torch.float64), torch.from_numpy(gradient)


def _by_strips(depth: Tensor, target: Tensor, weights: Tensor, radius: int, stride: int) -> tuple[Tensor, Tensor]:
    """The sum of the errors of all windows, and its derivative [H, W], by PyTorch."""
    size, (rows, columns) = 2 * radius + 1, _numbers(depth, radius, stride)
    limit = depth.numel() // 4 if depth.is_cuda else min(depth.numel() // 4, _CACHED)
    block = max(1, limit // (columns * stride * stride))
    slope = _slope(depth, target, weights)
    total, gradient = depth.new_zeros(()), torch.zeros_like(depth)
    for first in range(0, rows, block):
        count = min(block, rows - first)
        strip = slice(first * stride, (first + count - 1) * stride + size)
        walk = _Walk(size, stride, count, columns)
        maps = [walk.split(values[strip]) for values in (depth, target, weights)]
        error, derivative = _strip_error(maps, walk, slope)
        total += error
        gradient[strip] += walk.join(derivative)[: strip.stop - strip.start, : depth.shape[1]]
    return total, gradient


@dataclass(frozen=True)
class _Walk:
    """A strip of `rows` x `columns` windows, walked so that every step reads contiguous memory.

    The strip is split by the remainder of its coordinates modulo the stride into stride² small maps. The pixel (y, x)
    of every window is then one shifted piece of one of the maps, and stride² such pieces are taken at a time.
    """

    size: int
    stride: int
    rows: int
    columns: int

    def split(self, strip: Tensor) -> Tensor:
        """The maps [stride, stride, h, w] of a strip [H, W], padded with zeros."""
        height, width = strip.shape
        padded = pad(strip, (0, -width % self.stride, 0, -height % self.stride))
        cells = padded.unflatten(1, (-1, self.stride)).unflatten(0, (-1, self.stride))  # [h, stride, w, stride]
        return cells.permute(1, 3, 0, 2).contiguous()

    def join(self, maps: Tensor) -> Tensor:
        """The padded strip that `split` took apart."""
        return maps.permute(2, 0, 3, 1).flatten(2, 3).flatten(0, 1)

    def steps(self) -> Iterator[tuple[slice, slice, slice, slice]]:
        """Where the pixels of the windows are in the maps, at most stride² of them at a time: [y, x, rows, columns]."""
        for top in range(0, self.size, self.stride):
            for left in range(0, self.size, self.stride):
                y, x = slice(0, self.size - top), slice(0, self.size - left)
                yield y, x, self._shifted(top, self.rows), self._shifted(left, self.columns)

    def centres(self, maps: Tensor) -> Tensor:
        """The values [rows, columns] in the middle of the windows."""
        half = self.size // 2
        pieces = maps[half % self.stride, half % self.stride]
        return pieces[self._shifted(half, self.rows), self._shifted(half, self.columns)]

    def _shifted(self, offset: int, count: int) -> slice:
        return slice(offset // self.stride, offset // self.stride + count)


def _slope(depth: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The slope, not negative, of the line that takes the whole target to the depth; a few rows at a time."""
    rows = list(zip(*(values.split(_ROWS) for values in (depth, target, weights)), strict=True))
    count = weights.sum().clamp_min(1)
    mean_depth = sum((d * w).sum() for d, _, w in rows) / count
    mean = sum((g * w).sum() for _, g, w in rows) / count
    variance, covariance = depth.new_zeros(()), depth.new_zeros(())
    for d, g, w in rows:
        weighted = (g - mean) * w
        variance += (weighted * (g - mean)).sum()
        covariance += (weighted * (d - mean_depth)).sum()
    return (covariance / variance.clamp_min(_TINY)).clamp_min(0)


def _strip_error(maps: list[Tensor], walk: _Walk, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the errors of the windows of a strip, and the derivative of it in each pixel of the split strip."""
    depth, target, weights = maps
    fitted, offset = _line(depth, target, weights, walk, slope)
    valid = (walk.centres(weights) > 0).to(depth)
    total, derivative = depth.new_zeros(()), torch.zeros_like(depth)
    count, surplus = torch.zeros_like(valid), torch.zeros_like(valid)
    middle_depth, middle = walk.centres(depth), walk.centres(target)
    for step in walk.steps():
        errors = (target[step] - middle).mul_(fitted)
        errors = torch.sub(depth[step] - middle_depth, errors, out=errors).sub_(offset)
        signs = errors.sign().mul_(weights[step]).mul_(valid)
        total += errors.mul_(signs).sum()
        derivative[step] += signs
        surplus += signs.sum(dim=(0, 1))
        count += weights[step].sum(dim=(0, 1))
    surplus /= count.clamp_min(1)
    for step in walk.steps():
        derivative[step] -= surplus * weights[step]
    return total, derivative


def _line(depth: Tensor, target: Tensor, weights: Tensor, walk: _Walk, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset [rows, columns] of each window's line, both maps relative to the centre of the window."""
    # Moments about the centre of the window, not about zero: those would cancel where depths hardly differ.
    middle_depth, middle = walk.centres(depth), walk.centres(target)
    count, first, second, depths, products = (torch.zeros_like(middle) for _ in range(5))
    for step in walk.steps():
        differences, others = target[step] - middle, depth[step] - middle_depth
        weighted = differences * weights[step]
        count += weights[step].sum(dim=(0, 1))
        first += weighted.sum(dim=(0, 1))
        second += differences.mul_(weighted).sum(dim=(0, 1))
        products += weighted.mul_(others).sum(dim=(0, 1))
        depths += others.mul_(weights[step]).sum(dim=(0, 1))
    count = count.clamp_min(1)
    variance = (second - first * first / count).clamp_min(0)
    own = (products - first * depths / count) / variance.clamp_min(_TINY)
    fitted = (0.5 * (own + slope)).clamp_min(0)
    return fitted, (depths - fitted * first) / count
