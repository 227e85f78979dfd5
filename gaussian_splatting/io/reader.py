"""Bounded reading: no number found in a file is believed before the bytes left confirm it."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.paths import kind_of_file

Content = bytes | mmap.mmap

_MAPPED_ABOVE = 64 << 20
_ROWS_AT_ONCE = 2 << 20  # bytes; small enough for the second-level cache
_LONGEST_SHOWN = 240

_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")
_FLOAT64 = struct.Struct("<d")


def read_content(path: str | os.PathLike[str]) -> Content:
    """The bytes of a regular file; a large one is mapped, so that it costs no memory of its own.

    Pipes, devices and folders are refused without being read, and what the system refuses becomes a `FormatError`.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FormatError(f"{os.fspath(path)}: is {kind_of_file(status.st_mode)}, not a file; check the path")
            if status.st_size > _MAPPED_ABOVE:
                return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            with open(descriptor, "rb", closefd=False) as stream:
                return stream.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise FormatError(f"{os.fspath(path)}: cannot be read: {reason}; check the path and its permissions") from error


class Reader:
    """Reads little-endian values from bytes, and refuses whatever the bytes left cannot hold.

    `path` only names the source in messages. Every method that reads moves `offset`; every `what` is the reader's word
    for the value, used in messages.
    """

    __slots__ = ("_data", "offset", "path", "size")

    def __init__(self, data: Content, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.offset = 0
        self.size = len(data)
        self._data = data

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Reader:
        """A reader of a whole file."""
        return cls(read_content(path), path)

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return self.size - self.offset

    def error(self, wanted: str, found: object, *, offset: int | None = None) -> FormatError:
        """The error to raise about the value at `offset` (now, by default); `wanted` and `found` are for people."""
        place = self.offset if offset is None else offset
        text = str(found)
        shown = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
        return FormatError(
            f"{os.fspath(self.path)}: byte {place}: expected {wanted}, found {shown}; "
            "the file is damaged or of another format: copy or export it again"
        )

    def take(self, size: int, what: str = "bytes") -> bytes:
        """The next `size` bytes."""
        self.require(size, what)
        start = self.offset
        self.offset = start + size
        return self._data[start : self.offset]

    def peek(self, size: int) -> bytes:
        """Up to `size` of the next bytes, without moving."""
        return self._data[self.offset : self.offset + size]

    def skip(self, size: int, what: str = "bytes") -> None:
        """Moves past `size` bytes."""
        self.require(size, what)
        self.offset += size

    def require(self, size: int, what: str) -> None:
        """Refuses unless `size` bytes are left."""
        if size > self.size - self.offset or size < 0:
            raise self.error(
                f"{size} bytes of {what}", f"the end of the file after {self.left} (it ends at {self.size})"
            )

    def unpack(self, layout: struct.Struct, what: str) -> tuple:
        """The next values of a `struct` layout."""
        start = self.offset
        if layout.size > self.size - start:
            self.require(layout.size, what)
        self.offset = start + layout.size
        return layout.unpack_from(self._data, start)

    def int32(self, what: str) -> int:
        """The next signed 32-bit integer."""
        return self.unpack(_INT32, what)[0]

    def uint32(self, what: str) -> int:
        """The next unsigned 32-bit integer."""
        return self.unpack(_UINT32, what)[0]

    def uint64(self, what: str) -> int:
        """The next unsigned 64-bit integer."""
        return self.unpack(_UINT64, what)[0]

    def float64(self, what: str) -> float:
        """The next 64-bit float; it may be NaN or infinite."""
        return self.unpack(_FLOAT64, what)[0]

    def count(self, minimum_record_size: int, what: str) -> int:
        """The next unsigned 64-bit count, of records that take at least `minimum_record_size` bytes each."""
        number = self.uint64(f"the number of {what}")
        self.require_records(number, minimum_record_size, what, offset=self.offset - 8)
        return number

    def require_records(self, number: int, record_size: int, what: str, *, offset: int | None = None) -> None:
        """Refuses unless `number` records of at least `record_size` bytes can be left."""
        if number < 0 or number * record_size > self.left:
            room = f"room for {self.left // max(record_size, 1)} in the {self.left} bytes left"
            raise self.error(f"a number of {what} that the file can hold", f"{number} ({room})", offset=offset)

    def string(self, limit: int, what: str) -> str:
        """The next UTF-8 text, ended by a NUL within `limit` bytes."""
        start = self.offset
        end = self._data.find(b"\0", start, start + limit + 1)
        if end < 0:
            raise self.error(
                f"{what} that ends with a NUL within {limit} bytes", f"none up to {min(start + limit, self.size)}"
            )
        raw = self._data[start:end]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"{what} in UTF-8", repr(raw), offset=start + error.start) from error
        self.offset = end + 1
        return text

    def array(self, dtype: DTypeLike, number: int, what: str) -> NDArray:
        """The next `number` rows as an array of their own, in the byte order of this machine."""
        view = self.view(dtype, number, what)
        rows = np.empty(number, view.dtype.newbyteorder("="))
        rows[...] = view
        return rows

    def view(self, dtype: DTypeLike, number: int, what: str) -> NDArray:
        """The next `number` rows where they lie: copy what is to outlive the reader."""
        layout = np.dtype(dtype)
        self.require_records(number, layout.itemsize, what)
        rows = np.frombuffer(self._data, layout, number, self.offset)
        self.offset += number * layout.itemsize
        return rows

    def chunks(self, dtype: DTypeLike, number: int, what: str) -> Iterator[tuple[int, NDArray]]:
        """The next `number` rows in pieces that fit the cache: each piece's first row, and a view to copy from."""
        layout = np.dtype(dtype)
        self.require_records(number, layout.itemsize, what)
        rows_at_once = max(1, _ROWS_AT_ONCE // max(layout.itemsize, 1))
        for start in range(0, number, rows_at_once):
            yield start, self.view(layout, min(rows_at_once, number - start), what)

    def scan(self, number: int, head_size: int, entry_size: int, what: str, entries: str) -> NDArray[np.int64]:
        """Passes over `number` records of `head_size` bytes, a 64-bit count and as many entries; where each begins."""
        self.require_records(number, head_size + 8, what)
        offsets = array("q", bytes(8 * number))
        data, size, unpack, offset = self._data, self.size, _UINT64.unpack_from, self.offset
        for index in range(number):  # a tight loop: models have millions of points
            offsets[index] = offset
            body = offset + head_size + 8
            if body <= size:
                following = body + entry_size * unpack(data, body - 8)[0]
                if following <= size:
                    offset = following
                    continue
            self.offset = offset
            self.skip(head_size, f"{what} (number {index} of them)")
            self.skip(entry_size * self.count(entry_size, f"{entries} (of number {index})"))
        self.offset = offset
        return np.frombuffer(offsets, np.int64)

    def bytes_at(self, offsets: NDArray[np.int64], size: int) -> NDArray[np.uint8]:  # [N] -> [N, size]
        """`size` bytes from each offset, all of them already known to lie within the data; the offset stays."""
        if offsets.size == 0:
            return np.empty((0, size), np.uint8)
        return np.lib.stride_tricks.sliding_window_view(np.frombuffer(self._data, np.uint8), size)[offsets]

    def finish(self) -> None:
        """Refuses bytes after the last value."""
        if self.left:
            raise self.error("the end of the file", f"{self.left} more bytes")
