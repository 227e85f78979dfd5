"""Camera optimisation: poses are trained with the scene, and the scene as a whole stays where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.camera_trainable import CameraTrainable, CameraTrainableGaussianModel
from gaussian_splatting.errors import TrainingError
from gaussian_splatting.geometry.projection import getWorld2View
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.geometry.schedules import exponential, linear, product
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.exposure import Exposure
from gaussian_splatting.trainer.gauge import Poses, move_gaussians, moved_poses, way_home
from gaussian_splatting.trainer.pivots import pivots_of
from gaussian_splatting.trainer.rates import HIGHEST, short_run_factor
from gaussian_splatting.trainer.state import State
from gaussian_splatting.trainer.view_parameters import view_parameter

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

INERT = "kept for compatibility; has no effect"


@dataclass(frozen=True, kw_only=True)
class CameraOptions(Options):
    """How fast camera poses are learnt."""

    rotation_lr_init: float = option(1e-4, "rate of the camera rotations at the start", maximum=HIGHEST)
    rotation_lr_final: float = option(1e-6, "rate of the camera rotations at the end", maximum=HIGHEST)
    rotation_lr_delay_mult: float = option(0.01, INERT)
    rotation_lr_max_steps: int = option(
        30_000, "step at which the rate of the rotations reaches its end", minimum=1, moment=True
    )
    position_lr_init: float = option(1.6e-4, "rate of the camera positions at the start, times extent", maximum=HIGHEST)
    position_lr_final: float = option(1.6e-6, "rate of the camera positions at the end, times extent", maximum=HIGHEST)
    position_lr_delay_mult: float = option(0.01, INERT)
    position_lr_max_steps: int = option(
        30_000, "step at which the rate of the positions reaches its end", minimum=1, moment=True
    )
    length_power: float = option(
        0.5, "in short runs the rates are (30000 / length) to this power higher, at most 8 times; 0: as given",
        maximum=2.0,
    )  # fmt: skip
    warmup_from: float = option(0.02, "what the rates begin with, as a part of themselves", maximum=1.0)
    warmup_until_iter: int = option(12_000, "step from which on the rates are whole", moment=True)
    gauge_interval: int = option(
        100, "steps between moves of the whole scene back to where its cameras were, all in all; 0: never"
    )


@dataclass
class StartPoses(State):
    """The poses that the common motion of the cameras is measured from."""

    quaternions: Tensor = field(default_factory=lambda: torch.empty(0, 4))
    translations: Tensor = field(default_factory=lambda: torch.empty(0, 3))

    def poses(self) -> Poses:
        """All of them."""
        return Poses(self.quaternions, self.translations)


@dataclass
class Turning(State):
    """What each camera turns about, and how the camera of this step stood before it."""

    pivots: Tensor = field(default_factory=lambda: torch.empty(0, 3))
    seen: int = -1
    rotation: Tensor = field(default_factory=lambda: torch.eye(3))


class CameraPoses(BaseTrainer):
    """Adds the optimisation of the camera poses; the dataset must be a TrainableCameraDataset.

    A step moves the pose of the view that it sees and no other. Rates rise at first: poses that follow Gaussians which
    are not yet where they belong leave the truth. Cameras and Gaussians can move, turn and grow together without a
    change in any picture; every `gauge_interval` steps and at the end all of them are moved back together, so that the
    mean motion of the cameras since their first poses is zero. A force on the cameras alone, in the loss, would turn
    them against their positions, because the Gaussians do not feel it.
    """

    model_class = CameraTrainableGaussianModel
    trains_cameras = True
    shardable = True
    camera = CameraOptions()
    start_poses = StartPoses()
    turning = Turning()

    def setup(self) -> None:
        """Optimise the poses of the dataset."""
        super().setup()
        if not isinstance(self.model, CameraTrainable):
            raise TrainingError(
                "camera optimisation needs a model whose render depends on the pose, found "
                f"{type(self.model).__name__}; use CameraTrainableGaussianModel"
            )
        quaternions = view_parameter(self.dataset, "quaternions", "camera optimisation")
        translations = view_parameter(self.dataset, "Ts", "camera optimisation")
        options = self.camera
        factor = short_run_factor(self.run_length.steps, options.length_power)
        first, last = options.rotation_lr_init * factor, options.rotation_lr_final * factor
        names = "camera_rotation_lr_init, camera_rotation_lr_final"
        turning = exponential(first, last, options.rotation_lr_max_steps, names=names)
        factor *= self.scene_extent
        first, last = options.position_lr_init * factor, options.position_lr_final * factor
        names = "camera_position_lr_init, camera_position_lr_final"
        moving = exponential(first, last, options.position_lr_max_steps, names=names)
        rise = linear(options.warmup_from, 1.0, options.warmup_until_iter)
        self.add_parameter("quaternions", quaternions, product(rise, turning), per_row=True)
        self.add_parameter("Ts", translations, product(rise, moving), per_row=True)
        self.start_poses.quaternions = quaternions.detach().clone()
        self.start_poses.translations = translations.detach().clone()
        assert self.dataset is not None
        self.turning.pivots = pivots_of(self.dataset, self.model.get_xyz)
        # Filled and emptied within a step, which may have several views.
        self._stood: dict[int, Tensor] = {}

    def preprocess(self, camera: Camera) -> Camera:
        """The same camera, whose rotation is felt as a turn about its pivot."""
        camera = super().preprocess(camera)
        seen = camera.custom_data.get("index")
        if seen is None:
            return camera
        # Zero in value. Its gradient is what the translation does while the camera turns about the pivot.
        following = (camera.R.detach() - camera.R) @ self.turning.pivots[seen]
        translation = camera.T + following
        return camera._replace(T=translation, world_view_transform=getWorld2View(camera.R, translation).T)

    def after_backward(self, out: dict[str, Any], camera: Camera) -> None:
        """Remember how the camera stands."""
        super().after_backward(out, camera)
        self.turning.seen = camera.custom_data.get("index", -1)
        self.turning.rotation = camera.R.detach()
        if self.turning.seen >= 0:
            self._stood[self.turning.seen] = self.turning.rotation

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the translation follow the turn; now and then move everything back to where the cameras were."""
        super().after_step()
        for seen, rotation in self._stood.items():
            quaternion, translation = (parameter.data[seen] for parameter in self._poses())
            turned = quaternion_to_matrix(quaternion)
            translation += (rotation - turned) @ self.turning.pivots[seen]
        self._stood.clear()
        interval = self.camera.gauge_interval
        if interval and (self.curr_step % interval == 0 or self.curr_step == self.run_length.steps):
            self._go_home()

    def _poses(self) -> Poses:
        quaternions, translations = (self.optimizer.group(name)["params"][0] for name in ("quaternions", "Ts"))
        return Poses(quaternions, translations)

    def _go_home(self) -> None:
        poses = self._poses()
        motion = way_home(poses, self.start_poses.poses(), self.scene_extent)
        if motion is None:
            return
        for parameter, value in zip(poses, moved_poses(poses, motion), strict=True):
            parameter.copy_(value)
        self.turning.pivots = motion.points(self.turning.pivots)
        move_gaussians(self.model, motion)


class Cameras(CameraPoses, Exposure):
    """Adds the optimisation of camera poses and exposures."""
