"""The rows of a PLY file in text: one line each, thousands at a time, and the line that is wrong is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.ply_header import PlyElement, PlyProperty
from gaussian_splatting.io.reader import Reader

_LONGEST_LINE = 1 << 20
_LINES_AT_ONCE = 4096


def text_lines(reader: Reader) -> Iterator[bytes]:
    """The lines that are not blank; both line breaks of the world count."""
    rest = b""
    while reader.left:
        piece = rest + reader.take(min(reader.left, _LONGEST_LINE)).replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        rest = lines.pop() if reader.left else b""
        if len(rest) > _LONGEST_LINE:
            raise reader.error(f"lines of at most {_LONGEST_LINE} characters", "a longer one")
        yield from (line for line in lines if line and not line.isspace())


def text_chunks(reader: Reader, lines: Iterator[bytes], element: PlyElement) -> Iterator[tuple[int, NDArray]]:
    """Pieces of the rows, without lists: the index of each piece's first row, and the rows."""
    shortest_row = 2 * len(element.properties)  # a digit and a space or line break each
    # The last line break may be missing, and a piece of text may already have been taken from the reader.
    if element.count * shortest_row > reader.size + 1:
        reader.require_records(element.count, shortest_row, element.label)
    for start in range(0, element.count, _LINES_AT_ONCE):
        wanted = min(_LINES_AT_ONCE, element.count - start)
        batch = list(islice(lines, wanted))
        if len(batch) < wanted:
            raise reader.error(f"{element.count} {element.label}", f"the end of the file after {start + len(batch)}")
        yield start, _parse_lines(reader, batch, element, start)


def _parse_lines(reader: Reader, batch: list[bytes], element: PlyElement, start: int) -> NDArray:
    words = [line.split() for line in batch]
    if element.has_lists:
        words = [_drop_lists(reader, row, element, start + index) for index, row in enumerate(words)]
    num_columns = len(element.scalars)
    for index, row in enumerate(words):
        if len(row) != num_columns:
            raise _row_error(
                reader, element, start + index, f"{num_columns} numbers", f"{len(row)} in {batch[index]!r}"
            )
    rows = np.empty(len(words), element.row_dtype())
    for column, texts in zip(element.scalars, zip(*words, strict=True), strict=True):
        rows[column.name] = _parse_column(reader, texts, column, element, start)
    return rows


def _parse_column(
    reader: Reader, texts: tuple[bytes, ...], column: PlyProperty, element: PlyElement, start: int
) -> NDArray:
    try:
        if column.number_type[0] == "f":
            numbers = [_parse_float(text) for text in texts]
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and readers drop it
                return np.array(numbers, np.float64).astype(column.number_type)
        return np.array([_parse_whole(text, column.number_type) for text in texts], column.number_type)
    except ValueError:
        for index, text in enumerate(texts):
            if not _is_number(text, column):
                wanted = f"a number of type {column.number_type} for {column.name!r}"
                raise _row_error(reader, element, start + index, wanted, repr(text)) from None
        raise


def _is_number(text: bytes, column: PlyProperty) -> bool:
    try:
        if column.number_type[0] == "f":
            _parse_float(text)
        else:
            _parse_whole(text, column.number_type)
    except ValueError:
        return False
    return True


def _parse_float(text: bytes) -> float:
    if b"_" in text:  # Python reads 1_000, no other program does
        raise ValueError(text)
    return float(text)


def _parse_whole(text: bytes, number_type: str) -> int:
    if b"_" in text:
        raise ValueError(text)
    number = int(text)
    limits = np.iinfo(number_type)
    if not limits.min <= number <= limits.max:
        raise ValueError(text)
    return number


def _drop_lists(reader: Reader, row: list[bytes], element: PlyElement, index: int) -> list[bytes]:
    kept: list[bytes] = []
    position = 0
    for column in element.properties:
        if column.length_type is None:
            kept += row[position : position + 1]
            position += 1
            continue
        try:
            length = _parse_whole(row[position], column.length_type)
        except (ValueError, IndexError):
            length = -1
        position += 1 + length
        if length < 0 or position > len(row):
            raise _row_error(reader, element, index, f"list {column.name!r}", repr(row[:8]))
    return kept + row[position:]


def _row_error(reader: Reader, element: PlyElement, row: int, wanted: str, found: str) -> FormatError:
    shown = found if len(found) <= 80 else found[:80] + "…"
    return FormatError(
        f"{os.fspath(reader.path)}: row {row} of element {element.name!r}: expected {wanted}, found {shown}; "
        "the file is damaged: copy or export it again"
    )
