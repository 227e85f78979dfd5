"""Plain parsers to compare with: the rules written down once more, without speed. A parser gives None for a refusal.

`trusting_*` at the end are the controls: they believe the counts, as many readers do, and must fail the same tests.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np

PARAMETERS = {  # number: name, where the focal lengths are, where the principal point is, how many
    0: ("SIMPLE_PINHOLE", (0,), (1, 2), 3),
    1: ("PINHOLE", (0, 1), (2, 3), 4),
    2: ("SIMPLE_RADIAL", (0,), (1, 2), 4),
    3: ("RADIAL", (0,), (1, 2), 5),
    4: ("OPENCV", (0, 1), (2, 3), 8),
    5: ("OPENCV_FISHEYE", (0, 1), (2, 3), 8),
    6: ("FULL_OPENCV", (0, 1), (2, 3), 12),
    7: ("FOV", (0, 1), (2, 3), 5),
    8: ("SIMPLE_RADIAL_FISHEYE", (0,), (1, 2), 4),
    9: ("RADIAL_FISHEYE", (0,), (1, 2), 5),
    10: ("THIN_PRISM_FISHEYE", (0, 1), (2, 3), 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", (0, 1), (2, 3), 16),
    12: ("SIMPLE_DIVISION", (0,), (1, 2), 4),
    13: ("DIVISION", (0, 1), (2, 3), 5),
    14: ("SIMPLE_FISHEYE", (0,), (1, 2), 3),
    15: ("FISHEYE", (0, 1), (2, 3), 4),
    16: ("EUCM", (0, 1), (2, 3), 6),
    17: ("EQUIRECTANGULAR", (0, 1), (), 2),
}
BY_NAME = {row[0]: row for row in PARAMETERS.values()}


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def get(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def skip(self, size: int) -> None:
        if self.at + size > len(self.data):
            raise struct.error
        self.at += size


def refusing(parse: Any) -> Any:
    def parse_or_none(data: bytes) -> Any:
        try:
            return parse(data)
        except (struct.error, ValueError, KeyError, IndexError, OverflowError):
            return None

    return parse_or_none


def require(condition: bool) -> None:
    if not condition:
        raise ValueError


def check_camera(row: tuple, width: int, height: int, params: tuple[float, ...]) -> None:
    _, focal, centre, count = row
    require(len(params) == count and all(math.isfinite(value) for value in params))
    require(0 < width <= 1_000_000 and 0 < height <= 1_000_000)
    require(all(params[index] > 0 for index in focal))
    for index, size in zip(centre, (width, height), strict=False):
        require(-size <= params[index] <= 2 * size)


def check_image(qvec: tuple, tvec: tuple, name: str) -> tuple:
    require(all(math.isfinite(value) for value in (*qvec, *tvec)))
    length = math.sqrt(sum(value * value for value in qvec))
    require(abs(length - 1) <= 1e-3)
    require(name != "" and not re.search("[\x00-\x1f\x7f]", name) and len(name.encode()) <= 4096)
    return tuple(qvec) if abs(length - 1) < 1e-14 else tuple(value / length for value in qvec)


@refusing
def cameras_binary(data: bytes) -> dict:
    cursor, cameras = Cursor(data), {}
    (count,) = cursor.get("Q")
    for _ in range(count):
        camera_id, model, width, height = cursor.get("IiQQ")
        row = PARAMETERS[model]
        params = cursor.get("d" * row[3])
        check_camera(row, width, height, params)
        require(camera_id not in cameras)
        cameras[camera_id] = (row[0], width, height, params)
    require(cursor.at == len(data))
    return cameras


@refusing
def images_binary(data: bytes) -> dict:
    cursor, images = Cursor(data), {}
    (count,) = cursor.get("Q")
    for _ in range(count):
        image_id, *pose, camera_id = cursor.get("I7dI")
        end = data.index(b"\0", cursor.at)
        name = data[cursor.at : end].decode("utf-8")
        cursor.at = end + 1
        (observations,) = cursor.get("Q")
        cursor.skip(24 * observations)
        qvec = check_image(tuple(pose[:4]), tuple(pose[4:]), name)
        require(image_id not in images and all(name != other[3] for other in images.values()))
        images[image_id] = (qvec, tuple(pose[4:]), camera_id, name)
    require(cursor.at == len(data))
    return images


@refusing
def points_binary(data: bytes) -> list:
    cursor, points, ids = Cursor(data), [], set()
    (count,) = cursor.get("Q")
    for _ in range(count):
        point_id, x, y, z, r, g, b, error = cursor.get("QdddBBBd")
        (track,) = cursor.get("Q")
        cursor.skip(8 * track)
        require(point_id not in ids)
        ids.add(point_id)
        if all(math.isfinite(value) for value in (x, y, z, error)):
            points.append((point_id, x, y, z, r, g, b, error))
    require(cursor.at == len(data))
    return points


def text_lines(data: bytes) -> list[bytes]:
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    return [line[:-1] if line[-1:] == b"\r" else line for line in data.split(b"\n")]


def number(word: bytes) -> float:
    require(re.fullmatch(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", word) is not None)
    value = float(word)
    require(math.isfinite(value))
    return value


def whole(word: bytes, largest: int) -> int:
    require(re.fullmatch(rb"\d+", word) is not None and len(word) <= 20)
    require(int(word) <= largest)
    return int(word)


def skipped(line: bytes) -> bool:
    return line.strip() == b"" or line.strip()[:1] == b"#"


@refusing
def cameras_text(data: bytes) -> dict:
    cameras: dict = {}
    for line in text_lines(data):
        if skipped(line):
            continue
        words = line.split()
        camera_id = whole(words[0], 2**32 - 1)
        row = BY_NAME[words[1].decode()]
        width, height = whole(words[2], 10**18), whole(words[3], 10**18)
        params = tuple(number(word) for word in words[4:])
        check_camera(row, width, height, params)
        require(camera_id not in cameras)
        cameras[camera_id] = (row[0], width, height, params)
    return cameras


@refusing
def images_text(data: bytes) -> dict:
    images: dict = {}
    lines = text_lines(data)
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if skipped(line):
            continue
        match = re.fullmatch(rb"[ \t]*((?:\S+[ \t]+){8}\S+)[ \t](.+)", line)
        require(match is not None)
        words = match[1].split(b" ") if b"\t" not in match[1] else re.split(rb"[ \t]+", match[1])
        words = [word for word in words if word]
        image_id, camera_id = whole(words[0], 2**32 - 1), whole(words[8], 2**32 - 1)
        pose = [number(word) for word in words[1:8]]
        name = match[2].decode("utf-8")
        qvec = check_image(tuple(pose[:4]), tuple(pose[4:]), name)
        require(image_id not in images and all(name != other[3] for other in images.values()))
        images[image_id] = (qvec, tuple(pose[4:]), camera_id, name)
        observations = lines[index].split() if index < len(lines) else []
        index += 1
        require(len(observations) % 3 == 0)
        for position, word in enumerate(observations):
            if position % 3 < 2:
                number(word)
            else:
                require(re.fullmatch(rb"-?\d+", word) is not None)
    return images


@refusing
def points_text(data: bytes) -> list:
    points, ids = [], set()
    for line in text_lines(data):
        if skipped(line):
            continue
        words = line.split()
        point_id = whole(words[0], 2**64 - 1)
        x, y, z = (number(word) for word in words[1:4])
        require(all(len(word) <= 3 for word in words[4:7]))
        r, g, b = (whole(word, 255) for word in words[4:7])
        require(point_id not in ids)
        ids.add(point_id)
        points.append((point_id, x, y, z, r, g, b, number(words[7])))
    return points


# PLY

PLY_TYPES = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I", "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip


def ply_header(data: bytes) -> tuple[str, list, int]:
    line_break = next((mark for mark in (b"\r\n", b"\n", b"\r") if data[3:].startswith(mark)), b"")
    require(line_break != b"")
    require(data[:3] == b"ply")
    size = 0
    lines: list[list[bytes]] = []
    while True:
        end = data.find(line_break, size)
        line = data[size:] if end < 0 else data[size:end]
        size = len(data) if end < 0 else end + len(line_break)
        if line == b"end_header":
            break
        require(end >= 0)
        lines.append(line.split())
    require(size <= 65536)
    encoding, elements = None, []
    for words in lines[1:]:
        text = [word.decode("latin-1") for word in words]
        match text:
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as name, "1.0"]:
                require(encoding is None)
                encoding = name
            case ["element", name, count]:
                require(re.fullmatch("[0-9]{1,18}", count) is not None)
                require(all(name != element[0] for element in elements))
                elements.append((name, int(count), []))
            case ["property", "list", length, item, name]:
                require(PLY_TYPES[length] not in "fd" and all(name != other[0] for other in elements[-1][2]))
                elements[-1][2].append((name, PLY_TYPES[item], PLY_TYPES[length]))
            case ["property", kind, name]:
                require(all(name != other[0] for other in elements[-1][2]))
                elements[-1][2].append((name, PLY_TYPES[kind], None))
            case _:
                raise ValueError
    require(encoding is not None and all(properties or count == 0 for _, count, properties in elements))
    return encoding, elements, size


@refusing
def ply(data: bytes) -> dict:
    encoding, elements, size = ply_header(data)
    read = ply_text if encoding == "ascii" else ply_binary
    return read(data[size:], elements, ">" if "big" in encoding else "<")


def ply_binary(body: bytes, elements: list, order: str) -> dict:
    at, tables = 0, {}

    def get(kind: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from(order + kind, body, at)
        at += struct.calcsize(order + kind)
        return value

    for name, count, properties in elements:
        rows = []
        for _ in range(count):
            row = []
            for _, kind, length in properties:
                if length is None:
                    row.append(get(kind))
                else:
                    number_of_items = get(length)
                    require(number_of_items >= 0)
                    at += struct.calcsize(order + kind) * number_of_items
                    require(at <= len(body))
            rows.append(tuple(row))
        tables[name] = rows
    require(at == len(body))
    return tables


def ply_text(body: bytes, elements: list, _order: str) -> dict:
    lines = [line.split() for line in re.split(rb"[\r\n]", body)]
    lines = [words for words in lines if words]
    tables = {}
    for name, count, properties in elements:
        rows = []
        for _ in range(count):
            words = iter(lines.pop(0))
            row = []
            for _, kind, length in properties:
                if length is None:
                    row.append(ply_number(next(words, b""), kind))
                else:
                    items = ply_number(next(words, b""), length)
                    require(items >= 0)
                    require(all(next(words, b"") != b"" for _ in range(items)))
            require(next(words, None) is None)
            rows.append(tuple(row))
        tables[name] = rows
    require(not lines)
    return tables


def ply_number(word: bytes, kind: str) -> Any:
    if kind in "fd":
        require(b"_" not in word)
        with np.errstate(over="ignore"):
            return float(np.float32(float(word))) if kind == "f" else float(word)
    require(re.fullmatch(rb"[+-]?\d+", word) is not None)
    struct.pack("<" + kind, int(word))
    return int(word)


# Controls: they believe what a file says about itself, and make room for it before they look.


def trusting_cameras(data: bytes) -> dict:
    cursor, cameras = Cursor(data), {}
    table = np.empty((cursor.get("Q")[0], 4))
    for _ in range(len(table)):
        camera_id, model, width, height = cursor.get("IiQQ")
        cameras[camera_id] = (PARAMETERS[model][0], width, height, cursor.get("d" * PARAMETERS[model][3]))
    return cameras


def trusting_images(data: bytes) -> dict:
    cursor, images = Cursor(data), {}
    for _ in range(cursor.get("Q")[0]):
        image_id, *pose, camera_id = cursor.get("I7dI")
        end = data.index(b"\0", cursor.at)
        name = data[cursor.at : end].decode("utf-8")
        cursor.at = end + 1
        observations = np.empty((cursor.get("Q")[0], 3))
        cursor.at += observations.nbytes
        images[image_id] = (tuple(pose[:4]), tuple(pose[4:]), camera_id, name)
    return images


def trusting_points(data: bytes) -> list:
    cursor, points = Cursor(data), []
    table = np.empty((cursor.get("Q")[0], 8))
    for _ in range(len(table)):
        points.append(cursor.get("QdddBBBd"))
        cursor.at += 8 * cursor.get("Q")[0]
    return points


def trusting_ply(data: bytes) -> dict:
    _, elements, size = ply_header(data)
    tables = {}
    for name, count, properties in elements:
        row = np.dtype([(column, "<" + kind) for column, kind, _ in properties])
        table = np.empty(count, row)
        present = min(count, (len(data) - size) // row.itemsize)
        table[:present] = np.frombuffer(data, row, present, size)
        tables[name] = table[:present].tolist()
        size += table.nbytes
    return tables
