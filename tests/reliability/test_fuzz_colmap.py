"""Damaged COLMAP models: rows A1, A2, A3, A4."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_files
import naive_parsers
import pytest
from mutations import (
    CORPUS,
    EXTREMES,
    MEMORY_ABOVE_FILE,
    Damage,
    bounded_time,
    campaign,
    judge,
    peak_of,
    text_fragments,
)

from gaussian_splatting.dataset.colmap.binary import parse_cameras_binary, parse_images_binary
from gaussian_splatting.dataset.colmap.points import parse_points_binary, parse_points_text
from gaussian_splatting.dataset.colmap.text import parse_cameras_text, parse_images_text
from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import Reader

NUM_BINARY = 50_000
NUM_TEXT = 17_000


def plain_cameras(cameras: dict) -> dict:
    return {key: (camera.model, camera.width, camera.height, camera.params) for key, camera in cameras.items()}


def plain_images(images: dict) -> dict:
    return {key: (image.qvec, image.tvec, image.camera_id, image.name) for key, image in images.items()}


def plain_points(points: Any) -> list:
    columns = (points.ids.tolist(), points.xyz.tolist(), points.rgb.tolist(), points.error.tolist())
    return [(number, *xyz, *rgb, error) for number, xyz, rgb, error in zip(*columns, strict=True)]


Case = tuple[Callable[[bytes], Any], Callable[[bytes], Any], Callable[[], bytes]]
BINARY: dict[str, Case] = {
    "cameras.bin": (
        lambda data: plain_cameras(parse_cameras_binary(Reader(data, "cameras.bin"))),
        naive_parsers.cameras_binary,
        model_files.cameras_binary,
    ),
    "images.bin": (
        lambda data: plain_images(parse_images_binary(Reader(data, "images.bin"))),
        naive_parsers.images_binary,
        model_files.images_binary,
    ),
    "points3D.bin": (
        lambda data: plain_points(parse_points_binary(Reader(data, "points3D.bin"))),
        naive_parsers.points_binary,
        model_files.points_binary,
    ),
}
TEXT: dict[str, Case] = {
    "cameras.txt": (
        lambda data: plain_cameras(parse_cameras_text(data, "cameras.txt")),
        naive_parsers.cameras_text,
        model_files.cameras_text,
    ),
    "images.txt": (
        lambda data: plain_images(parse_images_text(data, "images.txt")),
        naive_parsers.images_text,
        model_files.images_text,
    ),
    "points3D.txt": (
        lambda data: plain_points(parse_points_text(data, "points3D.txt")),
        naive_parsers.points_text,
        model_files.points_text,
    ),
}
TRUSTING = {
    "cameras.bin": naive_parsers.trusting_cameras,
    "images.bin": naive_parsers.trusting_images,
    "points3D.bin": naive_parsers.trusting_points,
}


def names_a_byte(message: str) -> bool:
    return re.search(r": byte \d+: expected .+, found .+; ", message, re.DOTALL) is not None


def names_a_line(message: str) -> bool:
    return re.search(r": line \d+: expected .+, found .+; ", message, re.DOTALL) is not None


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")), ids=lambda path: path.name)
def test_every_file_that_ever_broke_a_reader_is_read_right_now(path: Path) -> None:
    data = path.read_bytes()
    for places, table in ((names_a_byte, BINARY), (names_a_line, TEXT)):
        for parse, reference, _ in table.values():
            assert judge(data, parse, reference, places) in (None, "")


@pytest.mark.parametrize("name", BINARY)
def test_damaged_binary_files_are_read_as_the_reference_reads_them_or_refused(name: str) -> None:
    parse, reference, make = BINARY[name]
    assert parse(make()) == reference(make())
    accepted, refused = campaign(Damage([make()], seed=1).cases(NUM_BINARY), parse, reference, names_a_byte)
    # Otherwise the damage is too mild, or too strong, to tell readers apart.
    assert accepted > NUM_BINARY / 20
    assert refused > NUM_BINARY / 20


@pytest.mark.parametrize("name", TEXT)
def test_damaged_text_files_are_read_as_the_reference_reads_them_or_refused(name: str) -> None:
    parse, reference, make = TEXT[name]
    assert parse(make()) == reference(make())
    variants = [make(), make().replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + make()]
    cases = Damage(variants, seed=2, fragments=text_fragments()).cases(NUM_TEXT)
    accepted, refused = campaign(cases, parse, reference, names_a_line)
    assert accepted > NUM_TEXT / 20
    assert refused > NUM_TEXT / 20


@pytest.mark.parametrize("name", BINARY)
def test_a_reader_that_trusts_counts_fails_the_same_campaign(name: str) -> None:
    _, reference, make = BINARY[name]
    faults = (judge(data, TRUSTING[name], reference, names_a_byte) for data in Damage([make()], seed=1).cases(1000))
    assert any(fault is not None and fault.startswith("escaped") for fault in faults)


@pytest.mark.parametrize("name", BINARY)
def test_a_file_cut_at_any_byte_is_refused_with_that_byte(name: str) -> None:
    parse, _, make = BINARY[name]
    data = make()
    for size in range(len(data)):
        with pytest.raises(FormatError) as caught:
            parse(data[:size])
        assert names_a_byte(str(caught.value))
        # Either it ends in a value, or a count can no longer be right.
        assert (
            f"it ends at {size}" in str(caught.value)
            or "bytes left" in str(caught.value)
            or f"none up to {size}" in str(caught.value)
        ), str(caught.value)


@pytest.mark.parametrize("name", TEXT)
def test_a_text_file_cut_at_any_byte_is_read_as_the_reference_reads_it(name: str) -> None:
    parse, reference, make = TEXT[name]
    data = make()
    for size in range(len(data)):
        assert judge(data[:size], parse, reference, names_a_line) in (None, "")


def count_fields() -> list[tuple[str, str, int, str]]:
    """Every field that counts something: the file, what it counts, where it is, and its layout."""
    cameras, images, points = model_files.cameras_binary(), model_files.images_binary(), model_files.points_binary()
    first_name = images.index(b"left.jpg\0")
    last_name = images.index("é日本.jpg".encode())
    return [
        ("cameras.bin", "cameras", 0, "<Q"),
        ("cameras.bin", "width", 16, "<Q"),
        ("cameras.bin", "height", 24, "<Q"),
        ("cameras.bin", "model", 12, "<I"),
        ("images.bin", "images", 0, "<Q"),
        ("images.bin", "observations of the first", first_name + len(b"left.jpg\0"), "<Q"),
        ("images.bin", "observations of the last", last_name + len("é日本.jpg".encode()) + 1, "<Q"),
        ("points3D.bin", "points", 0, "<Q"),
        ("points3D.bin", "track of the first", 8 + 43, "<Q"),
        ("points3D.bin", "track of the last", len(points) - 3 * 8 - 8, "<Q"),
        ("cameras.bin", "the model of the last", len(cameras) - 8 * 8 - 20, "<I"),
    ]


@pytest.mark.parametrize(("name", "what", "offset", "layout"), count_fields(), ids=lambda value: str(value))
def test_no_count_is_believed(name: str, what: str, offset: int, layout: str) -> None:
    parse, reference, make = BINARY[name]
    for extreme in EXTREMES:
        data = bytearray(make())
        size = struct.calcsize(layout)
        data[offset : offset + size] = struct.pack("<Q", extreme)[:size]
        assert judge(bytes(data), parse, reference, names_a_byte) in (None, "")
        assert peak_of(parse, bytes(data)) < len(data) + MEMORY_ABOVE_FILE


@pytest.mark.parametrize("name", BINARY)
def test_a_reader_that_trusts_counts_fails_the_same_extremes(name: str) -> None:
    data = bytearray(BINARY[name][2]())
    offset = data.index(b"left.jpg\0") + len(b"left.jpg\0") if name == "images.bin" else 0
    for extreme in (2**53, 2**63, 2**64 - 1):
        data[offset : offset + 8] = struct.pack("<Q", extreme)
        fault = judge(bytes(data), TRUSTING[name], BINARY[name][1], names_a_byte)
        assert fault is not None
        assert fault.startswith("escaped")
    data[offset : offset + 8] = struct.pack("<Q", 4 << 20)
    assert peak_of(TRUSTING[name], bytes(data)) > len(data) + MEMORY_ABOVE_FILE


@pytest.mark.parametrize(
    "line", [b"1 " * 500_000, b"9" * 1_000_000, b"\0" * 1_000_000], ids=["words", "digits", "zeros"]
)
@pytest.mark.parametrize("name", TEXT)
def test_an_endless_line_is_judged_quickly(name: str, line: bytes) -> None:
    parse, reference, _ = TEXT[name]
    with bounded_time() as begin:
        begin()
        assert judge(line, parse, reference, names_a_line) in (None, "")
