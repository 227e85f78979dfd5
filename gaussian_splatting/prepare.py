"""The factories behind the commands: datasets from folders, Gaussians from points or files, trainers from modes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gaussian_splatting.errors import SplatError
from gaussian_splatting.options import Options, flat_options, nearest, scaled_to_length
from gaussian_splatting.rasterizer import BACKENDS, surface_backend
from gaussian_splatting.trainer import named, rules
from gaussian_splatting.trainer.checks import LIMITS
from gaussian_splatting.trainer.compose import FEATURES, compose
from gaussian_splatting.trainer.presets import PRESETS

if TYPE_CHECKING:
    import torch

    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.dataset.split import Split
    from gaussian_splatting.dataset.view import AlphaUse
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.trainer.base import BaseTrainer

backends = list(BACKENDS)

basemodes: dict[str, type[BaseTrainer]] = {
    "base": named.Trainer,
    "densify": named.OpacityResetDensificationTrainer,
    "mcmc": named.MCMCTrainer,
    "camera": named.CameraTrainer,
    "camera-densify": named.OpacityResetDensificationCameraTrainer,
    "nodepth-base": named.BaseTrainer,
    "nodepth-densify": named.BaseOpacityResetDensificationTrainer,
    "nodepth-mcmc": named.BaseMCMCTrainer,
    "nodepth-camera": named.BaseCameraTrainer,
    "nodepth-camera-densify": named.BaseOpacityResetDensificationCameraTrainer,
    "normal-base": named.NormalTrainer,
    "normal-densify": named.NormalOpacityResetDensificationTrainer,
    "normal-camera": named.NormalCameraTrainer,
    "normal-camera-densify": named.NormalOpacityResetDensificationCameraTrainer,
}
"""Mode -> trainer when training goes on from a given splat file."""

shliftmodes: dict[str, type[BaseTrainer]] = {
    "base": named.SHLiftTrainer,
    "densify": named.SHLiftOpacityResetDensificationTrainer,
    "mcmc": named.SHLiftMCMCTrainer,
    "camera": named.SHLiftCameraTrainer,
    "camera-densify": named.SHLiftOpacityResetDensificationCameraTrainer,
    "nodepth-base": named.BaseSHLiftTrainer,
    "nodepth-densify": named.BaseSHLiftOpacityResetDensificationTrainer,
    "nodepth-mcmc": named.BaseSHLiftMCMCTrainer,
    "nodepth-camera": named.BaseSHLiftCameraTrainer,
    "nodepth-camera-densify": named.BaseSHLiftOpacityResetDensificationCameraTrainer,
    "normal-base": named.NormalSHLiftTrainer,
    "normal-densify": named.NormalSHLiftOpacityResetDensificationTrainer,
    "normal-camera": named.NormalSHLiftCameraTrainer,
    "normal-camera-densify": named.NormalSHLiftOpacityResetDensificationCameraTrainer,
}
"""Mode -> trainer when training starts from points."""


def trainer_class(
    mode: str,
    load_ply: str | os.PathLike[str] | None = None,
    trainer: str | None = None,
    features: Iterable[str] = (),
    *,
    preset: str | None = None,
) -> type[BaseTrainer]:
    """The trainer of a mode, or that of a preset, or the user's own as `package.module:Class`, with more `features`."""
    if preset is not None:
        if trainer is not None:
            raise SplatError(f"--preset {preset} is a trainer of its own, and so is --trainer {trainer}; keep one")
        if preset not in PRESETS:
            raise SplatError(f"there is no preset {preset!r}; nearest: {nearest(preset, PRESETS)}")
    modes = basemodes if load_ply else shliftmodes
    if trainer is None and mode not in modes:
        raise SplatError(f"there is no mode {mode!r}; nearest: {nearest(mode, modes)}")
    if preset is not None:
        cls = PRESETS[preset].trainer
    else:
        cls = modes[mode] if trainer is None else imported_trainer(trainer)
    try:
        return compose(cls, features)
    except TypeError as error:
        raise SplatError(str(error)) from error


