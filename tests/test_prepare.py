"""The factories: the trainer of every mode, user classes, features by flag, and datasets with trainable cameras."""

from __future__ import annotations

import sys

import pytest
import torch

from gaussian_splatting import prepare
from gaussian_splatting.camera_trainable import CameraTrainableGaussianModel
from gaussian_splatting.dataset import FixedTrainableCameraDataset, TrainableCameraDataset
from gaussian_splatting.errors import SplatError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.trainer import BaseTrainer, ScaleRegularisation
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

# Mode -> trainer from a splat file; from points "SHLift" comes before these names.
MODES = {
    "base": "Trainer",
    "densify": "OpacityResetDensificationTrainer",
    "mcmc": "MCMCTrainer",
    "camera": "CameraTrainer",
    "camera-densify": "OpacityResetDensificationCameraTrainer",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("prefix", "family"), [("", "Depth"), ("nodepth-", "Base"), ("normal-", "Normal")])
def test_a_mode_means_the_trainer_of_its_name(mode, prefix, family):
    from gaussian_splatting.trainer.named import NAMED

    if (mode, prefix) == ("mcmc", "normal-"):
        assert "normal-mcmc" not in prepare.basemodes
        return
    name = MODES[mode]
    from_file = {"Depth": name, "Base": f"Base{name}", "Normal": f"Normal{name}"}[family]
    from_points = {"Depth": f"SHLift{name}", "Base": f"BaseSHLift{name}", "Normal": f"NormalSHLift{name}"}[family]
    assert prepare.trainer_class(prefix + mode, load_ply="some.ply") is NAMED[from_file]
    assert prepare.trainer_class(prefix + mode) is NAMED[from_points]


def test_both_tables_have_the_same_modes_and_camera_modes_train_cameras():
    assert set(prepare.basemodes) == set(prepare.shliftmodes)
    for modes in (prepare.basemodes, prepare.shliftmodes):
        assert all(cls.trains_cameras == ("camera" in mode) for mode, cls in modes.items())


def test_an_unknown_mode_is_refused_with_the_nearest():
    with pytest.raises(SplatError, match="there is no mode 'densfiy'; nearest: densify"):
        prepare.trainer_class("densfiy")


def test_features_are_added_to_the_mode():
    cls = prepare.trainer_class("nodepth-base", features=["depth", "cameras"])
    assert cls.trains_cameras
    assert issubclass(cls, prepare.shliftmodes["nodepth-base"])
    with pytest.raises(SplatError, match="there is no feature 'camera'; nearest: cameras"):
        prepare.trainer_class("base", features=["camera"])
    with pytest.raises(SplatError, match="each is a whole densification; keep one"):
        prepare.trainer_class("densify", features=["mcmc"])


def test_scale_regularisation_is_added_by_its_flag():
    trainer = prepare.prepare_trainer(
        tiny_model(), TinyDataset(), "nodepth-base", None, True, {"scale_reg_weight": 0.2}
    )
    assert isinstance(trainer, ScaleRegularisation)
    assert trainer.scale_reg.weight == 0.2


def test_a_trainer_of_ones_own_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_trainers.py").write_text(
        "from gaussian_splatting.trainer import Depth\n\n\nclass Mine(Depth):\n    '''Mine.'''\n\n\nnot_a_class = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cls = prepare.trainer_class("base", trainer="my_trainers:Mine")
    assert cls.__name__ == "Mine"
    with pytest.raises(SplatError, match="not_a_class is not a subclass of BaseTrainer"):
        prepare.trainer_class("base", trainer="my_trainers:not_a_class")
    with pytest.raises(SplatError, match="has no attribute 'Other'"):
        prepare.trainer_class("base", trainer="my_trainers:Other")
    with pytest.raises(SplatError, match="No module named 'no_such_module'"):
        prepare.trainer_class("base", trainer="no_such_module:Mine")
    sys.modules.pop("my_trainers")


def test_a_named_trainer_needs_no_module():
    assert prepare.trainer_class("base", trainer="BaseTrainer") is BaseTrainer
    with pytest.raises(SplatError, match=r"expected package.module:Class or a named trainer, for example \w*Trainer"):
        prepare.trainer_class("base", trainer="NoSuchTrainer")


def test_the_model_follows_the_cameras():
    assert prepare.get_gaussian_model_class("auto") is GaussianModel
    assert prepare.get_gaussian_model_class("cpu", trainable_camera=True) is CameraTrainableGaussianModel


def test_the_bound_on_the_number_goes_to_the_strategy():
    assert prepare.limit_option(prepare.trainer_class("densify")) == "densify_target_upper_bound"
    assert prepare.limit_option(prepare.trainer_class("mcmc")) == "mcmc_cap_max"
    with pytest.raises(SplatError, match="never adds Gaussians"):
        prepare.limit_option(prepare.trainer_class("base"))


def test_the_dataset_follows_the_flags(shared_data, tmp_path):
    scene = shared_data / "fox_colmap"
    plain = prepare.prepare_dataset(scene, image_scale=0.1, split="test")
    assert len(plain) == 7
    trainable = prepare.prepare_dataset(scene, "cpu", True, image_scale=0.1, split="test")
    assert isinstance(trainable, TrainableCameraDataset)
    white = prepare.prepare_dataset(scene, "cpu", True, image_scale=0.1, white_background=True)
    assert torch.equal(white.geometry(0).bg_color, torch.ones(3))
    trainable.exposures.data[0] *= 1.1
    trainable.save_cameras(tmp_path / "cameras.json")
    fixed = prepare.prepare_dataset(scene, load_camera=tmp_path / "cameras.json")
    assert isinstance(fixed, FixedTrainableCameraDataset)
    assert torch.equal(fixed.exposures, trainable.exposures)
    again = prepare.prepare_dataset(scene, "cpu", True, tmp_path / "cameras.json")
    assert torch.equal(again.exposures, trainable.exposures)


def test_step_numbers_follow_the_length_unless_given():
    cls = prepare.trainer_class("camera-densify")
    found = prepare.scaled_options(cls, 3_000, {"depth_from_iter": 5})
    assert found["depth_from_iter"] == 5
    assert found["camera_rotation_lr_max_steps"] == 3_000
    assert found["camera_exposure_lr_max_steps"] == 3_000
    assert found["depth_l1_weight_max_steps"] == 3_000
    assert "camera_rotation_lr_init" not in found
