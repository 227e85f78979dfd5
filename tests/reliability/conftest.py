"""What the tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import Stopped, results, stopping, toy_run
from train_command import Command
from zygote import Zygote

from gaussian_splatting.io.checkpoint import CheckpointFolder


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One that forks for all tests of a module."""
    found = Zygote()
    yield found
    found.close()


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, str]:
    """The results of a run that nothing disturbed."""
    toy_run(tmp_path / "undisturbed")
    return results(tmp_path / "undisturbed")


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run that ended during step 4 of 6; the last checkpoint is of step 3, where it was rescued."""
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        toy_run(folder, make=stopping(4))
    assert CheckpointFolder(folder / "checkpoints").steps() == [2, 3]
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The train command, into a folder of this test."""
    return Command(capsys, tmp_path / "run")
