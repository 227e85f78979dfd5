"""Every name that users know is a class, and the class is what the name says."""

from __future__ import annotations

import pytest

from gaussian_splatting import trainer
from gaussian_splatting.trainer import (
    MCMC,
    BaseTrainer,
    Budget,
    CameraPoses,
    Densify,
    Depth,
    DepthDistortion,
    Exposure,
    NormalConsistency,
    OpacityReset,
    RateRecipe,
    Resolution,
    ScaleRegularisation,
    SHLift,
)
from gaussian_splatting.trainer.named import NAMED

PARTS = {
    "Depth": {Depth},
    "Camera": {CameraPoses, Exposure},
    "OpacityReset": {OpacityReset},
    "Densification": {Densify},
    "SHLift": {SHLift},
    "Normal": {Depth, NormalConsistency, DepthDistortion},
    "MCMC": {MCMC},
    "ScaleRegularize": {ScaleRegularisation},
    "Fast": {SHLift, Budget, Resolution, RateRecipe},
    "Default": {SHLift, Budget, Resolution, RateRecipe},
    "Best": {SHLift, Budget, Resolution, RateRecipe},
}
FEATURES = set().union(*PARTS.values())


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_name_has_the_features_that_it_names_and_no_others(name):
    expected = set().union(*(features for part, features in PARTS.items() if part in name))
    if not name.startswith("Base"):
        expected |= {Depth}  # the short names mean "with depth maps"
    assert {feature for feature in FEATURES if issubclass(NAMED[name], feature)} == expected


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_name_can_be_imported_subclassed_and_described(name):
    cls = getattr(trainer, name)
    assert cls is NAMED[name]
    assert name in trainer.__all__
    mine = type("Mine", (cls,), {"__doc__": "A trainer of mine."})
    assert issubclass(mine, BaseTrainer)
    assert mine.describe().startswith("Mine: A trainer of mine.")
    assert cls.__doc__


def test_short_names_are_the_trainers_with_depth_maps():
    short = [name for name in NAMED if "Depth" + name in NAMED]
    assert len(short) == 9
    for name in short:
        assert NAMED[name] is NAMED["Depth" + name]
    assert trainer.Trainer is trainer.BaseDepthTrainer


def test_describe_says_which_feature_acts_at_which_hook():
    text = trainer.DepthSHLiftOpacityResetDensificationCameraTrainer.describe()
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:7]}
    assert set(lines["losses"]) - {"<-"} == {"Depth", "Exposure", "BaseTrainer"}
    assert lines["refine"] == ["Densify", "<-", "BaseTrainer"]
    assert set(lines["after_step"]) - {"<-"} == {"CameraPoses", "OpacityReset", "BaseTrainer"}
    assert set(lines["preprocess"]) - {"<-"} == {"CameraPoses", "SHLift", "BaseTrainer"}


def test_describe_lists_the_options_and_needs_no_docstring():
    class Mine(trainer.SHLift):
        sh_lift = trainer.SHLiftOptions(up_interval=7)

    text = Mine.describe()
    assert text.startswith("Mine: Adds the rise of the SH degree")
    assert "  sh_lift: sh_degree_up_interval=7, initial_sh_degree=0" in text.splitlines()
