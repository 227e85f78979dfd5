"""Rows G1, G2, G3, G5 and G7: what the result depends on, and what it does not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import make_scene, splat
from toy import results, toy_run
from zygote import Zygote

from gaussian_splatting.options import flat_options
from gaussian_splatting.trainer import rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.conformance import QUICK
from gaussian_splatting.trainer.densify import Densify
from gaussian_splatting.trainer.depth import Depth
from gaussian_splatting.trainer.opacity_reset import OpacityReset
from gaussian_splatting.trainer.scale_regularisation import ScaleRegularisation
from gaussian_splatting.trainer.sh_lift import SHLift
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import tiny_dataset, tiny_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

STEPS = 40
SETTINGS = [
    "--mode", "densify", "-i", str(STEPS), "--sh_degree", "1", "--densify_interval", "10", "--densify_from_iter", "5",
    "--prune_interval", "10", "--prune_from_iter", "15", "--eval",
]  # fmt: skip
PLY = f"point_cloud/iteration_{STEPS}/point_cloud.ply"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene(tmp_path_factory.mktemp("scene") / "scene", splat(), 9)


@pytest.fixture(scope="module")
def expected(zygote: Zygote, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    run = tmp_path_factory.mktemp("first") / "run"
    assert zygote.trial("command", "-s", str(scene), "-d", str(run), *SETTINGS, "--quiet") == 0
    found = results(run)
    assert PLY in found
    return found


# Each axis: what changes, given the scene and a folder for the run, as flags and hooks of the trial.
Axis = Callable[[Path, Path], tuple[list[str], dict[str, Any]]]


def renamed(scene: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    copy = shutil.copytree(scene, folder / "süß scene")
    return ["-s", str(copy), "-d", str(folder / "a b" / "läuft")], {}


def files_made_backwards(scene: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The same files, made in the opposite order and at other times."""
    for path in sorted(scene.rglob("*"), reverse=True):
        target = folder / "scene" / path.relative_to(scene)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            os.utime(target, (time.time() - random.randint(0, 10**8),) * 2)
    return ["-s", str(folder / "scene"), "-d", str(folder / "run")], {}


def flags(*given: str, **hooks: Any) -> Axis:
    return lambda scene, folder: (["-s", str(scene), "-d", str(folder / "run"), *given], hooks)


def elsewhere(scene: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    return ["-s", os.path.relpath(scene, folder), "-d", "run"], {"directory": str(folder)}


AXES: dict[str, Axis] = {
    "again": flags("--quiet"),
    "working directory": elsewhere,
    "names of folders": renamed,
    "order and times of files": files_made_backwards,
    "progress bar": flags(),
    "save interval": flags("--save_iterations", "3", "9", "22", "--quiet"),
    "checkpoints by steps": flags("--checkpoint_interval", "1", "--quiet"),
    "checkpoints by time": flags("--checkpoint_seconds", "0.01", "--quiet"),
    "no checkpoints on the way": flags("--checkpoint_seconds", "0", "--quiet"),
    "time zone": flags("--quiet", environment={"TZ": "Asia/Kathmandu"}),
    "locale": flags("--quiet", environment={"LC_ALL": "de_DE.UTF-8"}, locale=["de_DE.UTF-8", "C"]),
    "debug": flags("--debug", "--quiet"),
}  # fmt: skip


@pytest.mark.parametrize("axis", AXES.values(), ids=AXES.keys())
def test_the_result_does_not_depend_on(
    zygote: Zygote, scene: Path, expected: dict[str, str], tmp_path: Path, axis: Axis
):
    given, hooks = axis(scene, tmp_path)
    assert zygote.trial("command", *given, *SETTINGS, log=tmp_path / "log", **hooks) == 0, (
        tmp_path / "log"
    ).read_text()
    destination = Path(hooks.get("directory", ".")) / given[given.index("-d") + 1]
    found = results(destination)
    wanted = {name: value for name, value in expected.items() if "evaluations" not in name}
    assert {name: found[name] for name in wanted} == wanted


def fresh_process(scene: Path, run: Path, *given: str, **environment: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "gaussian_splatting.train", "-s", str(scene), "-d", str(run), *SETTINGS, *given]
    subprocess.run(command, env=clean | environment, check=True, capture_output=True, timeout=300)
    return results(run, everything=False)


def without_checkpoints(found: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if "checkpoints" not in name and "evaluations" not in name}


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_the_result_does_not_depend_on_the_hash_seed(scene: Path, expected, tmp_path: Path, seed: str):
    found = fresh_process(scene, tmp_path / "run", "--quiet", PYTHONHASHSEED=seed, NUMBA_NUM_THREADS="1")
    assert without_checkpoints(found) == without_checkpoints(expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_result_does_not_depend_on_the_number_of_threads(scene: Path, expected, tmp_path: Path, threads: int):
    """G3, with the kernels' own promise behind it."""
    found = fresh_process(scene, tmp_path / "run", "--quiet", "--threads", str(threads))
    assert without_checkpoints(found) == without_checkpoints(expected)


# G5: on a trainer, because an inactive feature has no flags of its own


def train(features: tuple[type[BaseTrainer], ...], **options: Any) -> dict[str, torch.Tensor]:
    cls = type("Combined", features, {})
    known = flat_options(rules.option_groups(cls))
    trainer = cls(tiny_model(cls), tiny_dataset(cls), **{n: v for n, v in (QUICK | options).items() if n in known})
    for _ in trainer.run(tiny_dataset(cls), 25):
        pass
    return capture(trainer)


INACTIVE: dict[str, tuple[type[BaseTrainer], dict[str, Any]]] = {
    "densify": (Densify, {"densify_from_iter": 1000, "prune_from_iter": 1000}),
    "opacity reset": (OpacityReset, {"opacity_reset_from_iter": 1000}),
    "SH lift": (SHLift, {"initial_sh_degree": 2}),
    "depth": (Depth, {"depth_from_iter": 1000}),
    "scale": (ScaleRegularisation, {"scale_reg_from_iter": 1000}),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("feature", "options"), INACTIVE.values(), ids=INACTIVE.keys())
def test_an_inactive_feature_changes_no_bit(feature: type[BaseTrainer], options: dict[str, Any]):
    plain, with_feature = train((BaseTrainer,)), train((feature,), **options)
    assert all(torch.equal(with_feature[name], value) for name, value in plain.items())


@pytest.mark.usefixtures("one_thread")
def test_an_active_feature_changes_some():
    """The control."""
    plain, reset = train((BaseTrainer,)), train((OpacityReset,))
    assert any(not torch.equal(reset[name], value) for name, value in plain.items())


# G7


@pytest.mark.usefixtures("one_thread")
def test_a_whole_run_leaves_the_global_generators_alone(tmp_path: Path):
    def states() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = states()
    toy_run(tmp_path / "run")
    assert states() == before


def test_what_the_generators_hold_does_not_matter(zygote: Zygote, tmp_path: Path):
    for seed in (1, 2):
        assert zygote.trial("seeded_toy", str(tmp_path / str(seed)), seed, log=tmp_path / "log") == 0
    assert results(tmp_path / "1") == results(tmp_path / "2")
