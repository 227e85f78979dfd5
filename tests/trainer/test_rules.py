"""The rules of a feature are enforced when its class is made, with a message that names the cure."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer import BaseTrainer, Densify, DensifyOptions, SHLift
from gaussian_splatting.trainer.named import NAMED


@dataclass(frozen=True, kw_only=True)
class GlowOptions(Options):
    """How it glows."""

    weight: float = option(0.1, "weight of the glow")


def test_overriding_a_sealed_method_names_the_hooks():
    with pytest.raises(TypeError, match=r"Mine overrides step\(\); extend a hook instead: setup, preprocess"):
        type("Mine", (BaseTrainer,), {"step": lambda self, camera: None})


def test_an_init_is_refused():
    with pytest.raises(TypeError, match=r"Mine overrides __init__\(\)"):
        type("Mine", (BaseTrainer,), {"__init__": lambda self: None})


def test_a_hook_without_super_is_refused():
    with pytest.raises(TypeError, match=r"Mine\.refine\(\) must call super\(\)\.refine\(\)"):

        class Mine(BaseTrainer):
            def refine(self):
                pass


def test_a_misspelt_hook_is_refused():
    with pytest.raises(TypeError, match=r"Mine\.after_steps\(\) is never called; hooks are"):

        class Mine(BaseTrainer):
            def after_steps(self):
                pass


def test_two_features_may_not_claim_one_group():
    class Other(BaseTrainer):
        densify = GlowOptions()

    with pytest.raises(TypeError, match="both claim the group 'densify'; rename one of them"):
        type("Both", (Other, Densify), {})


def test_a_wrong_base_order_is_refused_by_python():
    with pytest.raises(TypeError, match="MRO"):
        type("Wrong", (BaseTrainer, SHLift), {})


def test_a_subclass_may_change_defaults():
    class Mine(Densify):
        densify = DensifyOptions(interval=50)

    assert Mine.densify.interval == 50


def test_every_named_trainer_has_a_docstring_and_a_description():
    for name, cls in NAMED.items():
        assert cls.__doc__, name
        assert cls.describe().startswith(f"{cls.__name__}: ")
    assert "after_step     OpacityReset" in NAMED["BaseOpacityResetDensificationTrainer"].describe()


def test_two_whole_strategies_are_refused_and_a_refined_one_is_not():
    class Other(BaseTrainer):
        strategy = "densification"

    with pytest.raises(TypeError, match="Both combines Other and Densify, and each is a whole densification; keep one"):
        type("Both", (Other, Densify), {})

    class Finer(Densify):
        strategy = "densification"

    assert issubclass(Finer, Densify)
