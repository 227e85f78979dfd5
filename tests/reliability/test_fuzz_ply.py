"""Damaged PLY files: rows D1 and D2, with D3 to D6 as properties."""

from __future__ import annotations

import os
import re
import struct
import warnings

import model_files
import naive_parsers
import numpy as np
import pytest
from mutations import CORPUS, MEMORY_ABOVE_FILE, Damage, campaign, judge, outcome, peak_of, ply_fragments

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.ply import (
    GaussianArrays,
    parse_gaussians,
    parse_ply,
    parse_point_cloud,
    read_gaussians,
    write_gaussians,
)
from gaussian_splatting.io.reader import Reader

NUM_CASES = 100_000


def tables(data: bytes) -> str:
    """Every element as text, in which NaN equals NaN."""
    return repr({name: rows.tolist() for name, rows in parse_ply(Reader(data, "damaged.ply")).items()})


def reference_tables(data: bytes) -> str | None:
    found = naive_parsers.ply(data)
    return None if found is None else repr(found)


def trusting_tables(data: bytes) -> str:
    return repr(naive_parsers.trusting_ply(data))


def names_a_place(message: str) -> bool:
    place = r"(byte \d+|line \d+ of the PLY header|row \d+ of element .+): expected .+, found .+; "
    return re.search(r"^damaged.ply: " + place, message, re.DOTALL) is not None


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")), ids=lambda path: path.name)
def test_every_file_that_ever_broke_a_reader_is_read_right_now(path) -> None:
    assert judge(path.read_bytes(), tables, reference_tables, names_a_place) in (None, "")


@pytest.mark.parametrize("data", model_files.ply_files())
def test_every_dialect_is_read_as_the_reference_reads_it(data: bytes) -> None:
    assert tables(data) == reference_tables(data)


def test_damaged_files_are_read_as_the_reference_reads_them_or_refused() -> None:
    cases = Damage(model_files.ply_files(), seed=3, fragments=ply_fragments()).cases(NUM_CASES)
    accepted, refused = campaign(cases, tables, reference_tables, names_a_place)
    assert accepted > NUM_CASES / 20
    assert refused > NUM_CASES / 20


def test_a_reader_that_trusts_counts_fails_the_same_campaign() -> None:
    cases = Damage(model_files.ply_files()[:3], seed=3, fragments=ply_fragments()).cases(1000)
    faults = [judge(data, trusting_tables, reference_tables, names_a_place) for data in cases]
    assert any(fault is not None and fault.startswith("escaped") for fault in faults)
    assert any(fault is not None and fault.startswith("accepted") for fault in faults)


@pytest.mark.parametrize(
    ("parse", "seeds"),
    [(parse_gaussians, model_files.ply_files()[:4]), (parse_point_cloud, model_files.ply_files())],
    ids=["splats", "clouds"],
)
def test_damaged_splats_and_clouds_are_read_or_refused(parse, seeds) -> None:
    accepted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in Damage(seeds, seed=4, fragments=ply_fragments()).cases(10_000):
            found = outcome(lambda content: parse(Reader(content, "damaged.ply")), data)
            accepted += not isinstance(found, SplatError)
            if isinstance(found, GaussianArrays):
                assert np.isfinite(found.xyz).all()
                assert np.isfinite(found.features_rest).all()
    assert accepted > 500


@pytest.mark.parametrize("data", model_files.ply_files())
def test_a_file_cut_at_any_byte_is_read_as_the_reference_reads_it(data: bytes) -> None:
    for size in range(len(data)):
        assert judge(data[:size], tables, reference_tables, names_a_place) in (None, "")


# D1, D2: headers and counts

