"""PLY files against plyfile and against real files."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from splat_samples import random_splats

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io import reader as reader_module
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.ply import (
    GaussianArrays,
    read_gaussians,
    read_ply,
    read_point_cloud,
    write_gaussians,
    write_ply,
    write_point_cloud,
)

plyfile = pytest.importorskip("plyfile")


# Any table


def tables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    kinds = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]
    rows = np.zeros(20, [(f"p_{kind}", kind) for kind in kinds])
    for kind in kinds:
        rows[f"p_{kind}"] = random.integers(0, 100, 20)
    return {"vertex": rows, "other": np.array([(1.5,), (2.5,)], [("a", "f4")]), "none": np.empty(0, [("b", "i4")])}


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_what_plyfile_writes_is_read(tmp_path: Path, text: bool, order: str) -> None:
    elements = [plyfile.PlyElement.describe(rows, name) for name, rows in tables().items()]
    plyfile.PlyData(
        elements, text=text, byte_order=order, comments=["a comment", "ünï".encode("ascii", "replace").decode()]
    ).write(str(tmp_path / "a.ply"))
    found = read_ply(tmp_path / "a.ply")
    assert list(found) == ["vertex", "other", "none"]
    for name, rows in tables().items():
        assert found[name].dtype == rows.dtype
        assert found[name].tolist() == rows.tolist()


def test_plyfile_reads_what_is_written(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", tables())
    found = plyfile.PlyData.read(str(tmp_path / "a.ply"))
    for name, rows in tables().items():
        assert found[name].data.tolist() == rows.tolist()
    assert all(np.array_equal(rows, tables()[name]) for name, rows in read_ply(tmp_path / "a.ply").items())


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("lengths", [[3, 3, 3], [3, 4, 0], [0, 0, 0]])
def test_lists_are_passed_over(tmp_path: Path, text: bool, lengths: list[int]) -> None:
    faces = np.empty(len(lengths), [("indices", object), ("area", "f4"), ("more", object)])
    faces["indices"] = [np.arange(length, dtype=np.int32) for length in lengths] + [None] * 0
    faces["more"] = [np.arange(length, dtype=np.float64) for length in reversed(lengths)]
    faces["area"] = range(len(lengths))
    vertex = np.array([(1, 2, 3)], [("x", "f4"), ("y", "f4"), ("z", "f4")])
    elements = [plyfile.PlyElement.describe(faces, "face"), plyfile.PlyElement.describe(vertex, "vertex")]
    plyfile.PlyData(elements, text=text).write(str(tmp_path / "a.ply"))
    found = read_ply(tmp_path / "a.ply")
    assert found["face"].dtype.names == ("area",)
    assert found["face"]["area"].tolist() == [0, 1, 2]
    assert found["vertex"].tolist() == [(1, 2, 3)]


def test_numbers_that_ply_has_no_type_for_are_refused(tmp_path: Path) -> None:
    for kind in ("i8", "u8", "f2", "U3", "c8", "?"):
        with pytest.raises(SplatError, match="PLY has no number type for 'a'"):
            write_ply(tmp_path / "a.ply", {"vertex": np.zeros(2, [("a", kind)])})
    assert not (tmp_path / "a.ply").exists()


# Gaussians


def test_a_file_of_the_reference_trainer_is_written_back_byte_by_byte(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "splats" / "train-1000.ply"
    gaussians = read_gaussians(source, strict=True)
    assert (len(gaussians), gaussians.sh_degree) == (1000, 3)
    write_gaussians(tmp_path / "a.ply", gaussians)
    assert (tmp_path / "a.ply").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("name", "number", "degree"), [("train-1000.ply", 1000, 3), ("playbot_lod4.ply", 8406, 2)])
def test_real_files_are_read_as_plyfile_reads_them(shared_data: Path, name: str, number: int, degree: int) -> None:
    path = shared_data / "splats" / name
    found, rows = read_gaussians(path), plyfile.PlyData.read(str(path))["vertex"].data
    assert (len(found), found.sh_degree) == (number, degree)
    num_rest = (degree + 1) ** 2 - 1
    for column in range(3):
        assert np.array_equal(found.xyz[:, column], rows["xyz"[column]])
        assert np.array_equal(found.features_dc[:, 0, column], rows[f"f_dc_{column}"])
        assert np.array_equal(found.scaling[:, column], rows[f"scale_{column}"])
        for index in range(num_rest):
            assert np.array_equal(found.features_rest[:, index, column], rows[f"f_rest_{column * num_rest + index}"])
    for column in range(4):
        assert np.array_equal(found.rotation[:, column], rows[f"rot_{column}"])
    assert np.array_equal(found.opacity[:, 0], rows["opacity"])


def test_a_dialect_in_another_order_is_written_in_ours(tmp_path: Path, shared_data: Path) -> None:
    gaussians = read_gaussians(shared_data / "splats" / "playbot_lod4.ply")
    write_gaussians(tmp_path / "a.ply", gaussians)
    again = read_gaussians(tmp_path / "a.ply", strict=True)
    assert all(np.array_equal(getattr(gaussians, field), getattr(again, field)) for field in FIELDS)


def test_a_compressed_file_is_named_as_such(shared_data: Path) -> None:
    with pytest.raises(FormatError, match="is a compressed PLY"):
        read_gaussians(shared_data / "splats" / "biker.compressed.ply")
    found = read_ply(shared_data / "splats" / "biker.compressed.ply")
    assert {name: len(rows) for name, rows in found.items()} == {"chunk": 597, "vertex": 152746}


def rewritten(path: Path, change) -> Path:
    """A file of three Gaussians, changed as a table: a dictionary of columns."""
    write_gaussians(path, random_splats(3, 1))
    rows = read_ply(path)["vertex"]
    columns = change({name: rows[name] for name in rows.dtype.names or ()})
    table = np.empty(3, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    write_ply(path, {"vertex": table})
    return path


def without(*names: str):
    return lambda columns: {name: values for name, values in columns.items() if name not in names}


def test_normals_may_be_absent_and_others_present(tmp_path: Path) -> None:
    expected = random_splats(3, 1)
    for change in (
        without("nx", "ny", "nz"),
        lambda columns: {"extra": np.zeros(3, "u1"), **columns, "label": np.ones(3, "i4")},
        lambda columns: dict(reversed(columns.items())),
        lambda columns: {name: values.astype("f8") for name, values in columns.items()},
    ):
        found = read_gaussians(rewritten(tmp_path / "a.ply", change))
        assert all(np.array_equal(getattr(found, field), getattr(expected, field)) for field in FIELDS)


def test_a_missing_property_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="lacks opacity: this is a point cloud, not Gaussians; .*--init_ply"):
        read_gaussians(rewritten(tmp_path / "a.ply", without("opacity")))
    with pytest.raises(FormatError, match="lacks x, f_dc_1, rot_3: this is not a splat file"):
        read_gaussians(rewritten(tmp_path / "a.ply", without("x", "f_dc_1", "rot_3")))


def test_a_hole_in_the_coefficients_is_named(tmp_path: Path) -> None:
    def shift(columns: dict) -> dict:
        return {("f_rest_9" if name == "f_rest_4" else name): values for name, values in columns.items()}

    with pytest.raises(FormatError, match="f_rest_4 is missing between the others"):
        read_gaussians(rewritten(tmp_path / "a.ply", shift))


def test_a_point_cloud_is_recognised(tmp_path: Path) -> None:
    write_point_cloud(tmp_path / "a.ply", np.zeros((2, 3)), np.zeros((2, 3), np.uint8))
    with pytest.raises(FormatError, match="lacks f_dc_0, .*this is a point cloud"):
        read_gaussians(tmp_path / "a.ply")


def test_files_without_gaussians_are_refused(tmp_path: Path) -> None:
    write_gaussians(tmp_path / "a.ply", random_splats(0, 0))
    with pytest.raises(FormatError, match="holds no Gaussians"):
        read_gaussians(tmp_path / "a.ply")
    write_ply(tmp_path / "b.ply", {"face": np.zeros(1, [("a", "f4")])})
    with pytest.raises(FormatError, match="expected an element 'vertex', found 'face'"):
        read_gaussians(tmp_path / "b.ply")


def test_doubles_beyond_float32_are_dropped_like_infinity(tmp_path: Path) -> None:
    def enlarge(columns: dict) -> dict:
        return {**columns, "x": np.array([0.0, 1e300, 2.0])}

    with pytest.warns(
        UserWarning, match=r"1 of 3 Gaussians cannot be rendered \(1 with a position that is not finite\)"
    ):
        assert len(read_gaussians(rewritten(tmp_path / "a.ply", enlarge))) == 2


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = random_splats(2, 1)
    with pytest.raises(SplatError, match=r"rotation has shape \(3, 4\), expected \(2, 4\)"):
        GaussianArrays(*(getattr(good, field) for field in FIELDS[:-1]), random_splats(3, 0).rotation)
    with pytest.raises(SplatError, match="features_rest has 4 coefficients"):
        GaussianArrays(
            good.xyz, good.features_dc, np.zeros((2, 4, 3), np.float32), good.opacity, good.scaling, good.rotation
        )


@pytest.mark.parametrize("mapped_above", [0, 1 << 40])
def test_many_chunks_are_put_together(tmp_path: Path, monkeypatch, mapped_above: int) -> None:
    monkeypatch.setattr(reader_module, "_ROWS_AT_ONCE", 10_000)
    monkeypatch.setattr(reader_module, "_MAPPED_ABOVE", mapped_above)
    gaussians = random_splats(20_011, 3)
    write_gaussians(tmp_path / "a.ply", gaussians)
    found = read_gaussians(tmp_path / "a.ply")
    assert all(np.array_equal(getattr(found, field), getattr(gaussians, field)) for field in FIELDS)


@pytest.mark.slow
def test_a_million_gaussians_are_written_and_read_in_seconds(tmp_path: Path) -> None:
    gaussians = random_splats(1_000_000, 3)
    begin = time.process_time()
    write_gaussians(tmp_path / "a.ply", gaussians)
    written = time.process_time()
    read_gaussians(tmp_path / "a.ply")
    read = time.process_time()
    print(f"written in {written - begin:.2f} s, read in {read - written:.2f} s")
    assert written - begin < 1.5
    assert read - written < 1.5


@pytest.mark.parametrize("read", [read_gaussians, read_ply, read_point_cloud])
def test_a_large_file_takes_little_more_memory_than_its_size(tmp_path: Path, read) -> None:
    write_gaussians(tmp_path / "a.ply", random_splats(300_000, 3))
    size = (tmp_path / "a.ply").stat().st_size
    assert size > 70_000_000
    tracemalloc.start()
    read(tmp_path / "a.ply")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size + (64 << 20)


# Points


def test_points_come_back(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    xyz = random.standard_normal((50, 3)).astype(np.float32)
    rgb = random.integers(0, 256, (50, 3)).astype(np.uint8)
    write_point_cloud(tmp_path / "a.ply", xyz, rgb)
    found, colours = read_point_cloud(tmp_path / "a.ply")
    assert found.dtype == np.float64
    assert np.array_equal(found, xyz)
    assert np.array_equal(colours, rgb)
    assert plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]["green"].tolist() == rgb[:, 1].tolist()
    write_point_cloud(tmp_path / "b.ply", xyz)
    assert read_point_cloud(tmp_path / "b.ply")[1] is None


def cloud(path: Path, names: tuple[str, str, str], values: np.ndarray) -> Path:
    table = np.zeros(len(values), [(name, "f8") for name in "xyz"] + [(name, values.dtype) for name in names])
    for column, name in enumerate(names):
        table[name] = values[:, column]
    write_ply(path, {"vertex": table})
    return path


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (("red", "green", "blue"), np.array([[0, 1, 255]], "u1"), [0, 1, 255]),
        (("r", "g", "b"), np.array([[0, 1, 255]], "u1"), [0, 1, 255]),
        (("diffuse_red", "diffuse_green", "diffuse_blue"), np.array([[0, 1, 255]], "u1"), [0, 1, 255]),
        (("red", "green", "blue"), np.array([[0, 257, 65535]], "u2"), [0, 1, 255]),
        (("red", "green", "blue"), np.array([[0.0, 0.5, 1.0]], "f4"), [0, 128, 255]),
        (("red", "green", "blue"), np.array([[0.0, 127.6, 300.0]], "f8"), [0, 128, 255]),
        (("red", "green", "blue"), np.array([[-5, 7, 300]], "i4"), [0, 7, 255]),
    ],
)
def test_colours_of_every_kind_become_bytes(tmp_path: Path, names, values, expected: list[int]) -> None:
    _, rgb = read_point_cloud(cloud(tmp_path / "a.ply", names, values))
    assert rgb is not None
    assert rgb.dtype == np.uint8
    assert rgb.tolist() == [expected]


def test_points_that_are_not_finite_are_dropped_or_refused(tmp_path: Path) -> None:
    table = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    table["y"] = [0, np.nan, np.inf, 3]
    table["red"] = [1, 2, 3, 4]
    write_ply(tmp_path / "a.ply", {"vertex": table})
    with pytest.warns(UserWarning, match="2 of 4 points have coordinates that are not finite; they were dropped"):
        xyz, rgb = read_point_cloud(tmp_path / "a.ply")
    assert xyz[:, 1].tolist() == [0, 3]
    assert rgb is not None
    assert rgb[:, 0].tolist() == [1, 4]
    with pytest.raises(FormatError, match="2 of 4 points"):
        read_point_cloud(tmp_path / "a.ply", strict=True)
    with pytest.raises(SplatError, match="some y are not finite"):
        write_point_cloud(tmp_path / "b.ply", np.array([[0, np.nan, 0]]))


def test_colours_must_fit_the_points(tmp_path: Path) -> None:
    with pytest.raises(SplatError, match=r"\(2, 3\) colours for \(3, 3\) positions"):
        write_point_cloud(tmp_path / "a.ply", np.zeros((3, 3)), np.zeros((2, 3), np.uint8))


def test_a_file_without_points_is_refused(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", {"vertex": np.zeros(1, [("x", "f4"), ("q", "f4")])})
    with pytest.raises(FormatError, match="lacks y, z"):
        read_point_cloud(tmp_path / "a.ply")
