"""The surface that users know, frozen: a change here is a change for them, and belongs in the same commit."""

# Word lists read better than lists of quoted words.
# ruff: noqa: SIM905

from __future__ import annotations

import importlib

import pytest

import gaussian_splatting
from gaussian_splatting import prepare, trainer
from gaussian_splatting.cli.train_flags import build_parser
from gaussian_splatting.options import flat_options

PACKAGE = """
    BaseBestTrainer BaseCameraTrainer BaseDefaultTrainer BaseDensificationTrainer BaseDepthTrainer
    BaseFastTrainer BaseMCMCTrainer BaseOpacityResetDensificationCameraTrainer
    BaseOpacityResetDensificationTrainer BaseSHLiftCameraTrainer BaseSHLiftMCMCTrainer
    BaseSHLiftOpacityResetDensificationCameraTrainer BaseSHLiftOpacityResetDensificationTrainer
    BaseSHLiftTrainer BaseScaleRegularizeTrainer BaseTrainer BestTrainer Camera CameraDataset
    CameraTrainableGaussianModel CameraTrainer ColmapCameraDataset ColmapTrainableCameraDataset DefaultTrainer
    DepthCameraTrainer DepthMCMCTrainer DepthOpacityResetDensificationCameraTrainer
    DepthOpacityResetDensificationTrainer DepthSHLiftCameraTrainer DepthSHLiftMCMCTrainer
    DepthSHLiftOpacityResetDensificationCameraTrainer DepthSHLiftOpacityResetDensificationTrainer
    DepthSHLiftTrainer FastTrainer FixedTrainableCameraDataset GaussianModel JSONCameraDataset MCMCTrainer
    NormalCameraTrainer NormalOpacityResetDensificationCameraTrainer NormalOpacityResetDensificationTrainer
    NormalSHLiftCameraTrainer NormalSHLiftOpacityResetDensificationCameraTrainer
    NormalSHLiftOpacityResetDensificationTrainer NormalSHLiftTrainer NormalTrainer
    OpacityResetDensificationCameraTrainer OpacityResetDensificationTrainer SHLiftCameraTrainer
    SHLiftMCMCTrainer SHLiftOpacityResetDensificationCameraTrainer SHLiftOpacityResetDensificationTrainer
    SHLiftTrainer TrainableCameraDataset Trainer TransformsCameraDataset build_camera camera2dict check_trainer
    colmap_init compose dict2camera open_scene start_gaussians
""".split()

TRAINER = """
    AbsoluteGradients AngularSize AngularSizeOptions BaseBestTrainer BaseCameraTrainer
    BaseDefaultTrainer BaseDensificationTrainer BaseDepthTrainer BaseFastTrainer BaseMCMCTrainer
    BaseOpacityResetDensificationCameraTrainer BaseOpacityResetDensificationTrainer
    BaseSHLiftCameraTrainer BaseSHLiftMCMCTrainer BaseSHLiftOpacityResetDensificationCameraTrainer
    BaseSHLiftOpacityResetDensificationTrainer BaseSHLiftTrainer BaseScaleRegularizeTrainer
    BaseTrainer BestTrainer Budget BudgetOptions CameraOptions CameraPoses CameraTrainer Cameras
    DefaultTrainer Densify DensifyOptions Depth DepthCameraTrainer DepthDistortion
    DepthDistortionOptions DepthMCMCTrainer DepthOpacityResetDensificationCameraTrainer
    DepthOpacityResetDensificationTrainer DepthOptions DepthSHLiftCameraTrainer
    DepthSHLiftMCMCTrainer DepthSHLiftOpacityResetDensificationCameraTrainer
    DepthSHLiftOpacityResetDensificationTrainer DepthSHLiftTrainer Exposure ExposureOptions FEATURES
    FastTrainer FloaterRemoval FloaterRemovalOptions GaussianRates MCMC MCMCOptions MCMCTrainer
    NormalCameraTrainer NormalConsistency NormalConsistencyOptions
    NormalOpacityResetDensificationCameraTrainer NormalOpacityResetDensificationTrainer
    NormalSHLiftCameraTrainer NormalSHLiftOpacityResetDensificationCameraTrainer
    NormalSHLiftOpacityResetDensificationTrainer NormalSHLiftTrainer NormalTrainer Normals
    OpacityDecay OpacityDecayOptions OpacityReset OpacityResetDensificationCameraTrainer
    OpacityResetDensificationTrainer OpacityResetOptions PhotometricOptions PruneOptions RateRecipe
    RateRecipeOptions Resolution ResolutionOptions SHLift SHLiftCameraTrainer SHLiftMCMCTrainer
    SHLiftOpacityResetDensificationCameraTrainer SHLiftOpacityResetDensificationTrainer
    SHLiftOptions SHLiftTrainer ScaleRegularisation ScaleRegularisationOptions SHDropout
    SHDropoutOptions ShRest ShRestOptions State Trainer check_trainer compose per_gaussian
""".split()

