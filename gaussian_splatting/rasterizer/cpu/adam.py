"""The Adam update, fused: one pass over parameter, gradient and moments."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.rasterizer.cpu.jit import kernel, part
from gaussian_splatting.rasterizer.cpu.layout import LANES
from gaussian_splatting.rasterizer.cpu.simd import Array, square_root
from gaussian_splatting.rasterizer.cpu.simd_memory import claim, load16, read, store16, write
from gaussian_splatting.rasterizer.cpu.threads import run

CHUNK = 1 << 16
"""Values updated by one unit of work."""


@part
def update(
    low: int, high: int, parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, rates: Array
) -> None:
    """Update the values from `low` to `high`; rates are step, 1 - beta1, beta2, 1 - beta2, 1 / root of bias 2, eps."""
    step, gain, keep_square, gain_square = read(rates, 0), read(rates, 1), read(rates, 2), read(rates, 3)
    unbias, eps = read(rates, 4), read(rates, 5)
    place = low
    while place + LANES <= high:
        grad, mean = load16(gradient, place), load16(exp_avg, place)
        mean = mean + gain * (grad - mean)
        square = keep_square * load16(exp_avg_sq, place) + gain_square * grad * grad
        store16(exp_avg, place, mean)
        store16(exp_avg_sq, place, square)
        store16(parameter, place, load16(parameter, place) - step * mean / (square_root(square) * unbias + eps))
        place += LANES
    while place < high:
        grad, mean = read(gradient, place), read(exp_avg, place)
        mean = mean + gain * (grad - mean)
        square = keep_square * read(exp_avg_sq, place) + gain_square * grad * grad
        write(exp_avg, place, mean)
        write(exp_avg_sq, place, square)
        write(parameter, place, read(parameter, place) - step * mean / (math.sqrt(square) * unbias + eps))
        place += 1


@kernel
def update_all(
    number: int,
    counter: Array,
    parameter: Array,
    gradient: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    rates: Array,
) -> None:
    """Update all values."""
    low = claim(counter) * CHUNK
    while low < parameter.shape[0]:
        high = min(parameter.shape[0], low + CHUNK)
        update(low, high, parameter, gradient, exp_avg, exp_avg_sq, rates)
        low = claim(counter) * CHUNK


def adam_step(
    parameter: NDArray[np.float32],
    gradient: NDArray[np.float32],
    exp_avg: NDArray[np.float32],
    exp_avg_sq: NDArray[np.float32],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    bias_correction1: float,
    bias_correction2: float,
) -> None:
    """Update `parameter`, `exp_avg` and `exp_avg_sq` in place as `torch.optim.Adam` does, to float32 rounding.

    All four arrays are flat, contiguous, writable float32 of one length, such as `tensor.detach().view(-1).numpy()`.
    `bias_correction1` is 1 - beta1 ** step and `bias_correction2` is 1 - beta2 ** step, with the first step being 1.
    The values are read and written without autograd noticing, so no graph that saved the parameter may be waiting.
    Raises ValueError when an array is not like that.
    """
    arrays = {"parameter": parameter, "gradient": gradient, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.ndim != 1 or not array.flags.c_contiguous or array.size != parameter.size:
            raise ValueError(
                f"adam_step: {name} is {array.dtype} {array.shape}, contiguous: {array.flags.c_contiguous}; "
                f"give flat contiguous float32 of {parameter.size} values"
            )
    rates = np.array(
        [lr / bias_correction1, 1 - beta1, beta2, 1 - beta2, 1 / math.sqrt(bias_correction2), eps], np.float32
    )
    run(update_all, -(-parameter.size // CHUNK), parameter, gradient, exp_avg, exp_avg_sq, rates)
