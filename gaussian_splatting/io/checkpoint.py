"""Checkpoints: tensors and a description in one file that proves itself whole, and the folder with the newest two.

A checkpoint is a safetensors file. Its last tensor, `sha256`, is the digest of every byte before it, so that a file
that was cut or altered anywhere is refused, and file and digest cannot part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gaussian_splatting.errors import CheckpointError, FormatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.reader import Content, read_content
from gaussian_splatting.io.tensor_file import Entry, header_of, parse_json, read_header, read_tensor, write_tensor

FORMAT = "gaussian_splatting checkpoint"
VERSION = 1
DIGEST = "sha256"
KEPT = 2

_DIGEST_SIZE = hashlib.sha256().digest_size
_NAME = re.compile(r"step_(\d{6,12})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a file held; it was whole."""

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any]


def write_checkpoint(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], description: Any) -> None:
    """Write tensors and a JSON description, then read the file back and compare its digest.

    Equal tensors and descriptions give equal bytes. Raises CheckpointError when the file is not what was written, and
    SplatError when it cannot be written; what had that name before is then still there or was of the same step.
    """
    path = Path(path)
    assert DIGEST not in tensors, "the digest is added here"
    # Wide values first keep every tensor aligned, as the format asks; then by name, whatever order they came in.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    placed = {name: tensors[name] for name in order}
    placed[DIGEST] = torch.empty(_DIGEST_SIZE, dtype=torch.uint8)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "description": json.dumps(description, sort_keys=True, allow_nan=False),
    }
    header = header_of(placed, metadata)
    size = len(header) + sum(tensor.numel() * tensor.element_size() for tensor in placed.values())
    del placed[DIGEST]
    storage.write_atomically(path, lambda stream: _write_body(stream, header, placed), size_hint=size)
    try:
        content = read_content(path)
        _require_whole(content, read_header(content, path)[0], path)
    except FormatError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise CheckpointError(f"{error}; it was written a moment ago, so check the disk") from error


def _write_body(stream: BinaryIO, header: bytes, tensors: Mapping[str, Tensor]) -> None:
    hashing = _HashingStream(stream)
    hashing.write(header)
    for tensor in tensors.values():
        write_tensor(hashing, tensor)  # type: ignore[arg-type]
    stream.write(hashing.digest.digest())


class _HashingStream:
    """Passes on what is written to it and digests it on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Write and digest."""
        self.digest.update(data)
        self._stream.write(data)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in a file. Raises CheckpointError unless it is whole and of a format this version reads.

    Nothing in the file is executed, and no size it names is believed before the bytes are there.
    """
    path = Path(path)
    try:
        content = read_content(path)
        entries, metadata = read_header(content, path)
        if metadata.get("format") != FORMAT:
            raise FormatError(f"{path}: is no checkpoint of this package; expected step_<N>.safetensors of a run")
        _require_version(metadata.get("version", ""), path)
        _require_whole(content, entries, path)
        description = parse_json(metadata.get("description", "").encode("utf-8"), path)
        if not isinstance(description, dict):
            raise FormatError(f"{path}: expected an object as description, found {type(description).__name__}")
        tensors = {entry.name: read_tensor(content, entry, path) for entry in entries if entry.name != DIGEST}
    except FormatError as error:
        raise CheckpointError(str(error)) from error
    return Checkpoint(path, tensors, description)


def _require_version(version: str, path: Path) -> None:
    if version != str(VERSION):
        raise FormatError(
            f"{path}: is a checkpoint of format {version[:20]!r}, this version reads format {VERSION}; "
            "resume with the version of gaussian_splatting that wrote it"
        )


def _require_whole(content: Content, entries: Sequence[Entry], path: Path) -> None:
    """Raise FormatError unless the file ends with the digest of everything before."""
    last = entries[-1] if entries else None
    if last is None or (last.name, last.dtype, last.shape) != (DIGEST, torch.uint8, (_DIGEST_SIZE,)):
        raise FormatError(f"{path}: expected a {DIGEST} digest as the last tensor, found none; it cannot be trusted")
    with memoryview(content) as view:
        found = hashlib.sha256(view[: last.start]).digest()
        stored = bytes(view[last.start :])
    if found != stored:
        raise FormatError(
            f"{path}: is damaged: its bytes have digest {found.hex()[:12]}…, it was written with {stored.hex()[:12]}…"
        )


class CheckpointFolder:
    """The checkpoints of a run, `step_<N>.safetensors`. "Newest" goes by step, never by the clock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def file(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.path / f"step_{step:06d}.safetensors"

    def steps(self) -> list[int]:
        """The steps that have a file, whole or not, ascending."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        return sorted(int(match.group(1)) for name in names if (match := _NAME.fullmatch(name)))

    def save(self, step: int, tensors: Mapping[str, Tensor], description: Any) -> Path:
        """Write and verify the checkpoint of a step; only then are older ones removed, down to the newest two."""
        path = self.file(step)
        write_checkpoint(path, tensors, description)
        older = [other for other in self.steps() if other < step]
        # A file of a later step belongs to a future that this run left when it was resumed before it.
        for other in self.steps():
            if other != step and other not in older[-(KEPT - 1) :]:
                with contextlib.suppress(OSError):  # one file too many is no reason to stop
                    os.unlink(self.file(other))
        return path

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and why each newer one was skipped; None when there is no file at all.

        Raises CheckpointError when there are files and none of them is whole: nothing ever starts over silently.
        """
        skipped: list[str] = []
        for step in reversed(self.steps()):
            try:
                return read_checkpoint(self.file(step)), skipped
            except CheckpointError as error:
                skipped.append(str(error))
        if skipped:
            reasons = "\n  ".join(skipped)
            raise CheckpointError(
                f"{self.path}: no checkpoint is whole, so the run cannot go on:\n  {reasons}\n"
                "restore a copy, or give --overwrite to move the run aside and start anew"
            )
        return None, skipped
