"""Files of a scene by the names that its records give them, whatever system the records were written on."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gaussian_splatting.io.paths import inside

LONGEST_PART = 255
"""Bytes of a file name."""


def first_file(folders: Iterable[Path], names: Iterable[str], allow_links: bool = False) -> Path | None:
    """The first regular file that exists under one of the names, in the order of folders, then names; else None.

    Names are relative and never lead out of their folder (a `SceneError`); `\\` may separate folders.
    """
    names = list(names)
    for folder in folders:
        for name in names:
            for spelling in _spellings(name):
                if _too_long(spelling):
                    continue
                path = inside(folder, spelling, allow_links=allow_links, must_be_file=True)
                if path.exists():
                    return path
    return None


def stem_of(name: str) -> str:
    """The name without its extension, folders kept."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path).removesuffix(path.suffix)  # Python 3.13 refuses `with_suffix("")` for ..png


def mask_names(name: str) -> list[str]:
    """Where the mask of a picture or depth map lies: beside it."""
    return [f"{stem_of(name)}_mask.tiff", f"{stem_of(name)}_mask.png"]


def depth_names(name: str) -> list[str]:
    """What the depth map of a picture is called."""
    return [f"{stem_of(name)}.tiff", f"{stem_of(name)}.png"]


def _spellings(name: str) -> list[str]:
    """The name as it is, with `/` for `\\`, and with accents composed or apart, as file systems like to change them."""
    spellings = [name, name.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spelling) for form in ("NFC", "NFD") for spelling in spellings[:2]]
    return list(dict.fromkeys(spellings))


def _too_long(name: str) -> bool:
    """Whether no file system can hold the name, as the names of masks of very long names."""
    return max(len(part.encode("utf-8", "surrogatepass")) for part in name.split("/")) > LONGEST_PART
