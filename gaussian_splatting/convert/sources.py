"""What there is to convert: photos of a folder, or videos; everything else is named or refused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gaussian_splatting.errors import SceneError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".jp2")
VIDEO_ENDINGS = (
    ".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp", ".wmv",
)  # fmt: skip
HEIC_ENDINGS = (".heic", ".heif", ".hif", ".avif")
RAW_ENDINGS = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw")

PHOTO_FOLDERS = ("input", "images")
"""Sub-folders that hold the photos of a scene that is yet to be made, the first that is there."""
NO_PHOTO_FOLDERS = ("masks", "depths", "sparse", "distorted", "__MACOSX")
SHOWN = 8


@dataclass(frozen=True)
class Sources:
    """What was found: photos under `root`, or videos; `ignored` are files that are neither."""

    root: Path
    photos: tuple[Path, ...]
    videos: tuple[Path, ...]
    ignored: tuple[Path, ...]

    @property
    def is_sequence(self) -> bool:
        """Whether neighbours in the order of names were taken one after the other."""
        return bool(self.videos)

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change of every file that is used."""
        states = [(path, path.stat()) for path in (*self.photos, *self.videos)]
        return [(os.path.relpath(path, self.root), state.st_size, state.st_mtime_ns) for path, state in states]


def find_sources(source: str | os.PathLike[str]) -> Sources:
    """The photos or videos that a folder or a file holds.

    A folder with `input/`, or else `images/`, holds them there. Raises SceneError when there is nothing to convert,
    when photos and videos are mixed, and for files of kinds that cannot be read (HEIC, raw), with what to do.
    """
    path = Path(source)
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        raise SceneError(f"{path}: no such folder or file; give a folder of photos, or a video")
    root = next((path / name for name in PHOTO_FOLDERS if (path / name).is_dir()), path)
    files = sorted(_files(root), key=lambda file: os.path.relpath(file, root))
    photos = [file for file in files if is_photo(file)]
    videos = [file for file in files if file.suffix.lower() in VIDEO_ENDINGS]
    _refuse_unreadable(files, photos, root)
    if photos and videos:
        raise SceneError(
            f"{root}: holds {len(photos)} photos and {len(videos)} videos ({named(videos, root)}); "
            "put them in folders of their own, and convert one of them"
        )
    if not photos and not videos:
        held = named(files, root) if files else "nothing"
        raise SceneError(f"{root}: no photos and no video; it holds {held}; give a folder of photos, or a video")
    used = {*photos, *videos}
    ignored = tuple(file for file in files if file not in used and not is_mask(file))
    return Sources(root, tuple(photos), tuple(videos), ignored)


def is_convertible(source: str | os.PathLike[str]) -> bool:
    """Whether a folder holds photos or videos, or a file is one; looks at names only."""
    try:
        found = find_sources(source)
    except (SceneError, OSError):
        return False
    return bool(found.photos or found.videos)


def default_destination(source: str | os.PathLike[str]) -> Path:
    """Where the scene goes by default: into a folder whose photos lie in `input/`, else to `<name>_scene` beside it."""
    path = Path(source)
    if (path / "input").is_dir():
        return path
    full = Path(os.path.abspath(path))
    name = full.stem if path.is_file() else full.name
    return path.parent / f"{name}_scene" if path.name not in ("", ".", "..") else full.parent / f"{name}_scene"


def is_photo(path: Path) -> bool:
    """Whether a file has the name of a photo, and not of the mask of one."""
    return path.suffix.lower() in PHOTO_ENDINGS and not is_mask(path)


def is_mask(path: Path) -> bool:
    """Whether a file has the name of a mask: `<photo>_mask.png` or `.tiff`."""
    return path.stem.endswith("_mask") and path.suffix.lower() in (".png", ".tif", ".tiff")


def named(files: Iterable[Path], root: Path, shown: int = SHOWN) -> str:
    """Some file names for a message."""
    names = [os.path.relpath(file, root) for file in files]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _of_file(path: Path) -> Sources:
    if path.suffix.lower() in VIDEO_ENDINGS:
        return Sources(path.parent, (), (path,), ())
    if is_photo(path):
        raise SceneError(f"{path}: a single photo; a scene needs a folder of at least 3, from different places")
    known = ", ".join(VIDEO_ENDINGS[:6])
    raise SceneError(f"{path}: neither a folder of photos nor a video ({known}, …); give one of these")


def _files(root: Path) -> Iterator[Path]:
    """Every file below a folder, without hidden ones and without folders that hold something else than photos."""
    for folder, inner, names in os.walk(root, followlinks=False):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in NO_PHOTO_FOLDERS)
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and name.lower() != "thumbs.db" and path.is_file():
                yield path


def _refuse_unreadable(files: list[Path], photos: list[Path], root: Path) -> None:
    """HEIC and raw files are refused, unless each has a JPEG of the same name beside it, as cameras write them."""
    readable = {path.with_suffix("") for path in photos}
    for endings, kind, cure in _UNREADABLE:
        lonely = [path for path in files if path.suffix.lower() in endings and path.with_suffix("") not in readable]
        if lonely:
            raise SceneError(f"{root}: {len(lonely)} {kind} ({named(lonely, root)}), which cannot be read; {cure}")


HEIC_CURE = (
    "make JPEG files of them first: heif-convert, ImageMagick's `mogrify -format jpg *.heic`, or an export of the phone"
    " (an iPhone takes JPEG with Settings > Camera > Formats > Most Compatible)"
)
_UNREADABLE = (
    (HEIC_ENDINGS, "HEIC photos", HEIC_CURE),
    (RAW_ENDINGS, "raw photos", "develop them to JPEG first, all with the same settings"),
)
