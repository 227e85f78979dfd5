"""Learning rates for a run of any length: higher in short runs, and lower again towards the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.geometry.schedules import exponential
from gaussian_splatting.options import REFERENCE_LENGTH, Options, option
from gaussian_splatting.trainer.base import BaseTrainer


@dataclass(frozen=True, kw_only=True)
class RateRecipeOptions(Options):
    """A factor on the learning rates of the Gaussians that follows the length of the run, and a decay at its end."""

    factor: float | None = option(
        None, "factor on all rates; none: (30000 / length) to the power below, at most the highest", maximum=1e3
    )
    power: float = option(0.43, "how fast the factor grows as the run gets shorter", maximum=1.0)
    highest: float = option(4.0, "largest factor that the length gives", minimum=1.0, maximum=1e3)
    harmonics: float = option(
        2.0, "power of the factor that is on the harmonics: what they learn by heart grows with the run", maximum=4.0
    )
    decay_from_iter: int = option(15_000, "step at which all rates but that of the position begin to fall", moment=True)
    final: float = option(0.2, "what is left of those rates at the end, as a fraction", minimum=1e-6, maximum=1.0)

    def by_length(self, steps: int) -> float:
        """The factor of a run of so many steps."""
        if self.factor is not None:
            return self.factor
        return max(1.0, min(self.highest, (REFERENCE_LENGTH / steps) ** self.power))


class RateRecipe(BaseTrainer):
    """Adds rates that are higher in short runs and fall in the second half.

    Adam moves a parameter by about its rate in every step, so a run of few steps covers the same way only with higher
    rates; the noise that they leave goes when they fall. Positions have their own decay in the base recipe. The rate of
    the harmonics falls faster as the run gets longer: a colour that depends on the direction has each view by heart
    long before shapes do.
    """

    shardable = True
    rate_recipe = RateRecipeOptions()

    def setup(self) -> None:
        """Put the factor and the decay on the rates of the six Gaussian parameters."""
        super().setup()
        factor = self.rate_recipe.by_length(self.run_length.steps)
        for name in ATTRIBUTES:
            own = factor**self.rate_recipe.harmonics if name == "f_rest" else factor
            self.schedules[name] = scaled(self.schedules[name], own, self._decay(name))

    def _decay(self, name: str) -> Callable[[float], float]:
        options = self.rate_recipe
        if name == "xyz":
            return lambda step: 1.0
        fall = exponential(1.0, options.final, max(1, self.run_length.steps - options.decay_from_iter))
        return lambda step: fall(step - options.decay_from_iter)


def scaled(rate: Callable[[int], float], factor: float, decay: Callable[[float], float]) -> Callable[[int], float]:
    """The rate times the factor times the decay of the step."""
    return lambda step: rate(step) * factor * decay(step)
