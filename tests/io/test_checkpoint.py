"""A damaged checkpoint is never read and never preferred to a whole one: rows E10, E11 and E13, and what is kept."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io import checkpoint, storage
from gaussian_splatting.io.checkpoint import CheckpointFolder, read_checkpoint, write_checkpoint

DESCRIPTION = {"step": 4, "settings": {"seed": 0, "rate": 1e-4}, "name": "ü"}


def some_tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {
        "step": torch.tensor(4),
        "parameter.xyz": torch.full((5, 3), value),
        "state.count": torch.zeros(5, dtype=torch.int32),
    }


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "step_000004.safetensors"
    write_checkpoint(path, some_tensors(), DESCRIPTION)
    return path


def test_what_is_written_is_read_back(written: Path):
    found = read_checkpoint(written)
    assert found.description == DESCRIPTION
    assert found.tensors.keys() == some_tensors().keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in some_tensors().items())


def test_equal_contents_give_equal_bytes_in_any_order(written: Path, tmp_path: Path):
    backwards = dict(reversed(some_tensors().items()))
    write_checkpoint(tmp_path / "other", backwards, dict(reversed(DESCRIPTION.items())))
    assert (tmp_path / "other").read_bytes() == written.read_bytes()


def test_the_safetensors_library_reads_it(written: Path):
    found = safetensors.torch.load(written.read_bytes())
    assert torch.equal(found["parameter.xyz"], some_tensors()["parameter.xyz"])


def test_the_digest_is_the_sha256_of_everything_before_it(written: Path):
    data = written.read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]


# E10


def test_every_cut_is_refused(written: Path):
    data = written.read_bytes()
    for size in range(len(data)):
        written.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=re.escape(str(written))):
            read_checkpoint(written)


def test_every_flipped_bit_is_refused(written: Path):
    data = written.read_bytes()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        written.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_checkpoint(written)


def test_a_reader_without_the_digest_would_have_believed_many_of_them(written: Path, monkeypatch):
    """The control: without the digest, the same damage goes unnoticed, so the test above can fail."""
    monkeypatch.setattr(checkpoint, "_require_whole", lambda *_: None)
    data, believed = written.read_bytes(), 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        written.write_bytes(damaged)
        try:
            read_checkpoint(written)
            believed += 1
        except CheckpointError:
            pass
    assert believed > 100


# E11: files that are whole by their digest, and still wrong


def forged(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    """A file with a right digest around any contents."""
    blank = safetensors.torch.save({**tensors, "sha256": torch.zeros(32, dtype=torch.uint8)}, metadata)
    length = struct.unpack("<Q", blank[:8])[0]
    fields = json.loads(blank[8 : 8 + length])
    if fields["sha256"]["data_offsets"][1] + 8 + length != len(blank):
        raise AssertionError("the digest must be last")
    return blank[:-32] + hashlib.sha256(blank[:-32]).digest()


GOOD = {"format": checkpoint.FORMAT, "version": str(checkpoint.VERSION), "description": "{}"}


def test_a_forged_file_with_good_contents_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(forged({"x": torch.zeros(2)}, GOOD))
    assert read_checkpoint(tmp_path / "a").description == {}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "is no checkpoint of this package"),
        (GOOD | {"format": "pt"}, "is no checkpoint of this package"),
        (
            GOOD | {"version": "99"},
            "is a checkpoint of format '99', this version reads format 1; resume with the version",
        ),
        (GOOD | {"version": ""}, "is a checkpoint of format ''"),
        (GOOD | {"description": ""}, "expected valid JSON"),
        (GOOD | {"description": "[]"}, "expected an object as description, found list"),
        (GOOD | {"description": '{"step": NaN}'}, "the number NaN"),
        (GOOD | {"description": '{"step": 1, "step": 2}'}, "a key is there twice"),
        (GOOD | {"description": "[" * 100_000}, "expected valid JSON"),
    ],
)
def test_a_forged_description_is_refused(tmp_path: Path, metadata: dict[str, str], reason: str):
    (tmp_path / "a").write_bytes(forged({"x": torch.zeros(2)}, metadata))
    with pytest.raises(CheckpointError, match=re.escape(reason)):
        read_checkpoint(tmp_path / "a")


def test_a_file_without_digest_is_refused(tmp_path: Path):
    (tmp_path / "a").write_bytes(safetensors.torch.save({"x": torch.zeros(2)}, GOOD))
    with pytest.raises(CheckpointError, match="expected a sha256 digest as the last tensor, found none"):
        read_checkpoint(tmp_path / "a")


# E13: whatever the name, pickles are known by their content


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched-by-a-pickle"),))


def foreign(kind: str, path: Path) -> None:
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "old pickle":
        path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    elif kind == "torch":
        torch.save({"step": Bomb()}, path)
    elif kind == "legacy torch":
        torch.save({"step": Bomb()}, path, _use_new_zipfile_serialization=False)
    elif kind == "npz":
        with path.open("wb") as stream:
            np.savez(stream, a=np.array([Bomb()], dtype=object))
    elif kind == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.array([Bomb()], dtype=object))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")


@pytest.mark.parametrize("name", ["step_000004.safetensors", "chkpnt4.pth"])
@pytest.mark.parametrize("kind", ["pickle", "old pickle", "torch", "legacy torch", "npz", "npy", "zip"])
def test_pickles_are_refused_by_content_and_never_opened(tmp_path: Path, monkeypatch, kind: str, name: str):
    monkeypatch.chdir(tmp_path)
    foreign(kind, tmp_path / name)
    with pytest.raises(CheckpointError, match="expected a safetensors header, found a (pickle|ZIP|NumPy)"):
        read_checkpoint(tmp_path / name)
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
def test_folders_and_pipes_are_refused_without_waiting(tmp_path: Path, make):
    make(tmp_path / "a")
    with pytest.raises(CheckpointError, match="Is a directory|is a .*, not a file"):
        read_checkpoint(tmp_path / "a")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="a: cannot be read: No such file"):
        read_checkpoint(tmp_path / "a")


# The folder


def test_the_newest_two_are_kept(tmp_path: Path):
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for step in (0, 5, 10, 15):
        folder.save(step, some_tensors(), DESCRIPTION)
    assert folder.steps() == [10, 15]


def test_newest_goes_by_step_and_not_by_the_clock(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (9, 10):
        folder.save(step, some_tensors(step), DESCRIPTION)
    os.utime(folder.file(10), (0, 0))
    found, skipped = folder.newest()
    assert (found and found.path, skipped) == (folder.file(10), [])


def test_steps_of_many_digits_are_ordered_as_numbers(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (999_999, 1_000_000):
        folder.save(step, some_tensors(), DESCRIPTION)
    assert folder.steps() == [999_999, 1_000_000]


def test_saving_an_earlier_step_drops_the_future_that_was_left(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (10, 20):
        folder.save(step, some_tensors(), DESCRIPTION)
    folder.save(15, some_tensors(), DESCRIPTION)
    assert folder.steps() == [10, 15]


def test_a_damaged_newest_is_skipped_and_named(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, some_tensors(step), DESCRIPTION)
    folder.file(2).write_bytes(folder.file(2).read_bytes()[:-1])
    found, skipped = folder.newest()
    assert found is not None
    assert found.path == folder.file(1)
    assert len(skipped) == 1
    assert str(folder.file(2)) in skipped[0]


def test_when_all_are_damaged_nothing_starts_over(tmp_path: Path):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, some_tensors(), DESCRIPTION)
        folder.file(step).write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint is whole(.|\n)*step_000002(.|\n)*step_000001(.|\n)*--overwrite"
    ):
        folder.newest()


def test_an_empty_folder_and_foreign_files_are_no_checkpoints(tmp_path: Path):
    assert CheckpointFolder(tmp_path / "absent").newest() == (None, [])
    for name in ("step_1.safetensors", "step_000001.safetensors.bak", ".step_000001.safetensors.1-1.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert CheckpointFolder(tmp_path).newest() == (None, [])


def test_old_ones_stay_when_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, some_tensors(), DESCRIPTION)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(SplatError, match="No space left"):
        folder.save(3, some_tensors(), DESCRIPTION)
    assert folder.steps() == [1, 2]


def test_old_ones_stay_when_the_new_one_reads_back_otherwise(tmp_path: Path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, some_tensors(), DESCRIPTION)
    honest = storage.write_atomically

    def lying_disk(path: Path, data: Any, **options: Any) -> None:
        honest(path, data, **options)
        content = bytearray(path.read_bytes())
        content[-40] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(storage, "write_atomically", lying_disk)
    with pytest.raises(CheckpointError, match="is damaged.*written a moment ago, so check the disk"):
        folder.save(3, some_tensors(), DESCRIPTION)
    assert folder.steps() == [1, 2]
