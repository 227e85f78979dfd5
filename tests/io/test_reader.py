"""Bounded reading."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io import reader as module
from gaussian_splatting.io.reader import Reader, read_content


def test_values_come_in_order_and_the_end_is_checked() -> None:
    layout = struct.Struct("<HB")
    data = struct.pack("<iIQd", -5, 7, 2**63, 0.5) + layout.pack(9, 8) + "é".encode() + b"\0" + b"xyz"
    reader = Reader(data, "a.bin")
    assert (reader.int32("a"), reader.uint32("b"), reader.uint64("c"), reader.float64("d")) == (-5, 7, 2**63, 0.5)
    assert reader.unpack(layout, "e") == (9, 8)
    assert reader.string(10, "f") == "é"
    assert reader.peek(2) == b"xy"
    assert reader.take(1) == b"x"
    reader.skip(1)
    assert reader.left == 1
    with pytest.raises(FormatError, match=r"a.bin: byte 32: expected the end of the file, found 1 more bytes; "):
        reader.finish()
    reader.take(1)
    reader.finish()


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.take(4, "things"),
        lambda reader: reader.skip(4, "things"),
        lambda reader: reader.skip(-1, "things"),
        lambda reader: reader.skip(2**64, "things"),
        lambda reader: reader.uint32("things"),
        lambda reader: reader.array("<f4", 1, "things"),
        lambda reader: reader.array("<u1", 2**63, "things"),
        lambda reader: reader.array("<u1", -1, "things"),
        lambda reader: list(reader.chunks("<u1", 4, "things")),
        lambda reader: reader.count(1, "things"),
        lambda reader: reader.string(2, "things"),
        lambda reader: reader.string(2**70, "things"),
    ],
)
def test_nothing_beyond_the_end_is_read(read) -> None:
    reader = Reader(b"abc", "a.bin")
    with pytest.raises(FormatError, match=r"^a.bin: byte 0: expected .*things"):
        read(reader)
    assert reader.offset == 0


def test_a_count_must_fit_the_bytes_left() -> None:
    data = struct.pack("<Q", 3) + bytes(24)
    assert Reader(data, "a").count(8, "points") == 3
    message = r"byte 0: expected a number of points that the file can hold, found 3 \(room for 2 in the 24 bytes left\)"
    with pytest.raises(FormatError, match=message):
        Reader(data, "a").count(9, "points")


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_are_native_and_own_their_memory(order: str) -> None:
    layout = np.dtype([("a", order + "f4"), ("b", order + "i2")])
    rows = np.array([(1.5, 2), (2.5, -3)], layout)
    found = Reader(rows.tobytes(), "a").array(layout, 2, "rows")
    assert found.dtype.isnative
    assert found.flags.owndata
    assert found.flags.writeable
    assert found.tolist() == rows.tolist()


def test_chunks_cover_every_row_once(monkeypatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 24)
    reader = Reader(np.arange(10, dtype="<f8").tobytes(), "a")
    chunks = list(reader.chunks("<f8", 10, "rows"))
    assert [start for start, _ in chunks] == [0, 3, 6, 9]
    assert np.concatenate([rows for _, rows in chunks]).tolist() == list(range(10))
    reader.finish()


def test_a_name_must_be_utf8_and_end() -> None:
    with pytest.raises(FormatError, match=r"byte 1: expected the name in UTF-8"):
        Reader(b"a\xff\0", "a").string(8, "the name")
    with pytest.raises(FormatError, match="ends with a NUL within 2 bytes, found none up to 2"):
        Reader(b"abcdef\0", "a").string(2, "the name")
    assert Reader(b"ab\0", "a").string(2, "the name") == "ab"
    assert Reader(b"\0", "a").string(0, "the name") == ""


def test_long_findings_are_shortened() -> None:
    assert len(str(Reader(b"", "a").error("b", "c" * 10_000))) < 400


@pytest.mark.parametrize("limit", [0, 10**9])
def test_small_files_are_read_and_large_ones_mapped(tmp_path: Path, monkeypatch, limit: int) -> None:
    monkeypatch.setattr(module, "_MAPPED_ABOVE", limit)
    values = np.arange(1000, dtype="<f8")
    (tmp_path / "a").write_bytes(b"name\0" + values.tobytes())
    reader = Reader.open(tmp_path / "a")
    assert reader.string(10, "name") == "name"
    assert np.array_equal(reader.array("<f8", 1000, "values"), values)
    reader.finish()
    assert reader.bytes_at(np.array([0, 5]), 4).tobytes() == b"name" + bytes(4)
    (tmp_path / "empty").write_bytes(b"")
    assert Reader.open(tmp_path / "empty").left == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_only_regular_files_are_read_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device")):
        with pytest.raises(FormatError, match=f"is {kind}, not a file"):
            read_content(path)
    with pytest.raises(FormatError, match="is a folder, not a file"):
        read_content(tmp_path)
    with pytest.raises(FormatError, match="cannot be read: No such file or directory"):
        read_content(tmp_path / "absent")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_what_is_refused_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(FormatError, match="is a folder, not a file; check the path"):
            read_content(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
