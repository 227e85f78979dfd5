"""Combinations of features that have no name of their own, made at run time."""

from __future__ import annotations

from collections.abc import Iterable

from gaussian_splatting.options import nearest
from gaussian_splatting.trainer.absolute_gradients import AbsoluteGradients
from gaussian_splatting.trainer.angular_size import AngularSize
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.budget import Budget
from gaussian_splatting.trainer.cameras import CameraPoses, Cameras
from gaussian_splatting.trainer.densify import Densify
from gaussian_splatting.trainer.depth import Depth
from gaussian_splatting.trainer.distortion import DepthDistortion
from gaussian_splatting.trainer.exposure import Exposure
from gaussian_splatting.trainer.floater_removal import FloaterRemoval
from gaussian_splatting.trainer.mcmc import MCMC
from gaussian_splatting.trainer.normals import NormalConsistency
from gaussian_splatting.trainer.opacity_decay import OpacityDecay
from gaussian_splatting.trainer.opacity_reset import OpacityReset
from gaussian_splatting.trainer.rate_recipe import RateRecipe
from gaussian_splatting.trainer.resolution import Resolution
from gaussian_splatting.trainer.scale_regularisation import ScaleRegularisation
from gaussian_splatting.trainer.sh_dropout import SHDropout
from gaussian_splatting.trainer.sh_lift import SHLift
from gaussian_splatting.trainer.sh_rest import ShRest

FEATURES: dict[str, type[BaseTrainer]] = {
    "absolute_gradients": AbsoluteGradients,
    "angular_size": AngularSize,
    "budget": Budget,
    "cameras": Cameras,
    "densify": Densify,
    "depth": Depth,
    "distortion": DepthDistortion,
    "exposure": Exposure,
    "floater_removal": FloaterRemoval,
    "mcmc": MCMC,
    "normals": NormalConsistency,
    "opacity_decay": OpacityDecay,
    "opacity_reset": OpacityReset,
    "poses": CameraPoses,
    "rate_recipe": RateRecipe,
    "resolution": Resolution,
    "scale_reg": ScaleRegularisation,
    "sh_dropout": SHDropout,
    "sh_lift": SHLift,
    "sh_rest": ShRest,
}
"""Every feature by the name that `--with` takes. "cameras" is "poses" and "exposure" together."""


def compose(cls: type[BaseTrainer], features: Iterable[str | type[BaseTrainer]]) -> type[BaseTrainer]:
    """The trainer `cls` with more features, given by name or as classes; those that it has already change nothing.

    Raises TypeError for an unknown name, with the nearest ones, and for features that do not combine.

    >>> compose(BaseTrainer, ["depth", "scale_reg"]).__name__
    'DepthScaleRegularisationBaseTrainer'
    """
    chosen = [found for found in map(feature, features) if not issubclass(cls, found)]
    # A feature that another one brings along is left out: Cameras has Exposure.
    bases = [
        one for one in dict.fromkeys(chosen) if not any(other is not one and issubclass(other, one) for other in chosen)
    ]
    if not bases:
        return cls
    name = "".join(base.__name__ for base in bases) + cls.__name__
    added = ", ".join(base.__name__ for base in bases)
    tops = bases if cls is BaseTrainer else [*bases, cls]
    return type(name, tuple(tops), {"__doc__": f"{cls.__name__} with {added}.", "__module__": __name__})


def feature(name: str | type[BaseTrainer]) -> type[BaseTrainer]:
    """The feature that a name means."""
    if not isinstance(name, str):
        return name
    if name not in FEATURES:
        raise TypeError(f"there is no feature {name!r}; nearest: {nearest(name, FEATURES)}")
    return FEATURES[name]