def imported_trainer(name: str) -> type[BaseTrainer]:
    """The class that `package.module:Class` names, or a named trainer; it must be a BaseTrainer."""
    module, colon, attribute = name.partition(":")
    if not colon:
        if name in named.NAMED:
            return named.NAMED[name]
        near = f"for example {nearest(name, named.NAMED)}"
        raise SplatError(f"--trainer {name!r}: expected package.module:Class or a named trainer, {near}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SplatError(f"--trainer {name!r}: {error}; the module must be importable from here") from error
    if not (isinstance(found, type) and issubclass(found, named.BaseTrainer)):
        raise SplatError(f"--trainer {name!r}: {attribute} is not a subclass of BaseTrainer; derive it from one")
    return found


def limit_option(cls: type[BaseTrainer]) -> str:
    """The option of a trainer that bounds the number of Gaussians; SplatError for one that never adds any."""
    known = flat_options(rules.option_groups(cls))
    for name in LIMITS:
        if name in known:
            return name
    raise SplatError(f"--max_gaussians: {cls.__name__} never adds Gaussians; leave the flag out, or use --mode densify")


def prepare_dataset(
    source: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    trainable_camera: bool = False,
    load_camera: str | os.PathLike[str] | None = None,
    load_mask: bool = True,
    load_depth: bool = True,
    *,
    resolution: int | None = None,
    image_scale: float | None = None,
    split: Split = "all",
    white_background: bool = False,
    alpha: AlphaUse | None = None,
    max_pixels: int | None = None,
    strict: bool = False,
) -> CameraDataset:
    """The cameras of a scene of any kind (see `open_scene`), or of a `cameras.json` when `load_camera` is given.

    Their poses and exposures are parameters when `trainable_camera`. `split` is "all", or "train"/"test" as the scene
    says, with every 8th view by sorted name held out where it says nothing. Pictures of more than `max_pixels` are
    refused before they are decoded. A missing picture is left out with a warning, or refused when `strict`.
    """
    from gaussian_splatting.dataset.pictures import PictureLimits
    from gaussian_splatting.dataset.scenes import open_scene
    from gaussian_splatting.dataset.trainable import FixedTrainableCameraDataset, TrainableCameraDataset

    dataset: CameraDataset
    limits = None if max_pixels is None else PictureLimits(max_pixels=max_pixels)
    if load_camera is not None:
        dataset = FixedTrainableCameraDataset(
            load_camera, load_mask=load_mask, load_depth=load_depth,
            split=split, resolution=resolution, image_scale=image_scale, limits=limits,
        )  # fmt: skip
    else:
        dataset = open_scene(
            source, split, load_mask=load_mask, load_depth=load_depth,
            resolution=resolution, image_scale=image_scale, alpha=alpha, limits=limits, strict=strict,
        )  # fmt: skip
    if white_background:
        dataset.bg_color = (1.0, 1.0, 1.0)
    return (TrainableCameraDataset(dataset) if trainable_camera else dataset).to(device)


def prepare_gaussians(
    sh_degree: int,
    source: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    trainable_camera: bool = False,
    load_ply: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    *,
    init: str = "points",
    init_ply: str | os.PathLike[str] | None = None,
    cameras: CameraDataset | None = None,
    seed: int = 0,
) -> GaussianModel:
    """Gaussians from a splat file, or started where `init` or `init_ply` says: see `start_gaussians`.

    With `cameras`, a start of which they see nothing is a SceneError.
    """
    gaussians = get_gaussian_model_class(backend, trainable_camera)(sh_degree, backend=backend).to(device)
    if load_ply is not None:
        started = gaussians.load_ply(load_ply)
    else:
        from gaussian_splatting.dataset.start import start_gaussians

        started = start_gaussians(gaussians, source, init=init, init_ply=init_ply, seed=seed, cameras=cameras)
        started = started.to(device)
    if cameras is not None:
        from gaussian_splatting.dataset.start_hull import require_seen

        require_seen(started.get_xyz.detach().double().cpu().numpy(), cameras)
    return started


def get_gaussian_model_class(backend: str, trainable_camera: bool = False) -> type[GaussianModel]:
    """The model class for a backend, surfels for a 2DGS one, with the gradient of the camera pose or without."""
    from gaussian_splatting.models import model_class

    return model_class(backend.endswith("-2dgs"), trainable_camera)


def backend_of_trainer(cls: type[BaseTrainer], backend: str) -> str:
    """The backend that "auto" means for a trainer: the 2DGS kin of auto for one that trains surfels."""
    return surface_backend(backend) if cls.trains_surfels else backend


def prepare_trainer(
    gaussians: GaussianModel,
    dataset: CameraDataset,
    mode: str,
    load_ply: str | os.PathLike[str] | None = None,
    with_scale_reg: bool = False,
    configs: Mapping[str, Any] | None = None,
    *,
    trainer: str | type[BaseTrainer] | None = None,
    iterations: int | None = None,
    seed: int = 0,
) -> BaseTrainer:
    """The trainer of a mode. With `iterations`, step numbers that `configs` does not name follow the run's length."""
    cls = trainer if isinstance(trainer, type) else trainer_class(mode, load_ply, trainer)
    cls = compose(cls, ["scale_reg"]) if with_scale_reg else cls
    options = dict(configs or {})
    if iterations is not None:
        options = scaled_options(cls, iterations, options)
    try:
        return cls(gaussians, dataset, seed=seed, **options)
    except (TypeError, ValueError) as error:
        if isinstance(error, SplatError):
            raise
        raise SplatError(str(error)) from error


def scaled_options(cls: type[BaseTrainer], iterations: int, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """The explicit options together with every step number scaled to a run of `iterations` steps."""
    groups = rules.option_groups(cls)
    before, after = flat_options(groups), flat_options(scaled_to_length(groups, iterations, explicit))
    changed = {name: entry.default for name, entry in after.items() if entry.default != before[name].default}
    return changed | dict(explicit)


def all_option_groups() -> dict[str, Options]:
    """The option groups of every feature and mode, for the flags of the command line; presets have other values."""
    groups: dict[str, Options] = {}
    modes = [cls for cls in named.NAMED.values() if not issubclass(cls, named.BaseFastTrainer)]
    for cls in (*FEATURES.values(), *modes):
        groups |= rules.option_groups(cls)
    return groups
