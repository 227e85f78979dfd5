"""The named trainers: one line each. The order of features changes no bit; `compose` makes the other combinations."""

from __future__ import annotations

from gaussian_splatting.trainer.angular_size import AngularSize
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.budget import Budget, BudgetOptions
from gaussian_splatting.trainer.cameras import Cameras
from gaussian_splatting.trainer.densify import Densify
from gaussian_splatting.trainer.depth import Depth
from gaussian_splatting.trainer.distortion import DepthDistortion
from gaussian_splatting.trainer.floater_removal import FloaterRemoval
from gaussian_splatting.trainer.mcmc import MCMC, MCMCOptions
from gaussian_splatting.trainer.normals import NormalConsistency
from gaussian_splatting.trainer.opacity_reset import OpacityReset
from gaussian_splatting.trainer.rate_recipe import RateRecipe
from gaussian_splatting.trainer.rates import GaussianRates
from gaussian_splatting.trainer.resolution import Resolution, ResolutionOptions
from gaussian_splatting.trainer.scale_regularisation import ScaleRegularisation
from gaussian_splatting.trainer.sh_dropout import SHDropout
from gaussian_splatting.trainer.sh_lift import SHLift, SHLiftOptions

# The recipes of --preset, see docs/recipes.md


class BaseFastTrainer(SHLift, SHDropout, AngularSize, Budget, Resolution, RateRecipe):
    """About the quality of the full 3DGS recipe in a fifth of its time, without depth maps."""

    rates = GaussianRates(opacity=0.035, scaling=0.0085, feature_rest=0.00009375)
    sh_lift = SHLiftOptions(up_interval=5_000)
    budget = BudgetOptions(exchange=0.05, until_iter=24_000)


class BaseDefaultTrainer(BaseFastTrainer):
    """More than the quality of the full 3DGS recipe in a third of its time, without depth maps; the longer `fast`."""

    budget = BudgetOptions(exchange=0.05)


class BaseBestTrainer(FloaterRemoval, BaseFastTrainer):
    """More of the run at full size, no floaters, and many more steps, without depth maps."""

    budget = BudgetOptions(exchange=0.01, exchange_power=0.0)
    resolution = ResolutionOptions(share=0.75, share_power=0.0, blur="usual")


class FastTrainer(Depth, BaseFastTrainer):
    """About the quality of the full 3DGS recipe in a fifth of its time."""


class DefaultTrainer(Depth, BaseDefaultTrainer):
    """More than the quality of the full 3DGS recipe in a third of its time; the longer `fast`."""


class BestTrainer(Depth, BaseBestTrainer):
    """More of the run at full size, no floaters, and many more steps."""


# Without depth maps


class BaseCameraTrainer(Cameras):
    """3DGS that optimises camera poses and exposures."""


class BaseDensificationTrainer(Densify):
    """3DGS with clone, split and prune."""


class BaseOpacityResetDensificationTrainer(OpacityReset, BaseDensificationTrainer):
    """3DGS with clone, split, prune and opacity reset."""


class BaseOpacityResetDensificationCameraTrainer(Cameras, BaseOpacityResetDensificationTrainer):
    """3DGS with clone, split, prune and opacity reset that optimises cameras."""


class BaseSHLiftTrainer(SHLift):
    """3DGS whose SH degree rises during training."""


class BaseSHLiftCameraTrainer(SHLift, BaseCameraTrainer):
    """3DGS whose SH degree rises during training and that optimises cameras."""


class BaseSHLiftOpacityResetDensificationTrainer(SHLift, BaseOpacityResetDensificationTrainer):
    """The full 3DGS recipe without depth maps."""


class BaseSHLiftOpacityResetDensificationCameraTrainer(SHLift, BaseOpacityResetDensificationCameraTrainer):
    """The full 3DGS recipe without depth maps that optimises cameras."""


class BaseMCMCTrainer(MCMC):
    """3DGS-MCMC without depth maps, from Gaussians as they are."""


class BaseSHLiftMCMCTrainer(SHLift, BaseMCMCTrainer):
    """3DGS-MCMC without depth maps, from points: half opaque Gaussians whose SH degree rises."""

    mcmc = MCMCOptions(init_opacity=0.5)


class BaseScaleRegularizeTrainer(ScaleRegularisation):
    """3DGS that keeps Gaussians smaller than the scene."""


