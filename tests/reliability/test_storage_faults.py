"""Every fault at every operation of the writer: rows E1 to E4 and E17 for files, with writers that must fail."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from faulty_disk import Crash, Fault, FaultyOs, Inode, PowerJournal

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io import storage

Write = Callable[[Path, bytes], None]
Remove = Callable[[Path], None]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT)
SIZE = 5000


def content(step: int) -> bytes:
    """A checkpoint that cannot be taken for part of another: its step in every byte."""
    return bytes([step]) * (SIZE + step)


# The writers: ours, and the ones that everybody writes first.


def write_whole(path: Path, data: bytes) -> None:
    storage.write_atomically(path, data)


def write_in_parts(path: Path, data: bytes) -> None:
    def write(stream: BinaryIO) -> None:
        for start in range(0, len(data), 1000):
            stream.write(data[start : start + 1000])
            stream.flush()

    storage.write_atomically(path, write, size_hint=len(data))


class NaiveWriter:
    """Writes in place. `system` stands in for `os`."""

    def __init__(self, system: Any) -> None:
        self.system = system

    def folder(self, path: Path) -> None:
        for folder in (path.parent.parent, path.parent):
            if not folder.exists():
                self.system.mkdir(folder)

    def put(self, path: Path, data: bytes) -> None:
        descriptor = self.system.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            self.system.write(descriptor, data)
        finally:
            self.system.close(descriptor)

    def __call__(self, path: Path, data: bytes) -> None:
        self.folder(path)
        self.put(path, data)


class RenamingWriter(NaiveWriter):
    """Renames, but syncs nothing."""

    def __call__(self, path: Path, data: bytes) -> None:
        self.folder(path)
        temporary = path.with_name(f".{path.name}.1-1.part")
        self.put(temporary, data)
        self.system.replace(temporary, path)


class HalfSyncingWriter(NaiveWriter):
    """Syncs the file and renames it, but never syncs a folder."""

    def __call__(self, path: Path, data: bytes) -> None:
        self.folder(path)
        temporary = path.with_name(f".{path.name}.1-1.part")
        descriptor = self.system.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self.system.write(descriptor, data)
        self.system.fsync(descriptor)
        self.system.close(descriptor)
        self.system.replace(temporary, path)


# A run: it makes its folder, saves five times under two names, and removes what it no longer needs.


class Run:
    """Saves checkpoints, and remembers what it may rely on."""

    def __init__(self, root: Path, write: Write, remove: Remove) -> None:
        self.root, self.write, self.remove = root, write, remove
        self.promised: dict[str, int] = {}  # file: the step of the last save that returned
        self.attempted: dict[str, int] = {}
        self.removed: set[str] = set()

    def go(self) -> None:
        for step in range(1, 6):
            self.save(f"point_cloud/step/{step % 2}.ply", step)
            self.save("point_cloud/latest.json", step)
        self.removed.add("point_cloud/step/0.ply")
        self.remove(self.root / "point_cloud/step/0.ply")

    def save(self, name: str, step: int) -> None:
        self.attempted[name] = step
        self.write(self.root / name, content(step))
        self.promised[name] = step

    def damage(self, files: dict[str, bytes]) -> str | None:
        """What is wrong with a disk: a file that is not whole, or older than was promised, or missing."""
        for name, data in files.items():
            if not name.endswith(".part") and data not in [content(step) for step in range(1, 6)]:
                return f"{name} is damaged"
        for name, step in self.promised.items():
            allowed = [content(step), content(self.attempted[name])]
            if name not in self.removed and files.get(name) not in allowed:
                return f"{name} lost step {step}"
        return None


def files_under(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


OURS = [pytest.param(write_whole, id="whole"), pytest.param(write_in_parts, id="in parts")]


@pytest.fixture
def fresh(tmp_path: Path):
    """Folders for one run each."""
    numbers = iter(range(10**6))

    def make() -> Path:
        root = tmp_path / str(next(numbers))
        root.mkdir()
        return root

    return make


def go(monkeypatch, root: Path, write: Write | None, naive: type[NaiveWriter] | None, system: FaultyOs) -> Run:
    """One run over a faulty disk, until it ends or dies."""
    monkeypatch.setattr(storage, "os", system)
    run = Run(root, naive(system) if naive else write, system.unlink)
    try:
        run.go()
    except (Crash, SplatError, OSError):
        assert system.fault.happened
    return run


def num_operations(monkeypatch, root: Path, write: Write | None, naive: type[NaiveWriter] | None) -> int:
    system = FaultyOs(Fault())
    run = go(monkeypatch, root, write, naive, system)
    assert run.damage(files_under(root)) is None
    assert len(run.promised) == 3
    return len(system.operations)


def faults(mode: str, number: int) -> list[Fault]:
    errors = ERRORS if mode == "error" else (0,)
    return [Fault(at, mode, error) for at in range(number) for error in errors]


@pytest.mark.parametrize("mode", ["crash", "torn", "error"])
@pytest.mark.parametrize("write", OURS)
def test_no_file_is_damaged_wherever_the_disk_fails(monkeypatch, fresh, write: Write, mode: str) -> None:
    number = num_operations(monkeypatch, fresh(), write, None)
    assert number >= 5 * 2 * 5  # open, write, fsync, replace, fsync of the folder, for each save
    for fault in faults(mode, number):
        root = fresh()
        run = go(monkeypatch, root, write, None, FaultyOs(fault))
        assert fault.happened
        assert run.damage(files_under(root)) is None, fault


@pytest.mark.parametrize("mode", ["crash", "torn", "error"])
def test_a_naive_writer_fails_the_same_test(monkeypatch, fresh, mode: str) -> None:
    number = num_operations(monkeypatch, fresh(), None, NaiveWriter)
    damaged = 0
    for fault in faults(mode, number):
        root = fresh()
        damaged += go(monkeypatch, root, None, NaiveWriter, FaultyOs(fault)).damage(files_under(root)) is not None
    assert damaged > 5


@pytest.mark.parametrize("write", OURS)
def test_a_failed_save_leaves_no_temporary_and_explains_itself(monkeypatch, fresh, write: Write) -> None:
    number = num_operations(monkeypatch, fresh(), write, None)
    for fault in faults("error", number - 1):  # the last operation is the removal of a checkpoint, not a save
        root = fresh()
        system = FaultyOs(fault)
        monkeypatch.setattr(storage, "os", system)
        with pytest.raises(SplatError) as caught:
            Run(root, write, system.unlink).go()
        assert not [name for name in files_under(root) if name.endswith(".part")], fault
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == fault.error
        message = str(caught.value)
        assert str(root) in message
        assert os.strerror(fault.error) in message
        if fault.error in (errno.ENOSPC, errno.EDQUOT) and system.operations[fault.at] in ("write", "replace"):
            assert " needed, " in message
            assert " free; " in message


# Power


def power_damage(monkeypatch, fresh, write: Write | None, naive: type[NaiveWriter] | None) -> tuple[int, list[str]]:
    """How many disks were examined, and which of them were damaged."""
    number = num_operations(monkeypatch, fresh(), write, naive)
    examined, damaged = 0, []
    for at in range(number + 1):
        root = fresh()
        journal = PowerJournal(root)
        system = FaultyOs(Fault(at if at < number else None), journal)
        run = go(monkeypatch, root, write, naive, system)
        for description, files in journal.states():
            examined += 1
            fault = run.damage(files)
            if fault is not None:
                damaged.append(f"before operation {at}, {description}: {fault}")
    return examined, damaged


@pytest.mark.parametrize("write", OURS)
def test_a_power_cut_between_any_two_operations_loses_nothing_promised(monkeypatch, fresh, write: Write) -> None:
    examined, damaged = power_damage(monkeypatch, fresh, write, None)
    assert examined > 8 * 50
    assert damaged == []


@pytest.mark.parametrize("naive", [NaiveWriter, RenamingWriter, HalfSyncingWriter])
def test_a_writer_without_every_sync_fails_the_same_test(monkeypatch, fresh, naive: type[NaiveWriter]) -> None:
    examined, damaged = power_damage(monkeypatch, fresh, None, naive)
    assert len(damaged) > examined / 20


def test_the_journal_tells_what_the_system_told_the_disk(tmp_path: Path) -> None:
    journal = PowerJournal(tmp_path)
    system = FaultyOs(Fault(), journal)
    descriptor = system.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT, 0o666)
    system.write(descriptor, b"1234")
    assert [files for _, files in journal.states()] == [
        {"a": b""}, {"a": bytes(4)}, {"a": b"12"}, {"a": b"1234"}, {}, {}, {}, {},
    ]  # fmt: skip
    system.fsync(descriptor)
    system.close(descriptor)
    assert isinstance(journal.names["a"], Inode)
    assert journal.lasting_names == {}
    folder = system.open(tmp_path, os.O_RDONLY)
    system.fsync(folder)
    system.close(folder)
    assert [files for _, files in journal.states()] == [{"a": b"1234"}] * 8


# Logs promise less: the lines before the last


@pytest.mark.parametrize("mode", ["crash", "torn", "error"])
def test_a_log_loses_at_most_the_line_being_written(monkeypatch, fresh, mode: str) -> None:
    def go_on(root: Path, system: FaultyOs, first: int) -> int:
        """Appends lines until the disk fails; how many were promised."""
        monkeypatch.setattr(storage, "os", system)
        for number in range(first, 6):
            try:
                storage.append_line(root / "logs" / "log.jsonl", f"line {number}")
            except (Crash, SplatError):
                return number
        return 6

    system = FaultyOs(Fault())
    go_on(fresh(), system, 0)
    assert system.operations.count("write") == 6
    for fault in faults(mode, len(system.operations)):
        root = fresh()
        promised = go_on(root, FaultyOs(fault), 0)
        go_on(root, FaultyOs(Fault()), promised)  # the process is started again
        lines = (root / "logs" / "log.jsonl").read_text().splitlines()
        whole = [line for line in lines if re.fullmatch(r"line \d", line)]
        assert list(dict.fromkeys(whole)) == [f"line {number}" for number in range(6)]
        assert len(lines) <= 7


# E17


class FailsOnce(FaultyOs):
    """A disk whose first fsync fails and forgets: the next one succeeds although the bytes are gone."""

    def fsync(self, descriptor: int) -> None:
        self.operations.append("fsync")
        if self.operations.count("fsync") == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_an_fsync_that_failed_is_never_tried_again(monkeypatch, tmp_path: Path) -> None:
    storage.write_atomically(tmp_path / "a", b"old")
    system = FailsOnce(Fault())
    monkeypatch.setattr(storage, "os", system)
    with pytest.raises(SplatError, match="Input/output error"):
        storage.write_atomically(tmp_path / "a", b"new")
    assert system.operations.count("fsync") == 1
    assert files_under(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_interruption_inside_the_save_leaves_the_old_file(tmp_path: Path, interruption: type[BaseException]) -> None:
    storage.write_atomically(tmp_path / "a", b"old")

    def write(stream: BinaryIO) -> None:
        stream.write(bytes(3 << 20))
        raise interruption

    with pytest.raises(interruption):
        storage.write_atomically(tmp_path / "a", write)
    assert files_under(tmp_path) == {"a": b"old"}
