"""One writer per run folder: a lock that the system releases when its holder dies, and a note that names the holder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io import storage

NOTE = "run.lock"

_NOT_LOCKABLE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL, errno.ENOSYS}


class RunLock:
    """Holds a folder for this process until it is released; `stale` tells who left without releasing it, if anyone.

    The folder itself is locked, so the lock moves with it and ends with the process; `run.lock` only names the holder.
    Where folders cannot be locked (Windows, some network disks), that file and the process it names decide instead.
    Raises SplatError with pid and host when another process holds the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder, self.note = Path(folder), Path(folder) / NOTE
        self.stale: str | None = None
        self._descriptor = _opened(self.folder)
        try:
            self._take()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the folder go. Its note is removed unless the folder is another one by now."""
        if self.is_held():
            with contextlib.suppress(OSError):
                os.unlink(self.note)
        self._close()

    def is_held(self) -> bool:
        """Whether the folder is still the one that was locked, and not moved away or replaced."""
        if self._descriptor is None:
            holder = _holder(self.note)
            return holder is not None and _is_self(holder)
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.folder))
        except OSError:
            return False

    def require_held(self) -> None:
        """Raise SplatError when the folder was moved or replaced: nothing more is written to a folder not ours."""
        if not self.is_held():
            raise SplatError(
                f"{self.folder}: is no longer the folder this run began in; it was moved or replaced. Nothing more is "
                "written; run the command again with -d where the run lies now, and it goes on from there"
            )

    def _take(self) -> None:
        holder = _holder(self.note)
        if not self._lock():
            raise SplatError(
                f"{self.folder}: {_shown(holder)} is writing to this run; wait for it, or choose another -d"
            )
        if self._descriptor is None and holder is not None and _may_live(holder):
            raise SplatError(
                f"{self.folder}: {_shown(holder)} seems to be writing to this run; wait for it, or choose another -d. "
                f"If that process is gone, remove {self.note}"
            )
        if holder is not None:
            self.stale = _shown(holder)
        storage.write_json(self.note, {"pid": os.getpid(), "host": socket.gethostname(), "began": _birth(os.getpid())})

    def _lock(self) -> bool:
        """Whether the folder is locked now; where that is not possible, True without a descriptor."""
        if self._descriptor is None:
            return True
        import fcntl

        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NOT_LOCKABLE:
                raise SplatError(f"{self.folder}: cannot be locked: {error.strerror}; choose another -d") from error
            self._close()
        return True

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _opened(folder: Path) -> int | None:
    if os.name == "nt":
        return None
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SplatError(f"{folder}: cannot be opened: {error.strerror}; check -d and its permissions") from error


def _holder(note: Path) -> dict[str, Any] | None:
    """Who wrote the note; an unreadable note is a holder without a name."""
    try:
        found = json.loads(note.read_bytes()[:4096])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(holder: dict[str, Any] | None) -> str:
    if not holder:
        return "another process"
    return f"process {str(holder.get('pid'))[:20]} on host {str(holder.get('host'))[:100]!r}"


def _may_live(holder: dict[str, Any]) -> bool:
    """Whether the named process may still be there; one on another host may always."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # The system may have given the number to a later process.
    return holder.get("began") == _birth(pid)


def _is_self(holder: dict[str, Any]) -> bool:
    return holder.get("pid") == os.getpid() and holder.get("host") == socket.gethostname()


def _birth(pid: int) -> str | None:
    """When a process began, in the ticks of its machine; None where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
