"""The one writer of files."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.storage import (
    append_line,
    ensure_writable_folder,
    make_folder,
    remove_leftovers,
    write_atomically,
    write_json,
    write_text,
)


@pytest.mark.parametrize(
    "data",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        np.frombuffer(b"abc", np.uint8).data,
        lambda stream: stream.write(b"abc"),
    ],
)
def test_the_content_is_written(tmp_path: Path, data) -> None:
    write_atomically(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a"]


def test_arrays_of_any_shape_are_written_as_their_bytes(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<f4").reshape(3, 4)
    write_atomically(tmp_path / "a", values.data)
    assert (tmp_path / "a").read_bytes() == values.tobytes()


def test_many_small_pieces_and_one_large_arrive_in_order(tmp_path: Path) -> None:
    def write(stream) -> None:
        for number in range(1000):
            stream.write(bytes([number % 256]) * 700)
        stream.write(bytes(3 << 20))

    write_atomically(tmp_path / "a", write)
    expected = b"".join(bytes([number % 256]) * 700 for number in range(1000)) + bytes(3 << 20)
    assert (tmp_path / "a").read_bytes() == expected


def test_an_existing_file_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    write_text(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "real").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é".encode()


def test_names_as_long_as_a_file_system_allows_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_text(tmp_path / name, "a")
        assert (tmp_path / name).read_text() == "a"


def test_short_writes_of_the_system_are_continued(tmp_path: Path, monkeypatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
    write_atomically(tmp_path / "a", b"0123456789" * 10)
    write_atomically(tmp_path / "b", lambda stream: stream.write(b"0123456789" * 10))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"0123456789" * 10


def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(storage, "_numbers", itertools.count(1))
    (tmp_path / f".a.{os.getpid()}-1.part").write_bytes(b"half")
    write_text(tmp_path / "a", "whole")
    write_text(tmp_path / "a", "again")
    assert (tmp_path / "a").read_text() == "again"


def test_leftovers_can_be_removed_and_nothing_else_is(tmp_path: Path) -> None:
    for name in (".a.ply.12-3.part", ".part", "a.part", ".a.part", "a.12-3.part"):
        (tmp_path / name).write_bytes(b"")
    assert remove_leftovers(tmp_path) == [tmp_path / ".a.ply.12-3.part"]
    assert sorted(os.listdir(tmp_path)) == [".a.part", ".part", "a.12-3.part", "a.part"]


def test_a_full_disk_is_found_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    def write(stream) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 12_345_678))
    with pytest.raises(SplatError) as caught:
        write_atomically(tmp_path / "a" / "b", write, size_hint=50_000_000)
    assert str(caught.value) == (
        f"{tmp_path}/a/b: cannot be written: No space left on device, 50.0 MB needed, 12.3 MB free; "
        "free some space or choose another disk"
    )
    assert os.listdir(tmp_path / "a") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_fills_while_writing_is_reported(monkeypatch, tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(full, data))
    try:
        for data in (bytes(5 << 20), lambda stream: stream.write(bytes(5 << 20))):
            with pytest.raises(SplatError, match="No space left on device.* free; free some space"):
                write_atomically(tmp_path / "a", data)
    finally:
        os.close(full)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EACCES, "you may not write there"),
        (errno.EROFS, "mounted read-only"),
        (errno.EDQUOT, "your quota is used up"),
        (errno.EIO, "the disk reports a fault"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_the_system_refuses_is_explained(monkeypatch, tmp_path: Path, number: int, cure: str) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    for action in (write_text, append_line):
        with pytest.raises(SplatError, match=cure) as caught:
            action(tmp_path / "a", "b")
        assert isinstance(caught.value.__cause__, OSError)
        assert os.strerror(number) in str(caught.value)
        assert str(tmp_path / "a") in str(caught.value)


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(SplatError, match="a folder has that name"):
        write_text(tmp_path / "a", "b")


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for action in (lambda: write_text(tmp_path / "a" / "b", ""), lambda: ensure_writable_folder(tmp_path / "a")):
        with pytest.raises(SplatError, match="a file has that name"):
            action()


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), Path(str(tmp_path) + "/x" * 2500)):
        with pytest.raises(SplatError, match="choose a shorter path") as caught:
            write_text(path / "a", "b")
        assert len(str(caught.value)) < 500


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_that_may_not_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for path in (tmp_path, tmp_path / "new"):
        with pytest.raises(SplatError, match="you may not write there"):
            ensure_writable_folder(path)
    tmp_path.chmod(0o700)


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    assert ensure_writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_written_leaves_no_probe(monkeypatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SplatError, match="No space left"):
        ensure_writable_folder(tmp_path)
    assert os.listdir(tmp_path) == []


def test_making_a_folder_twice_is_no_error(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_made_by_another_process_meanwhile_is_no_error(monkeypatch, tmp_path: Path) -> None:
    mkdir = os.mkdir

    def beaten(path: object, mode: int = 0o777) -> None:
        mkdir(path, mode)  # type: ignore[arg-type]
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    monkeypatch.setattr(os, "mkdir", beaten)
    assert make_folder(tmp_path / "a" / "b").is_dir()


def test_file_systems_that_cannot_sync_a_folder_are_fine(monkeypatch, tmp_path: Path) -> None:
    fsync = os.fsync

    def fsync_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_files)
    write_text(tmp_path / "a" / "b", "c")
    assert (tmp_path / "a" / "b").read_text() == "c"


# JSON and logs


def test_json_is_the_same_every_time_and_keeps_its_order(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": "é\ud800", "nested": {"z": 1, "y": 0.1 + 0.2}}
    for name in ("1", "2"):
        write_json(tmp_path / name, value)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert (tmp_path / "1").read_text().startswith('{\n  "b": [\n')
    assert (tmp_path / "1").read_text().endswith("}\n")
    assert json.loads((tmp_path / "1").read_text()) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_that_is_not_finite_is_refused(tmp_path: Path, number: float) -> None:
    with pytest.raises(SplatError, match="JSON cannot hold this value"):
        write_json(tmp_path / "a", {"x": [number]})
    assert os.listdir(tmp_path) == []


def test_lines_are_appended(tmp_path: Path) -> None:
    for number in range(3):
        append_line(tmp_path / "new" / "log.jsonl", json.dumps({"step": number}))
    assert (tmp_path / "new" / "log.jsonl").read_text() == '{"step": 0}\n{"step": 1}\n{"step": 2}\n'


def test_a_torn_last_line_is_ended_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"step": 0}\n{"ste')
    append_line(tmp_path / "log", '{"step": 1}')
    assert (tmp_path / "log").read_text() == '{"step": 0}\n{"ste\n{"step": 1}\n'


def test_a_line_has_no_line_break(tmp_path: Path) -> None:
    with pytest.raises(SplatError, match="must not contain a line break"):
        append_line(tmp_path / "log", "a\nb")
    assert os.listdir(tmp_path) == []
