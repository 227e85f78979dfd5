"""The body of a PLY file: rows of any element, in any of the three encodings, a cacheful at a time."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.ply_header import LONGEST_HEADER, PlyElement, PlyHeader, PlyProperty, parse_header
from gaussian_splatting.io.reader import Reader

_LONGEST_LINE = 1 << 20
_LINES_AT_ONCE = 4096

Chunks = Iterator[tuple[int, NDArray]]


class PlyBody:
    """The rows of a PLY file, element by element in the order of the header.

    `chunks(element)` must be exhausted for each element in turn, then `finish()` called: it refuses bytes left over.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.header: PlyHeader = parse_header(reader.peek(LONGEST_HEADER), reader.path)
        reader.skip(self.header.size, "header")
        self._lines = _ascii_lines(reader) if self.header.encoding == "ascii" else None

    def chunks(self, element: PlyElement) -> Chunks:
        """Pieces of the rows, without lists: the index of each piece's first row, and the rows (copy what you keep)."""
        if self._lines is not None:
            return _ascii_chunks(self.reader, self._lines, element)
        if element.has_lists:
            return _list_chunks(self.reader, element, self.header.byte_order)
        return self.reader.chunks(element.row_dtype(self.header.byte_order), element.count, _rows_of(element))

    def rows(self, element: PlyElement) -> NDArray:
        """All the rows at once, without lists, as a structured array of their own."""
        chunks = self.chunks(element)
        if self._lines is None and not element.has_lists:
            return self.reader.array(element.row_dtype(self.header.byte_order), element.count, _rows_of(element))
        pieces = [rows for _, rows in chunks]
        return np.concatenate(pieces) if pieces else np.empty(0, element.row_dtype())

    def skip(self, element: PlyElement) -> None:
        """Passes over the rows, checking that they are there."""
        for _ in self.chunks(element):
            pass

    def finish(self) -> None:
        """Refuses anything after the last row but, in text, white space."""
        if self._lines is None:
            self.reader.finish()
        else:
            surplus = next(self._lines, None)
            if surplus is not None:
                raise self.reader.error("the end of the file after the rows that the header counts", repr(surplus))


def _rows_of(element: PlyElement) -> str:
    return f"rows of element {element.name!r}"


# Binary rows whose lengths differ


def _list_chunks(reader: Reader, element: PlyElement, byte_order: str) -> Chunks:
    shortest = sum(np.dtype(column.length_type or column.number_type).itemsize for column in element.properties)
    reader.require_records(element.count, shortest, _rows_of(element))
    if element.count == 0:
        return
    start = reader.offset
    rows = _uniform_rows(reader, element, byte_order)
    if rows is not None:
        yield 0, rows
        return
    reader.offset = start
    yield 0, _walk(reader, element, byte_order)


def _uniform_rows(reader: Reader, element: PlyElement, byte_order: str) -> NDArray | None:
    """The rows if all lists are as long as those of the first row, as in most meshes; otherwise nothing."""
    start = reader.offset
    layout = _layout_of_first_row(reader, element, byte_order)
    reader.offset = start
    if layout is None or layout.itemsize * element.count > reader.left:
        return None
    rows = reader.view(layout, element.count, _rows_of(element))
    lengths = [rows[name] for name in layout.names or () if name.startswith("length of ")]
    return _without_lists(rows, element) if all((length == length[0]).all() for length in lengths) else None


def _layout_of_first_row(reader: Reader, element: PlyElement, byte_order: str) -> np.dtype | None:
    fields: list[tuple[str, str]] = []
    for column in element.properties:
        if column.length_type is None:
            reader.skip(np.dtype(column.number_type).itemsize, _rows_of(element))
            fields.append((column.name, byte_order + column.number_type))
            continue
        size = _skip_list(reader, column, byte_order) * np.dtype(column.number_type).itemsize
        if size > _LONGEST_LINE:  # numpy limits the size of a row
            return None
        fields.append((f"length of {column.name}", byte_order + column.length_type))
        if size:
            fields.append((f"list {column.name}", f"V{size}"))
    return np.dtype(fields)


def _without_lists(rows: NDArray, element: PlyElement) -> NDArray:
    scalars = np.empty(len(rows), element.row_dtype())
    for column in element.scalars:
        scalars[column.name] = rows[column.name]
    return scalars


def _walk(reader: Reader, element: PlyElement, byte_order: str) -> NDArray:
    """Rows one by one: remembers where each scalar lies, then gathers column by column."""
    offsets = [array("q") for _ in element.properties]
    for _ in range(element.count):
        for column, places in zip(element.properties, offsets, strict=True):
            if column.length_type is None:
                places.append(reader.offset)
                reader.skip(np.dtype(column.number_type).itemsize, _rows_of(element))
            else:
                _skip_list(reader, column, byte_order)
    rows = np.empty(element.count, element.row_dtype())
    for column, places in zip(element.properties, offsets, strict=True):
        if column.length_type is None:
            layout = np.dtype(byte_order + column.number_type)
            where = np.frombuffer(places, np.int64)
            rows[column.name] = reader.bytes_at(where, layout.itemsize).view(layout)[:, 0]
    return rows


def _skip_list(reader: Reader, column: PlyProperty, byte_order: str) -> int:
    """Passes over one list; its length."""
    size = np.dtype(column.length_type).itemsize
    start = reader.offset
    raw = reader.take(size, f"the length of list {column.name!r}")
    is_signed = (column.length_type or "u")[0] == "i"
    length = int.from_bytes(raw, "big" if byte_order == ">" else "little", signed=is_signed)
    if length < 0:
        raise reader.error(f"the length of list {column.name!r}", length, offset=start)
    reader.skip(length * np.dtype(column.number_type).itemsize, f"list {column.name!r}")
    return length


# Text


def _ascii_lines(reader: Reader) -> Iterator[bytes]:
    """The lines that are not blank; both line breaks of the world count."""
    rest = b""
    while reader.left:
        piece = rest + reader.take(min(reader.left, _LONGEST_LINE)).replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        rest = lines.pop() if reader.left else b""
        if len(rest) > _LONGEST_LINE:
            raise reader.error(f"lines of at most {_LONGEST_LINE} characters", "a longer one")
        yield from (line for line in lines if line and not line.isspace())


def _ascii_chunks(reader: Reader, lines: Iterator[bytes], element: PlyElement) -> Chunks:
    shortest_row = 2 * len(element.properties)  # a digit and a space or line break each
    # The last line break may be missing, and a piece of text may already have been taken from the reader.
    if element.count * shortest_row > reader.size + 1:
        reader.require_records(element.count, shortest_row, _rows_of(element))
    for start in range(0, element.count, _LINES_AT_ONCE):
        wanted = min(_LINES_AT_ONCE, element.count - start)
        batch = list(islice(lines, wanted))
        if len(batch) < wanted:
            raise reader.error(
                f"{element.count} {_rows_of(element)}", f"the end of the file after {start + len(batch)}"
            )
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
