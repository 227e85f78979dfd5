"""What the flags of `train` mean: the features, the views and the length of the run, and what is written of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting.options import REFERENCE_LENGTH, flat_options

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.dataset.split import Split
    from gaussian_splatting.runs.folder import RunFolder
    from gaussian_splatting.trainer.base import BaseTrainer


def chosen_trainer(arguments: argparse.Namespace) -> tuple[type[BaseTrainer], dict[str, Any]]:
    """The trainer that the flags name, and the options that they give it. Raises SplatError for an unknown one."""
    from gaussian_splatting import prepare
    from gaussian_splatting.cli import option_flags
    from gaussian_splatting.trainer.rules import option_groups

    cls = prepare.trainer_class(
        arguments.mode, arguments.load_ply, arguments.trainer, features(arguments), preset=arguments.preset
    )
    by_mode = arguments.trainer is None and arguments.preset is None
    owner = f"{cls.__name__} (--mode {arguments.mode})" if by_mode else cls.__name__
    options = option_flags.given_options(arguments, option_groups(cls), owner)
    if arguments.max_gaussians is not None:
        options[prepare.limit_option(cls)] = arguments.max_gaussians
    if arguments.preset is not None and arguments.load_ply is not None:
        options.setdefault("initial_sh_degree", arguments.sh_degree)  # the splat has all degrees already
    return cls, options


def features(arguments: argparse.Namespace) -> list[str]:
    """The features that the flags add to the trainer."""
    names = [name.strip() for name in arguments.features.split(",") if name.strip()]
    return [*names, "scale_reg"] if arguments.with_scale_reg else names


def load_scene(
    arguments: argparse.Namespace, device: Any, trainable_camera: bool = False
) -> tuple[CameraDataset, CameraDataset | None]:
    """The training views, with trainable cameras when asked for, and with --eval the held-out ones."""
    from gaussian_splatting.prepare import prepare_dataset

    def load(split: Split) -> CameraDataset:
        return prepare_dataset(
            arguments.source,
            device,
            trainable_camera and split != "test",
            load_camera=arguments.load_camera,
            load_mask=not arguments.no_image_mask,
            load_depth=not arguments.no_depth_data,
            resolution=arguments.resolution,
            image_scale=arguments.image_scale,
            split=split,
            white_background=arguments.white_background,
            alpha=arguments.alpha,
            max_pixels=arguments.max_pixels,
            strict=arguments.strict,
        )

    return (load("train"), load("test")) if arguments.eval else (load("all"), None)


def run_length(arguments: argparse.Namespace, num_views: int, views_per_step: int = 1) -> int:
    """Steps of the run from -i or --epochs, else those of the preset."""
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.trainer.presets import PRESETS

    steps = arguments.iteration if arguments.epochs is None else -(-arguments.epochs * num_views // views_per_step)
    if steps is None:
        steps = REFERENCE_LENGTH if arguments.preset is None else PRESETS[arguments.preset].length(num_views)
    if steps < 1:
        raise SplatError(f"the run has {steps} steps; give -i or --epochs a positive number")
    return steps


def write_settings(arguments: argparse.Namespace, trainer: BaseTrainer, folder: RunFolder, iterations: int) -> None:
    """cfg_args and settings.json."""
    known = {name: entry.default for name, entry in flat_options(trainer.options).items()}
    folder.write_settings(
        source=str(Path(arguments.source)),
        mode=arguments.mode,
        preset=arguments.preset,
        trainer=type(trainer).__name__,
        trains_cameras=type(trainer).trains_cameras,
        options=known,
        iterations=iterations,
        seed=arguments.seed,
        sh_degree=arguments.sh_degree,
        resolution=arguments.resolution,
        image_scale=arguments.image_scale,
        eval=arguments.eval,
        white_background=arguments.white_background,
        alpha=arguments.alpha,
        max_pixels=arguments.max_pixels,
        no_image_mask=arguments.no_image_mask,
        load_camera=arguments.load_camera,
        init=arguments.init_ply or arguments.init or "points",
        antialiased=arguments.antialiased,
        packed=arguments.packed,
        sparse_grad=arguments.sparse_grad,
        radius_clip=arguments.radius_clip,
        backend=trainer.model.backend,
        device=str(trainer.model.get_xyz.device),
    )
