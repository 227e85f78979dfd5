"""JSON from strangers is bounded, and what is wrong with it is named by its place."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from pathlib import Path

import pytest

from gaussian_splatting.dataset.strict_json import JsonValue, parse_json, read_json
from gaussian_splatting.errors import FormatError


def parsed(text: str) -> JsonValue:
    return parse_json(text.encode(), "c.json", "cameras")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c.json: not JSON at line 1, column 1"),
        ("[1,\n2,,]", "not JSON at line 2, column 3"),
        ("[NaN]", "c.json: NaN is not a JSON number; correct the file"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' appears twice in one object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 10_000_000, r"a number of 10000000 characters \(99999999999999999999…\)"),
        ("0." + "9" * 5000, "a number of 5002 characters"),
        ("[1] x", "not JSON at line 1, column 5: Extra data"),
    ],
)
def test_what_is_no_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parsed(text)


def test_what_is_not_utf8_is_refused() -> None:
    with pytest.raises(FormatError, match=r"c\.json: byte 2 is not UTF-8; save the file as UTF-8"):
        parse_json(b'["\xff"]', "c.json")


def test_a_byte_order_mark_is_fine() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]", "c.json").value == [1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"c\.json: cannot be read: No such file or directory; check the path"):
        read_json(tmp_path / "c.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.json")
    with pytest.raises(FormatError, match=r"c\.json: is a pipe, not a file; check the path"):
        read_json(tmp_path / "c.json")


def test_a_small_file_costs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[]")
    tracemalloc.start()
    read_json(tmp_path / "c.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ('[{"a": 1}]', lambda v: v.items()[0]["b"], r"cameras\[0\] has no 'b' \(it has: a\)"),
        ("[[1, 2]]", lambda v: v.items()[0]["b"], r"cameras\[0\] must be an object; found an array of 2"),
        ('{"a": 1}', lambda v: v.items(), "cameras must be an array; found an object with 1 keys"),
        ('["1"]', lambda v: v.items()[0].number(), r'cameras\[0\] must be a number; found "1"'),
        ("[true]", lambda v: v.items()[0].number(), r"cameras\[0\] must be a number; found true"),
        ("[1e999]", lambda v: v.items()[0].number(), "must be a number that float64 can hold; found Infinity"),
        (f"[{'9' * 399}]", lambda v: v.items()[0].number(), "must be a number that float64 can hold; found 999"),
        ("[1.5]", lambda v: v.items()[0].integer(1, 9), r"must be a whole number from 1 to 9; found 1\.5"),
        ("[10]", lambda v: v.items()[0].integer(1, 9), "must be a whole number from 1 to 9; found 10"),
        ("[1]", lambda v: v.items()[0].text(), "must be a text; found 1"),
        (r'["a\u0000"]', lambda v: v.items()[0].text(), "must be a text"),
        ("[[1, 2, 3], [4, 5]]", lambda v: v.array(2, 3), r"cameras\[1\] must hold 3 numbers; found an array of 2"),
        ("[[1, 2], [4, null]]", lambda v: v.array(2, 2), r"cameras\[1\]\[1\] must be a number; found null"),
    ],
)
def test_wrong_values_are_named_by_their_place(text: str, read: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(parsed(text))  # pyright: ignore[reportCallIssue]


def test_right_values_are_read() -> None:
    value = parsed('{"a": [[1, 2.5]], "n": 640.0, "t": "é"}')
    assert value["a"].array(1, 2).tolist() == [[1.0, 2.5]]
    assert value["n"].integer(1, 1000) == 640
    assert value["t"].text() == "é"
    assert value["t"].where == "cameras.t"
    assert value.get("x") is None


def test_damaged_json_never_raises_anything_but_a_format_error() -> None:
    rng = random.Random(0)
    whole = json.dumps([{"id": 1, "rotation": [[1, 0, 0]] * 3, "name": "é\\n", "x": None}]).encode()
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        try:
            value = parse_json(bytes(damaged), "c.json", "cameras")
            [entry["rotation"].array(3, 3) for entry in value.items()]
        except FormatError as error:
            assert str(error).startswith("c.json: ")
