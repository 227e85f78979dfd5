"""Named tensors in the safetensors format: written in one pass, and read as if every byte were hostile.

Layout (https://huggingface.co/docs/safetensors): 8 bytes of header length, a JSON header, the tensors without gaps.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import Content

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# Parsed JSON takes up to twenty times its length, so this bounds the memory that a hostile header can cost.
LARGEST_HEADER = 2 << 20
MOST_TENSORS = 4096
MOST_DIMENSIONS = 8
LONGEST_NAME = 256
LONGEST_NUMBER = 20

_LENGTH = struct.Struct("<Q")
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive (PyTorch .pth or NumPy .npz)",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a pickle",
    b"ply": "a PLY file",
}


@dataclass(frozen=True)
class Entry:
    """One tensor of the header; `start` and `end` are bytes from the beginning of the file."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The header with its length in front, for tensors that will follow in the order of the mapping."""
    fields: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        offsets = [position, position + size]
        fields[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        position += size
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 8)
    assert len(text) <= LARGEST_HEADER, f"a header of {len(text)} bytes could not be read again"
    return _LENGTH.pack(len(text)) + text


def write_tensor(stream: BinaryIO, tensor: Tensor) -> None:
    """Write the bytes of a tensor, row after row, in the byte order of the format (little-endian)."""
    if tensor.numel():
        stream.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def read_header(content: Content, path: str | os.PathLike[str]) -> tuple[list[Entry], dict[str, str]]:
    """The tensors that a file declares, in their order, and its metadata.

    Raises FormatError unless they fill the file exactly: no gap, no overlap, no byte left.
    """
    if len(content) < _LENGTH.size:
        raise _refused(path, len(content), f"a header of at least {_LENGTH.size} bytes", "the end of the file")
    (length,) = _LENGTH.unpack(content[: _LENGTH.size])
    room = min(len(content) - _LENGTH.size, LARGEST_HEADER)
    if length > room:
        # Only now: a small length may begin with the byte that a pickle begins with.
        foreign = next((what for signature, what in _FOREIGN.items() if content[: len(signature)] == signature), None)
        if foreign is not None:
            raise _refused(path, 0, "a safetensors header", f"{foreign}, which is not read here", cure="")
        raise _refused(path, 0, f"a header length of at most {room}", length)
    start = _LENGTH.size + length
    fields = _parsed(content[_LENGTH.size : start], path)
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refused(path, _LENGTH.size, "metadata of texts", metadata)
    if len(fields) > MOST_TENSORS:
        raise _refused(path, _LENGTH.size, f"at most {MOST_TENSORS} tensors", len(fields))
    entries = sorted((_entry(name, field, start, path) for name, field in fields.items()), key=_place)
    _require_no_gaps(entries, start, len(content), path)
    return entries, metadata


def read_tensor(content: Content, entry: Entry, path: str | os.PathLike[str]) -> Tensor:
    """A copy of one tensor of the file. Raises FormatError for truth values that are neither 0 nor 1."""
    tensor = torch.empty(entry.shape, dtype=entry.dtype)
    if tensor.numel() == 0:
        return tensor
    stored = np.frombuffer(content, np.uint8, entry.end - entry.start, entry.start)
    if entry.dtype == torch.bool and stored.max() > 1:
        raise _refused(path, entry.start, f"zeros and ones in tensor {entry.name!r}", stored.max())
    tensor.reshape(-1).view(torch.uint8).numpy()[:] = stored
    return tensor


def parse_json(text: bytes, path: str | os.PathLike[str]) -> Any:
    """JSON without NaN, duplicate keys or endless numbers; FormatError says what is wrong."""
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_int=_short_int,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise _refused(path, 0, "valid JSON in the header", error) from error


def _parsed(text: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    fields = parse_json(text, path)
    if not isinstance(fields, dict):
        raise _refused(path, _LENGTH.size, "a JSON object as header", type(fields).__name__)
    return fields


def _entry(name: str, field: Any, start: int, path: str | os.PathLike[str]) -> Entry:
    if len(name) > LONGEST_NAME:
        raise _refused(path, _LENGTH.size, f"tensor names of at most {LONGEST_NAME} letters", name)
    if not isinstance(field, dict) or field.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refused(path, _LENGTH.size, f"dtype, shape and data_offsets of tensor {name!r}", field)
    dtype = DTYPES.get(field["dtype"]) if isinstance(field["dtype"], str) else None
    if dtype is None:
        raise _refused(path, _LENGTH.size, f"a dtype of {', '.join(DTYPES)} for tensor {name!r}", field["dtype"])
    shape, offsets = field["shape"], field["data_offsets"]
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise _refused(path, _LENGTH.size, f"up to {MOST_DIMENSIONS} sizes of tensor {name!r}", shape)
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        size = math.prod(shape) * dtype.itemsize
        raise _refused(path, _LENGTH.size, f"the offsets of {size} bytes for tensor {name!r}", offsets)
    return Entry(name, dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _place(entry: Entry) -> tuple[int, int]:
    return entry.start, entry.end


def _require_no_gaps(entries: list[Entry], start: int, size: int, path: str | os.PathLike[str]) -> None:
    position = start
    for entry in entries:
        if entry.start != position:
            raise _refused(path, position, f"tensor {entry.name!r} where the one before it ends", f"byte {entry.start}")
        position = entry.end
    if position != size:
        raise _refused(path, position, "the end of the file after the last tensor", f"{size} bytes in all")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _short_int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _finite_float(text: str) -> float:
    number = float(text) if len(text) <= 2 * LONGEST_NUMBER else math.inf
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]}")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"the number {text}")


def _refused(
    path: str | os.PathLike[str],
    place: int,
    wanted: str,
    found: object,
    *,
    cure: str = "; the file is damaged or of another format: copy it again, or take an earlier one",
) -> FormatError:
    text = str(found)
    shown = text if len(text) <= 80 else text[:80] + "…"
    return FormatError(f"{os.fspath(path)}: byte {place}: expected {wanted}, found {shown}{cure}")
