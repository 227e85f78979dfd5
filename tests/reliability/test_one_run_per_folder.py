"""Row E15: one writer per run folder, and folders that are copied, moved or replaced."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import STEPS, results, toy_run, toy_trainer

from gaussian_splatting.errors import SplatError
from gaussian_splatting.runs import lock as run_lock
from gaussian_splatting.runs.lock import RunLock
from gaussian_splatting.trainer.base import BaseTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

HOLDER = """
import sys, time
from gaussian_splatting.runs.lock import RunLock
lock = RunLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `tmp_path / "run"`."""
    (tmp_path / "run").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_with_pid_and_host(tmp_path: Path, holder):
    with pytest.raises(SplatError) as caught:
        toy_run(tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path}/run: process {holder.pid} on host {socket.gethostname()!r} is writing to this run; "
        "wait for it, or choose another -d"
    )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


@pytest.mark.parametrize("settings", [{"overwrite": True}, {"resume": "never"}])
def test_no_flag_gets_past_another_process(tmp_path: Path, holder, settings):
    with pytest.raises(SplatError, match="is writing to this run"):
        toy_run(tmp_path / "run", **settings)


def test_a_killed_holder_leaves_a_note_that_is_explained(tmp_path: Path, holder):
    holder.kill()
    holder.wait()
    said: list[str] = []
    toy_run(tmp_path / "run", say=said.append)
    assert said[0] == (
        f"{tmp_path}/run: process {holder.pid} on host {socket.gethostname()!r} did not close this run: "
        "it was killed, or the folder was copied"
    )


def test_the_lock_is_gone_after_a_run_and_after_an_error(tmp_path: Path):
    toy_run(tmp_path / "run")
    assert not (tmp_path / "run/run.lock").exists()
    with pytest.raises(SplatError):
        toy_run(tmp_path / "run", 2)
    assert not (tmp_path / "run/run.lock").exists()
    RunLock(tmp_path / "run").release()


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path):
    with RunLock(tmp_path), pytest.raises(SplatError, match=f"process {os.getpid()} on host"):
        RunLock(tmp_path)


@pytest.mark.parametrize("note", [b"", b"{", b"[1]", b'{"pid": "x"}', b'{"pid": -1, "host": 3}', b"\xff" * 9000])
def test_a_damaged_note_does_not_stop_anybody(tmp_path: Path, note: bytes):
    (tmp_path / "run.lock").write_bytes(note)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None
        assert json.loads((tmp_path / "run.lock").read_bytes())["pid"] == os.getpid()


# Where folders cannot be locked


@pytest.fixture
def no_flock(monkeypatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", refuse)


def write_note(folder: Path, **values: object) -> None:
    holder = {"pid": os.getppid(), "host": socket.gethostname(), "began": run_lock._birth(os.getppid())}
    (folder / "run.lock").write_text(json.dumps(holder | values))


def test_without_locks_a_living_process_keeps_its_folder(tmp_path: Path, no_flock):
    write_note(tmp_path)
    with pytest.raises(
        SplatError, match=rf"process {os.getppid()} on host .* seems to be writing .* remove .*run.lock"
    ):
        RunLock(tmp_path)


def test_without_locks_a_process_on_another_host_is_believed(tmp_path: Path, no_flock):
    write_note(tmp_path, host="elsewhere")
    with pytest.raises(SplatError, match="on host 'elsewhere' seems to be writing"):
        RunLock(tmp_path)


@pytest.mark.parametrize("values", [{"pid": 2**22 + 1}, {"began": "1"}], ids=["ended", "number given again"])
def test_without_locks_an_ended_process_is_stale(tmp_path: Path, no_flock, values):
    write_note(tmp_path, **values)
    with RunLock(tmp_path) as lock:
        assert lock.stale is not None
        assert lock.is_held()
    assert not (tmp_path / "run.lock").exists()


# Copied, moved, replaced


def at_step(step: int, action) -> BaseTrainer:
    """A trainer at whose step `step` something happens to its folder."""
    trainer = toy_trainer()
    preprocess = trainer.preprocess

    def act(camera):
        if trainer.curr_step == step:
            action()
        return preprocess(camera)

    trainer.preprocess = act  # type: ignore[method-assign]
    return trainer


def test_a_folder_moved_during_the_run_stops_it_and_the_run_goes_on_where_it_is(tmp_path: Path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    with pytest.raises(SplatError, match="is no longer the folder this run began in; it was moved or replaced"):
        toy_run(run, make=lambda: at_step(3, lambda: run.rename(moved)))
    assert not (run / "checkpoints").exists()
    assert not (run / "point_cloud").exists()
    toy_run(moved)
    toy_run(tmp_path / "undisturbed")
    assert results(moved) == results(tmp_path / "undisturbed")


def test_a_folder_replaced_during_the_run_is_not_written_to(tmp_path: Path):
    run = tmp_path / "run"

    def replace() -> None:
        run.rename(tmp_path / "moved")
        run.mkdir()
        (run / "mine.txt").write_text("mine")

    with pytest.raises(SplatError, match="moved or replaced"):
        toy_run(run, make=lambda: at_step(3, replace))
    assert not [path for path in run.rglob("*.safetensors")]
    assert not (run / "point_cloud").exists()


def test_a_copy_made_during_the_run_goes_on_by_itself(tmp_path: Path):
    run, copy = tmp_path / "run", tmp_path / "copy"
    toy_run(run, make=lambda: at_step(3, lambda: shutil.copytree(run, copy)))
    said: list[str] = []
    toy_run(copy, say=said.append)
    assert "or the folder was copied" in said[0]
    assert results(copy) == results(run)


def test_a_clock_set_back_changes_nothing(tmp_path: Path):
    toy_run(tmp_path / "run", 4)
    for age, path in enumerate(sorted((tmp_path / "run/checkpoints").iterdir())):
        os.utime(path, (10**9 - age * 10**6,) * 2)
    said: list[str] = []
    toy_run(tmp_path / "run", STEPS, say=said.append)
    assert any("going on after step 4 of 6" in line for line in said)
