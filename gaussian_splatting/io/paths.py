"""Paths: names out of data files that cannot leave their folder, what a folder holds, and what a path leads to."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from gaussian_splatting.errors import SceneError

# Windows opens a device for these names in any folder and with any extension, so no platform accepts them.
_DEVICE_NAMES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789¹²³"
}
_DRIVE = re.compile(r"[A-Za-z]:")


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as one word of a command that a user is told to run."""
    return shlex.quote(os.fspath(path))


def inside(root: str | os.PathLike[str], name: str, *, allow_links: bool = False, must_be_file: bool = False) -> Path:
    """The path of `name` under the folder `root`, refused when it could lead anywhere else.

    `name` is relative, with `/` (or `\\`) between folders; it need not exist. Refused on every platform: absolute
    names, drives, network shares, `..`, NUL, device names of Windows, and symbolic links that leave `root` (unless
    `allow_links`). With `must_be_file`, whatever exists under the name must be a regular file, so that nobody opens a
    pipe, a device or a folder.
    """
    fault = _fault_of_name(name)
    if fault is not None:
        raise _refusal(root, name, fault, "correct the name in the file that lists it")
    path = Path(root, name)
    try:
        if not allow_links:
            _refuse_leaving_links(root, name, path)
        if must_be_file:
            _refuse_special_file(root, name, path)
    except SceneError:
        raise
    except (OSError, ValueError) as error:  # ValueError: the name cannot be encoded for this file system
        raise _refusal(root, name, f"it cannot be looked up ({error})", "rename the file") from error
    return path


def _fault_of_name(name: str) -> str | None:
    parts = re.split(r"[/\\]", name)
    if "\0" in name:
        return "it contains a NUL character"
    if name[:1] in ("/", "\\"):
        return "it is absolute"
    if all(part in ("", ".") for part in parts):
        return "it names no file"
    return next((fault for part in parts if (fault := _fault_of_part(part)) is not None), None)


def _fault_of_part(part: str) -> str | None:
    if _DRIVE.match(part) or (os.name == "nt" and ":" in part):
        return "it names a drive"
    # Windows drops trailing dots and spaces, which makes ".. " a way up.
    if part not in ("", ".") and part.strip(" .") == "":
        return f"{part!r} may lead out of the folder"
    if part.partition(".")[0].rstrip(" ").lower() in _DEVICE_NAMES:
        return f"{part!r} is a device on Windows"
    return None


def _refuse_leaving_links(root: str | os.PathLike[str], name: str, path: Path) -> None:
    real_root = os.path.realpath(root)
    real_path = os.path.realpath(path)
    if os.path.islink(real_path):
        raise _refusal(root, name, "its symbolic links form a loop", "replace the link by the file itself")
    if os.path.commonpath([real_root, real_path]) != real_root:
        cure = "copy the file into the folder, or allow links if you trust this scene"
        raise _refusal(root, name, f"a symbolic link leads outside, to {real_path}", cure)


def _refuse_special_file(root: str | os.PathLike[str], name: str, path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise _refusal(root, name, f"it is {kind_of_file(mode)}, not a regular file", "put the file itself there")


def below_common_folder(paths: Sequence[Path]) -> list[str]:
    """The names of files, with `/` between folders, below the nearest folder that all of them lie in.

    >>> below_common_folder([Path("images/left/1.png"), Path("images/right/1.png")])
    ['left/1.png', 'right/1.png']
    """
    parts = [path.absolute().parts for path in paths]
    levels = zip(*(folders[:-1] for folders in parts), strict=False)
    num_common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return ["/".join(own[num_common:]) for own in parts]


def entries_of(folder: Path) -> list[Path]:
    """What a folder holds, in no order; nothing where it is not there or cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def kind_of_file(mode: int) -> str:
    """What a `st_mode` describes, in words, for messages."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _refusal(root: str | os.PathLike[str], name: str, fault: str, cure: str) -> SceneError:
    shown = name if len(name) <= 200 else name[:200] + "…"
    return SceneError(f"{os.fspath(root)}: the name {shown!r} is refused: {fault}; {cure}")