# With depth maps where the scene has them


class BaseDepthTrainer(Depth):
    """3DGS with depth regularisation."""


class DepthCameraTrainer(Depth, BaseCameraTrainer):
    """3DGS with depth regularisation that optimises cameras."""


class DepthOpacityResetDensificationTrainer(Depth, BaseOpacityResetDensificationTrainer):
    """3DGS with clone, split, prune, opacity reset and depth regularisation."""


class DepthOpacityResetDensificationCameraTrainer(Depth, BaseOpacityResetDensificationCameraTrainer):
    """3DGS with clone, split, prune, opacity reset and depth regularisation that optimises cameras."""


class DepthSHLiftTrainer(Depth, BaseSHLiftTrainer):
    """3DGS with depth regularisation whose SH degree rises during training."""


class DepthSHLiftCameraTrainer(Depth, BaseSHLiftCameraTrainer):
    """3DGS with depth regularisation whose SH degree rises during training and that optimises cameras."""


class DepthSHLiftOpacityResetDensificationTrainer(Depth, BaseSHLiftOpacityResetDensificationTrainer):
    """The full 3DGS recipe with depth maps."""


class DepthSHLiftOpacityResetDensificationCameraTrainer(Depth, BaseSHLiftOpacityResetDensificationCameraTrainer):
    """The full 3DGS recipe with depth maps that optimises cameras."""


class DepthMCMCTrainer(Depth, BaseMCMCTrainer):
    """3DGS-MCMC with depth regularisation, from Gaussians as they are."""


class DepthSHLiftMCMCTrainer(Depth, BaseSHLiftMCMCTrainer):
    """3DGS-MCMC with depth regularisation, from points."""


# The short names mean "with depth maps"

Trainer = BaseDepthTrainer
CameraTrainer = DepthCameraTrainer
OpacityResetDensificationTrainer = DepthOpacityResetDensificationTrainer
OpacityResetDensificationCameraTrainer = DepthOpacityResetDensificationCameraTrainer
SHLiftTrainer = DepthSHLiftTrainer
SHLiftCameraTrainer = DepthSHLiftCameraTrainer
SHLiftOpacityResetDensificationTrainer = DepthSHLiftOpacityResetDensificationTrainer
SHLiftOpacityResetDensificationCameraTrainer = DepthSHLiftOpacityResetDensificationCameraTrainer
MCMCTrainer = DepthMCMCTrainer
SHLiftMCMCTrainer = DepthSHLiftMCMCTrainer

# Surface splatting


class Normals(NormalConsistency, DepthDistortion):
    """Adds both regularisers of 2DGS: normal consistency and depth distortion."""


class NormalTrainer(Normals, Trainer):
    """2DGS with depth regularisation."""


class NormalCameraTrainer(Normals, CameraTrainer):
    """2DGS with depth regularisation that optimises cameras."""


class NormalOpacityResetDensificationTrainer(Normals, OpacityResetDensificationTrainer):
    """2DGS with clone, split, prune, opacity reset and depth regularisation."""


class NormalOpacityResetDensificationCameraTrainer(Normals, OpacityResetDensificationCameraTrainer):
    """2DGS with clone, split, prune, opacity reset and depth regularisation that optimises cameras."""


class NormalSHLiftTrainer(Normals, SHLiftTrainer):
    """2DGS with depth regularisation whose SH degree rises during training."""


class NormalSHLiftCameraTrainer(Normals, SHLiftCameraTrainer):
    """2DGS with depth regularisation whose SH degree rises during training and that optimises cameras."""


class NormalSHLiftOpacityResetDensificationTrainer(Normals, SHLiftOpacityResetDensificationTrainer):
    """The full 2DGS recipe with depth maps."""


class NormalSHLiftOpacityResetDensificationCameraTrainer(Normals, SHLiftOpacityResetDensificationCameraTrainer):
    """The full 2DGS recipe with depth maps that optimises cameras."""


NAMED: dict[str, type[BaseTrainer]] = {"BaseTrainer": BaseTrainer} | {
    name: member
    for name, member in globals().items()
    if name.endswith("Trainer") and isinstance(member, type) and issubclass(member, BaseTrainer)
}
"""Every named trainer by its name, short names included."""
