"""Photos into the work folder: checked, upright, not larger than wanted, under names that no program trips over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gaussian_splatting.convert.exif import ExifNote, read_note
from gaussian_splatting.convert.masks import Masks, encode_mask
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.sources import HEIC_CURE, Sources
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io import storage
from gaussian_splatting.io.paths import inside

if TYPE_CHECKING:
    import numpy as np

KEPT_FORMATS = {"JPEG": ".jpg", "PNG": ".png"}
JPEG_QUALITY = 95
LEAST_PHOTOS = 3
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")


@dataclass(frozen=True)
class Picture:
    """One picture of the conversion: `file` is its name in the work folder, `name` that in the scene."""

    file: str
    name: str
    width: int
    height: int
    camera: str
    """Pictures with the same text here share a camera."""
    focal: float | None = None
    """The focal length that the camera noted, in pixels."""
    masked: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Intake:
    """The pictures taken in, in the order of their names, and what was left out: name -> reason."""

    pictures: tuple[Picture, ...]
    left_out: dict[str, str]


def take_photos(
    found: Sources,
    masks: Masks,
    folder: Path,
    mask_folder: Path,
    options: ConvertOptions,
    tick: Callable[[int, int], None],
) -> Intake:
    """Write the photos (and their masks as `<file>.png`) into folders of their own; `tick(done, total)` counts them.

    JPEG and PNG files that are upright and small enough are copied unchanged. Photos that cannot be decoded are left
    out and named; a `SceneError` says so when that is more than a half, or fewer than three photos are left.
    """
    storage.make_folder(folder)
    names = scene_names([path.relative_to(found.root).as_posix() for path in found.photos])
    jobs = list(enumerate(zip(found.photos, names, strict=True)))
    taken: list[Picture] = []
    left_out: dict[str, str] = {}

    def take(job: tuple[int, tuple[Path, str]]) -> Picture | SceneError:
        number, (path, name) = job
        try:
            return _take(path, name, number, masks, folder, mask_folder, options)
        except SceneError as error:
            return error

    with ThreadPoolExecutor(options.threads or 2) as pool:
        for done, (result, (_, (path, _))) in enumerate(zip(pool.map(take, jobs), jobs, strict=True), 1):
            if isinstance(result, SceneError):
                left_out[path.relative_to(found.root).as_posix()] = str(result)
            else:
                taken.append(result)
            tick(done, len(jobs))
    _require_enough(found, taken, left_out)
    return Intake(tuple(_with_cameras(taken, options)), left_out)


def scene_names(paths: Sequence[str]) -> list[str]:
    """The names in the scene of files by their relative paths: as they are, but no two with the same stem."""
    names: list[str] = []
    stems: set[str] = set()
    for path in paths:
        inside("images", path)  # a name that train would refuse is refused here
        name = PurePosixPath(path)
        if str(name.with_suffix("")).lower() in stems:  # a.png beside a.jpg: their masks would share a name
            name = name.with_name(f"{name.stem}_{name.suffix[1:].lower()}{name.suffix}")
        number = 2
        while str(name.with_suffix("")).lower() in stems:
            name, number = PurePosixPath(path).with_stem(f"{PurePosixPath(path).stem}_{number}"), number + 1
        stems.add(str(name.with_suffix("")).lower())
        names.append(str(name))
    return names


def _take(
    path: Path, name: str, number: int, masks: Masks, folder: Path, mask_folder: Path, options: ConvertOptions
) -> Picture:
    from gaussian_splatting.dataset.decode import read_header

    _refuse_heic(path)
    header = read_header(path)
    note, kind = _noted(path)
    turned = header.orientation >= 5
    size = (header.height, header.width) if turned else (header.width, header.height)
    wanted = reduced(size, options.max_size)
    if min(wanted) < 16:
        raise SceneError(f"{path}: {size[0]} x {size[1]} pixels; photos of a scene need more")
    pixels, alpha = _pixels(path, header.orientation, wanted)
    kept = kind is not None and header.orientation == 1 and wanted == size and alpha is None
    ending = kind if kept and kind else ".png" if path.suffix.lower() in (".png", ".tif", ".tiff", ".bmp") else ".jpg"
    file = f"{number:05d}{ending}"
    storage.write_atomically(folder / file, path.read_bytes() if kept else encode_photo(pixels, ending))
    mask = masks.of(path, wanted, alpha)
    if mask is not None:
        storage.write_atomically(mask_folder / f"{file}.png", encode_mask(mask))
    name = str(PurePosixPath(name).with_suffix(PurePosixPath(name).suffix if kept else ending))
    focal = None if note.focal is None else note.focal * max(wanted)
    key = f"{PurePosixPath(name).parent}|{wanted[0]}x{wanted[1]}|{note.device}|{note.zoom}"
    return Picture(file, name, *wanted, key, focal, mask is not None)


def reduced(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """The size (width, height) with a longest side of at most `max_size`; 0 keeps it."""
    factor = 1.0 if max_size == 0 else min(1.0, max_size / max(size))
    return (size[0], size[1]) if factor == 1.0 else (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))


def _pixels(path: Path, orientation: int, wanted: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours [H, W, 3] and alpha [H, W] of a photo, upright and at the wanted size; decoding also proves it whole."""
    import cv2

    from gaussian_splatting.dataset.decode import read_colors

    colors, alpha = read_colors(path)
    planes = [colors] if alpha is None else [colors, alpha]
    if orientation != 1:
        from gaussian_splatting.dataset.load import turned

        planes = [turned(plane, orientation) for plane in planes]
    if planes[0].shape[:2] != wanted[::-1]:
        planes = [cv2.resize(plane, wanted, interpolation=cv2.INTER_AREA) for plane in planes]
    return planes[0], planes[1] if alpha is not None else None


