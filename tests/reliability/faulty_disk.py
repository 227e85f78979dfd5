"""A disk that fails at the k-th operation, and one that loses power.

`FaultyOs` stands in for the module `os` inside a writer. Operations are counted; at the chosen one it crashes, writes
half, or reports an error. `PowerJournal` notes what a disk would have been told, so that the states a power cut can
leave behind can be examined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Mode = Literal["crash", "torn", "error"]


class Crash(BaseException):
    """The process is dead: nothing after this runs, `except` and `finally` included."""


@dataclass
class Fault:
    """What happens at operation `at` (from 0; never, if None); `error` is the errno of mode `error`."""

    at: int | None = None
    mode: Mode = "crash"
    error: int = 0
    happened: bool = False


@dataclass
class Inode:
    synced: bytes | None = None
    content: bytearray = field(default_factory=bytearray)


@dataclass
class PowerJournal:
    """What is on the disk for certain, and what only the system knows; paths are relative to `root`."""

    root: Path
    names: dict[str, Inode | None] = field(default_factory=dict)  # None: a folder
    lasting_names: dict[str, Inode | None] = field(default_factory=dict)
    open_files: dict[int, str] = field(default_factory=dict)

    def name(self, path: Any) -> str:
        return os.path.relpath(os.fspath(path), self.root)

    def opened(self, descriptor: int, path: Any, flags: int) -> None:
        name = self.name(path)
        self.open_files[descriptor] = name
        if flags & os.O_CREAT and not isinstance(self.names.get(name), Inode):
            self.names[name] = Inode()
        inode = self.names.get(name)
        if flags & os.O_TRUNC and inode is not None:
            inode.content.clear()

    def written(self, descriptor: int, data: bytes) -> None:
        inode = self.names[self.open_files[descriptor]]
        assert inode is not None
        inode.content += data

    def synced(self, descriptor: int) -> None:
        name = self.open_files[descriptor]
        inode = self.names.get(name)
        if inode is not None:
            inode.synced = bytes(inode.content)
            return
        held = {path for path in {*self.names, *self.lasting_names} if os.path.dirname(path) == name.removeprefix(".")}
        for path in held:
            if path in self.names:
                self.lasting_names[path] = self.names[path]
            else:
                del self.lasting_names[path]

    def states(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Every disk that a power cut now may leave: a description, and the files."""
        for names_kept in (True, False):
            names = self.names if names_kept else self.lasting_names
            for data in ("vanish", "zero", "prefix", "kept"):
                files = {}
                for path, inode in names.items():
                    parents = list(Path(path).parents)[:-1]
                    if inode is not None and all(str(parent) in names for parent in parents):
                        files[path] = content_after(inode, data)
                yield f"names {'kept' if names_kept else 'undone'}, unsynced bytes {data}", files


def content_after(inode: Inode, data: str) -> bytes:
    content, synced = bytes(inode.content), inode.synced
    if synced == content or data == "kept":
        return content
    certain = synced if synced is not None and content.startswith(synced) else b""
    lost = len(content) - len(certain)
    return {
        "vanish": b"" if synced is None else synced,
        "zero": certain + bytes(lost),
        "prefix": certain + content[len(certain) : len(certain) + lost // 2],
    }[data]


class FaultyOs:
    """The module `os`, with a fault in it."""

    def __init__(self, fault: Fault, journal: PowerJournal | None = None) -> None:
        self.fault = fault
        self.journal = journal
        self.operations: list[str] = []
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _count(self, operation: str, path: Any = None) -> None:
        if self.dead:
            raise Crash
        number = len(self.operations)
        self.operations.append(operation)
        if number != self.fault.at or (self.fault.mode == "torn" and operation == "write"):
            return
        self.fault.happened = True
        if self.fault.mode == "error":
            raise OSError(self.fault.error, os.strerror(self.fault.error), None if path is None else str(path))
        self.dead = True
        raise Crash

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        self._count("open", path)
        descriptor = os.open(path, flags, mode)
        if self.journal:
            self.journal.opened(descriptor, path, flags)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        self._count("write")
        content = bytes(data)
        torn = self.fault.mode == "torn" and self.fault.at == len(self.operations) - 1
        if torn:
            content = content[: len(content) // 2]
        written = os.write(descriptor, content)
        if self.journal:
            self.journal.written(descriptor, content)
        if torn:
            self.fault.happened = self.dead = True
            raise Crash
        return written

    def fsync(self, descriptor: int) -> None:
        self._count("fsync")
        if self.journal:
            self.journal.synced(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)  # the system closes the files of a dead process, too
        if self.journal:
            self.journal.open_files.pop(descriptor, None)

    def replace(self, source: Any, target: Any) -> None:
        self._count("replace", target)
        os.replace(source, target)
        if self.journal:
            self.journal.names[self.journal.name(target)] = self.journal.names.pop(self.journal.name(source))

    def unlink(self, path: Any) -> None:
        self._count("unlink", path)
        os.unlink(path)
        if self.journal:
            del self.journal.names[self.journal.name(path)]

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self._count("mkdir", path)
        os.mkdir(path, mode)
        if self.journal:
            self.journal.names[self.journal.name(path)] = None
