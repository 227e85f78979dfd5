"""Tensor files agree with the safetensors library, and hostile ones are refused before they cost memory: row E11."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.tensor_file import (
    DTYPES,
    LARGEST_HEADER,
    LONGEST_NAME,
    MOST_TENSORS,
    header_of,
    read_header,
    read_tensor,
    write_tensor,
)

METADATA = {"format": "test", "text": 'quotes " and ü'}


def some_tensors() -> dict[str, Tensor]:
    """One tensor of every dtype, with scalars and empty ones, the widest first."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {"scalar": torch.tensor(3), "empty": torch.zeros(0, 3, dtype=torch.float64)}
    for name, dtype in DTYPES.items():
        found[name] = (torch.rand(3, 2, generator=generator) * 100).to(dtype)
    return dict(sorted(found.items(), key=lambda item: -item[1].element_size()))


def file_of(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    import io

    stream = io.BytesIO(header_of(tensors, metadata))
    stream.seek(0, io.SEEK_END)
    for tensor in tensors.values():
        write_tensor(stream, tensor)
    return stream.getvalue()


def read(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    entries, metadata = read_header(data, "some file")
    return {entry.name: read_tensor(data, entry, "some file") for entry in entries}, metadata


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_what_is_written_is_read_back():
    tensors, metadata = read(file_of(some_tensors(), METADATA))
    assert_equal(tensors, some_tensors())
    assert metadata == METADATA


def test_the_library_reads_our_files():
    assert_equal(safetensors.torch.load(file_of(some_tensors(), METADATA)), some_tensors())


def test_we_read_files_of_the_library():
    data = safetensors.torch.save(some_tensors(), metadata={"format": "pt"})
    tensors, metadata = read(data)
    assert_equal(tensors, some_tensors())
    assert metadata == {"format": "pt"}


def test_the_layout_of_a_tensor_in_memory_is_not_written():
    strided = torch.arange(12.0).reshape(3, 4).T
    assert file_of({"a": strided}, {}) == file_of({"a": strided.contiguous()}, {})


def test_a_read_tensor_is_a_copy():
    data = file_of({"a": torch.zeros(4)}, {})
    read(data)[0]["a"].fill_(7)
    assert torch.equal(read(data)[0]["a"], torch.zeros(4))


def test_a_header_of_any_length_is_read():
    """Lengths that begin with the byte of a pickle, too."""
    for size in range(600):
        assert read(file_of({"a": torch.zeros(2)}, {"text": "x" * size}))[1] == {"text": "x" * size}


# E11: crafted files


def crafted(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


EIGHT = bytes(8)
CRAFTED: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": bytes(7),
    "no header": bytes(8),
    "header of 2^63": crafted({}, length=1 << 63),
    "header of 2^64-1": crafted({}, length=(1 << 64) - 1),
    "header one byte longer than the file": crafted({}, length=3),
    "header above the limit": crafted(b" " * (LARGEST_HEADER + 1)),
    "header is a list": crafted([]),
    "header is a number": crafted(b"7"),
    "header is no UTF-8": crafted(b'{"\xff": 1}'),
    "header with NaN": crafted(b'{"a": NaN}'),
    "header with a huge number": crafted(b'{"a": 1e999}'),
    "header with 10^5 digits": crafted(b'{"a": ' + b"9" * 100_000 + b"}"),
    "header 10^5 deep": crafted(b"[" * 100_000 + b"]" * 100_000),
    "header twice the same key": crafted(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        EIGHT,
    ),
    "twice the same key inside": crafted(
        b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT
    ),
    "metadata of numbers": crafted({"__metadata__": {"a": 1}}),
    "metadata is a list": crafted({"__metadata__": ["a"]}),
    "entry is a number": crafted({"a": 1}),
    "entry without shape": crafted({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, EIGHT),
    "entry with more": crafted({"a": entry() | {"more": 1}}, EIGHT),
    "unknown dtype": crafted({"a": entry(dtype="F8_E4M3")}, EIGHT),
    "dtype is a list": crafted({"a": entry(dtype=["F32"])}, EIGHT),
    "shape is a number": crafted({"a": entry(shape=2)}, EIGHT),
    "shape is negative": crafted({"a": entry(shape=[-2])}, EIGHT),
    "shape is a fraction": crafted({"a": entry(shape=[2.0])}, EIGHT),
    "shape is true": crafted({"a": entry(shape=[True], offsets=[0, 4])}, bytes(4)),
    "shape of 2^62": crafted({"a": entry(shape=[1 << 62])}, EIGHT),
    "shape that overflows to 8 bytes": crafted({"a": entry(shape=[1 << 32, 1 << 32, 2])}, EIGHT),
    "shape of nine dimensions": crafted({"a": entry(shape=[1] * 8 + [2])}, EIGHT),
    "another shape": crafted({"a": entry(shape=[3])}, EIGHT),
    "one offset": crafted({"a": entry(offsets=[0])}, EIGHT),
    "offsets the wrong way": crafted({"a": entry(offsets=[8, 0])}, EIGHT),
    "negative offset": crafted({"a": entry(offsets=[-8, 0])}, EIGHT),
    "offset of 2^63": crafted({"a": entry(offsets=[1 << 63, (1 << 63) + 8])}, EIGHT),
    "offsets behind the end": crafted({"a": entry(offsets=[8, 16])}, EIGHT),
    "overlap": crafted({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
    "the same place twice": crafted({"a": entry(), "b": entry()}, EIGHT),
    "gap": crafted({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
    "bytes after the end": crafted({"a": entry()}, bytes(9)),
    "bytes missing": crafted({"a": entry()}, bytes(7)),
    "long name": crafted({"a" * (LONGEST_NAME + 1): entry()}, EIGHT),
    "too many tensors": crafted({str(number): entry([0], [0, 0]) for number in range(MOST_TENSORS + 1)}),
    "a pickle": b"\x80\x04\x95" + bytes(100),
    "a zip archive": b"PK\x03\x04" + bytes(100),
    "a numpy array": b"\x93NUMPY\x01\x00" + bytes(100),
    "a splat": b"ply\nformat binary_little_endian 1.0\n",
}


@pytest.mark.parametrize("data", CRAFTED.values(), ids=CRAFTED.keys())
def test_crafted_files_are_refused_cheaply(data: bytes):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="some file: byte [0-9]+: expected "):
            read_header(data, "some file")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_million_tensors_are_refused_by_the_length_of_their_header():
    text = b"{" + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % k for k in range(10**6)) + b"}"
    with pytest.raises(FormatError, match="header length of at most"):
        read_header(crafted(text), "some file")


def mutated_headers(number: int, seed: int) -> list[bytes]:
    """Headers in which values were exchanged for others, with bodies of many lengths."""
    draw = random.Random(seed)
    values: list[Any] = [
        -1, 0, 1, 2, 3, 8, 2**31, 2**63, 2**64, 1.5, "F32", "U8", "", None, True, [], {}, [0, 8],
        [2], [8, 0], [0, 0], [1, 2],
    ]  # fmt: skip
    found = []
    for _ in range(number):
        header: dict[str, Any] = {"a": entry([2], [0, 8]), "b": entry([4], [8, 12], "U8"), "__metadata__": {"x": "y"}}
        for _ in range(draw.randint(1, 3)):
            name = draw.choice(list(header))
            if isinstance(header[name], dict) and header[name] and draw.random() < 0.8:
                header[name] = header[name] | {draw.choice(list(header[name])): draw.choice(values)}
            else:
                header[name] = draw.choice(values)
        found.append(crafted(header, bytes(draw.choice((8, 11, 12, 12, 12, 12, 13)))))
    return found


def library_accepts(data: bytes) -> bool:
    try:
        safetensors.torch.load(data)
    except Exception:
        return False
    return True


def outcome(call: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return call(data)
    except FormatError:
        return None


def test_whatever_the_library_refuses_is_refused_here():
    accepted = 0
    for data in mutated_headers(5_000, seed=1):
        if outcome(read, data) is not None:
            accepted += 1
            assert library_accepts(data), data
    assert accepted > 30
