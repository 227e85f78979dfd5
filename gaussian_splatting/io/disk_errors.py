"""Why a file could not be written, in one message: the path, what was needed, what was free, what to do."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gaussian_splatting.errors import SplatError

_ABOUT_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_CURES = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "your quota is used up: remove files or ask for more",
    errno.EFBIG: "this file system, or the limit of this process, allows no file that large",
    errno.EACCES: "you may not write there: choose another folder or change its permissions",
    errno.EPERM: "you may not write there: choose another folder or change its permissions",
    errno.EROFS: "the disk is mounted read-only: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EIO: "the disk reports a fault: check it, and write elsewhere",
    errno.EISDIR: "a folder has that name: choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EEXIST: "a file has that name: choose another name",
    errno.EMFILE: "this process has too many files open: raise `ulimit -n`",
    errno.ENFILE: "the system has too many files open: close other programs",
}


@contextlib.contextmanager
def explained(path: Path, size: int | None) -> Iterator[None]:
    """Within, a failure of the system becomes a `SplatError`; `size` is the number of bytes to write, if known."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        space = _space_of(path, size) if error.errno in _ABOUT_SPACE else ""
        cure = _CURES.get(error.errno or 0, "check the path and the disk")
        shown = str(path) if len(str(path)) <= 300 else f"{str(path)[:300]}…"
        raise SplatError(f"{shown}: cannot be written: {reason}{space}; {cure}") from error


def require_space(path: Path, size: int | None) -> None:
    """Raise the system's own error of a full disk where `size` bytes are known not to fit beside `path`."""
    free = _free_space(path.parent)
    if size is not None and free is not None and size > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _free_space(folder: Path) -> int | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None  # some network disks report zeros


def _space_of(path: Path, size: int | None) -> str:
    free = _free_space(path.parent)
    needed_text = "" if size is None else f", {_readable_size(size)} needed"
    free_text = "" if free is None else f", {_readable_size(free)} free"
    return needed_text + free_text


def _readable_size(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    power = min(int(math.log10(size)) // 3, 4)
    return f"{size / 1000**power:.1f} {('', 'kB', 'MB', 'GB', 'TB')[power]}"