COUNTS = ["-1", "0", "1", "3", "1e3", "1000000000", "1000000000000", "9" * 18, "9" * 19, "9" * 4000, "+2", "2.0", "٣"]


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("count", COUNTS)
def test_a_count_that_the_body_does_not_have_is_refused_before_anything_is_allocated(encoding: str, count: str) -> None:
    header = model_files.header(encoding, ("vertex", 2, ["float x", "double y", "list uchar int z"]))
    body = b"1 2 0\n3 4 0\n" if encoding == "ascii" else bytes(2 * 13)
    data = header.replace(b"vertex 2", b"vertex " + count.encode()) + body
    with pytest.raises(FormatError):
        parse_ply(Reader(data, "damaged.ply"))
    assert peak_of(lambda content: parse_ply(Reader(content, "damaged.ply")), data) < len(data) + MEMORY_ABOVE_FILE


def test_both_numbers_are_shown_when_the_count_is_too_large() -> None:
    data = model_files.header("binary_little_endian", ("vertex", 1_000_000_000, ["float x"])) + bytes(40)
    with pytest.raises(FormatError, match=r"found 1000000000 \(room for 10 in the 40 bytes left\)"):
        parse_ply(Reader(data, "damaged.ply"))


def test_a_reader_that_trusts_counts_fails_the_same_count() -> None:
    data = model_files.header("binary_little_endian", ("vertex", 20_000_000, ["float x"])) + bytes(40)
    assert peak_of(trusting_tables, data) > len(data) + MEMORY_ABOVE_FILE


def test_bytes_after_the_last_row_are_refused() -> None:
    data = model_files.header("binary_little_endian", ("vertex", 2, ["float x"])) + bytes(9)
    with pytest.raises(FormatError, match="expected the end of the file, found 1 more bytes"):
        parse_ply(Reader(data, "damaged.ply"))


