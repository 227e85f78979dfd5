"""Where the files of a COLMAP scene lie: pictures, masks, depth maps and their scales."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gaussian_splatting.dataset.lookup import depth_names, first_file, mask_names
from gaussian_splatting.dataset.strict_json import JsonValue, read_json
from gaussian_splatting.errors import SceneError

RELIABLE = (0.2, 5.0)
"""A depth scale outside these multiples of the median scale comes from a failed fit; its depth map is not used."""


@dataclass(frozen=True)
class SceneFiles:
    """The folders of a scene. `picture_folders` are tried in order; the first is the preferred one."""

    root: Path
    picture_folders: tuple[Path, ...]
    depth_folder: Path | None
    allow_links: bool = False
    """Whether symbolic links may lead out of these folders."""

    def picture(self, name: str) -> Path | None:
        """The picture file of a COLMAP image name; None when no folder has it."""
        return first_file(self.picture_folders, [name], self.allow_links)

    def is_reduced(self, path: Path) -> bool:
        """Whether a picture comes from the folder of pictures that are reduced already."""
        return len(self.picture_folders) > 1 and self.picture_folders[0] in path.parents

    def mask(self, name: str) -> Path | None:
        """The mask beside the picture: `<stem>_mask.tiff`, else `<stem>_mask.png`."""
        return first_file(self.picture_folders, mask_names(name), self.allow_links)

    def depth(self, name: str) -> tuple[Path | None, Path | None]:
        """The depth map of a picture and the mask of the depth map."""
        if self.depth_folder is None:
            return None, None
        folders = (self.depth_folder,)
        depth = first_file(folders, depth_names(name), self.allow_links)
        return depth, None if depth is None else first_file(folders, mask_names(name), self.allow_links)


def find_files(
    root: Path, images: str, depths: str | None = None, resolution: int | None = None, allow_links: bool = False
) -> SceneFiles:
    """The folders of a scene: `images_<resolution>` before `images` when it exists; `depths`, else `depth`."""
    plain = _folder(root, images)
    folders = [plain] if plain is not None else []
    if resolution in (2, 4, 8) and (reduced := _folder(root, f"{images}_{resolution}")) is not None:
        folders.insert(0, reduced)
    if not folders:
        found = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) or "none"
        raise SceneError(
            f"{root / images}: no such folder of pictures; folders there: {found}; rename it to {images}, or name it "
            "with images= in Python"
        )
    candidates = ["depths", "depth"] if depths is None else [depths]
    depth_folders = (folder for name in candidates if (folder := _folder(root, name)) is not None)
    depth_folder = next(depth_folders, None)
    if depths is not None and depth_folder is None:
        raise SceneError(f"{root / depths}: no such folder of depth maps; correct the name, or leave it out")
    return SceneFiles(root, tuple(folders), depth_folder, allow_links)


def read_depth_scales(path: Path) -> tuple[dict[str, tuple[float, float]], set[str]]:
    """Scale and offset of depth maps by the stem of the image name, and the stems whose fit cannot be trusted.

    The file holds {"<stem>": {"scale": s, "offset": o}}: inverse depth = s * value / 65536 + o.
    """
    entries: dict[str, JsonValue] = read_json(path).entries()
    scales = {stem: (entry["scale"].number(), entry["offset"].number()) for stem, entry in entries.items()}
    positive = sorted(scale for scale, _ in scales.values() if scale > 0)
    typical = positive[len(positive) // 2] if positive else 0.0
    low, high = RELIABLE[0] * typical, RELIABLE[1] * typical
    return scales, {stem for stem, (scale, _) in scales.items() if not (scale > 0 and low <= scale <= high)}


def _folder(root: Path, name: str) -> Path | None:
    """A folder of the scene. The user names it, so it may be absolute or a link."""
    folder = root / name
    return folder if folder.is_dir() else None
