"""The finished scene: pictures, masks and model under their names. The model is last: it makes a folder a scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gaussian_splatting.convert.sources import Sources
from gaussian_splatting.convert.work import Work
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage
from gaussian_splatting.io.paths import inside

IMAGES, SPARSE, REPORT = "images", "sparse", "convert.json"
MODEL_FILES = ("cameras.bin", "images.bin", "points3D.bin")


def require_free(destination: Path, found: Sources, work: Work, *, overwrite: bool) -> None:
    """Raise SceneError when the scene would replace something that this conversion did not write."""
    for photo in (*found.photos, *found.videos):
        for name in (IMAGES, SPARSE, work.folder.name):
            if (destination / name).resolve() in photo.resolve().parents:
                raise SceneError(
                    f"{destination}: its {name}/ holds the photos to convert, where the result would go; choose "
                    "another -d, or put the photos into input/"
                )
    if not overwrite and not work.begun("publish"):
        for path in _held(destination):
            raise SceneError(
                f"{path}: is there already, and not from this conversion; choose another -d, or give --overwrite to "
                "move it aside"
            )


def is_complete(destination: Path) -> bool:
    """Whether nothing of a scene was removed since it was written."""
    return all(path.exists() for path in (destination / IMAGES, destination / SPARSE / "0", destination / REPORT))


def make_room(destination: Path) -> list[Path]:
    """Move the scene that is there aside, each part whole; the new names."""
    from gaussian_splatting.runs.folder import move_aside

    return [move_aside(path) for path in _held(destination)]


def publish(
    destination: Path,
    work: Work,
    result: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    undistorted: bool,
    tick: Callable[[int, int], None],
) -> None:
    """Copy the finished files to their names in the scene."""  # fmt: skip
    photos = work.undistorted / IMAGES if undistorted else work.photos
    masks = work.undistorted / "masks" if undistorted else work.masks
    images = storage.make_folder(destination / IMAGES)
    files: list[str] = result["files"]
    for done, file in enumerate(files, 1):
        storage.write_atomically(inside(images, names[file]), (photos / file).read_bytes())
        if file in result["masked"]:
            name = Path(names[file])
            target = inside(images, (name.parent / f"{name.stem}_mask.png").as_posix())
            storage.write_atomically(target, (masks / f"{file}.png").read_bytes())
        tick(done, len(files))
    for name in MODEL_FILES:
        content = (work.undistorted / "named" / name).read_bytes()
        storage.write_atomically(destination / SPARSE / "0" / name, content)


def _held(destination: Path) -> list[Path]:
    """What would be replaced."""
    return [path for name in (SPARSE, IMAGES, REPORT) if (path := destination / name).exists()]
