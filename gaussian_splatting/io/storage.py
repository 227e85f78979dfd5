"""The only place that writes files: what carries a final name is whole, whatever happened while it was written."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.disk_errors import explained, require_space

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "append_line",
    "ensure_writable_folder",
    "make_folder",
    "remove_leftovers",
    "sync_file",
    "write_atomically",
    "write_json",
    "write_text",
]

Data = bytes | bytearray | memoryview
PathLike = str | os.PathLike[str]

_CREATE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_LEFTOVER = re.compile(r"\..*\.\d+-\d+\.part")
_NOT_SYNCABLE = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS}
_BUFFER_SIZE = 1 << 20
_numbers = itertools.count()


def write_atomically(path: PathLike, data: Data | Callable[[BinaryIO], None], *, size_hint: int | None = None) -> None:
    """Writes a whole file or none: after a crash or a power cut the old content or the new is there, never a part.

    `data` is the content, or a function that writes it to the binary stream it is given; then `size_hint`, the size in
    bytes when known, lets a full disk be reported before anything is written. Missing folders are made.
    Order: a temporary file in the same folder, fsync, rename, fsync of the folder. On any error the temporary is
    removed, and a failure of the system becomes a `SplatError`: path, cause, space needed and free, cure.
    """
    path = Path(path)
    size = size_hint if callable(data) else memoryview(data).nbytes
    make_folder(path.parent)
    with explained(path, size):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        require_space(path, size)
        temporary = _write_beside(path, data)
        try:
            os.replace(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        _sync_folder(path.parent)


def write_text(path: PathLike, text: str) -> None:
    """Writes UTF-8 text as `write_atomically` does."""
    write_atomically(path, text.encode("utf-8"))


def write_json(path: PathLike, value: Any, *, indent: int | None = 2) -> None:
    """Writes JSON as `write_atomically` does: the same value gives the same bytes; NaN and infinity are refused."""
    try:
        text = json.dumps(value, indent=indent, allow_nan=False)
    except ValueError as error:
        reason = f"JSON cannot hold this value ({error}); put null there"
        raise SplatError(f"{os.fspath(path)}: not written: {reason}") from error
    write_text(path, text + "\n")


def append_line(path: PathLike, line: str) -> None:
    """Appends one line to a log such as JSONL, in one system call and without fsync.

    This promises less than `write_atomically`: after a power cut the last lines may be missing, and the last one torn.
    A torn line is ended before the next is appended, so a reader that skips lines it cannot parse loses nothing else.
    """
    if "\n" in line:
        raise SplatError(f"{os.fspath(path)}: a log line must not contain a line break: {line[:80]!r}")
    path = Path(path)
    make_folder(path.parent)
    with explained(path, None):
        descriptor = os.open(path, _CREATE | os.O_APPEND, 0o666)
        try:
            start = b"\n" if _ends_torn(path) else b""
            _write_all(descriptor, start + line.encode("utf-8") + b"\n")
        finally:
            os.close(descriptor)


def sync_file(path: PathLike) -> None:
    """Makes lines appended so far last, through a power cut too; a file that does not exist is left so."""
    path = Path(path)
    with explained(path, None):
        try:
            descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)


def make_folder(path: PathLike) -> Path:
    """Makes a folder and its missing parents, lastingly; a folder that exists is left as it is."""
    path = Path(path)
    with explained(path, None):
        for folder in reversed(_missing_folders(path)):
            try:
                os.mkdir(folder)
            except FileExistsError:
                if not os.path.isdir(folder):  # otherwise another process was quicker
                    raise
            _sync_folder(folder.parent)
    return path


def _missing_folders(path: Path) -> list[Path]:
    """The folders to make, the deepest first."""
    missing: list[Path] = []
    folder = path
    while True:
        try:
            mode = os.stat(folder).st_mode
        except (FileNotFoundError, NotADirectoryError):
            if folder == folder.parent:  # the working folder was removed
                raise
            missing.append(folder)
            folder = folder.parent
            continue
        if not stat.S_ISDIR(mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        return missing


def ensure_writable_folder(path: PathLike) -> Path:
    """Makes a folder and proves that files can be written in it: a run should fail at its start, not at its end."""
    path = make_folder(path)
    with explained(path, None):
        os.unlink(_write_beside(path / "probe", b"\0"))
    return path


def remove_leftovers(folder: PathLike) -> list[Path]:
    """Removes the temporaries that killed runs left in a folder; call it only while no other process writes there."""
    removed: list[Path] = []
    for entry in sorted(os.listdir(folder)):
        if _LEFTOVER.fullmatch(entry):
            leftover = Path(folder, entry)
            with explained(leftover, None):
                os.unlink(leftover)
            removed.append(leftover)
    return removed


class _Descriptor(io.RawIOBase):
    """A raw stream that writes to a file descriptor and leaves it open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        return _write_all(self._descriptor, data)


def _write_beside(path: Path, data: Data | Callable[[BinaryIO], None]) -> Path:
    """A synced temporary with this content, in the folder of `path`; on any error nothing is left behind."""
    temporary, descriptor = _open_temporary(path)
    try:
        try:
            if callable(data):
                with io.BufferedWriter(_Descriptor(descriptor), _BUFFER_SIZE) as stream:
                    data(cast(BinaryIO, stream))
            else:
                _write_all(descriptor, data)
            # A failed fsync is final: the system may have dropped the pages, and a second call would not tell.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _discard(temporary)
        raise
    return temporary


def _open_temporary(path: Path) -> tuple[Path, int]:
    stem = path.name if len(os.fsencode(path.name)) <= 200 else "file"
    while True:
        temporary = path.parent / f".{stem}.{os.getpid()}-{next(_numbers)}.part"
        try:
            return temporary, os.open(temporary, _CREATE | os.O_EXCL, 0o666)
        except FileExistsError:  # left by a killed process that had our number
            continue


def _write_all(descriptor: int, data: ReadableBuffer) -> int:
    left = memoryview(data).cast("B")
    size = left.nbytes
    while left.nbytes:
        written = os.write(descriptor, left)
        left = left[written:]
    return size


def _sync_folder(folder: Path) -> None:
    """Makes names in a folder last; Windows and a few file systems do so by themselves and refuse to be asked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCABLE:
            raise
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # the error that brought us here matters more
        os.unlink(temporary)


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
