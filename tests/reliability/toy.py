"""A run small enough to be repeated a thousand times: a real trainer and a real run folder around a toy picture."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gaussian_splatting import train as train_command
from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.options import flat_options
from gaussian_splatting.rendered_view import viewspace_gradient
from gaussian_splatting.runs import training
from gaussian_splatting.runs.claim import claimed
from gaussian_splatting.trainer import rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.named import BaseSHLiftOpacityResetDensificationTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset

HEIGHT, WIDTH = 6, 8
STEPS = 6
QUICK: dict[str, Any] = {
    "densify_from_iter": 1,
    "densify_interval": 2,
    "densify_target_lower_bound": 0,
    "densify_target_upper_bound": 40,
    "prune_from_iter": 2,
    "prune_interval": 3,
    "prune_screensize_threshold": 0,
    "opacity_reset_from_iter": 3,
    "opacity_reset_interval": 3,
    "sh_degree_up_interval": 2,
}


class ToyDataset(TinyDataset):
    """Three views of 8 x 6 pixels."""

    def __init__(self) -> None:
        self.cameras = [toy_camera(index) for index in range(3)]


def toy_camera(index: int) -> Camera:
    angle = 0.4 * (index - 1)
    rotation = torch.tensor(
        [[math.cos(angle), 0.0, -math.sin(angle)], [0.0, 1.0, 0.0], [math.sin(angle), 0.0, math.cos(angle)]]
    )
    camera = pinhole_camera(HEIGHT, WIDTH, 7.0, 7.0, rotation, torch.tensor([0.1, 0.0, 2.0]))
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    picture = torch.stack((0.5 + 0.4 * torch.sin(9 * x + index), 0.6 * x + 0.2, 0.7 * y + 0.1))
    return camera._replace(ground_truth_image=picture, custom_data={"name": f"toy_{index}"})


class ToyModel(GaussianModel):
    """Gaussians that are drawn as unsorted blobs, in a dozen operations."""

    def forward(self, viewpoint_camera: Camera) -> dict[str, Any]:
        camera = viewpoint_camera
        points = self._xyz @ camera.R.T + camera.T
        depth = points[:, 2]
        centers = points[:, :2] / depth[:, None] * camera.K[0, 0] + torch.tensor([WIDTH / 2, HEIGHT / 2])
        if centers.requires_grad:
            centers.retain_grad()
        size = self.get_scaling.mean(dim=1) / depth * camera.K[0, 0] + self.get_rotation[:, 0] * 0.1 + 0.3
        y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
        pixels = torch.stack((x, y), dim=-1).reshape(-1, 2)
        distance = ((pixels[None] - centers[:, None]) ** 2).sum(-1) / size[:, None] ** 2
        weight = self.get_opacity * torch.exp(-0.5 * distance)
        color = torch.sigmoid(self._features_dc[:, 0] + self._features_rest[:, : self.active_sh_degree].sum(1))
        total = weight.sum(0)
        picture = (weight.T @ color / (1 + total)[:, None]).T.reshape(3, HEIGHT, WIDTH)
        radii = (3 * size).ceil().to(torch.int32)
        return {
            "render": picture.clamp(0, 1),
            "radii": radii,
            "visibility_filter": radii.nonzero(),
            "means2d": centers,
            "get_viewspace_grad": lambda out: viewspace_gradient(out["means2d"], (WIDTH, HEIGHT)),
        }


def toy_model(num: int = 12, sh_degree: int = 1) -> ToyModel:
    generator = torch.Generator().manual_seed(7)
    points = torch.rand((num, 3), generator=generator) - 0.5
    model = ToyModel(sh_degree)
    model.create_from_pcd(points, torch.rand((num, 3), generator=generator))
    return model


def toy_trainer(
    cls: type[BaseTrainer] = BaseSHLiftOpacityResetDensificationTrainer,
    *,
    model: GaussianModel | None = None,
    cameras: CameraDataset | None = None,
    seed: int = 0,
    **options: Any,
) -> BaseTrainer:
    known = flat_options(rules.option_groups(cls))
    options = {name: value for name, value in QUICK.items() if name in known} | options
    return cls(model or toy_model(), cameras or ToyDataset(), seed=seed, **options)


def toy_run(
    destination: Path,
    steps: int = STEPS,
    *,
    make: Callable[[], BaseTrainer] = toy_trainer,
    resume: str = "auto",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
    held_out: CameraDataset | None = None,
    schedule_length: int | None = None,
    **settings: Any,
) -> None:
    """What the train command does, from the claim of the folder to the last line."""
    settings = {"checkpoint_interval": 2, "save_iterations": [4], "show_progress": False} | settings
    with claimed(destination, resume, overwrite, say) as claim:
        trainer = make()
        assert trainer.dataset is not None
        run = training.TrainingRun(trainer, trainer.dataset, claim.run, steps, held_out=held_out, say=say, **settings)
        length = claim.schedule_length or schedule_length or steps
        train_command.execute(run, claim, length, lambda: write_settings(claim.run, steps))


class Stopped(Exception):
    """Ends a run from outside, as a kill would."""


def stopping(step: int, **settings: Any) -> Callable[[], BaseTrainer]:
    """Makes a trainer whose run ends while step `step` is being trained."""

    def make() -> BaseTrainer:
        trainer = toy_trainer(**settings)
        preprocess = trainer.preprocess

        def stop(camera: Any) -> Any:
            if trainer.curr_step == step:
                raise Stopped
            return preprocess(camera)

        trainer.preprocess = stop  # type: ignore[method-assign]
        return trainer

    return make


def write_settings(folder: Any, steps: int) -> None:
    folder.write_settings(source="toy", sh_degree=1, iterations=steps, seed=0, mode="toy", trainer="toy", options={})


def results(folder: Path, *, everything: bool = True) -> dict[str, str]:
    """Digests of what must be equal to the byte, by name; of the checkpoints, the last."""
    names = ["point_cloud/*/point_cloud.ply", "metrics.jsonl", "evaluations.jsonl", "progress/*.jpg"]
    paths = [path for name in names for path in sorted(folder.glob(name))]
    if everything:
        paths += sorted(folder.glob("checkpoints/step_*.safetensors"))[-1:]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
