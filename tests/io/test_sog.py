"""SOG: bundles and folders, palettes, and descriptions that do not fit."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from splat_samples import some_splats

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.clustering import code_book, nearest_in, palette
from gaussian_splatting.io.sog import parse_sog, read_sog
from gaussian_splatting.io.sog_writer import write_sog


def parts(folder: Path, degree: int = 1) -> tuple[dict, dict[str, bytes]]:
    write_sog(folder / "a.sog", some_splats(100, degree))
    with zipfile.ZipFile(folder / "a.sog") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(files.pop("meta.json")), files


def test_a_bundle_and_a_folder_hold_the_same(tmp_path: Path) -> None:
    gaussians = some_splats(200, 2)
    write_sog(tmp_path / "a.sog", gaussians)
    write_sog(tmp_path / "folder" / "meta.json", gaussians)
    first, second = read_sog(tmp_path / "a.sog").gaussians, read_sog(tmp_path / "folder" / "meta.json").gaussians
    np.testing.assert_array_equal(first.xyz, second.xyz)
    np.testing.assert_array_equal(first.features_rest, second.features_rest)
    assert zipfile.ZipFile(tmp_path / "a.sog").testzip() is None


def test_a_smaller_palette_loses_more_and_takes_less(tmp_path: Path) -> None:
    gaussians = some_splats(1024, 1)
    sizes, errors = [], []
    for size in (1024, 64, 1):
        write_sog(tmp_path / "a.sog", gaussians, palette_size=size)
        found = read_sog(tmp_path / "a.sog").gaussians
        sizes.append((tmp_path / "a.sog").stat().st_size)
        errors.append(float(found.features_rest.std()))
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors, reverse=True)  # one entry for all: no spread is left
    assert errors[-1] < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta.pop("count"), "meta.json: expected an object with 'count'"),
        (lambda meta: meta.update(version=3), "version: expected a whole number from 2 to 2, found 3"),
        (lambda meta: meta.update(count=101), "means_l.webp|labels|expected a picture"),
        (lambda meta: meta.update(count=10**6), "expected a picture of 1000000 pixels"),
        (lambda meta: meta["scales"].update(codebook=[1]), "scales: codebook: expected 256 numbers"),
        (lambda meta: meta["sh0"].update(files=["../x.webp"]), "no file"),
        (lambda meta: meta["shN"].update(bands=2), "a palette of 64 entries with 8 coefficients"),
        (lambda meta: meta["shN"].update(count=3), "labels below the 3 entries"),
        (lambda meta: meta.update(antialias="yes"), "antialias: expected true or false"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path: Path, change, message: str) -> None:
    meta, files = parts(tmp_path)
    change(meta)

    def load(name: str) -> bytes:
        if name == "meta.json":
            return json.dumps(meta).encode()
        if name not in files:
            raise FormatError(f"no file {name}")
        return files[name]

    if meta.get("count") == 101:  # the pictures have spare pixels: one more Gaussian is there, and reads as zeros
        assert len(parse_sog("a.sog", load)) == 101
        return
    with pytest.raises(FormatError, match=message):
        parse_sog("a.sog", load)


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    write_sog(tmp_path / "inner" / "meta.json", some_splats(5, 0))
    (tmp_path / "inner" / "quats.webp").rename(tmp_path / "quats.webp")
    meta = json.loads((tmp_path / "inner" / "meta.json").read_text())
    meta["quats"]["files"] = ["../quats.webp"]
    (tmp_path / "inner" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(FormatError, match="names a file that cannot be read"):
        read_sog(tmp_path / "inner" / "meta.json")


def test_version_1_is_read_between_its_bounds(tmp_path: Path) -> None:
    meta, files = parts(tmp_path, 0)
    first = {
        "means": meta["means"] | {"shape": [100, 3]},
        "quats": meta["quats"],
        "scales": {"mins": [-8] * 3, "maxs": [0] * 3, "files": ["scales.webp"]},
        "sh0": {"mins": [-1, -1, -1, -5], "maxs": [1, 1, 1, 5], "files": ["sh0.webp"]},
    }
    found = parse_sog("a.sog", lambda name: json.dumps(first).encode() if name == "meta.json" else files[name])
    second = parse_sog("a.sog", lambda name: json.dumps(meta).encode() if name == "meta.json" else files[name])
    assert found.format == "SOG 1"
    np.testing.assert_array_equal(found.gaussians.xyz, second.gaussians.xyz)
    order = np.argsort(second.gaussians.scaling[:, 0])
    assert (np.diff(found.gaussians.scaling[order, 0]) >= 0).all()
    assert found.gaussians.opacity.min() >= -5 and found.gaussians.opacity.max() <= 5


def test_a_code_book_is_better_than_equal_steps() -> None:
    values = np.random.default_rng(0).standard_normal(20_000).astype(np.float32) ** 3
    book = code_book(values)
    assert (np.diff(book) >= 0).all() and len(book) == 256
    equal = np.linspace(values.min(), values.max(), 256, dtype=np.float32)
    error = [np.mean((b[nearest_in(b, values)] - values) ** 2) for b in (book, equal)]
    assert error[0] < error[1] / 3


def test_a_palette_halves_the_spread_with_its_size() -> None:
    rows = np.random.default_rng(0).standard_normal((4096, 9)).astype(np.float32)
    spreads = []
    for size in (1, 16, 256, 4096):
        entries, labels = palette(rows, size)
        assert np.bincount(labels, minlength=size).min() >= 4096 // size - 1
        spreads.append(float(np.mean((entries[labels] - rows) ** 2)))
    assert spreads[0] == pytest.approx(rows.var(axis=0).mean(), rel=1e-3)
    assert spreads[1] < 0.8 and spreads[2] < 0.45 and spreads[3] < 1e-10


@pytest.mark.parametrize("spread", [1.0, 1e-20, 1e20, 1e-40])
@pytest.mark.parametrize("size", [1, 2, 3, 256])
def test_the_table_finds_what_a_search_finds(size: int, spread: float) -> None:
    random = np.random.default_rng(0)
    book = np.sort(random.standard_normal(size) ** 5 * spread).astype(np.float32)
    middles = (book[1:] + book[:-1]) / 2
    values = np.concatenate(
        (random.standard_normal(60_000).astype(np.float32) ** 5 * np.float32(spread), book, middles)
    )
    np.testing.assert_array_equal(nearest_in(book, values), np.searchsorted(middles, values))


def test_equal_rows_are_split_in_their_order() -> None:
    rows = np.repeat(np.array([[0.0, 1.0], [-0.0, 1.0]], np.float32), 8, axis=0)
    entries, labels = palette(rows, 4)
    np.testing.assert_array_equal(entries, np.tile([0.0, 1.0], (4, 1)).astype(np.float32))
    np.testing.assert_array_equal(labels, np.repeat(np.arange(4), 4))
