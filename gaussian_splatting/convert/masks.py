"""Masks of photos: 255 keeps, 0 hides. Features are found only where something is kept, and training gets them too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaussian_splatting.errors import SceneError

if TYPE_CHECKING:
    import numpy as np

MASK_FOLDER = "masks"
HALF = 128


@dataclass(frozen=True)
class Masks:
    """Where the masks of the photos of `root` lie: in `folder`, or without one beside the photos."""

    root: Path
    folder: Path | None = None

    def of(self, photo: Path, size: tuple[int, int], alpha: np.ndarray | None) -> np.ndarray | None:
        """The mask [H, W] uint8 of a photo at `size` (width, height), from a file or its alpha channel; or None.

        Raises SceneError for a mask of another shape than its photo.
        """
        path = self.file(photo)
        if path is None:
            # An alpha channel that hides nothing is no mask.
            return None if alpha is None or int(alpha.min()) >= HALF else _binary(alpha)
        import cv2

        from gaussian_splatting.dataset.decode import read_header, read_mask
        from gaussian_splatting.dataset.sizes import require_same_shape

        mask, turn = read_mask(path), read_header(photo).orientation
        stored = (mask.shape[1], mask.shape[0])
        if turn != 1 and (stored[0] > stored[1]) != (size[0] > size[1]):
            # The mask was drawn over the pixels as they are stored.
            from gaussian_splatting.dataset.load import turned

            mask = turned(mask, turn)
            stored = (mask.shape[1], mask.shape[0])
        require_same_shape(path, stored, size)
        return _binary(mask if stored == size else cv2.resize(mask, size, interpolation=cv2.INTER_AREA))

    def file(self, photo: Path) -> Path | None:
        """The mask file of a photo: `<stem>_mask.png|tiff` beside it, or `<name>.png`, `<stem>.png` in the folder."""
        return next((path for path in self._candidates(photo) if path.is_file()), None)

    def used(self, photos: Iterable[Path]) -> list[Path]:
        """The mask files of photos."""
        return [path for photo in photos if (path := self.file(photo)) is not None]

    def _candidates(self, photo: Path) -> Iterator[Path]:
        for ending in ("_mask.png", "_mask.tiff", "_mask.tif"):
            yield photo.with_name(photo.stem + ending)
        if self.folder is not None:
            place = self.folder / photo.relative_to(self.root).parent
            for name in (f"{photo.name}.png", f"{photo.stem}.png", f"{photo.stem}_mask.png", f"{photo.stem}.jpg"):
                yield place / name


def find_masks(root: Path, given: str | None) -> Masks:
    """The masks of photos in `root`: in the folder that was given, else in `masks/` beside or inside it, if there."""
    if given is not None:
        folder = Path(given)
        if not folder.is_dir():
            raise SceneError(f"{folder}: no such folder of masks; correct --masks")
        return Masks(root, folder)
    places = (root / MASK_FOLDER, root.parent / MASK_FOLDER)
    return Masks(root, next((place for place in places if place.is_dir()), None))


def encode_mask(mask: np.ndarray) -> bytes:
    """The content of a PNG file of a mask."""
    from gaussian_splatting.rendering.picture_files import encode_picture

    return encode_picture(mask, "png")


def _binary(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.where(values >= HALF, np.uint8(255), np.uint8(0))
