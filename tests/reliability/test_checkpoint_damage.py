"""Rows E10 and E14: damaged checkpoints of a run, and checkpoints of every released format."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
import torch
from mutations import Damage, bounded_time
from toy import QUICK, ToyDataset, results, toy_run, toy_trainer

from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io import checkpoint
from gaussian_splatting.io.checkpoint import CheckpointFolder, read_checkpoint
from gaussian_splatting.runs.resume import put_back
from gaussian_splatting.trainer.named import NAMED

pytestmark = pytest.mark.usefixtures("one_thread")

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("checkpoint_format_*.safetensors"))
MANY = [pytest.param(5_000, id="5k"), pytest.param(200_000, id="200k", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "run"
    toy_run(folder)
    return folder


@pytest.mark.parametrize("number", MANY)
def test_no_damage_is_believed_and_the_checkpoint_before_is_taken(run: Path, tmp_path: Path, number: int):
    folder = CheckpointFolder(shutil.copytree(run / "checkpoints", tmp_path / "checkpoints"))
    older, newer = folder.steps()
    whole, before = folder.file(newer).read_bytes(), read_checkpoint(folder.file(older)).tensors
    damaged = 0
    with bounded_time() as begin:
        for data in Damage([whole], seed=number).cases(number):
            if data == whole:
                continue
            begin()
            folder.file(newer).write_bytes(data)
            found, skipped = folder.newest()
            assert found is not None
            assert found.path == folder.file(older)
            assert len(skipped) == 1
            assert skipped[0].startswith(f"{folder.file(newer)}: ")
            assert torch.equal(found.tensors["parameter.xyz"], before["parameter.xyz"])
            damaged += 1
    assert damaged > 0.95 * number


def test_without_the_digest_much_of_it_is_believed(run: Path, tmp_path: Path, monkeypatch):
    """The control."""
    monkeypatch.setattr(checkpoint, "_require_whole", lambda *_: None)
    whole, believed = CheckpointFolder(run / "checkpoints").file(6).read_bytes(), 0
    for data in Damage([whole], seed=1).cases(500):
        (tmp_path / "a").write_bytes(data)
        with contextlib.suppress(CheckpointError):
            believed += data != whole and read_checkpoint(tmp_path / "a") is not None
    assert believed > 50


def test_the_run_goes_on_from_the_checkpoint_before(run: Path, tmp_path: Path):
    folder = shutil.copytree(run, tmp_path / "run")
    newest = folder / "checkpoints/step_000006.safetensors"
    for data in Damage([newest.read_bytes()], seed=2).cases(12):
        newest.write_bytes(data)
        toy_run(folder)
        assert results(folder) == results(run)


# E14


def test_every_format_has_a_fixture():
    assert [path.stem.removeprefix("checkpoint_format_") for path in FIXTURES] == [
        str(number) for number in range(1, checkpoint.VERSION + 1)
    ]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_checkpoint_of_a_released_version_is_loaded_and_trained_on(path: Path):
    assert path.stat().st_size < 100_000
    stored = read_checkpoint(path)
    settings = stored.description["settings"]
    options = {name: value for name, value in settings.items() if name in QUICK}
    trainer = toy_trainer(NAMED[stored.description["trainer"]], seed=settings["seed"], **options)
    put_back(trainer, stored)
    assert trainer.curr_step == stored.description["step"] == 6
    for loss, _ in trainer.run(ToyDataset(), 10):
        assert torch.isfinite(loss)