@pytest.mark.parametrize("unit", [b"comment " + b"x" * 90 + b"\n", b"x", b"property float x\n", b"\n", b"\0"])
def test_a_header_of_100_megabytes_is_refused_at_once(unit: bytes) -> None:
    data = b"ply\nformat ascii 1.0\n" + unit * (100_000_000 // len(unit))
    assert peak_of(lambda content: parse_ply(Reader(content, "damaged.ply")), data) < MEMORY_ABOVE_FILE
    with pytest.raises(FormatError, match="within 65536 bytes"):
        parse_ply(Reader(data, "damaged.ply"))


# D3, D4


@pytest.mark.parametrize("count", range(81))
def test_only_the_numbers_of_coefficients_of_a_degree_are_accepted(count: int) -> None:
    properties = [f"float {name}" for name in model_files.SPLAT] + [f"float f_rest_{index}" for index in range(count)]
    values = np.ones(len(properties), "<f4")
    data = model_files.header("binary_little_endian", ("vertex", 1, properties)) + values.tobytes()
    degrees = {0: 0, 9: 1, 24: 2, 45: 3, 72: 4}
    if count in degrees:
        assert parse_gaussians(Reader(data, "a.ply")).sh_degree == degrees[count]
    else:
        with pytest.raises(FormatError, match=f"f_rest has {count} properties, expected 0, 9, 24, 45 or 72"):
            parse_gaussians(Reader(data, "a.ply"))


# D5, D6


def gaussians(random: np.random.Generator, number: int, degree: int, values: np.ndarray) -> GaussianArrays:
    """Some Gaussians whose every value is one of `values`."""
    num_rest = (degree + 1) ** 2 - 1
    shapes = [(3,), (1, 3), (num_rest, 3), (1,), (3,), (4,)]
    return GaussianArrays(*(random.choice(values, (number, *shape)) for shape in shapes))


def test_what_is_written_reads_back_bit_by_bit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # 4 000 of them, and nobody cuts the power here
    random = np.random.default_rng(6)
    path = tmp_path / "round.ply"
    for case in range(1000):
        scale = 2.0 ** random.uniform(-20, 6)
        values = (random.standard_normal(500) * scale).clip(-80, 80).astype(np.float32)
        values = np.concatenate([values[values != 0], np.float32([-0.0, 1e-42, -80, 80])])
        before = gaussians(random, int(random.integers(1, 6)), case % 5, values)
        before.rotation[:, 0] = 0.5  # a rotation has a direction
        write_gaussians(path, before)
        after = read_gaussians(path, strict=True)
        assert after.sh_degree == case % 5
        for field in FIELDS:
            assert getattr(before, field).tobytes() == getattr(after, field).tobytes()
        first = path.read_bytes()
        write_gaussians(path, after)
        assert path.read_bytes() == first


def is_usable(values: GaussianArrays, row: int) -> bool:
    every = [float(value) for field in FIELDS for value in getattr(values, field)[row].ravel()]
    squares = np.float32(0)
    with np.errstate(over="ignore", under="ignore"):
        for value in values.rotation[row]:
            squares += value * value
    return bool(np.isfinite(every).all() and 0 < squares < np.inf and values.scaling[row].max() <= 88)


POISON = [np.nan, np.inf, -np.inf, 1e30, -1e30, 89.0, 0.0, 1e-30, 3.4e38, 5e-324, -80.0, 80.0, 1.0, 0.5]


def content_of(values: GaussianArrays) -> bytes:
    number, rest = len(values), values.features_rest.shape[1]
    names = [name.removeprefix("float ") for name in model_files.SPLAT]
    names += [f"f_rest_{index}" for index in range(3 * rest)]
    columns = [*values.xyz.T, *np.zeros((3, number)), *values.features_dc[:, 0].T, values.opacity[:, 0]]
    columns += [*values.scaling.T, *values.rotation.T]
    columns += list(values.features_rest.transpose(2, 1, 0).reshape(3 * rest, number))
    header = model_files.header("binary_little_endian", ("vertex", number, [f"float {name}" for name in names]))
    return header + np.stack(columns, axis=1).astype("<f4").tobytes()


def test_poisoned_rows_are_dropped_or_refused_and_never_written(tmp_path) -> None:
    random = np.random.default_rng(7)
    some_bad = all_bad = none_bad = not_written = 0
    harmless = np.float32([0.25, -0.5, 1, 2] * 40)
    for case in range(2000):
        pool = np.concatenate([harmless, np.array(POISON).astype(np.float32)])
        values = gaussians(random, int(random.integers(1, 5)), case % 2, pool)
        good = [row for row in range(len(values)) if is_usable(values, row)]
        finite = all(np.isfinite(getattr(values, field)).all() for field in FIELDS)
        if not finite:
            not_written += 1
            with pytest.raises(SplatError, match="not written: .* of Gaussian"):
                write_gaussians(tmp_path / "poison.ply", values)
        if len(good) == len(values):
            none_bad += 1
            kept = parse_gaussians(Reader(content_of(values), "a.ply"), strict=True)
        else:
            message = f"{len(values) - len(good)} of {len(values)} Gaussians cannot be rendered"
            with pytest.raises(FormatError, match=message):
                parse_gaussians(Reader(content_of(values), "a.ply"), strict=True)
            if not good:
                all_bad += 1
                continue
            some_bad += 1
            with pytest.warns(UserWarning, match=f"{message} .* were dropped"):
                kept = parse_gaussians(Reader(content_of(values), "a.ply"))
        for field in FIELDS:
            assert getattr(kept, field).tobytes() == getattr(values, field)[good].tobytes()
    assert list(tmp_path.iterdir()) == []
    assert min(some_bad, all_bad, none_bad, not_written) > 50


def test_a_degree_four_file_has_the_bytes_that_the_layout_promises(tmp_path) -> None:
    rest = np.arange(72, dtype=np.float32).reshape(1, 3, 24).transpose(0, 2, 1)  # f_rest_<n> holds n
    one = np.ones((1, 4), np.float32)
    write_gaussians(tmp_path / "a.ply", GaussianArrays(one[:, :3], one[:, None, :3], rest, one[:, :1], one[:, :3], one))
    body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")[2]
    expected = [1, 1, 1, 0, 0, 0, 1, 1, 1, *range(72), 1, 1, 1, 1, 1, 1, 1, 1]
    assert body == struct.pack(f"<{len(expected)}f", *expected)
