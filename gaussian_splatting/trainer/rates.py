"""Learning rates of the six Gaussian parameters, as functions of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gaussian_splatting.geometry.schedules import exponential
from gaussian_splatting.options import REFERENCE_LENGTH, Options, option

HIGHEST = 100.0
SHORT_RUN_HIGHEST = 8.0
SHORT_RUN = 1_000
"""Steps up to which nothing is gained from more Gaussians or more steps at full size: they cannot be trained so far."""


@dataclass(frozen=True, kw_only=True)
class GaussianRates(Options):
    """Adam's learning rates (Kerbl et al. 2023, section 6.1). Position rates are multiplied by the scene extent."""

    position_init: float = option(
        1.6e-4, "position rate at the start, times extent", name="position_lr_init", maximum=HIGHEST
    )
    position_final: float = option(
        1.6e-6, "position rate at the end, times extent", name="position_lr_final", maximum=HIGHEST
    )
    position_delay_mult: float = option(0.01, "kept for compatibility; has no effect", name="position_lr_delay_mult")
    position_max_steps: int = option(
        30_000,
        "step at which the position rate reaches its end",
        name="position_lr_max_steps",
        minimum=1,
        moment=True,
    )
    feature: float = option(0.0025, "rate of the base colour", name="feature_lr", maximum=HIGHEST)
    feature_rest: float | None = option(
        None, "rate of the other SH coefficients; none: a 20th of feature_lr", name="feature_rest_lr", maximum=HIGHEST
    )
    opacity: float = option(0.025, "rate of the opacity logit", name="opacity_lr", maximum=HIGHEST)
    scaling: float = option(0.005, "rate of the log scales", name="scaling_lr", maximum=HIGHEST)
    rotation: float = option(0.001, "rate of the quaternions", name="rotation_lr", maximum=HIGHEST)

    def schedules(self, scene_extent: float) -> dict[str, Callable[[int], float]]:
        """Parameter group name -> rate of the step."""
        first, last = self.position_init * scene_extent, self.position_final * scene_extent
        rest = self.feature / 20 if self.feature_rest is None else self.feature_rest
        constant = {"f_dc": self.feature, "f_rest": rest, "opacity": self.opacity}
        constant |= {"scaling": self.scaling, "rotation": self.rotation}
        result: dict[str, Callable[[int], float]] = {name: _always(rate) for name, rate in constant.items()}
        result["xyz"] = exponential(first, last, self.position_max_steps, names="position_lr_init, position_lr_final")
        return result


@dataclass(frozen=True, kw_only=True)
class RunLength(Options):
    """How long the run is that rates, budgets and schedules are made for; `-i` sets it."""

    steps: int = option(
        REFERENCE_LENGTH,
        "steps of the run, which rates, budgets and picture sizes follow",
        name="run_length",
        minimum=1,
        moment=True,
    )


def short_run_factor(length: int, power: float) -> float:
    """What the rates of poses and exposures are multiplied by in a run of `length` steps; 1 from 30,000 steps on.

    Adam moves a value by about its rate in every step. A Gaussian that cannot reach its place is replaced by others,
    but a pose has the same way to go in a run of any length.

    >>> short_run_factor(30_000, 0.4), round(short_run_factor(7_000, 0.4), 2), short_run_factor(100, 0.4)
    (1.0, 1.79, 8.0)
    """
    return min(SHORT_RUN_HIGHEST, max(1.0, (REFERENCE_LENGTH / length) ** power))


def long_run_factor(length: int, power: float) -> float:
    """How much larger, or smaller, something is in a run of `length` steps than in one of 1000 or fewer.

    >>> long_run_factor(580, 0.5), long_run_factor(4_000, 0.5), long_run_factor(5_000, -1.0)
    (1.0, 2.0, 0.2)
    """
    return max(1.0, length / SHORT_RUN) ** power


def _always(rate: float) -> Callable[[int], float]:
    return lambda step: rate
