"""--preset: a named trainer, a length of its own, the bound on the number, and what it does not go together with."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import make_scene, splat

from gaussian_splatting import prepare, train
from gaussian_splatting.cli.option_flags import flag_table
from gaussian_splatting.errors import SplatError
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.trainer import named
from gaussian_splatting.trainer.presets import PRESETS, Preset

SHORT = ("--quiet", "--threads", "1", "--budget_from_iter", "2", "--budget_interval", "2")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A COLMAP folder of nine small views without depth maps."""
    return make_scene(tmp_path_factory.mktemp("presets") / "scene", splat())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_named_trainer(name):
    assert prepare.trainer_class("base", preset=name) is PRESETS[name].trainer
    assert PRESETS[name].trainer in named.NAMED.values()
    assert name in flag_table()["presets"]


def test_the_length_grows_with_the_root_of_the_views_beyond_fifty():
    preset = Preset(named.FastTrainer, 1_200)
    assert [preset.length(views) for views in (3, 50, 200)] == [1_200, 1_200, 2_400]


def test_a_long_recipe_takes_fewer_steps_for_a_handful_of_views():
    preset = Preset(named.BestTrainer, 5_000, enough_views=24)
    assert [preset.length(views) for views in (1, 12, 24, 50, 200)] == [208, 2_500, 5_000, 5_000, 10_000]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_and_keeps_to_the_bound(name, scene, tmp_path):
    flags = ["--preset", name, *SHORT, "-i", "12", "--max_gaussians", "70"]
    assert train.main(["-s", str(scene), "-d", str(tmp_path / "run"), *flags]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.settings()["preset"] == name
    assert run.settings()["trainer"] == PRESETS[name].trainer.__name__
    assert 0 < run.read_metrics()[-1]["num_gaussians"] <= 70


def test_without_i_the_preset_says_how_long(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "fast", Preset(named.FastTrainer, 14))
    assert train.main(["-s", str(scene), "-d", str(tmp_path / "run"), "--preset", "fast", *SHORT]) == 0
    assert RunFolder(tmp_path / "run").point_cloud(14).is_file()


def test_a_preset_goes_on_from_a_splat_with_all_degrees(scene, tmp_path):
    flags = ["--preset", "fast", *SHORT, "-i", "4", "--sh_degree", "1"]
    assert train.main(["-s", str(scene), "-d", str(tmp_path / "one"), *flags]) == 0
    start = str(RunFolder(tmp_path / "one").point_cloud(4))
    assert train.main(["-s", str(scene), "-d", str(tmp_path / "two"), *flags, "-l", start]) == 0
    assert RunFolder(tmp_path / "two").settings()["options"]["initial_sh_degree"] == 1


def test_a_preset_replaces_the_mode_and_the_trainer(scene, tmp_path, capsys):
    call = ["-s", str(scene), "-d", str(tmp_path / "run"), "--preset", "fast"]
    assert train.main([*call, "--mode", "densify"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(SplatError, match="--preset fast is a trainer of its own, and so is --trainer BaseTrainer"):
        prepare.trainer_class("base", trainer="BaseTrainer", preset="fast")
    with pytest.raises(SplatError, match="there is no preset 'fats'; nearest: fast"):
        prepare.trainer_class("base", preset="fats")


def test_options_of_other_trainers_are_refused_by_name(scene, tmp_path, capsys):
    call = ["-s", str(scene), "-d", str(tmp_path / "run"), "--preset", "fast", "--densify_interval", "7"]
    assert train.main(call) == 2
    assert "FastTrainer has no option 'densify_interval'" in capsys.readouterr().err