def encode_photo(pixels: np.ndarray, ending: str) -> bytes:
    """The content of a file for a picture [H, W, 3]: PNG, or JPEG of high quality."""
    from gaussian_splatting.rendering.picture_files import encode_picture

    return encode_picture(pixels, "png" if ending == ".png" else "jpeg", quality=JPEG_QUALITY)


def _noted(path: Path) -> tuple[ExifNote, str | None]:
    """What the camera noted, and the ending under which the file can be used as it is, if it can."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            plain = image.mode in ("RGB", "L") and image.format in KEPT_FORMATS
            return read_note(image), KEPT_FORMATS[str(image.format)] if plain else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # kinds of TIFF that only tifffile reads
        return ExifNote(), None


def _refuse_heic(path: Path) -> None:
    """Phones export HEIC under the name of a JPEG; the content tells."""
    try:
        with path.open("rb") as stream:
            start = stream.read(12)
    except OSError as error:
        raise SceneError(f"{path}: cannot be read: {error.strerror}; check the file") from error
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS:
        raise SceneError(f"{path}: a HEIC photo under another name; {HEIC_CURE}")


def _require_enough(found: Sources, taken: Sequence[Picture], left_out: dict[str, str]) -> None:
    if len(left_out) > len(taken):
        raise SceneError(f"{found.root}: {len(left_out)} of {len(found.photos)} photos are unusable: "
                         f"{next(iter(left_out.values()))}")  # fmt: skip
    if len(taken) < LEAST_PHOTOS:
        reason = f" ({next(iter(left_out.values()))})" if left_out else ""
        raise SceneError(
            f"{found.root}: {len(taken)} usable photos{reason}; a scene needs at least {LEAST_PHOTOS} from different "
            "places, and 20 to 100 are usual"
        )


def _with_cameras(pictures: Sequence[Picture], options: ConvertOptions) -> Iterator[Picture]:
    if options.cameras == "single":
        sizes = sorted({(picture.width, picture.height) for picture in pictures})
        if len(sizes) > 1:
            shown = ", ".join(f"{width} x {height}" for width, height in sizes[:4])
            raise SceneError(f"one camera was asked for, but the photos have {len(sizes)} sizes ({shown}); "
                             "leave --single_camera away")  # fmt: skip
    for picture in pictures:
        key = {"single": "all", "photo": picture.file, "auto": picture.camera}[options.cameras]
        yield replace(picture, camera=re.sub(r"\s+", " ", key))
