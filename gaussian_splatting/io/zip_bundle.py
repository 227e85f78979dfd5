"""The files of a ZIP archive, none believed to be larger than its own bytes can hold."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import Reader

_MOST_FILES = 64
_LARGEST_FILE = 1 << 30
_LARGEST_RATIO = 1040  # deflate cannot do better
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What the standard library raises at damaged archives.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError, IndexError,
    NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip


class ZipBundle:
    """Reads whole files from an archive by name. Raises `FormatError` for what is damaged, encrypted or missing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        content = reader.take(reader.left, "the archive")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            files = self._archive.infolist()
        except _DAMAGE as error:
            raise self._fault("a whole ZIP archive", error) from error
        if len(files) > _MOST_FILES:
            raise self._fault(f"an archive of at most {_MOST_FILES} files", len(files))
        # Some tools bundle the folder itself: then every name begins with it.
        self._files = {file.filename: file for file in files} | {
            file.filename.rpartition("/")[2]: file for file in files if not file.filename.endswith("/")
        }

    def read(self, name: str) -> bytes:
        """The content of one file."""
        file = self._files.get(name)
        if file is None:
            raise self._fault(f"the file {name!r}", ", ".join(sorted(self._files)) or "an empty archive")
        limit = min(file.file_size, _LARGEST_FILE, file.compress_size * _LARGEST_RATIO)
        if file.compress_type not in _METHODS or file.flag_bits & 1 or limit < file.file_size:
            raise self._fault(f"{name!r} stored or deflated, and not encrypted", f"{file.file_size} bytes of it")
        try:
            with self._archive.open(file) as stream:
                content = stream.read(limit + 1)
        except _DAMAGE as error:
            raise self._fault(f"a whole file {name!r}", error) from error
        if len(content) != file.file_size:
            raise self._fault(f"{file.file_size} bytes of {name!r}", len(content))
        return content

    def _fault(self, wanted: str, found: object) -> FormatError:
        return self._reader.error(wanted, found, offset=0)


def write_zip(stream: BinaryIO, files: Mapping[str, bytes]) -> None:
    """Writes an archive of files as they are; the same files give the same bytes."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
