"""Rates and weights as pure functions of the step: nothing to save, nothing to resume.

Each schedule is a function that takes its two ends and gives back `rate(step)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gaussian_splatting.errors import SplatError

Rate = Callable[[float], float]


def exponential(initial: float, final: float, max_steps: float, *, names: str = "an exponential schedule") -> Rate:
    """`initial` at step 0, `final` from `max_steps` on, and a straight line in the logarithm between.

    Both ends are positive, or both are zero for a rate that is switched off; `names` is what a message calls them.

    >>> rate = exponential(1.0, 0.01, 30_000)
    >>> rate(0), round(rate(15_000), 9), rate(30_000)
    (1.0, 0.1, 0.01)
    """
    if initial == final == 0:
        return lambda step: 0.0
    if not (initial > 0 and final > 0):
        raise SplatError(f"{names} cannot go from {initial} to {final}: make both ends positive, or both zero")
    # The power is exact at both ends, where exp(log(x)) would be off by a rounding.
    return lambda step: initial ** (1 - fraction(step, max_steps)) * final ** fraction(step, max_steps)


def linear(initial: float, final: float, max_steps: float) -> Rate:
    """`initial` at step 0, `final` from `max_steps` on, and a straight line between."""
    return lambda step: (1 - fraction(step, max_steps)) * initial + fraction(step, max_steps) * final


def cosine(initial: float, final: float, max_steps: float) -> Rate:
    """`initial` at step 0, `final` from `max_steps` on, and half a wave of the cosine between."""
    return lambda step: final + (initial - final) * (1 + math.cos(math.pi * fraction(step, max_steps))) / 2


def warm_up(delay_factor: float, delay_steps: float) -> Rate:
    """A factor that rises smoothly from `delay_factor` to 1 within `delay_steps`; 1 when there is no delay."""
    return lambda step: delay_factor + (1 - delay_factor) * math.sin(math.pi / 2 * fraction(step, delay_steps))


def product(first: Rate, second: Rate) -> Rate:
    """Both factors at every step."""
    return lambda step: first(step) * second(step)


def fraction(step: float, max_steps: float) -> float:
    """How much of `max_steps` has passed, from 0 to 1. A schedule of no steps has passed at once."""
    return min(max(step / max_steps, 0.0), 1.0) if max_steps > 0 else 1.0


def get_expon_lr_func(
    lr_init: float,
    lr_final: float,
    lr_delay_steps: int = 0,
    lr_delay_mult: float = 1.0,
    max_steps: int = 1_000_000,
) -> Rate:
    """`exponential` times `warm_up` under the names and defaults that 3DGS code uses; 0 before step 0."""
    rate, factor = exponential(lr_init, lr_final, max_steps), warm_up(lr_delay_mult, lr_delay_steps)
    return lambda step: factor(step) * rate(step) if step >= 0 else 0.0
