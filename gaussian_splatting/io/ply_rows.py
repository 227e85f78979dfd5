"""The body of a PLY file: rows of any element, in any of the three encodings, a cacheful at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.ply_header import LONGEST_HEADER, PlyElement, PlyHeader, PlyProperty, parse_header
from gaussian_splatting.io.ply_text import text_chunks, text_lines
from gaussian_splatting.io.reader import Reader

_LARGEST_ROW = 1 << 20  # bytes; numpy limits the size of a record

Chunks = Iterator[tuple[int, NDArray]]


class PlyBody:
    """The rows of a PLY file, element by element in the order of the header.

    `chunks(element)` must be exhausted for each element in turn, then `finish()` called: it refuses bytes left over.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.header: PlyHeader = parse_header(reader.peek(LONGEST_HEADER), reader.path)
        reader.skip(self.header.size, "header")
        self._lines = text_lines(reader) if self.header.encoding == "ascii" else None

    def chunks(self, element: PlyElement) -> Chunks:
        """Pieces of the rows, without lists: the index of each piece's first row, and the rows (copy what you keep)."""
        if self._lines is not None:
            return text_chunks(self.reader, self._lines, element)
        if element.has_lists:
            return _list_chunks(self.reader, element, self.header.byte_order)
        return self.reader.chunks(element.row_dtype(self.header.byte_order), element.count, element.label)

    def rows(self, element: PlyElement) -> NDArray:
        """All the rows at once, without lists, as a structured array of their own."""
        chunks = self.chunks(element)
        if self._lines is None and not element.has_lists:
            return self.reader.array(element.row_dtype(self.header.byte_order), element.count, element.label)
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


# Binary rows whose lengths differ


def _list_chunks(reader: Reader, element: PlyElement, byte_order: str) -> Chunks:
    shortest = sum(np.dtype(column.length_type or column.number_type).itemsize for column in element.properties)
    reader.require_records(element.count, shortest, element.label)
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
    rows = reader.view(layout, element.count, element.label)
    lengths = [rows[name] for name in layout.names or () if name.startswith("length of ")]
    return _without_lists(rows, element) if all((length == length[0]).all() for length in lengths) else None


def _layout_of_first_row(reader: Reader, element: PlyElement, byte_order: str) -> np.dtype | None:
    fields: list[tuple[str, str]] = []
    for column in element.properties:
        if column.length_type is None:
            reader.skip(np.dtype(column.number_type).itemsize, element.label)
            fields.append((column.name, byte_order + column.number_type))
            continue
        size = _skip_list(reader, column, byte_order) * np.dtype(column.number_type).itemsize
        if size > _LARGEST_ROW:
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
                reader.skip(np.dtype(column.number_type).itemsize, element.label)
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
