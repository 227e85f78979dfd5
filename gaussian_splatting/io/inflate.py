"""Decompression that trusts no size: what comes out is bounded before it comes out."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.reader import Reader

GZIP = 31
"""zlib's word for 32 KiB windows with a gzip header, which holds no time: the same bytes every time."""

_PIECE = 1 << 20
_LEAST_WINDOW = 8 << 20  # the window of zstd's strongest ordinary level


class Gunzip:
    """The content of a gzip member, read forwards. Raises `FormatError` at damage."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._start = reader.offset
        self._state = zlib.decompressobj(GZIP)
        self._pending = reader.take(reader.left, "gzip data")

    def take(self, size: int) -> bytes:
        """Up to `size` more bytes; fewer only at the end."""
        pieces: list[bytes] = []
        wanted = size
        while wanted and not self._state.eof:
            piece = self._inflate(min(wanted, _PIECE))
            if not piece and not self._pending:
                break
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Refuses content or bytes that follow, and a checksum that is missing or wrong."""
        if self._inflate(1):
            raise self._reader.error("the end of the gzip data", "more of it", offset=self._start)
        if not self._state.eof:
            raise self._reader.error("gzip data with a checksum at its end", "none", offset=self._start)
        if self._state.unused_data:
            place = self._reader.size - len(self._state.unused_data)
            raise self._reader.error("the end of the file", f"{len(self._state.unused_data)} more bytes", offset=place)

    def _inflate(self, limit: int) -> bytes:
        if self._state.eof:
            return b""
        try:
            piece = self._state.decompress(self._pending, limit)
        except zlib.error as error:
            raise self._reader.error("whole gzip data", error, offset=self._start) from error
        self._pending = self._state.unconsumed_tail
        return piece


def decompress_zstd(reader: Reader, size: int, decompressed_size: int, what: str) -> bytes:
    """The next `size` bytes, a zstd stream, decompressed to exactly `decompressed_size` bytes."""
    start = reader.offset
    data = reader.take(size, f"compressed {what}")
    pieces: list[bytes] = []
    left = decompressed_size + 1
    try:
        with _open_zstd(data, max(_LEAST_WINDOW, decompressed_size)) as stream:
            while left and (piece := stream.read(min(left, _PIECE))):
                pieces.append(piece)
                left -= len(piece)
    except SplatError:
        raise
    except Exception as error:  # each of the two libraries has an error class of its own
        if type(error).__name__ != "ZstdError" and not isinstance(error, EOFError):
            raise
        raise reader.error(f"a whole zstd stream of {what}", error, offset=start) from error
    if left != 1:
        found = "more" if left == 0 else f"{decompressed_size + 1 - left}"
        raise reader.error(f"{decompressed_size} bytes of {what} when decompressed", found, offset=start)
    return b"".join(pieces)


def _open_zstd(data: bytes, window: int) -> BinaryIO:
    try:
        import zstandard
    except ImportError:
        return _open_with_standard_library(data)
    power_of_two = 1 << (window - 1).bit_length()
    return zstandard.ZstdDecompressor(max_window_size=power_of_two).stream_reader(data)  # type: ignore[return-value]


def _open_with_standard_library(data: bytes) -> BinaryIO:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError as error:
        raise SplatError(
            "SPZ version 4 is compressed with zstd, and no zstd library is installed: pip install zstandard"
        ) from error
    return zstd.ZstdFile(io.BytesIO(data))
