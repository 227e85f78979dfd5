"""When the size of a picture and the size of its camera differ: what is scaled, what is turned, what is refused."""

from __future__ import annotations

from pathlib import Path

from gaussian_splatting.dataset.decode import PictureHeader
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.errors import SceneError
from gaussian_splatting.losses.ssim import WINDOW_SIZE

Size = tuple[int, int]
"""(width, height)."""


def turned_size(size: Size, orientation: int) -> Size:
    """The size of a picture once its EXIF orientation is applied."""
    return size if orientation <= 4 else (size[1], size[0])


def same_shape(size: Size, reference: Size) -> bool:
    """Whether one size is the other scaled, up to a pixel of the coarser of the two along each axis."""
    ranges = []
    for pixels, wanted in zip(size, reference, strict=True):
        slack = max(1.0, pixels / wanted)
        ranges.append(((pixels - slack) / wanted, (pixels + slack) / wanted))
    return max(low for low, _ in ranges) <= min(high for _, high in ranges)


def nearly_equal(size: Size, reference: Size) -> bool:
    """Whether two sizes differ by a pixel at most along each axis."""
    return all(abs(a - b) <= 1 for a, b in zip(size, reference, strict=True))


def require_same_shape(path: Path, size: Size, picture: Size) -> None:
    """A mask or depth map may have another size than its picture, not another shape."""
    if not same_shape(size, picture):
        raise SceneError(
            f"{path}: {size[0]} x {size[1]} pixels, but its picture has {picture[0]} x {picture[1]}: they do not cover "
            "the same view; make it again from that picture"
        )


def fit_lens(lens: Lens, path: Path, header: PictureHeader) -> tuple[Lens, int]:
    """The lens at the size of the picture, and the EXIF orientation to apply to it (1: none).

    COLMAP reads pixels as they are stored, whatever EXIF says, so a picture whose stored shape fits its camera is left
    as it is; only when the turned one alone fits is it turned. A picture of the same shape scales the intrinsics; a
    picture of another shape is refused.
    """
    camera, stored = (lens.width, lens.height), (header.width, header.height)
    turned = turned_size(stored, header.orientation)
    if same_shape(stored, camera):
        size, turn = stored, 1
    elif same_shape(turned, camera):
        size, turn = turned, header.orientation
    else:
        raise SceneError(f"{path}: {stored[0]} x {stored[1]} pixels, but its camera has {_explained(camera, stored)}")
    return (lens if size == camera else lens.scaled(*size)), turn


def _explained(camera: Size, stored: Size) -> str:
    found = f"{camera[0]} x {camera[1]}"
    if same_shape(stored, (camera[1], camera[0])):
        return f"{found}: the picture is turned by 90 degrees; use the pictures that the poses were computed from"
    return f"{found}: another shape; use the pictures that the poses were computed from, neither cropped nor padded"


def reduced_size(size: Size, resolution: int | None, image_scale: float | None) -> Size:
    """The size to train at: `resolution` 1, 2, 4 or 8 divides, -1 limits the width to 1600, another number is a width.

    `image_scale` multiplies instead. Pictures are never enlarged.
    """
    factor = 1.0
    if image_scale is not None:
        factor = image_scale
    elif resolution in (1, 2, 4, 8):
        factor = 1.0 / resolution
    elif resolution is not None:
        factor = min(1.0, (1600 if resolution == -1 else resolution) / size[0])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def reduced_picture(path: Path | str, size: Size, resolution: int | None, image_scale: float | None) -> Size:
    """The `reduced_size` of a picture; refuses what leaves less of it than one window of the loss."""
    reduced = reduced_size(size, resolution, image_scale)
    if reduced != size and min(reduced) < WINDOW_SIZE:
        flag = f"--resolution {resolution}" if image_scale is None else f"--image_scale {image_scale}"
        raise SceneError(
            f"{path}: {flag} leaves {reduced[0]} x {reduced[1]} of its {size[0]} x {size[1]} pixels; SSIM looks at "
            f"{WINDOW_SIZE} x {WINDOW_SIZE} at a time: reduce less"
        )
    return reduced


def require_reduction(resolution: int | None, image_scale: float | None) -> None:
    """Refuses a resolution or an image scale that means nothing."""
    if resolution is not None and image_scale is not None:
        raise SceneError(f"resolution ({resolution}) and image_scale ({image_scale}) exclude each other; give one")
    if resolution is not None and resolution not in (-1, 1, 2, 4, 8) and resolution < 16:
        raise SceneError(
            f"resolution {resolution} means nothing; give 1, 2, 4 or 8 (divides), -1 (at most 1600 wide), or a width"
        )
    if image_scale is not None and not 0 < image_scale <= 1:
        raise SceneError(f"image_scale must lie above 0 and at most at 1; found {image_scale}")
