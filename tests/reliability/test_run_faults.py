"""Rows E1 to E4 for a whole run: a fault at every file operation, and the rerun ends with the same bytes.

Two layers protect a run: files are replaced whole, and checkpoints carry a digest and have a predecessor. Each is
tested with the other switched off, and a writer without either must fail the same test.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_disk import Crash, Fault, FaultyOs, PowerJournal
from toy import ToyDataset, results, toy_run
from whole_files import damage

from gaussian_splatting import environment
from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io import checkpoint, storage
from gaussian_splatting.io.checkpoint import CheckpointFolder
from gaussian_splatting.runs import description as run_description
from gaussian_splatting.runs import training

pytestmark = pytest.mark.usefixtures("one_thread", "short_run")

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT)


@pytest.fixture
def short_run(monkeypatch) -> None:
    """Six steps that write every kind of file, each a few times."""
    monkeypatch.setattr(training, "LOG_INTERVAL", 2)
    monkeypatch.setattr(training, "PROGRESS_PICTURES", 2)
    versions = environment.versions()
    monkeypatch.setattr(environment, "versions", lambda: versions)
    monkeypatch.setattr(run_description.environment, "versions", lambda: versions)


@pytest.fixture
def disk(monkeypatch) -> Callable[[FaultyOs], FaultyOs]:
    """Puts a disk under everything that changes files."""

    def use(system: FaultyOs) -> FaultyOs:
        monkeypatch.setattr(storage, "os", system)
        monkeypatch.setattr(checkpoint, "os", system)
        return system

    return use


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    numbers = iter(range(10**6))
    return lambda: tmp_path / str(next(numbers))


class Session:
    """One process: what it said, and how it ended."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        try:
            toy_run(folder, say=self.said.append, held_out=ToyDataset())
        except (Crash, SplatError) as error:
            self.error = error

    @property
    def completed(self) -> bool:
        return any(line.startswith("completed") or "is complete with" in line for line in self.said)