MODES = """
    base camera camera-densify densify mcmc nodepth-base nodepth-camera nodepth-camera-densify nodepth-densify
    nodepth-mcmc normal-base normal-camera normal-camera-densify normal-densify
""".split()

FLAGS = """
    --alpha --antialiased --backend --checkpoint_interval --checkpoint_seconds --convert --debug --destination --device
    --empty_cache_every_step --epochs --eval --help --host --image_scale --init --init_ply --iteration --iterations
    --load_camera --load_ply --max_gaussians --max_pixels --minutes --mode --no_depth_data --no_image_mask --option
    --overwrite --packed --port --preset --quiet --radius_clip --resolution --resume --save_iterations --seed --shard
    --sh_degree --source --sparse_grad --strict --tensorboard --threads --trainer --viewer --white_background --with
    --with_scale_reg -d -h -i -l -o -r -s -w
""".split()

OPTIONS = {
    "angular_size_interval": 50,
    "angular_size_limit": 0.33,
    "bg_color": None,
    "budget_curve": "linear",
    "budget_density": 2300.0,
    "budget_exchange": 0.0,
    "budget_exchange_power": 1.0,
    "budget_from_iter": 4500,
    "budget_interval": 60,
    "budget_length_power": 0.5,
    "budget_opacity_threshold": 0.005,
    "budget_score": "gradient",
    "budget_score_views": 10,
    "budget_start": 0.2,
    "budget_target": None,
    "budget_until_iter": 18000,
    "budget_upper_bound": 10000000,
    "camera_exposure_gauge_weight": 10.0,
    "camera_exposure_length_power": 0.4,
    "camera_exposure_lr_delay_mult": 0.01,
    "camera_exposure_lr_final": 0.0001,
    "camera_exposure_lr_init": 0.001,
    "camera_exposure_lr_max_steps": 30000,
    "camera_exposure_prior_weight": 0.1,
    "camera_gauge_interval": 100,
    "camera_length_power": 0.5,
    "camera_position_lr_delay_mult": 0.01,
    "camera_position_lr_final": 1.6e-06,
    "camera_position_lr_init": 0.00016,
    "camera_position_lr_max_steps": 30000,
    "camera_rotation_lr_delay_mult": 0.01,
    "camera_rotation_lr_final": 1e-06,
    "camera_rotation_lr_init": 0.0001,
    "camera_rotation_lr_max_steps": 30000,
    "camera_warmup_from": 0.02,
    "camera_warmup_until_iter": 12000,
    "densify_from_iter": 500,
    "densify_grad_threshold": 0.0002,
    "densify_interval": 100,
    "densify_limit_n": None,
    "densify_min_scale": 1e-06,
    "densify_percent_dense": 0.01,
    "densify_percent_too_big": 0.8,
    "densify_target_lower_bound": 10000,
    "densify_target_upper_bound": 10000000,
    "densify_until_iter": 15000,
    "depth_distortion_from_iter": 3000,
    "depth_distortion_weight": 0.01,
    "depth_from_iter": 7500,
    "depth_ground_truth_is_inversed": True,
    "depth_opaque_from": 1.0,
    "depth_l1_weight_final": 0.01,
    "depth_l1_weight_init": 1.0,
    "depth_l1_weight_max_steps": 30000,
    "depth_local_relative_kernel_radius": 8,
    "depth_local_relative_stride": 4,
    "depth_rescale_mode": "local",
    "depth_resize": None,
    "feature_lr": 0.0025,
    "feature_rest_lr": None,
    "floater_removal_from_iter": 3000,
    "floater_removal_nearness": 0.6,
    "floater_removal_times": 7,
    "floater_removal_until_iter": 21000,
    "floater_removal_views": 6.0,
    "initial_sh_degree": 0,
    "lambda_dssim": 0.2,
    "mask_mode": "none",
    "mcmc_births": "gradient",
    "mcmc_cap_max": 1000000,
    "mcmc_copies": "split",
    "mcmc_from_iter": 500,
    "mcmc_growth": None,
    "mcmc_init_opacity": 0.5,
    "mcmc_init_scale": None,
    "mcmc_interval": 100,
    "mcmc_min_opacity": 0.005,
    "mcmc_noise_lr": 500000.0,
    "mcmc_opacity_reg": 0.01,
    "mcmc_scale_reg": 0.01,
    "mcmc_until_iter": 25000,
    "normal_consistency_from_iter": 7000,
    "normal_consistency_weight": 0.05,
    "opacity_decay_factor": 0.98,
    "opacity_decay_from_iter": 3000,
    "opacity_decay_interval": 50,
    "opacity_decay_until_iter": 18000,
    "opacity_lr": 0.025,
    "opacity_reset_from_iter": 3000,
    "opacity_reset_interval": 3000,
    "opacity_reset_until_iter": 15000,
    "position_lr_delay_mult": 0.01,
    "position_lr_final": 1.6e-06,
    "position_lr_init": 0.00016,
    "position_lr_max_steps": 30000,
    "prune_from_iter": 1000,
    "prune_interval": 100,
    "prune_opacity_threshold": 0.005,
    "prune_percent_too_big": 1.0,
    "prune_screensize_from_iter": 3000,
    "prune_screensize_threshold": 20,
    "prune_until_iter": 15000,
    "rate_recipe_decay_from_iter": 15000,
    "rate_recipe_factor": None,
    "rate_recipe_final": 0.2,
    "rate_recipe_harmonics": 2.0,
    "rate_recipe_highest": 4.0,
    "rate_recipe_power": 0.43,
    "resolution_blur": None,
    "resolution_coarse_until_iter": None,
    "resolution_coarsest": 4,
    "resolution_half_until_iter": None,
    "resolution_share": 1.0,
    "resolution_share_power": 0.18,
    "resolution_smallest_side": 100,
    "rotation_lr": 0.001,
    "run_length": 30000,
    "scale_reg_from_iter": 3000,
    "scale_reg_thr_scale": 1.0,
    "scale_reg_weight": 0.1,
    "scaling_lr": 0.005,
    "sh_degree_up_interval": 1000,
    "sh_dropout_rate": None,
    "sh_rest_from_iter": 0,
    "sh_rest_interval": 16,
}
"""Every option of every trainer with its default."""

