"""The header of a PLY file: what the elements are called, how many there are, and how each is laid out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gaussian_splatting.errors import FormatError

Encoding = Literal["ascii", "binary_little_endian", "binary_big_endian"]

LONGEST_HEADER = 64 << 10
_ENCODINGS: dict[str, Encoding] = {
    "ascii": "ascii",
    "binary_little_endian": "binary_little_endian",
    "binary_big_endian": "binary_big_endian",
}
_NUMBER_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_TYPE_NAMES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort",
    "i4": "int", "u4": "uint", "f4": "float", "f8": "double",
}  # fmt: skip


@dataclass(frozen=True)
class PlyProperty:
    """One column: its name, its number type (numpy's word), and for a list the type of its length."""

    name: str
    number_type: str
    length_type: str | None = None


@dataclass(frozen=True)
class PlyElement:
    """One table: `count` rows of `properties`."""

    name: str
    count: int
    properties: tuple[PlyProperty, ...]

    @property
    def label(self) -> str:
        """What messages call its rows."""
        return f"rows of element {self.name!r}"

    @property
    def scalars(self) -> tuple[PlyProperty, ...]:
        """The properties that are not lists."""
        return tuple(column for column in self.properties if column.length_type is None)

    @property
    def has_lists(self) -> bool:
        """Whether rows differ in length."""
        return len(self.scalars) != len(self.properties)

    def row_dtype(self, byte_order: str = "=") -> np.dtype:
        """One row without its lists."""
        return np.dtype([(column.name, byte_order + column.number_type) for column in self.scalars])


@dataclass(frozen=True)
class PlyHeader:
    """What the header says; `size` is its length in bytes, the line break after `end_header` included."""

    encoding: Encoding
    elements: tuple[PlyElement, ...]
    size: int

    @property
    def byte_order(self) -> str:
        """The byte order of a binary body, in numpy's notation."""
        return ">" if self.encoding == "binary_big_endian" else "<"


def parse_header(start: bytes, path: str | os.PathLike[str]) -> PlyHeader:
    """Reads the header from the first bytes of a file (`LONGEST_HEADER` of them, or the whole file)."""
    return _HeaderParser(start, path).parse()


def format_header(elements: tuple[PlyElement, ...], encoding: Encoding = "binary_little_endian") -> bytes:
    """The bytes of a header; the body follows directly."""
    lines = ["ply", f"format {encoding} 1.0"]
    for element in elements:
        lines.append(f"element {element.name} {element.count}")
        lines += [f"property {_type_words(column)} {column.name}" for column in element.properties]
    return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")


def _type_words(column: PlyProperty) -> str:
    length = "" if column.length_type is None else f"list {_TYPE_NAMES[column.length_type]} "
    return length + _TYPE_NAMES[column.number_type]


class _HeaderParser:
    """Goes through the lines once; `line` is the number of the current one, for messages."""

    def __init__(self, start: bytes, path: str | os.PathLike[str]) -> None:
        self._start = start[:LONGEST_HEADER]
        self._is_cut = len(start) >= LONGEST_HEADER
        self._path = path
        self._line = 1
        self._encoding: Encoding | None = None
        self._elements: list[tuple[str, int, dict[str, PlyProperty]]] = []

    def parse(self) -> PlyHeader:
        lines, size = self._split()
        for words in lines:
            self._line += 1
            if words:
                self._take(words)
        if self._encoding is None:
            raise self._error("a line `format …` before `end_header`", "none")
        elements = tuple(PlyElement(name, count, tuple(columns.values())) for name, count, columns in self._elements)
        for element in elements:
            if element.count and not element.properties:
                raise self._error(f"properties of element {element.name!r}", "none")
        return PlyHeader(self._encoding, elements, size)

    def _split(self) -> tuple[list[list[str]], int]:
        """The words of each line between `ply` and `end_header`, and the size of the header."""
        if not self._start.startswith((b"ply\n", b"ply\r")):
            raise self._error("`ply`, the first line of every PLY file", repr(self._start[:20]))
        line_break = b"\n"
        if self._start[3:4] == b"\r":
            line_break = b"\r\n" if self._start[4:5] == b"\n" else b"\r"
        marker = line_break + b"end_header"
        end = self._start.find(marker + line_break)
        if end < 0:
            if self._is_cut or not self._start.endswith(marker):
                limit = f"within {LONGEST_HEADER} bytes" if self._is_cut else "before the end of the file"
                raise self._error(f"a line `end_header` {limit}", "none")
            end = len(self._start) - len(marker)
        size = min(end + len(marker) + len(line_break), len(self._start))
        # Comments may hold any bytes; Latin-1 gives every byte a character, and names are compared as they are.
        lines = self._start[:end].split(line_break)[1:]
        return [[word.decode("latin-1") for word in line.split()] for line in lines], size

    def _take(self, words: list[str]) -> None:
        keyword = words[0]
        if keyword in ("comment", "obj_info"):
            return
        if keyword == "format" and len(words) == 3:
            self._take_format(words)
        elif keyword == "element" and len(words) == 3:
            self._take_element(words)
        elif keyword == "property" and len(words) >= 3:
            self._take_property(words)
        else:
            raise self._error("`format`, `comment`, `element` or `property`", " ".join(words))

    def _take_format(self, words: list[str]) -> None:
        if self._encoding is not None:
            raise self._error("one line `format`", "a second one")
        if words[1] not in _ENCODINGS or words[2] != "1.0":
            raise self._error(f"a format of {', '.join(_ENCODINGS)}, version 1.0", " ".join(words[1:]))
        self._encoding = _ENCODINGS[words[1]]

    def _take_element(self, words: list[str]) -> None:
        name, number = words[1], words[2]
        if any(name == known for known, _, _ in self._elements):
            raise self._error("elements of different names", f"{name!r} twice")
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise self._error(f"how many rows element {name!r} has", number)
        self._elements.append((name, int(number), {}))

    def _take_property(self, words: list[str]) -> None:
        if not self._elements:
            raise self._error("an `element` before its properties", " ".join(words))
        element, _, columns = self._elements[-1]
        column = self._property(words)
        if column.name in columns:
            raise self._error(f"properties of different names in element {element!r}", f"{column.name!r} twice")
        columns[column.name] = column

    def _property(self, words: list[str]) -> PlyProperty:
        types, name = words[1:-1], words[-1]
        is_list = types[0] == "list"
        numbers = [_NUMBER_TYPES.get(word) for word in (types[1:] if is_list else types)]
        if is_list and len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
            if numbers[0][0] == "f":
                raise self._error("a whole number as the length of a list", types[1])
            return PlyProperty(name, numbers[1], numbers[0])
        if not is_list and len(numbers) == 1 and numbers[0] is not None:
            return PlyProperty(name, numbers[0])
        raise self._error("`property <type> <name>` or `property list <type> <type> <name>`", " ".join(words))

    def _error(self, wanted: str, found: str) -> FormatError:
        shown = found if len(found) <= 80 else found[:80] + "…"
        return FormatError(
            f"{os.fspath(self._path)}: line {self._line} of the PLY header: expected {wanted}, found {shown}; "
            "the file is damaged or not a PLY file: copy or export it again"
        )