def reference(disk: Any, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The undisturbed run: its file operations, and its results."""
    system = disk(FaultyOs(Fault()))
    assert Session(folder).completed
    return system.operations, results(folder)


def rerun(disk: Any, folder: Path) -> Session:
    disk(FaultyOs(Fault()))
    return Session(folder)


@pytest.mark.parametrize("mode", ["crash", "torn"])
def test_a_run_that_dies_at_any_file_operation_is_rerun_to_the_same_bytes(disk, fresh, mode: str):
    operations, expected = reference(disk, fresh())
    assert len(operations) > 100
    for at, operation in enumerate(operations):
        if mode == "torn" and operation != "write":
            continue
        folder = fresh()
        system = disk(FaultyOs(Fault(at, mode)))
        assert isinstance(Session(folder).error, Crash)
        assert damage(folder) == [], f"{mode} at operation {at}, {operation}"
        again = rerun(disk, folder)
        assert again.completed, (at, again.error, again.said)
        assert results(folder) == expected, f"{mode} at operation {at}, {system.operations[at]}"


def test_a_run_that_meets_a_full_disk_stops_with_the_reason_and_goes_on_later(disk, fresh):
    operations, expected = reference(disk, fresh())
    for at in range(len(operations)):
        folder, error = fresh(), ERRORS[at % len(ERRORS)]
        system = disk(FaultyOs(Fault(at, "error", error)))
        session = Session(folder)
        if session.error is None:
            # Removing an old checkpoint or syncing a folder of a foreign kind is all that may fail quietly.
            assert system.operations[at] == "unlink", (at, system.operations[at])
        else:
            assert isinstance(session.error, SplatError)
            assert os.strerror(error) in str(session.error)
            assert not session.completed
        assert damage(folder) == []
        again = rerun(disk, folder)
        assert again.completed, (at, again.error)
        assert results(folder) == expected, (at, system.operations[at])


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_every_error_at_every_operation(disk, fresh, error: int):
    operations, expected = reference(disk, fresh())
    for at in range(len(operations)):
        folder = fresh()
        disk(FaultyOs(Fault(at, "error", error)))
        Session(folder)
        assert damage(folder) == []
        assert rerun(disk, folder).completed
        assert results(folder) == expected


def test_the_space_needed_and_free_is_told(disk, fresh):
    operations, _ = reference(disk, fresh())
    told = 0
    for at, operation in enumerate(operations):
        if operation != "write":
            continue
        system = disk(FaultyOs(Fault(at, "error", errno.ENOSPC)))
        error = Session(fresh()).error
        if system.fault.happened and " needed, " in str(error) and " free; " in str(error):
            told += 1
    assert told >= 6  # every checkpoint and splat; of lines of a log the size does not matter


# E4


def power_states(disk: Any, fresh: Any, expected_operations: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every disk that a power cut before some operation may leave, each different one once."""
    seen: set[str] = set()
    for at in range(expected_operations + 1):
        folder = fresh()
        folder.mkdir()
        journal = PowerJournal(folder)
        disk(FaultyOs(Fault(at if at < expected_operations else None), journal))
        Session(folder)
        for description, files in journal.states():
            key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
            if key not in seen:
                seen.add(key)
                yield f"power cut before operation {at}, {description}", files


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("share", [pytest.param(9, id="every 9th state"), pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_loses_power_is_rerun_to_the_same_bytes(disk, fresh, share: int):
    folder = fresh()
    folder.mkdir()
    operations, expected = reference(disk, folder)
    examined = 0
    for index, (description, files) in enumerate(power_states(disk, fresh, len(operations))):
        folder = put(fresh(), files)
        wrong = [line for line in damage(folder) if ".jsonl" not in line and ".lock" not in line]
        assert wrong == [], description
        if index % share:
            continue
        again = rerun(disk, folder)
        assert again.completed, (description, again.error)
        assert results(folder) == expected, description
        examined += 1
    assert examined > 20


# The layers, one at a time


def naive_write(path: Any, data: Any, *, size_hint: int | None = None) -> None:
    """Writes in place, as everybody does first."""
    path = Path(path)
    storage.make_folder(path.parent)
    descriptor = storage.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        if callable(data):
            import io

            stream = io.BytesIO()
            data(stream)
            data = stream.getvalue()
        storage.os.write(descriptor, data)
    finally:
        storage.os.close(descriptor)


def no_digest(*_: Any) -> None:
    """Believes every checkpoint."""


def faults_of(operations: list[str]) -> list[Fault]:
    """Deaths before operations, and halves of writes: every other operation, and every write."""
    torn = [Fault(at, "torn") for at, operation in enumerate(operations) if operation == "write"]
    return [Fault(at) for at in range(0, len(operations), 2)] + torn


def outcomes(disk: Any, fresh: Any) -> dict[str, int]:
    """How runs with a fault end: rerun to the same bytes, refused with the reason, or wrong."""
    operations, expected = reference(disk, fresh())
    counts = {"same": 0, "refused": 0, "wrong": 0, "damaged": 0}
    for fault in faults_of(operations):
        folder = fresh()
        disk(FaultyOs(fault))
        Session(folder)
        counts["damaged"] += bool(damage(folder))
        try:
            again = rerun(disk, folder)
        except Exception:
            counts["wrong"] += 1
            continue
        if isinstance(again.error, CheckpointError):
            counts["refused"] += 1
        else:
            counts["same" if again.completed and results(folder) == expected else "wrong"] += 1
    return counts


def test_whole_files_alone_protect_the_run(disk, fresh, monkeypatch):
    monkeypatch.setattr(checkpoint, "_require_whole", no_digest)
    counts = outcomes(disk, fresh)
    assert counts["wrong"] == counts["refused"] == counts["damaged"] == 0
    assert counts["same"] > 70


def test_the_digest_alone_never_lets_a_run_go_on_from_a_damaged_checkpoint(disk, fresh, monkeypatch):
    monkeypatch.setattr(storage, "write_atomically", naive_write)
    counts = outcomes(disk, fresh)
    assert counts["damaged"] > 5
    assert counts["same"] > counts["refused"]


def test_the_usual_writer_loses_runs(disk, fresh, monkeypatch):
    """The control: one checkpoint, removed before the next is written in place. The tests above can fail."""

    def save(self: CheckpointFolder, step: int, tensors: Any, description: Any) -> Path:
        for old in self.steps():
            storage.os.unlink(self.file(old))
        checkpoint.write_checkpoint(self.file(step), tensors, description)
        return self.file(step)

    monkeypatch.setattr(CheckpointFolder, "save", save)
    monkeypatch.setattr(storage, "write_atomically", naive_write)
    counts = outcomes(disk, fresh)
    assert counts["damaged"] > 5
    assert counts["refused"] + counts["wrong"] > 5


def test_logs_that_are_not_synced_fail_the_test_of_power_cuts(disk, fresh, monkeypatch):
    """The control."""
    monkeypatch.setattr(storage, "sync_file", lambda path: None)
    with pytest.raises(AssertionError, match=r"power cut before operation(.|\n)*metrics.jsonl"):
        test_a_run_that_loses_power_is_rerun_to_the_same_bytes(disk, fresh, 3)