ELSEWHERE = {
    "gaussian_splatting.models": ["GsplatGaussianModel", "CameraTrainableGsplatGaussianModel"],
    "gaussian_splatting.dataset": ["CameraDataset", "FixedTrainableCameraDataset", "TrainableCameraDataset"],
    "gaussian_splatting.dataset.dataset": ["CameraDataset"],
    "gaussian_splatting.dataset.camera_trainable": ["TrainableCameraDataset", "exposure_postprocess"],
    "gaussian_splatting.dataset.colmap": [
        "ColmapCamera", "ColmapCameraDataset", "ColmapTrainableCameraDataset", "colmap_init", "read_colmap_cameras",
        "read_colmap_points3D",
    ],
    "gaussian_splatting.gaussian_model": ["GaussianModel", "build_covariance_from_scaling_rotation"],
    "gaussian_splatting.prepare": [
        "backends", "basemodes", "shliftmodes", "get_gaussian_model_class", "prepare_dataset", "prepare_gaussians",
        "prepare_trainer",
    ],
    "gaussian_splatting.train": ["training"],
    "gaussian_splatting.render": ["prepare_rendering", "rendering", "build_pcd", "build_pcd_rescale"],
}  # fmt: skip
"""Names that programs import from modules of their own."""


def test_the_names_of_the_package():
    assert sorted(gaussian_splatting.__all__) == sorted(PACKAGE)
    assert [name for name in PACKAGE if getattr(gaussian_splatting, name, None) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchName'"):
        gaussian_splatting.NoSuchName  # noqa: B018


def test_the_names_of_the_trainers():
    assert sorted(trainer.__all__) == sorted(TRAINER)
    assert [name for name in TRAINER if not hasattr(trainer, name)] == []


def test_every_named_trainer_is_a_name_of_the_package():
    assert {name for name in trainer.__all__ if name.endswith("Trainer")} <= set(gaussian_splatting.__all__)


@pytest.mark.parametrize("module", ELSEWHERE)
def test_the_names_of_other_modules(module):
    found = importlib.import_module(module)
    assert [name for name in ELSEWHERE[module] if not hasattr(found, name)] == []


def test_the_modes():
    assert sorted(prepare.basemodes) == sorted(prepare.shliftmodes) == sorted(MODES)


def test_the_flags_of_train():
    options = {f"--{name}" for name in OPTIONS}
    found = {text for action in build_parser()._actions for text in action.option_strings}
    assert options <= found
    assert sorted(found - options) == sorted(FLAGS)


def test_the_options_and_their_defaults():
    found = {name: entry.default for name, entry in flat_options(prepare.all_option_groups()).items()}
    assert found == OPTIONS
