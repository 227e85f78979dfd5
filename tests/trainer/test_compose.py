"""Features put together at run time."""

from __future__ import annotations

import pytest

from gaussian_splatting.trainer import (
    FEATURES,
    BaseDensificationTrainer,
    BaseDepthTrainer,
    BaseTrainer,
    CameraPoses,
    Depth,
    DepthCameraTrainer,
    Exposure,
    ScaleRegularisation,
    compose,
)
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def test_a_composition_is_a_class_with_a_name_and_a_docstring():
    cls = compose(BaseDensificationTrainer, ["depth", "scale_reg"])
    assert issubclass(cls, (Depth, ScaleRegularisation, BaseDensificationTrainer))
    assert cls.__name__ == "DepthScaleRegularisationBaseDensificationTrainer"
    assert cls.__doc__ == "BaseDensificationTrainer with Depth, ScaleRegularisation."


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_every_feature_goes_with_the_base(name):
    assert issubclass(compose(BaseTrainer, [name]), FEATURES[name])


def test_what_is_there_already_changes_nothing():
    assert compose(BaseDepthTrainer, ["depth"]) is BaseDepthTrainer
    assert compose(DepthCameraTrainer, ["cameras", "poses", "exposure", "depth"]) is DepthCameraTrainer
    assert compose(BaseTrainer, []) is BaseTrainer


def test_a_feature_that_brings_another_along_does_not_clash_with_it():
    cls = compose(BaseTrainer, ["exposure", "cameras", "cameras"])
    assert issubclass(cls, CameraPoses)
    assert issubclass(cls, Exposure)


def test_classes_of_ones_own_are_features_too():
    class Glow(BaseTrainer):
        """Adds nothing yet."""

    assert issubclass(compose(BaseDepthTrainer, [Glow]), Glow)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(TypeError, match="there is no feature 'dpeth'; nearest: depth"):
        compose(BaseTrainer, ["dpeth"])


def test_options_of_all_parts_are_options_of_the_whole():
    cls = compose(BaseTrainer, ["depth", "scale_reg"])
    trainer = cls(tiny_model(), TinyDataset(), depth_from_iter=3, scale_reg_weight=0.5)
    assert trainer.depth.from_iter == 3
    assert trainer.scale_reg.weight == 0.5


def test_the_same_parts_in_another_order_give_the_same_bits():
    from gaussian_splatting.trainer.snapshot import capture

    states = []
    for names in (["depth", "densify", "opacity_reset"], ["opacity_reset", "depth", "densify"]):
        trainer = compose(BaseTrainer, names)(
            tiny_model(), TinyDataset(), depth_from_iter=1, densify_from_iter=1, densify_interval=2,
            densify_target_lower_bound=0, opacity_reset_from_iter=2, opacity_reset_interval=3,
        )  # fmt: skip
        for _ in trainer.run(trainer.dataset, 7):
            pass
        states.append({name: tensor.tolist() for name, tensor in capture(trainer).items()})
    assert states[0] == states[1]
