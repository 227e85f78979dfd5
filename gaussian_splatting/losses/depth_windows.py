"""The windowed depth error, in a small multiple of the memory of the map.

Unfolding a 1080p map into windows of 17 x 17 every 4 pixels takes 18 times its memory for each tensor, and autograd
keeps several. Here a strip of windows is walked at a time, and the gradient is computed beside the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.errors import TrainingError

_CACHED = 1 << 17  # elements of a tensor that stays in a CPU's cache


def windowed_error(inverse_depth: Tensor, target: Tensor, weights: Tensor, radius: int, stride: int) -> Tensor:
    """The mean over all pixels of all windows of |d - (g - g_c) sigma(d) / sigma(g) - d_c| times the weight.

    d is `inverse_depth`, g is `target`, both [H, W]; c is the centre of the window and sigma the deviation within it.
    Windows are (2 `radius` + 1)² pixels, one every `stride` pixels, without padding. Only the first d has a gradient:
    the window's scale and centre are constants. The factor is 1 where sigma(g) vanishes. Statistics are over the valid
    pixels, and a window whose centre is not valid counts as zero.
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
        size = 2 * radius + 1
        rows, columns = ((length - size) // stride + 1 for length in depth.shape)
        limit = depth.numel() // 4 if depth.is_cuda else min(depth.numel() // 4, _CACHED)
        block = max(1, limit // (columns * stride * stride))
        total, gradient = depth.new_zeros(()), torch.zeros_like(depth)
        for first in range(0, rows, block):
            count = min(block, rows - first)
            strip = slice(first * stride, (first + count - 1) * stride + size)
            walk = _Walk(size, stride, count, columns)
            maps = [walk.split(values[strip]) for values in (depth, target, weights)]
            error, derivative = _strip_error(maps, walk)
            total += error
            gradient[strip] += walk.join(derivative)[: strip.stop - strip.start, : depth.shape[1]]
        num_pixels = rows * columns * size * size
        ctx.save_for_backward(gradient.div_(num_pixels))
        return total / num_pixels

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None, None, None, None


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


def _strip_error(maps: list[Tensor], walk: _Walk) -> tuple[Tensor, Tensor]:
    """The sum of the errors of the windows of a strip, and the derivative of it in each pixel of the split strip."""
    depth, target, weights = maps
    centre_depth, centre_target = walk.centres(depth), walk.centres(target)
    deviation = _deviation(target, weights, walk)
    vanishing = deviation < torch.finfo(target.dtype).eps
    scale = torch.where(vanishing, 1, _deviation(depth, weights, walk) / torch.where(vanishing, 1, deviation))
    valid = (walk.centres(weights) > 0).to(depth)
    total, derivative = depth.new_zeros(()), torch.zeros_like(depth)
    for step in walk.steps():
        errors = (target[step] - centre_target).mul_(scale)
        errors = torch.sub(depth[step], errors, out=errors).sub_(centre_depth)
        signs = errors.sign().mul_(weights[step]).mul_(valid)
        total += errors.mul_(signs).sum()
        derivative[step] += signs
    return total, derivative


def _deviation(values: Tensor, weights: Tensor, walk: _Walk) -> Tensor:
    """The unbiased standard deviation [rows, columns] within each window."""
    centre = walk.centres(values)
    count, first, second = (torch.zeros_like(centre) for _ in range(3))
    for step in walk.steps():
        # Moments about the centre of the window, not about zero: those would cancel where depths hardly differ.
        differences = values[step] - centre
        weighted = differences * weights[step]
        count += weights[step].sum(dim=(0, 1))
        first += weighted.sum(dim=(0, 1))
        second += weighted.mul_(differences).sum(dim=(0, 1))
    variance = (second - first * first / count.clamp_min(1)) / (count - 1).clamp_min(1)
    return variance.clamp_min(0).sqrt()
