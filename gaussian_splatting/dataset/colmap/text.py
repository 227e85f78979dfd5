"""cameras.txt and images.txt of COLMAP, read with line numbers and written."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gaussian_splatting.dataset.colmap.camera_models import MODEL_OF_NAME, undistortion_commands
from gaussian_splatting.dataset.colmap.records import (
    ColmapCamera,
    ColmapImage,
    fault_of_camera,
    fault_of_name,
    fault_of_pose,
    normalised,
)
from gaussian_splatting.errors import FormatError, SplatError

PathLike = str | os.PathLike[str]
Line = tuple[int, bytes]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Nine fields, then one separator, then the name with all its spaces.
_IMAGE_LINE = re.compile(rb"[ \t]*" + rb"[ \t]+".join([rb"(\S+)"] * 9) + rb"[ \t](.+)")
_LARGEST_ID = {"camera": 2**32 - 1, "image": 2**32 - 1, "point": 2**64 - 1}
_SHORT_LINE = 64  # words; a line of observations up to this length is checked number by number


class LineError(ValueError):
    """What is wrong with a line: `wanted`, `found`. `place` turns it into a `FormatError`."""

    def __init__(self, wanted: str, found: object, cure: str = "correct the line, or export the model again") -> None:
        super().__init__(wanted, found)
        self.wanted = wanted
        self.cure = cure
        self.found = found if isinstance(found, str) else repr(found)

    def place(self, path: PathLike, line: int) -> FormatError:
        """The error to raise, once the line is known."""
        found = self.found if len(self.found) <= 120 else self.found[:120] + "…"
        return FormatError(f"{os.fspath(path)}: line {line}: expected {self.wanted}, found {found}; {self.cure}")


def numbered_lines(data: bytes) -> Iterator[Line]:
    """Every line with its number, from 1, without its line break and a byte order mark."""
    for number, line in enumerate(data.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), 1):
        yield number, line.removesuffix(b"\r")


def is_content(line: bytes) -> bool:
    """Whether a line is more than white space and comment."""
    stripped = line.lstrip()
    return bool(stripped) and not stripped.startswith(b"#")


def parse_identifier(word: bytes, what: str) -> int:
    """The id of a camera, image or point."""
    if not word.isdigit() or len(word) > 20 or int(word) > _LARGEST_ID[what]:
        raise LineError(f"the id of the {what}, a whole number", word)
    return int(word)


def parse_finite(word: bytes, what: str) -> float:
    """A number with a decimal point, whatever the locale; NaN, infinity and what overflows are refused."""
    try:
        number = math.nan if b"_" in word else float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise LineError(f"a finite number for {what}", word)
    return number


def parse_cameras_text(data: bytes, path: PathLike) -> dict[int, ColmapCamera]:
    """The cameras by id, in the order of the file."""
    cameras: dict[int, ColmapCamera] = {}
    for number, line in numbered_lines(data):
        if not is_content(line):
            continue
        try:
            camera = _parse_camera(line, path)
            if camera.id in cameras:
                raise LineError("cameras of different ids", f"camera {camera.id} twice")
        except LineError as error:
            raise error.place(path, number) from None
        cameras[camera.id] = camera
    return cameras


def _parse_camera(line: bytes, path: PathLike) -> ColmapCamera:
    words = line.split()
    if len(words) < 4:
        raise LineError("CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]", line)
    camera_id = parse_identifier(words[0], "camera")
    name = words[1].decode("utf-8", "replace")
    model = MODEL_OF_NAME.get(name)
    if model is None:
        cure = f"if a newer COLMAP wrote it, run there\n{undistortion_commands(Path(path).parent)}"
        raise LineError("a camera model of COLMAP", f"{name} (camera {camera_id})", cure)
    if len(words) != 4 + len(model.parameters):
        wanted = f"{len(model.parameters)} parameters of {name} ({' '.join(model.parameters)})"
        raise LineError(wanted, f"{len(words) - 4} of camera {camera_id}")
    width, height = (_parse_size(word, what) for word, what in zip(words[2:4], ("width", "height"), strict=True))
    params = tuple(parse_finite(word, what) for word, what in zip(words[4:], model.parameters, strict=True))
    camera = ColmapCamera(camera_id, name, width, height, params)
    fault = fault_of_camera(camera)
    if fault is not None:
        raise LineError("a usable camera", f"camera {camera_id} ({name}) that {fault}")
    return camera


def _parse_size(word: bytes, what: str) -> int:
    if not word.isdigit() or len(word) > 18:
        raise LineError(f"the {what} in whole pixels", word)
    return int(word)


def parse_images_text(data: bytes, path: PathLike) -> dict[int, ColmapImage]:
    """The images by id, in the order of the file; the line of observations after each is passed over.

    That line may be empty, and only at the end of the file may it be missing.
    """
    images: dict[int, ColmapImage] = {}
    names: dict[str, int] = {}
    lines = numbered_lines(data)
    for number, line in lines:
        if not is_content(line):
            continue
        try:
            image = _parse_image(line)
            if image.id in images:
                raise LineError("images of different ids", f"image {image.id} twice ({image.name!r})")
            if image.name in names:
                raise LineError("images of different names", f"{image.name!r}: images {names[image.name]}, {image.id}")
        except LineError as error:
            raise error.place(path, number) from None
        observations = next(lines, (number, b""))
        try:
            _check_observations(observations[1], image)
        except LineError as error:
            raise error.place(path, observations[0]) from None
        names[image.name] = image.id
        images[image.id] = image
    return images


def _parse_image(line: bytes) -> ColmapImage:
    match = _IMAGE_LINE.fullmatch(line)
    if match is None:
        raise LineError("IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", line)
    image_id = parse_identifier(match[1], "image")
    what = ("QW", "QX", "QY", "QZ", "TX", "TY", "TZ")
    pose = [parse_finite(match[index], name) for index, name in enumerate(what, 2)]
    camera_id = parse_identifier(match[9], "camera")
    try:
        name = match[10].decode("utf-8")
    except UnicodeDecodeError:
        raise LineError("the name of the image in UTF-8", match[10]) from None
    fault = fault_of_name(name) or fault_of_pose(pose[:4], pose[4:])
    if fault is not None:
        raise LineError("a usable image", f"image {image_id} ({name!r}) that {fault}")
    return ColmapImage(image_id, normalised(pose[:4]), (pose[4], pose[5], pose[6]), camera_id, name)


def _check_observations(line: bytes, image: ColmapImage) -> None:
    """Makes sure that the line is not the next image, or cut: it holds X Y POINT3D_ID for each observation."""
    words = line.split()
    if len(words) % 3:
        raise LineError(f"X Y POINT3D_ID for each observation of image {image.id} ({image.name!r})", line)
    if len(words) > _SHORT_LINE:
        return
    for index, word in enumerate(words):
        if index % 3 < 2:
            parse_finite(word, f"an observation of image {image.id}")
        elif not word.removeprefix(b"-").isdigit():
            raise LineError(f"the point of an observation of image {image.id}, a whole number", word)


def format_cameras_text(cameras: Iterable[ColmapCamera]) -> bytes:
    """The content of a cameras.txt; numbers are written so that they read back equal."""
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    for camera in cameras:
        params = " ".join(map(repr, camera.params))
        lines.append(f"{camera.id} {camera.model} {camera.width} {camera.height} {params}")
    return ("\n".join(lines) + "\n").encode("utf-8")


def format_images_text(images: Iterable[ColmapImage]) -> bytes:
    """The content of an images.txt, without observations."""
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "# X Y POINT3D_ID of each observation"]
    for image in images:
        fault = fault_of_name(image.name)
        if fault is not None:
            raise SplatError(f"images.txt cannot be written: image {image.id} {fault}")
        pose = " ".join(map(repr, (*image.qvec, *image.tvec)))
        lines += [f"{image.id} {pose} {image.camera_id} {image.name}", ""]
    return ("\n".join(lines) + "\n").encode("utf-8")
